"""A shard: a block of clients with their data and state, wherever it runs."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol

import torch
from flwr.app import Context
from flwr.clientapp import ClientApp
from torch import Tensor

from fl_ef21.broadcast import Broadcast
from fl_ef21.engine import memory, ordinary
from fl_ef21.engine.residents import Residents
from fl_ef21.errors import Refused
from fl_ef21.flower_internals import CLIENT_RAISED, error_reply
from fl_ef21.image import Image, Part
from fl_ef21.repair import Repair
from fl_ef21.threads import computing_with


class Ready(NamedTuple):
    """A shard's process, and what it sees of its GPU if it has one."""

    pid: int
    room: memory.Room | None


class Batched(Protocol):
    """A ClientApp's batched form: what it would answer, for many clients at once."""

    def answer(
        self, x: Tensor | None, clients: Sequence[int], blocks: Sequence[bytes], told: Sequence[Broadcast | None],
        repairs: Mapping[int, Repair],
    ) -> list[tuple[bytes, bytes] | Refused]:  # fmt: skip
        """One answer an instruction; `x` (d,) is the model they carry, `told` what each says of its version.

        repairs: by place, what a client is sent that lacked something.
        """
        ...

    def to(self, device: str) -> None:
        """Compute there from now on."""
        ...

    def parts(self, most: int) -> list[Part]:
        """What `image` may be asked for: together all that clients hold, in pieces of about `most` bytes."""
        ...

    def image(self, part: Part) -> Image:
        """The state of some clients."""
        ...

    def load(self, image: Image) -> None:
        """Take in the state of those of these clients whom the image is of."""
        ...

    def wipe(self, clients: Sequence[int]) -> None:
        """These clients forget everything."""
        ...

    def empty(self) -> bool:
        """Whether clients hold nothing."""
        ...


class Shard:
    """Lives in a Ray actor, or in the driver's process, and is never copied."""

    def __init__(
        self, batched: Batched | None, app: ClientApp | None, clients: range, run_config: dict[str, Any],
        population: int, threads: int, gpus: float = 0.0,
    ) -> None:  # fmt: skip
        """`gpus`: the share of the GPU that Ray lent to this process; above 0 the batched form computes on it."""
        keep_memory()
        self.batched, self.app, self.threads, self.gpus = batched, app, threads, gpus
        if gpus:
            memory.claim(gpus)
            if batched is not None:
                batched.to("cuda")
        self.residents = Residents(clients if app is not None else range(0), run_config, population)

    def ready(self) -> Ready:
        """Answers once the shard has been built; what it holds by then is left out of garbage collections."""
        gc.collect()
        gc.freeze()
        return Ready(os.getpid(), memory.room() if self.gpus else None)

    def answer(
        self, x: Any | None, clients: Sequence[int], blocks: Sequence[bytes], told: Sequence[Broadcast | None],
        repairs: Mapping[int, Repair],
    ) -> list[tuple[bytes, bytes] | Refused]:  # fmt: skip
        """The batched form's answers; x is a NumPy vector or None. A client that raises is an answer too."""
        form = self._form
        model = None if x is None else torch.from_numpy(x.copy())
        try:
            with computing_with(self.threads):
                return form.answer(model, clients, blocks, told, repairs)
        except Exception as error:  # a user's model may raise anything
            why = Refused("client raised", _tell(error))
            return [why for _ in blocks]

    def again(self, method: str, *args: Any) -> None:
        """A call of which only matters what it does to the clients' state."""
        getattr(self, method)(*args)

    def parts(self, most: int) -> list[Part]:
        return self._form.parts(most)

    def image(self, part: Part) -> Image:
        return self._form.image(part)

    def load(self, image: Image) -> None:
        self._form.load(image)

    def wipe(self, clients: Sequence[int]) -> None:
        self._form.wipe(clients)

    def empty(self) -> bool:
        return self._form.empty()

    @property
    def _form(self) -> Batched:
        if self.batched is None:
            raise ValueError("only the batched form has state that can be taken out; contexts are Flower's")
        return self.batched

    def call(self, messages: Sequence[ordinary.Packed], *models: ordinary.Parts) -> list[ordinary.Packed]:
        """Replies of an ordinary ClientApp, one client after another, each with its resident context."""
        assert self.app is not None
        replies = []
        for message in ordinary.received(messages, models):
            with self.residents.busy(message.metadata.dst_node_id - 1) as context:
                before = ordinary.remembered(context)
                try:
                    replies.append(ordinary.packed(self.app(message, context)))
                except Exception as error:  # a user's app may raise anything
                    ordinary.restore(context, before)
                    replies.append(ordinary.packed(error_reply(message, CLIENT_RAISED, _tell(error))))
        return replies

    def spent(self) -> dict[int, tuple[int, float]]:
        """Messages and seconds of each client that was called since this was asked last."""
        return self.residents.spent()

    def take(self, clients: Sequence[int]) -> list[tuple[int, Context]]:
        """Give clients away: their contexts are no longer here."""
        return self.residents.take(clients)

    def give(self, moved: list[tuple[int, Context]]) -> None:
        """Take in clients that another shard gave away."""
        self.residents.give(moved)


@cache
def keep_memory() -> None:
    """Ask glibc not to give a tile's pages back after every call: they cost up to 50 us a client to get again."""
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # absent in other C libraries
        if mallopt is not None:
            mallopt(-3, 1 << 25)  # M_MMAP_THRESHOLD
            mallopt(-1, 1 << 28)  # M_TRIM_THRESHOLD


def _tell(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({frame.filename}, line {frame.lineno})"
