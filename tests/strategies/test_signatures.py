"""Nothing of a signed message can be changed, made up, moved or repeated by whoever carries it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message

from fl_ef21 import records
from fl_ef21.commit import Block, Kind
from fl_ef21.errors import InputError
from fl_ef21.flower_internals import make_message, message_parts
from fl_ef21.sealing import ServerKeys
from strategies.rounds import Silence
from tests.signed_grid import SignedRun, key_folder
from tests.strategies.kept import EF14, SGDM, N, setup_of

DOWNLINK = SGDM | {"downlink": "topk:2"}


def run_of(folder: Path, method: dict[str, Any] = SGDM, signed: bool = True, **options: Any) -> SignedRun:
    folder.mkdir(exist_ok=True)
    return SignedRun(setup_of(method, **{"participation": 1.0, **options}), folder, signed)


def copied(message: Message) -> Message:
    metadata, content, error = message_parts(message)
    return make_message(metadata, deepcopy(content), error)


def touched(message: Message) -> Iterator[tuple[str, Message]]:
    """The message with every entry of every record changed, and with entries and records added and taken away."""
    for name in list(message.content):
        for key in list(message.content[name]):
            for word, change in CHANGES.items():
                other = copied(message)
                record: Any = other.content[name]
                if change(record, key):
                    yield f"{word} {name}.{key}", other
    more = copied(message)
    more.content["more"] = ConfigRecord({"a": b"b"})
    yield "a record more", more
    more = copied(message)
    more.content.config_records[records.PROTOCOL]["more"] = b"b"
    yield "an entry more", more


def _flip(where: float) -> Callable[[Any, str], bool]:
    def change(record: Any, key: str) -> bool:
        value = record[key]
        if isinstance(value, list):
            value[0] = _flipped(value[0], where)
        elif isinstance(value, Array):
            value.data = _flipped(value.data, where)
        else:
            record[key] = _flipped(value, where)
        return bool(record[key])

    return change


def _flipped(data: bytes, where: float) -> bytes:
    at = min(len(data) - 1, int(where * len(data)))
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :] if data else b"\0"


def _remove(record: Any, key: str) -> bool:
    del record[key]
    return True


def _rename(record: Any, key: str) -> bool:
    record[key + "x"] = record.pop(key)
    return True


def _retype(record: Any, key: str) -> bool:
    if isinstance(record, ArrayRecord):
        record[key].shape = (*record[key].shape, 1)
    elif isinstance(record[key], list):
        record[key] = b"".join(record[key])
    else:
        record[key] = [record[key]]
    return True


CHANGES: dict[str, Callable[[Any, str], bool]] = {
    "flip first": _flip(0), "flip some": _flip(0.37), "flip more": _flip(0.71), "flip last": _flip(1),
    "remove": _remove, "rename": _rename, "retype": _retype,
}  # fmt: skip


def bits(message: Message, key: str) -> Iterator[Message]:
    """The message with a bit of every byte of an entry of the protocol's record flipped."""
    data: Any = message.content.config_records[records.PROTOCOL][key]
    for bit in range(0, 8 * len(data), 7):
        other, flipped = copied(message), bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        other.content.config_records[records.PROTOCOL][key] = bytes(flipped)
        yield other


def why(message: Message) -> str:
    """The reason of an error reply."""
    assert message.has_error()
    return str(message.error.reason).partition(": ")[0]


def last(run: SignedRun, client: int, kind: Kind = Kind.TRAIN) -> tuple[Message, Message]:
    """The last instruction of this kind to a client, and its reply."""
    pairs = list(zip(run.grid.seen[::2], run.grid.seen[1::2], strict=True))
    return next(
        (asked, reply) for asked, reply in reversed(pairs)
        if (block := Block.unpack(records.read_block(asked))).kind == kind and asked.metadata.dst_node_id == client + 1
        and block.kind == kind
    )  # fmt: skip


def opened(run: SignedRun, replies: list[Message]) -> tuple[list[int], list[str]]:
    """Whom the server hears in these replies to what is open, and why it refuses others."""
    letters = run.strategy.nodes.post.open(replies)
    return letters.heard.clients.tolist(), [one.reason for one in letters.refused]


# Undisturbed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [SGDM, DOWNLINK, EF14], ids=["ef21", "downlink", "ef14"])
def test_a_signed_run_is_the_same_run(method: dict[str, Any], tmp_path: Path) -> None:
    plain, signed = (run_of(tmp_path / word, method, word == "signed") for word in ("plain", "signed"))
    for run in (plain, signed):
        run.to(6)
        assert run.strategy.last.refused == {} and run.strategy.last.participants == N
    assert signed.strategy.digest() == plain.strategy.digest()
    assert signed.strategy.last.uplink_bytes == plain.strategy.last.uplink_bytes
    spent, cost = signed.strategy.last.traffic, plain.strategy.last.traffic
    assert spent is not None and cost is not None
    for more, less in ((spent.uplink, cost.uplink), (spent.downlink, cost.downlink)):
        entries = more.wire_bytes - less.wire_bytes  # a signature, its name, and what Flower writes around them
        assert len(entries) == N and all(64 + 9 < one < 64 + 9 + 14 for one in entries.tolist())
    asides, before = signed.strategy.account.asides, plain.strategy.account.asides
    assert asides.up > before.up and asides.down > before.down
    kinds = {records.SIGNATURE in one.content.config_records[records.PROTOCOL] for one in signed.grid.seen}
    assert kinds == {True}
    assert not any(records.SIGNATURE in one.content.config_records[records.PROTOCOL] for one in plain.grid.seen)


def test_who_lost_its_state_is_repaired_by_a_signed_message(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    run.to(5)
    run.store.forget(run.strategy.ledger._experiment, range(2, 3))
    run.to(7)
    assert run.strategy.last.repaired == 1 and run.strategy.last.participants == N and run.error() < 1e-14
    asked, _ = last(run, 2)
    assert records.REPAIR in asked.content
    for word, other in touched(asked):
        assert why(run.grid.at(2, other)) in ("signature", "block"), word


def test_who_leaves_signs_its_farewell(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    run.to(3)
    run.grid.config[1]["leaving"] = True
    run.to(4)
    assert run.strategy.last.refused == {"bye": 1}
    run.to(5)
    assert not run.strategy.members.there[1] and run.strategy.last.participants == N - 1


# Changed on the way ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [SGDM, DOWNLINK], ids=["model", "increments"])
def test_a_client_follows_no_instruction_of_which_anything_was_changed(method: dict[str, Any], tmp_path: Path) -> None:
    run = run_of(tmp_path, method, dim=40)
    run.to(4)
    asked, reply = last(run, 1)
    before = {path: path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file()}
    told = dict(touched(asked))
    assert len(told) > 15
    for word, other in told.items():
        assert why(run.grid.at(1, other)) in ("signature", "block"), word
    for key in (records.BLOCK, records.SIGNATURE):
        assert {why(run.grid.at(1, other)) for other in bits(asked, key)} == {"signature"}
    assert before == {path: path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file()}
    assert run.grid.at(1, asked).content == reply.content


def test_the_server_uses_no_reply_of_which_anything_was_changed(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    run.to(3)
    held = list[Message]()
    run.grid.up = lambda reply: held.append(reply)
    run.to(4)
    assert run.strategy.last.participants == 0 and len(held) == N
    reply = held[1]
    for word, other in touched(reply):
        assert opened(run, [other]) in (([], ["signature"]), ([], ["block"])), word
    for key in (records.BLOCK, records.SIGNATURE, records.PAYLOAD):
        for other in bits(reply, key):
            heard, refused = opened(run, [other])
            assert not heard and refused[0] in ("signature", "block")
    assert opened(run, held) == (list(range(N)), [])  # what is forged closes nothing


def test_a_round_goes_on_without_a_reply_that_was_changed(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    run.to(3)

    def change(reply: Message) -> Message:
        return next(bits(reply, records.PAYLOAD)) if reply.metadata.src_node_id == 3 else reply

    run.grid.up = change
    run.to(5)
    assert run.strategy.last.refused == {"signature": 1} and run.strategy.last.participants == N - 1
    run.grid.up = lambda reply: reply
    assert run.error() < 1e-14


# Made up, moved, repeated ----------------------------------------------------------------------------


def test_who_has_no_key_or_anothers_is_not_that_client(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for key in ("", "client-3.key"):
        run = run_of(tmp_path / f"with{key}")
        assert run.keys is not None
        run.grid.config[2]["message-key"] = str(run.keys / key) if key else ""
        with pytest.raises(Silence, match=f"{N - 1} of {N} .* a node did not show who it is: signature"):
            run.strategy.nodes.enrol(run.grid, 0.0)  # type: ignore[arg-type]
        assert 2 not in run.strategy.nodes.of
    assert "does not show who it is: signature: the message is not signed" in caplog.text
    assert "signature: client 2 has not signed this message" in caplog.text


def test_a_client_cannot_speak_for_another(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    run.to(3)
    assert run.keys is not None
    run.grid.config[2]["message-key"] = str(run.keys / "client-1.key")
    run.to(4)
    assert run.strategy.last.refused == {"signature": 1} and run.strategy.last.participants == N - 1


def test_who_saw_a_client_enrol_cannot_enrol_in_its_place(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    run.strategy.nodes.enrol(run.grid)  # type: ignore[arg-type]
    _, answer = last(run, 2, Kind.HELLO)
    assert run.strategy.nodes.post.who(answer) == 2
    stolen = copied(answer)
    stolen.metadata.__dict__["_src_node_id"] = 99
    with pytest.raises(Exception, match="another node or another run") as caught:
        run.strategy.nodes.post.who(stolen)
    assert getattr(caught.value, "reason", "") == "signature"
    later = run.server()
    later.ledger.term = 2
    with pytest.raises(Exception, match="another node or another run"):
        later.nodes.post.who(answer)


def test_what_was_said_once_is_not_taken_twice(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    run.to(3)
    _, old = last(run, 1)
    run.grid.up = lambda reply: None
    run.to(4)
    assert opened(run, [old]) == ([], ["stale"])
    run.grid.up = lambda reply: reply
    asked, _ = last(run, 1)
    later = run.grid.at(1, asked)
    run.strategy.ledger.close()
    assert opened(run, [later]) == ([], ["stale"])


def test_an_instruction_is_for_one_client_and_one_run(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    run.to(3)
    asked, _ = last(run, 1)
    assert why(run.grid.at(2, asked)) == "client"


def test_a_reply_is_no_instruction_and_an_instruction_no_reply(tmp_path: Path) -> None:
    """Even where server and client have one key."""
    run = run_of(tmp_path)
    run.to(2)
    assert run.keys is not None
    run.grid.config[1]["server-key"] = str(run.keys / "client-1.pub")
    asked, reply = last(run, 1)
    assert why(run.grid.at(1, reply)) == "signature"
    run.grid.up = lambda reply: None
    run.to(3)
    keys = run.strategy.nodes.post.keys
    assert keys is not None
    theirs = keys.private.public_key()
    run.strategy.nodes.post.keys = ServerKeys(keys.private, (theirs,) * N)
    asked, _ = last(run, 1)
    assert opened(run, [asked])[1] in (["signature"], ["block"])


def test_another_servers_instructions_are_not_followed(tmp_path: Path) -> None:
    run, other = run_of(tmp_path / "ours"), run_of(tmp_path / "theirs")
    run.to(2)
    other.to(2)
    asked, _ = last(other, 1)
    assert why(run.grid.at(1, asked)) == "signature"
    unsigned = copied(last(run, 1)[0])
    del unsigned.content.config_records[records.PROTOCOL][records.SIGNATURE]
    refused = run.grid.at(1, unsigned)
    assert why(refused) == "signature" and "is not signed" in str(refused.error.reason)


def test_each_side_may_sign_without_the_other(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    for config in run.grid.config.values():
        del config["server-key"]
    run.to(3)
    assert run.strategy.last.participants == N
    run.strategy.nodes.post.keys = None
    run.to(4)
    assert run.strategy.last.participants == N


# Files -----------------------------------------------------------------------------------------------


def test_a_key_that_is_missing_is_named_before_anything_starts(tmp_path: Path) -> None:
    folder = key_folder(tmp_path / "keys", 3)
    assert len(ServerKeys.load(folder, 2).clients) == 2
    with pytest.raises(InputError, match=r"client-3\.pub'.*No such file") as caught:
        ServerKeys.load(folder, 4)
    assert caught.value.field == "run-config.message-keys"
    with pytest.raises(InputError, match=r"must hold server\.key"):
        ServerKeys.load(tmp_path / "nowhere", 1)
