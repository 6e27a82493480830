"""All methods of the family beside their rules."""

from tests.oracles import base, servers

CASES = [*base.CASES, *servers.CASES]
