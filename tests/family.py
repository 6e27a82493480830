"""All methods of the family beside their rules."""

from tests.oracles import base, estimators

CASES = [*base.CASES, *estimators.CASES]
