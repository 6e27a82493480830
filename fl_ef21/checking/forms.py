"""Whether what a compressor returns is a message: of its rows and keys alone, and what a decoder sees."""

from __future__ import annotations

import pickle

import torch
from torch import Tensor

from fl_ef21 import wire
from fl_ef21.checking.claims import draws, require
from fl_ef21.checking.tiles import keys
from fl_ef21.messages import Compressed
from fl_ef21.types import Compressor

LONGEST = 60  # letters of a repr: reports show it


def same(a: Compressed, b: Compressed) -> bool:
    """Bitwise."""
    return torch.equal(a.counts, b.counts) and torch.equal(a.dense(), b.dense())


def is_of_its_keys_alone(C: Compressor, u: Tensor) -> None:
    k = keys(len(u))
    require(same(C(u, k), C(u.clone(), k)), "the same vector with the same keys gave another message")


def clients_draw_for_themselves(C: Compressor, u: Tensor) -> None:
    """Of a random compressor."""
    dense = C(u[:1].expand(5, -1), keys(5)).dense()
    told = "five clients with one vector drew the same message: it must depend on each row's key"
    require(any(not torch.equal(row, dense[0]) for row in dense), told)


def rows_are_alone(C: Compressor, u: Tensor) -> None:
    k = keys(len(u))
    together = C(u, k)
    dense, payloads = together.dense(), wire.encode(together)
    for i in range(len(u)):
        alone = C(u[i : i + 1], k[i : i + 1])
        told = f"the message of row {i} of {len(u)} is another one where it is alone"
        require(torch.equal(alone.dense()[0], dense[i]) and wire.encode(alone)[0] == payloads[i], told)


def a_decoder_sees_it(C: Compressor, u: Tensor) -> None:
    c = C(u, keys(len(u)))
    decoded, refused = wire.decode(wire.encode(c), wire.Spec.of(c))
    require(not refused, f"a decoder refuses it: {next(iter(refused.values()), None)}")
    require(same(decoded, c), "a decoder sees other values: round inside the compressor")


def zeros_stay_zeros(C: Compressor, u: Tensor) -> None:
    dense = C(torch.zeros_like(u), keys(len(u))).dense()
    require(dense.shape == u.shape and not dense.any(), "zeros are not sent as zeros")


def tiny_numbers_stay_tiny(C: Compressor, u: Tensor) -> None:
    dense = C(u / u.abs().amax().clamp(min=1e-300) * 1e-40, keys(len(u))).dense()
    require(bool((dense.abs() < 1e-36).all()), "numbers of 1e-40 grew, or became none: divide by the largest first")


def adding_it_adds_what_a_decoder_sees(C: Compressor, u: Tensor) -> None:
    c = C(u, keys(len(u)))
    dense = c.dense()
    kept = torch.equal(u + c, u + dense.to(u.dtype)) and torch.equal(u - c, u - dense.to(u.dtype))
    require(kept, "u + c is not u + c.dense()")
    weights = torch.arange(1.0, 1 + len(u), dtype=torch.float64)
    total, right = c.total(weights), weights @ dense.double()
    room = 1e-12 * (weights @ dense.double().abs()) + 1e-300
    require(bool(((total - right).abs() <= room).all()), "total(w) is not sum_i w_i c_i")


def outlives_its_vector(C: Compressor, u: Tensor) -> None:
    given, k = u.clone(), keys(len(u))
    c = C(given, k)
    before = c.dense().clone()
    require(torch.equal(given, u) and torch.equal(k, keys(len(u))), "the vector or the keys were changed")
    given.zero_()
    require(torch.equal(c.dense(), before), "the message shares memory with its vector: clone what is kept")


def of_no_clients_is_empty(C: Compressor, u: Tensor) -> None:
    shape = tuple(C(u[:0], keys(0)).dense().shape)
    require(shape == (0, u.shape[1]), f"of no rows it has shape {shape}")


def views_compress_alike(C: Compressor, u: Tensor) -> None:
    k = keys(len(u))
    require(same(C(u.T.contiguous().T, k), C(u, k)), "a view of the same numbers gave another message")


def is_a_short_value(C: Compressor, u: Tensor) -> None:
    """It travels to other processes, is compared and named."""
    require(pickle.loads(pickle.dumps(C)) == C, "it is not equal to its pickled self: make it a frozen dataclass")
    hash(C)
    require(len(repr(C)) < LONGEST, f"its repr has {len(repr(C))} letters, {LONGEST} at the most")


def a_number_that_is_none_shows(C: Compressor, u: Tensor) -> None:
    """NaN and infinity are refused here or sent on, for the server to refuse; a random one may not have drawn it."""
    for bad in (float("nan"), float("inf")):
        v = u[:1].clone()
        v[0, 3 % u.shape[1]] = bad
        try:
            dense = C(v, keys(1)).dense()
        except (ValueError, RuntimeError):
            continue
        hidden = bool(dense.isfinite().all())
        unsent = draws(C, u.shape[1]) and not dense[0, 3 % u.shape[1]]
        require(not hidden or unsent, f"{bad} in, only finite numbers out: raise ValueError")
