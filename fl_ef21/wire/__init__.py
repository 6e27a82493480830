"""Messages as bytes, one payload per client, and back. The format is docs/wire-format.md.

A round is packed and unpacked in one compiled call. A decoder trusts nothing, and a payload it refuses changes nothing
about the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from fl_ef21.errors import Refused
from fl_ef21.messages import All, Compressed, Indices, Seeded
from fl_ef21.wire import frame, payload
from fl_ef21.wire.bits import SLACK, Array
from fl_ef21.wire.forms import limit_of
from fl_ef21.wire.frame import Layers, Spec, layers_of, stated_counts
from fl_ef21.wire.values import FloatForm

__all__ = ["Layers", "Spec", "check", "decode", "encode", "layers_of", "norms_of", "stated_counts", "total"]

_ADDED = {torch.float32: 0, torch.bfloat16: 16}  # how far their words are shifted to be those of a float32


def encode(c: Compressed, layers: Layers = ()) -> list[bytes]:
    """One payload per client; with `layers`, rows and columns that are empty are left out where that is shorter.

    Raises: TypeError where the format has no code for the values.
    """
    spec, counts = replace(Spec.of(c), layers=layers), c.counts.cpu().numpy()
    form, known = spec.form, np.frombuffer(spec.form.parameters, dtype=np.uint8)
    plain, x = form.split(c.values, counts)
    plains, xs = form.plains(counts), form.numbers(counts)
    index, keys = np.empty(0, np.int64), np.empty((len(c), 0), np.uint8)
    match c.support:
        case Indices(flat):
            index = flat.cpu().numpy()
        case Seeded(at):
            keys = at.cpu().numpy().view(np.uint8).reshape(-1, payload.KEY)
    room = payload.room(counts, xs, form.width, len(plain), len(known), spec.code, c.dim)
    out, ends = np.empty(room, np.uint8), np.empty(len(c), np.int64)
    payload.pack(
        spec.head(), known, plain, plains, x, xs, form.width, spec.code, index, keys, counts, c.dim,
        spec.matrices(), out, ends,
    )  # fmt: skip
    written, firsts = memoryview(out), [0, *ends.tolist()]  # type: ignore[arg-type]
    return [frame.sealed(bytes(written[a:b])) for a, b in pairwise(firsts)]


def decode(payloads: Sequence[bytes], spec: Spec) -> tuple[Compressed, dict[int, Refused]]:
    """The messages in a round's payloads, and the rows that are refused with the reason of each.

    Rows keep their numbers. A refused row is zero: it has no entries where clients may send different numbers
    of them, and entries that are zero where there is but one number.
    """
    form, n, r = spec.form, len(payloads), _screened(payloads, spec)
    counts, bad, found = r.counts, r.bad, r.found
    plains, xs = form.plains(counts), form.numbers(counts)
    plain, x = np.empty(int(plains.sum()), np.uint8), np.empty(int(xs.sum()), np.uint32)
    index = np.empty(int(counts.sum()) if spec.support is Indices else 0, np.int64)
    keys = np.zeros((n, payload.KEY), np.uint8)
    payload.unpack(
        r.data, r.first, r.stops, bad, r.known, plain, plains, x, xs, form.width, spec.code, index, keys, counts,
        spec.dim, spec.matrices(), found,
    )  # fmt: skip
    found[(found == payload.FINE) & ~bad & form.faults(plain, x, counts)] = payload.VALUES
    bad |= found != payload.FINE
    if bad.any():
        before, keys[bad] = counts, 0
        counts = np.where(bad, 0, counts) if spec.support is Indices else counts
        index = _without(bad, index, before, counts) if spec.support is Indices else index
        plain = _without(bad, plain, plains, form.plains(counts))
        x = _without(bad, x, xs, form.numbers(counts))
    support: All | Indices | Seeded = All()
    if spec.support is Indices:
        support = Indices(torch.from_numpy(index))
    elif spec.support is Seeded:
        support = Seeded(torch.from_numpy(keys.view(np.int64).reshape(-1)))
    c = Compressed(spec.dim, torch.from_numpy(counts), support, form.join(plain, x, counts))
    return c, r.refusals()


@dataclass
class _Round:
    """Payloads whose frames have been looked at.

    Attributes:
      data: all their bytes; `first` and `stops` (n,): where each begins, and its checksum.
      counts: (n,) int64, 0 for a bad row where clients may send different numbers of entries.
      bad: (n,) who is refused; found (n,): what was found of the others.
      known: the parameters they must have.
    """

    data: Array
    first: Array
    stops: Array
    counts: Array
    bad: Array
    found: Array
    known: Array
    refused: dict[int, Refused]

    def refusals(self) -> dict[int, Refused]:
        """By row, also of those found only now."""
        for row in np.flatnonzero(self.found).tolist():
            self.refused[row] = Refused(payload.REASONS[int(self.found[row])])
        return dict(sorted(self.refused.items()))


def _screened(payloads: Sequence[bytes], spec: Spec) -> _Round:
    form, n = spec.form, len(payloads)
    counts, refused = frame.screen(payloads, spec)
    bad, found = np.zeros(n, bool), np.zeros(n, np.int64)
    bad[list(refused)] = True
    data, first, stops = _joined(payloads)
    if spec.support is not Indices and not spec.counts:
        counts[:] = spec.most
    known = np.frombuffer(form.parameters, dtype=np.uint8)
    plains, xs = form.plains(counts), form.numbers(counts)
    payload.admit(
        data, first, stops, bad, len(known), plains, xs, form.width, spec.code, counts, spec.dim, spec.matrices(), found
    )
    bad |= found != payload.FINE
    if spec.support is Indices:
        counts[bad] = 0
        plains, xs = form.plains(counts), form.numbers(counts)

    return _Round(data, first, stops, counts, bad, found, known, refused)


def _joined(payloads: Sequence[bytes]) -> tuple[Array, Array, Array]:
    """All bytes, and where in them each payload begins and its checksum begins."""
    ends = np.cumsum([0, *(len(one) for one in payloads)])
    data = np.frombuffer(b"".join([*payloads, bytes(SLACK)]), dtype=np.uint8)
    return data, ends[:-1], ends[1:] - frame.CRC


def _without(bad: Array, flat: Array, sizes: Array, kept: Array) -> Array:
    """What is not of bad clients, and zeros in their places: `kept` (n,) of each instead of `sizes`."""
    out = np.zeros(int(kept.sum()), flat.dtype)
    out[np.repeat(~bad, kept)] = flat[np.repeat(~bad, sizes)]
    return out


def total(
    payloads: Sequence[bytes], spec: Spec, weights: Tensor, norms: Array | None = None
) -> tuple[Tensor, dict[int, Refused]]:
    """sum_i weights[i] c_i, (dim,) float64, added in the order of the payloads, and the rows that are refused.

    The same as `decode` and then `Compressed.total`; sparse floats are added as they are read, so that nothing is held
    but the sum. weights (n,) float64. Where norms (n,) float64 are given, |c_i| is written there, 0 of who is refused.
    """
    form, squares = spec.form, np.zeros(len(payloads))
    if spec.support is not Indices or not isinstance(form, FloatForm) or form.dtype not in _ADDED:
        c, refused = decode(payloads, spec)
        if norms is not None:
            norms[:] = norms_of(c).numpy()
        return c.total(weights), refused
    r, out = _screened(payloads, spec), np.zeros(spec.dim, np.float64)
    payload.add(
        r.data, r.first, r.stops, r.bad, r.known, r.counts, form.width, limit_of(form.dtype), _ADDED[form.dtype],
        r.counts, spec.dim, spec.matrices(), weights.numpy(), out, squares, r.found,
    )  # fmt: skip
    if norms is not None:
        norms[:] = np.sqrt(squares)
    return torch.from_numpy(out), r.refusals()


def norms_of(c: Compressed) -> Tensor:
    """|c_i|, (n,) float64."""
    square = c.values.real(c.counts).to(torch.float64).square()
    if isinstance(c.support, All):
        return square.reshape(len(c), c.dim).sum(dim=1).sqrt()
    return torch.zeros(len(c), dtype=torch.float64).index_add_(0, c.rows(), square).sqrt()


def check(payload: bytes, spec: Spec) -> None:
    """Raises: Refused where `decode` would refuse this payload."""
    _, refused = decode([payload], spec)
    if refused:
        raise refused[0]
