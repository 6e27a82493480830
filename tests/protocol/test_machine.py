"""The same faults, chosen by hypothesis: what it finds it makes as small as can be."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.protocol.network import FATES, Fate
from tests.protocol.play import Play
from tests.protocol.schedule import CRASHES, EVENTS, Event
from tests.protocol.world import WORLDS, N

which = st.integers(0, 2**12)
fates = st.tuples(*[st.just(Fate()) | st.builds(Fate, st.sampled_from(list(FATES)), which)] * N)


class Protocol(RuleBasedStateMachine):
    """A server and N clients to which anything may happen."""

    @initialize(world=st.sampled_from(list(WORLDS)), disk=st.booleans())
    def begin(self, world: str, disk: bool) -> None:
        self.play = Play(world, disk)

    @rule(kind=st.sampled_from(EVENTS), which=which)
    def something_happens(self, kind: str, which: int) -> None:
        self.play.event(Event(kind, which))

    @rule(fates=fates, crash=st.just("") | st.sampled_from(CRASHES), order=which)
    def a_round(self, fates: tuple[Fate, ...], crash: str, order: int) -> None:
        self.play.round(fates, crash, order)

    @invariant()
    def g_is_the_sum(self) -> None:
        if hasattr(self, "play"):
            self.play.check()

    def teardown(self) -> None:
        if hasattr(self, "play"):
            with self.play as play:
                play.end()


TestProtocol = Protocol.TestCase
TestProtocol.settings = settings(max_examples=25, stateful_step_count=10, deadline=None)
