"""The server as an image: all that it takes to go on after a round, and rounds made again from what they changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from fl_ef21.broadcast import octets
from fl_ef21.commit import HASH, Point
from fl_ef21.errors import Refused
from fl_ef21.flower_traffic import Cost
from fl_ef21.threads import computing_with
from strategies import flower_quorum, population, steps
from strategies.history import Kept
from strategies.rounds import Commit, Heard

if TYPE_CHECKING:
    from strategies.flower import CompressedStrategy

Tensors = Mapping[str, Tensor]


def digest(strategy: CompressedStrategy) -> bytes:
    """16 bytes over the model, what the server half remembers, and the clients' points."""
    points, told = strategy.ledger.points, blake2b(digest_size=HASH)
    told.update(octets(strategy.descent.x) + points.version.tobytes() + points.chain.tobytes())
    for field in fields(strategy.state):
        told.update(octets(getattr(strategy.state, field.name)))
    return told.digest()


def taken(strategy: CompressedStrategy) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Copies of every part's tensors by dotted names, and a note that JSON can hold."""
    state = {field.name: getattr(strategy.state, field.name) for field in fields(strategy.state)}
    parts = {name: part.image() for name, part in _parts(strategy).items()} | {"state": (state, {})}
    named = [(f"{name}:{key}", value) for name, (some, _) in parts.items() for key, value in some.items()]
    tensors = {name: value.detach().clone() for name, value in named}
    lacking = [[i, *(() if at is None else (at.version, at.chain.hex()))] for i, at in strategy._lacking.items()]
    asides = strategy.account.asides
    note = {name: told for name, (_, told) in parts.items()}
    about = {"label": strategy.plan.label, "round": strategy.last.number, "digest": digest(strategy).hex()}
    return tensors, note | about | {"lacking": lacking, "asides": [asides.up, asides.down], "parts": sorted(parts)}


def restore(strategy: CompressedStrategy, tensors: Tensors, note: Mapping[str, Any]) -> None:
    """Put every part back. Raises: Refused("image") where it is of another method, or is not whole."""
    parts = _parts(strategy)
    if note.get("label") != strategy.plan.label or set(note["parts"]) - {"history"} != {*parts, "state"} - {"history"}:
        raise Refused("image", f"of {note.get('label')!r} with {note.get('parts')}, not of {strategy.plan.label!r}")
    of: dict[str, dict[str, Tensor]] = {name: {} for name in note["parts"]}
    for key, value in tensors.items():
        name, _, inner = key.partition(":")
        of[name][inner] = value
    strategy.state = replace(strategy.state, **of["state"])
    for name, part in parts.items():
        if name == "downlink":
            strategy.downlink.restore(strategy.descent.x, of[name], note[name], strategy.told)
        elif name in of:
            part.restore(of[name], note[name])
    told = [(i, Point(at[0], bytes.fromhex(at[1])) if at else None) for i, *at in note["lacking"]]
    strategy._lacking = dict(told)
    strategy.account.asides = Cost(*note["asides"])
    strategy.last = replace(strategy.last, number=note["round"])
    if digest(strategy).hex() != note["digest"]:
        raise Refused("image", f"what was put back of {strategy.plan.label!r} is not what was taken")


def _parts(strategy: CompressedStrategy) -> dict[str, Any]:
    """In the order in which they are put back."""
    parts: dict[str, Any] = {
        "descent": strategy.descent, "ledger": strategy.ledger, "members": strategy.members,
        "downlink": strategy.downlink, "guard": strategy.guard,
    }  # fmt: skip
    parts |= {"rows": strategy.rows} if strategy.rows is not None else {}
    return parts | ({"history": strategy.history} if isinstance(strategy.history, Kept) else {})


def redo(strategy: CompressedStrategy, commit: Commit, late: Sequence[int] = ()) -> None:
    """As `CompressedStrategy.redo`."""
    for client in commit.left:
        strategy.leave(client)
    for client in commit.joined:
        strategy.join(client)
    wanted = flower_quorum.wanted(strategy, commit.round)
    left, joined = population.change(strategy)
    version = strategy.ledger.points.version[commit.clients]
    heard = Heard(commit.clients.astype(np.int64), version, commit.payloads)
    scale = 1.0 if strategy.server.remembers else len(strategy.members.ids()) / max(1, wanted)
    with computing_with(1):
        added = strategy.adder.add(heard, scale)
    if added.refused:
        raise Refused("digest", f"round {commit.round}: {next(iter(added.refused.values()))}")
    strategy.downlink.confirm(heard.clients[~np.isin(heard.clients, late)])  # they had the model of that round
    steps.make_real(strategy, commit.round, added.c, heard.clients, heard.payloads)
    if len(heard):  # else the round was abandoned
        strategy.guard.follow(heard.clients, added.norms)
    strategy._changed = (left, joined, heard.clients, heard.payloads)
    strategy.last = replace(strategy.last, number=commit.round, participants=len(heard))
    if digest(strategy) != commit.digest:
        told = f"round {commit.round} of {strategy.plan.label!r} does not come to what it came to then"
        raise Refused("digest", told)
