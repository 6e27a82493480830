"""The server's side of the protocol: only what is open and computed from its state is accepted."""

from dataclasses import replace

import pytest

from fl_ef21.commit import Kind, Point
from fl_ef21.errors import Refused
from strategies.ledger import Ledger

EXPERIMENT, SOURCE = bytes(range(16)), bytes(16)


def ledger() -> Ledger:
    return Ledger(EXPERIMENT, SOURCE, 0, 3)


def test_an_update_is_accepted_once() -> None:
    server = ledger()
    update = replace(server.instruct(Kind.TRAIN, 1, 1), kind=Kind.UPDATE).pack()
    assert server.accept(update).client == 1
    with pytest.raises(Refused, match="stale"):
        server.accept(update)


def test_a_late_reply_is_refused_once_the_client_was_asked_again() -> None:
    server = ledger()
    late = replace(server.instruct(Kind.TRAIN, 1, 1), kind=Kind.UPDATE).pack()
    server.instruct(Kind.TRAIN, 1, 2)
    with pytest.raises(Refused, match="stale"):
        server.accept(late)


def test_an_update_from_another_state_or_run_is_refused() -> None:
    for change in ({"point": Point(4, bytes(16))}, {"experiment": bytes(16)}, {"round": 9}, {"client": 2}):
        server = ledger()
        asked = server.instruct(Kind.TRAIN, 1, 1)
        with pytest.raises(Refused, match="stale"):
            server.accept(replace(asked, kind=Kind.UPDATE, **change).pack())  # type: ignore[arg-type]


def test_a_client_that_lacks_something_is_named() -> None:
    server = ledger()
    asked = server.instruct(Kind.TRAIN, 1, 1)
    with pytest.raises(Refused, match="lacks: client 1 holds version 7"):
        server.accept(replace(asked, kind=Kind.LACKS, point=Point(7, bytes(16))).pack())


def test_a_commit_moves_the_point() -> None:
    server = ledger()
    before = server.points[2]
    server.commit(2, b"payload")
    assert server.points[2] == before.then(b"payload") and server.instruct(Kind.TRAIN, 2, 1).point.version == 1


def test_what_a_client_raised_is_found_in_what_flower_wraps_around_it() -> None:
    from strategies.flower import FLOWERS_PREFIX, said

    assert said("gradient: not finite") == "gradient: not finite"
    wrapped = f"<class 'ray.RayTaskError'>:<'traceback ...{FLOWERS_PREFIX}source: other code\n'>"
    assert said(wrapped) == "source: other code"
