"""The promises that methods, compressors and problems make to everyone else."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol, TypeVar

from torch import Tensor

from fl_ef21.messages import Compressed

Vector = Tensor  # (d,); a tile of n clients is (n, d), and the last axis is always the parameter axis
Compress = Callable[[Tensor], Compressed]  # a compressor with this tile's and round's randomness in it


class Compressor(Protocol):
    """A map C on R^d, applied to each row by itself. A frozen dataclass of its parameters."""

    @property
    def contractive(self) -> bool:
        """E|C(u) - u|^2 <= (1 - alpha) |u|^2 for every u."""
        ...

    @property
    def unbiased(self) -> bool:
        """E C(u) = u and E|C(u) - u|^2 <= omega |u|^2 for every u."""
        ...

    def __call__(self, u: Tensor, keys: Tensor) -> Compressed:
        """Messages for u (n, d), float32 or float64; keys (n,) int64 seed whatever is random."""
        ...

    def alpha(self, dim: int) -> float | None:
        """The contraction in (0, 1], None where there is none."""
        ...

    def omega(self, dim: int) -> float | None:
        """The relative variance of an unbiased compressor, >= 0, else None."""
        ...

    def bits(self, dim: int) -> float | None:
        """Bits of one message as papers count them (32 a number, indices free); None if u decides."""
        ...


class Problem(Protocol):
    """min_x f(x) = sum_i w_i f_i(x) over the vectors of R^d, and the gradients clients may ask for."""

    @property
    def dim(self) -> int:
        """d."""
        ...

    @property
    def shapes(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """The named parameter tensors that lie one after another in x."""
        ...

    @property
    def clients(self) -> int:
        """How many there are in all; ids are 0 .. clients - 1, also in a shard that holds only some."""
        ...

    @property
    def weights(self) -> Tensor:
        """(clients,) float64, w_i, summing to one."""
        ...

    @property
    def costs(self) -> Tensor:
        """(clients,) float64: what a client's gradient takes, in gradients of one sample."""
        ...

    @property
    def rowwise(self) -> bool:
        """Whether a client's gradient is bitwise the same whoever is computed beside it."""
        ...

    def x0(self) -> Tensor:
        """The start, (d,), in the training dtype."""
        ...

    def gradients(self, x: Tensor, clients: Tensor, round: int) -> Tensor:
        """Stochastic gradients (n, d) of f_i at x (d,) for the client ids (n,) in `clients`.

        The sample depends on (seed, client, round) alone, the result of a client on nothing but itself.
        """
        ...

    def objective(self, x: Tensor) -> tuple[float, Tensor]:
        """f(x) and its gradient (d,), over all samples of all clients, in float64."""
        ...

    def accuracy(self, x: Tensor) -> float | None:
        """Share of test samples predicted right, None where there is no such thing."""
        ...

    def sums(self, x: Tensor, clients: Tensor) -> Tensor:
        """(n, 4) float64, `fl_ef21.measured.FIGURES` at x (d,) of the client ids (n,), each over its own samples.

        f_i is their loss by their number. A row does not depend on the others.
        """
        ...

    def shard(self, clients: range) -> Problem:
        """The same problem holding only these clients' data; ids stay the same."""
        ...


S = TypeVar("S")


class ClientHalf(Protocol[S]):
    """Client half of a method: a frozen dataclass of hyperparameters, state in and state out.

    It may say more of itself (`fl_ef21.facts.Facts`): one that `asks` is given an `fl_ef21.oracle.Oracle` for q. Its
    state's fields are (n, d) vectors. `g` is what the server sums, and is believed to have; `x` is the model a client
    received last, before its first message the one it receives. `adds`, a property, is how much of a message becomes
    part of g, 1 where there is none.

    Fields called eta, gamma, alpha, omega and participation are filled in for every round, others are the scenario's
    `hyper`. `gradients` and `passes`, attributes or properties, are for the virtual clock: how many stochastic
    gradients a local step takes, else 1, and how many passes over all of a client's samples a round, else 0; means.

    Attributes:
      server: the name of its server half in `strategies`, or the class.
      dense_start: whether, with `start = "gradient"`, the first message is the state's g after `start`, uncompressed.
    """

    server: ClassVar[str]
    dense_start: ClassVar[bool]

    def start(self, q: Tensor) -> S:
        """The state before the first step, from the first gradients q (n, d), or from zeros."""
        ...

    def step(self, s: S, q: Tensor, C: Compress) -> tuple[S, Compressed]:
        """The next state and the messages. q (n, d) are the stochastic gradients at the received model."""
        ...


class ServerHalf(Protocol[S]):
    """Server half of a method: a frozen dataclass of hyperparameters, state in and state out.

    Its state has a field `g` (d,) float64, the gradient that the optimizer is given, unless there is a method
    `direction(s)` that returns another. Fields are filled in as those of client halves, and besides them `share`, the
    weight of the clients whose messages a round has, and `shapes`, the named parameter tensors of the model.

    Attributes:
      remembers: whether g is a sum over the whole population, each client's part kept while it is not
        sampled. Where it is not, the weights of a round are divided by the participation.
    """

    remembers: ClassVar[bool]

    def start(self, zero: Vector) -> S:
        """The state before the first round, from zeros (d,) float64."""
        ...

    def step(self, s: S, c: Vector) -> S:
        """The next state, from c (d,) float64 = sum_i w_i c_i over the messages of a round."""
        ...
