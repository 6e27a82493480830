"""All methods of the family beside their rules."""

from tests.oracles import base, estimators, federated, servers

CASES = [*base.CASES, *estimators.CASES, *federated.CASES, *servers.CASES]
