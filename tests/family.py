"""All methods of the family beside their rules."""

from tests.oracles import base

CASES = [*base.CASES]
