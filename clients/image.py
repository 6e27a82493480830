"""Images of resident clients: taken from a shard's memory, and loaded into shards that are cut in another way.

A client's vectors are in an image only if they mean something: the committed ones once it was asked anything, the
staged ones while they may still be committed. Tensors of an image of m clients:

    committed.F, staged.F      (a, d), (b, d) for every field F of the state, as it is kept, in the order of clients
    seen, version, staged_version, model_version         (m,) int64, see `state.Rows` and `copies.Copies`
    chain, staged_chain, model_chain                     (m, 2) words of hashes, as int64
    w                          (d,) where models come in increments, at note["latest"]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clients import METHODS
from fl_ef21.blocks import Array, Points, words
from fl_ef21.commit import Point
from fl_ef21.copies import Copies
from fl_ef21.errors import Refused
from fl_ef21.image import MOST, Image, Part
from fl_ef21.oracle import state_type
from fl_ef21.plan import Plan
from fl_ef21.state import Rows
from fl_ef21.store import Memory, Store
from fl_ef21.types import Problem

AT_ONCE = 1 << 20  # bytes that are copied before a tier hears of it, so that mapped files stay within their budget


class Imaged:
    """A program whose clients' state can be taken out and put back; its store must be `Memory`."""

    problem: Problem
    plans: tuple[Plan, ...]
    store: Store

    def parts(self, most: int = MOST) -> list[Part]:
        """What `image` is to be asked for, so that no image is larger than `most` bytes by more than one client."""
        return [part for experiment in self._memory.rows for part in self._parts(experiment, most)]

    def image(self, part: Part) -> Image:
        """The state of these clients; nothing may have been asked of them since `parts`."""
        store, rows = self._memory, self._memory.rows[part.experiment]
        at = np.arange(part.start, part.stop)
        committed, staged = _meaningful(rows, at)
        tensors = {f"committed.{name}": _taken(rows, name, committed, rows.current) for name in rows.slots}
        tensors |= {f"staged.{name}": _taken(rows, name, staged, 1 - rows.current) for name in rows.slots}
        tensors["seen"] = torch.from_numpy(rows.seen[at])
        tensors |= _points("", rows.points, at) | _points("staged_", rows.staged, at)
        note: dict[str, Any] = {"dim": self.problem.dim, "dtype": str(rows.dtype).removeprefix("torch.")}
        copies = store.copies.get(part.experiment)
        if copies is not None:
            tensors |= _points("model_", copies.points, at)
            note["latest"] = [copies.latest.version, copies.latest.chain.hex()]
            tensors |= {"w": copies.w.cpu()} if copies.w is not None else {}
        clients = np.array(rows.clients[part.start : part.stop], dtype=np.int64)
        return Image(part.experiment, clients, _name(rows.state), tensors, note)

    def images(self, most: int = MOST) -> Iterator[Image]:
        """Images of all there is, one after another."""
        return (self.image(part) for part in self.parts(most))

    def load(self, image: Image) -> None:
        """Take in what an image has of these clients; what they had under its experiment is forgotten.

        Raises: Refused("image") where it is not of this scenario.
        """
        store, mine = self._memory, _mine(image.clients, self._memory.clients)
        if not mine.any():
            return
        rows, tensors = self._opened(image), image.tensors
        at = rows.rows(image.clients[mine])
        rows.current[at], rows.seen[at] = 0, tensors["seen"].numpy()[mine]
        rows.points.put(at, *_pointed("", tensors, mine))
        rows.staged.put(at, *_pointed("staged_", tensors, mine))
        for slot, what, some in (
            (0, "committed", tensors["seen"] > 0),
            (1, "staged", tensors["staged_version"] >= 0),
        ):
            have = some.numpy()
            _put(
                rows, slot, at[have[mine]], {n: tensors[f"{what}.{n}"] for n in rows.slots}, np.flatnonzero(mine[have])
            )
        if "latest" in image.note:
            _bring(store.models(image.experiment), at, image, mine)

    def wipe(self, clients: Sequence[int]) -> None:
        """These clients forget everything, as when a device is set up anew."""
        store = self._memory
        ids = np.array(clients, dtype=np.int64)
        for experiment, rows in store.rows.items():
            at, nobody = rows.rows(ids), Points.none(len(ids))
            for name in rows.slots:
                _put(rows, 0, at, {name: torch.zeros(1, rows.slots[name].shape[-1])}, np.zeros(len(at), np.int64))
            rows.current[at], rows.seen[at] = 0, 0
            origin = b"".join(Point.origin(experiment, client).chain for client in ids.tolist())
            rows.points.put(at, np.zeros(len(ids), np.int64), words(origin).reshape(-1, 2))
            rows.staged.put(at, nobody.version, nobody.chain)
            if experiment in store.copies:
                store.copies[experiment].points.put(at, nobody.version, nobody.chain)

    def empty(self) -> bool:
        """Whether these clients have no state at all, as before the first instruction."""
        return not self._memory.rows and not self._memory.copies

    @property
    def _memory(self) -> Memory:
        if not isinstance(self.store, Memory):
            raise TypeError(f"images are of state in memory, not of {type(self.store).__name__}")
        return self.store

    def _parts(self, experiment: bytes, most: int) -> list[Part]:
        """As many rows each as `most` bytes hold, w besides."""
        rows, copies = self._memory.rows[experiment], self._memory.copies.get(experiment)
        each = sum(slot.shape[-1] * slot.element_size() for slot in rows.slots.values())
        besides = copies.w.nbytes if copies is not None and copies.w is not None else 0
        committed, staged = _meaningful(rows, np.arange(len(rows.clients)))
        have = np.bincount(committed, minlength=len(rows.clients)) + np.bincount(staged, minlength=len(rows.clients))
        many = max(1, (most - besides) // max(1, 2 * each + 64))
        cuts = range(0, len(rows.clients), many)
        ends = [min(a + many, len(rows.clients)) for a in cuts]
        return [Part(experiment, a, b, int(have[a:b].sum()) * each + besides) for a, b in zip(cuts, ends, strict=True)]

    def _opened(self, image: Image) -> Rows:
        """The rows that the image goes into."""
        states = {_name(state): state for state in map(_state, self.plans)}
        dtype, dim = getattr(torch, str(image.note.get("dtype")), None), image.note.get("dim")
        if image.state not in states or dim != self.problem.dim or not isinstance(dtype, torch.dtype):
            told = f"the image is of {image.state} with {dim} numbers, this scenario of {sorted(states)}"
            raise Refused("image", f"{told} with {self.problem.dim}")
        store = self._memory
        rows = store.open(image.experiment, states[image.state], store.clients, self.problem.dim, dtype)
        for name, slots in rows.slots.items():
            for what in ("committed", "staged"):
                given = image.tensors.get(f"{what}.{name}")
                if given is None or given.dtype != slots.dtype:
                    kept = None if given is None else given.dtype
                    raise Refused("image", f"{what} {name} is {kept} in the image and kept as {slots.dtype} here")
        return rows


def _name(state: type[Any]) -> str:
    return f"{state.__module__}.{state.__qualname__}"


def _state(plan: Plan) -> type[Any]:
    return state_type(plan.half(METHODS[plan.method], 1))


def _mine(clients: Array, ours: range) -> Array:
    """(m,) whether these clients are among ours."""
    inside: Array = (clients >= ours.start) & (clients < ours.stop) & ((clients - ours.start) % ours.step == 0)
    return inside


def _meaningful(rows: Rows, at: Array) -> tuple[Array, Array]:
    """Of these rows, those with committed vectors, and those with staged ones; before any message all are zero."""
    return at[rows.seen[at] > 0], at[rows.staged.version[at] >= 0]


def _runs(count: int, each: int) -> Iterator[slice]:
    """Places 0 to count - 1, as many at a time as AT_ONCE bytes hold."""
    many = max(1, AT_ONCE // max(1, each))
    return (slice(a, a + many) for a in range(0, count, many))


def _taken(rows: Rows, name: str, at: Array, slot: Array) -> Tensor:
    """(k, d) copies of these rows, each in its slot; on the CPU."""
    field = rows.slots[name]
    out = torch.empty((len(at), field.shape[-1]), dtype=field.dtype)
    for run in _runs(len(at), field.shape[-1] * field.element_size()):
        out[run] = field[torch.from_numpy(slot[at[run]]), torch.from_numpy(at[run])]
        rows.used(at[run])
    return out


def _put(rows: Rows, slot: int, at: Array, given: Mapping[str, Tensor], places: Array) -> None:
    """Rows `at` (k,) of one slot become these places (k,) of what is given."""
    for name, vectors in given.items():
        field = rows.slots[name]
        for run in _runs(len(at), field.shape[-1] * field.element_size()):
            field[slot, torch.from_numpy(at[run])] = vectors[torch.from_numpy(places[run])].to(field)
            rows.used(at[run])


def _points(prefix: str, points: Points, at: Array) -> dict[str, Tensor]:
    chain = torch.from_numpy(points.chain[at].view(np.int64))
    return {f"{prefix}version": torch.from_numpy(points.version[at]), f"{prefix}chain": chain}


def _pointed(prefix: str, tensors: Mapping[str, Tensor], mine: Array) -> tuple[Array, Array]:
    version, chain = (tensors[f"{prefix}{name}"].numpy()[mine] for name in ("version", "chain"))
    return version, chain.view(np.uint64)


def _bring(copies: Copies, at: Array, image: Image, mine: Array) -> None:
    """What these clients have of the model; the shard keeps the latest w of all images."""
    copies.points.put(at, *_pointed("model_", image.tensors, mine))
    version, chain = image.note["latest"]
    if "w" in image.tensors and version >= copies.latest.version:
        copies.latest, copies.w = Point(int(version), bytes.fromhex(chain)), image.tensors["w"]
