"""The server's side of the protocol: only what is open and computed from its state is accepted."""

from dataclasses import replace

import numpy as np

from fl_ef21.commit import Block, Kind, Point
from strategies.ledger import Ledger

EXPERIMENT, SOURCE = bytes(range(16)), bytes(16)


def ledger() -> Ledger:
    return Ledger(EXPERIMENT, SOURCE, 0, 3)


def instruct(server: Ledger, client: int, round: int) -> Block:
    return Block.unpack(server.instruct(Kind.TRAIN, np.array([client]), round)[0])


def accept(server: Ledger, *replies: Block) -> list[str]:
    """What becomes of each reply, "" where it is accepted."""
    _, refused = server.accept([reply.pack() for reply in replies])
    return [str(refused.get(at, "")) for at in range(len(replies))]


def test_an_update_is_accepted_once() -> None:
    for together in (True, False):
        server = ledger()
        update = replace(instruct(server, 1, 1), kind=Kind.UPDATE)
        told = accept(server, update, update) if together else accept(server, update) + accept(server, update)
        assert told[0] == "" and told[1].startswith("stale")


def test_many_are_instructed_and_accepted_at_once_in_any_order() -> None:
    server = ledger()
    asked = [Block.unpack(packed) for packed in server.instruct(Kind.TRAIN, np.array([2, 0]), 4)]
    assert [(one.client, one.round, one.point) for one in asked] == [(i, 4, server.points[i]) for i in (2, 0)]
    assert asked[0].seq != asked[1].seq
    assert accept(server, *(replace(one, kind=Kind.UPDATE) for one in reversed(asked))) == ["", ""]


def test_what_is_no_block_is_refused_and_the_others_are_not() -> None:
    server = ledger()
    update = replace(instruct(server, 1, 1), kind=Kind.UPDATE).pack()
    answers, refused = server.accept([b"", update, update[:2] + b"\x99" + update[3:]])
    assert list(refused) == [0, 2] and {one.reason for one in refused.values()} == {"block"}
    assert answers["client"][1] == 1


def test_a_late_reply_is_refused_once_the_client_was_asked_again() -> None:
    server = ledger()
    late = replace(instruct(server, 1, 1), kind=Kind.UPDATE)
    instruct(server, 1, 2)
    assert accept(server, late)[0].startswith("stale")


def test_an_update_from_another_state_or_run_is_refused() -> None:
    for change in (
        {"point": Point(4, bytes(16))}, {"experiment": bytes(16)}, {"round": 9}, {"client": 2}, {"client": 2**31},
    ):  # fmt: skip
        server = ledger()
        update = replace(instruct(server, 1, 1), kind=Kind.UPDATE, **change)  # type: ignore[arg-type]
        assert accept(server, update)[0].startswith("stale")


def test_a_client_that_lacks_something_is_named() -> None:
    server = ledger()
    lacking = replace(instruct(server, 1, 1), kind=Kind.LACKS, point=Point(7, bytes(16)))
    assert accept(server, lacking) == ["lacks: client 1 holds version 7"]


def test_a_commit_moves_the_point() -> None:
    server = ledger()
    before = server.points[2]
    server.commit(np.array([2]), [b"payload"])
    assert server.points[2] == before.then(b"payload") and instruct(server, 2, 1).point.version == 1


def test_what_a_client_raised_is_found_in_what_flower_wraps_around_it() -> None:
    from strategies.flower_replies import FLOWERS_PREFIX, said

    assert said("gradient: not finite") == "gradient: not finite"
    wrapped = f"<class 'ray.RayTaskError'>:<'traceback ...{FLOWERS_PREFIX}source: other code\n'>"
    assert said(wrapped) == "source: other code"
