"""All methods of the family beside their rules."""

from tests.oracles import base, estimators, federated

CASES = [*base.CASES, *estimators.CASES, *federated.CASES]
