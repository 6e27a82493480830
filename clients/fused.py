"""The EF21 family's steps by a compiled kernel, where there is one: TopK, exact or in bfloat16, on the CPU.

Bitwise the lines of clients/ef21.py and clients/ef21_sgd2m.py, which are the reference and run everywhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clients.ef21 import EF21SGD, EF21SGDM
from clients.ef21_sgd2m import EF21SGD2M
from fl_ef21.blocks import Array
from fl_ef21.compressors.quantisers import BFloat16, Exact
from fl_ef21.compressors.topk import TopK
from fl_ef21.kernels import ef21
from fl_ef21.messages import Compressed, Floats, Indices
from fl_ef21.state import Rows
from fl_ef21.types import Compressor

# by the lines that the kernel is: methods that differ elsewhere, in their server say, have the same
MOMENTA: dict[Any, tuple[str, ...]] = {EF21SGD.step: (), EF21SGDM.step: ("v",), EF21SGD2M.step: ("v", "u")}


def step(half: Any, C: Sequence[Compressor], rows: Rows, at: Array, q: Tensor) -> Compressed | None:
    """The messages of the clients in rows `at` (m,), whose next states are written beside the committed ones.

    C has the compressor of each. None where there is no kernel for this method, compressor or device: then nothing
    is written.

    Raises: ValueError where a difference holds a NaN, or a number that bfloat16 has no place for.
    """
    alike = all(slots.device.type == "cpu" and slots.dtype == q.dtype for slots in rows.slots.values())
    kinds = {type(one.values) if isinstance(one, TopK) else None for one in C}
    lines = getattr(type(half), "step", None)
    known = lines in MOMENTA and set(rows.slots) == {*MOMENTA[lines], "g"}
    if not known or not alike or len(kinds) != 1 or not kinds <= {Exact, BFloat16}:
        return None
    counts, bfloat16 = np.array([one.k for one in C if isinstance(one, TopK)]), BFloat16 in kinds
    momenta = [rows.slots[name].numpy() for name in MOMENTA[lines]]
    rows.unstage(at)
    index, value = ef21.step(
        momenta, rows.slots["g"].numpy(), rows.current, at, q.numpy(), getattr(half, "eta", 1.0), counts, bfloat16
    )
    rows.used(at)
    flat = torch.from_numpy(value.view(np.int16)).view(torch.bfloat16) if bfloat16 else torch.from_numpy(value)
    return Compressed(q.shape[1], torch.from_numpy(counts), Indices(torch.from_numpy(index)), Floats(flat))
