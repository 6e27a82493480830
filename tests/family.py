"""All methods of the family beside their rules."""

from tests.oracles import base, federated

CASES = [*base.CASES, *federated.CASES]
