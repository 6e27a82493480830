"""The server half as a Flower Strategy: sampling, replies, the commit protocol, bytes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any, Literal

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from torch import Tensor

from fl_ef21 import records
from fl_ef21.blocks import Array
from fl_ef21.commit import Kind, Point
from fl_ef21.facts import facts_of
from fl_ef21.flower_internals import deployed
from fl_ef21.plan import Plan
from fl_ef21.repair import Repair
from fl_ef21.shadow import Seen
from fl_ef21.traffic import Down
from fl_ef21.types import ClientHalf
from strategies import flower_buffer, flower_questions, flower_quorum, flower_round, images, population, steps
from strategies.adding import Adder
from strategies.descent import Descent, Shapes
from strategies.downlink import bases
from strategies.flower_account import Account
from strategies.flower_buffer import Buffer
from strategies.flower_exchange import Mail, exchange
from strategies.flower_nodes import PATIENCE, Nodes
from strategies.flower_post import Carried, Letters
from strategies.flower_quorum import ALL, Quorum
from strategies.guard import LIMITS, Guard, Limits
from strategies.history import History
from strategies.increments import downlink_of
from strategies.ledger import Ledger
from strategies.members import Members
from strategies.prox import Prox
from strategies.robust_named import Aggregate
from strategies.robust_rows import Rows
from strategies.rounds import Commit, Round, Silence

log = logging.getLogger("fl_ef21")
NOBODY_LEFT = "every client has left or is in quarantine"


class CompressedStrategy(Strategy):
    """A Flower strategy that steps a model by what compressed messages add up to.

    Attributes:
      plan: the method, as both sides know it.
      half: the client half's class, of which only the facts a server must know are read.
      participation: share of the population whose replies are wanted per round, in (0, 1].
      quorum: how many are asked for them, and with how few a round is abandoned.
      late: what becomes of a reply that comes after its round: "discard", or "apply" if its client was not asked again.
      history: what clients that lost something are repaired from; None where nobody can.
      members: who belongs to the population, and the weights.
      guard: limits, strikes, and who is in quarantine.
      rows: every client's g_i, where g is a robust aggregate of them instead of their sum.
      account: whether rounds say what they cost in layers.
      last: what the last round did; down: what the one under way sent down, None where nothing is counted.
      buffer: of semi-asynchronous rounds, else None; busy: the clients at work; mail: on a deployment, with what.
      waited: seconds of the last round in which a deployment's server had nothing to do; None in simulations.
      punctual: those of a round's replies that came in time, where another clock than the wall's says so.
    """

    def __init__(
        self, plan: Plan, half: type[ClientHalf[Any]], *, number: int, x: Tensor, shapes: Shapes, weights: Tensor,
        participation: float, optimizer: str, optimizer_args: Mapping[str, Any], source: bytes, run: bytes,
        account: bool = True, late: Literal["discard", "apply"] = "discard", limits: Limits = LIMITS,
        aggregate: Aggregate | None = None, quorum: Quorum = ALL, start_clients: int | None = None,
        patience: float = PATIENCE, buffer: Buffer | None = None, prox: Prox | None = None,
    ) -> None:  # fmt: skip
        self.plan, self.half, self.participation, self.quorum = plan, half, participation, quorum
        self.late, self.buffer = "apply" if buffer else late, buffer
        self.mail: Mail | None = None
        self.busy: Array = np.empty(0, np.int64)
        self.clients, self.dim, self.members = len(weights), len(x), Members(weights)
        self.facts, self.shapes = facts_of(half), shapes
        self.descent = Descent(x, shapes, optimizer, optimizer_args, plan.gamma(1), prox, self.facts.steps)
        self.server = steps.server(self, 1)
        self.state: Any = self.server.start(torch.zeros(self.dim, dtype=torch.float64))
        experiment = blake2b(run + plan.label.encode(), digest_size=16).digest()
        self.ledger = Ledger(experiment, source, number, self.clients)
        self.account = Account(plan, self.dim, account)
        self.adder = Adder(plan, half, weights, self.dim, self.account)
        self.nodes = Nodes(self.ledger, self.clients, self.account, start_clients, patience)
        self.guard = Guard(limits, self.clients)
        zeros = torch.zeros(self.clients if aggregate else 0, self.dim, dtype=plan.dtype)
        self.rows = None if aggregate is None else Rows(aggregate, zeros)
        self.history: History | None = None
        self.last = Round(0, 0, 0, {}, "", 0, 0)
        self.down: Down | None = None
        self.waited: float | None = None
        self.punctual: Callable[[Sequence[Message]], list[Message]] | None = None
        told = self.told
        sent = self.descent.x if told is None else torch.cat([self.descent.x, told])
        whole = records.model_bytes(records.pack_model(sent))
        self.downlink = downlink_of(plan, self.descent.x, self.clients, whole, experiment, told, self.facts.steps)
        self._lacking: dict[int, Point | None] = {}  # who lacks something, and what each has
        self._leaving, self._joining = set[int](), set[int]()
        self._changed: Any = ((), (), np.empty(0, np.int64), [])  # who left, who joined, whose payloads, the payloads
        self._waiting: list[str] = []  # messages of earlier rounds whose replies may still come
        self._held: dict[int, list[Message]] = {}  # replies that came in time but were not wanted, by client
        self.wanted = 0
        self._order: Array | None = None  # whose are taken first; None where that is who answers first

    # Rounds ---------------------------------------------------------------------------------------

    def rounds(self, grid: Grid, rounds: int, timeout: float | None = None, after: int = 0) -> Iterator[Round]:
        """Train from round `after` + 1, yielding after each round; a caller stops by leaving the loop.

        Raises: Silence where a round has not one usable reply.
        """
        arrays = self.arrays
        for number in range(after + 1, rounds + 1):
            messages = self.configure_train(number, arrays, ConfigRecord(), grid)
            enough, waited = flower_quorum.enough(self, number), list[float]()
            if self.buffer is not None and deployed(grid):
                replies = flower_buffer.exchange(self, grid, messages, timeout, enough, waited.append)
            else:
                late = self.late == "apply"
                replies, self._waiting = exchange(
                    grid, messages, timeout, self._waiting, late, enough=enough, waited=waited.append
                )
            self.waited = waited[0] if waited else None
            self.nodes.note(replies)
            replies = self.punctual(replies) if self.punctual is not None else replies
            arrays, _ = self.aggregate_train(number, replies)
            yield self.last
            if self.last.participants == 0 and not self.last.abandoned:
                told = f"none of {self.last.invited} clients could be used; {self.last.first}"
                raise Silence(f"round {number}: {told if self.last.invited else NOBODY_LEFT}")

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterator[Message]:
        """One message per invited client, made as they are sent: with the same model record, or with what is new."""
        if not self.nodes.of:
            self.nodes.enrol(grid)
        self.nodes.refresh(grid, self.quorum.least or 1)
        if self.late == "discard":
            self.ledger.close()
        invited, self.wanted = self.invite(server_round), flower_quorum.wanted(self, server_round)
        self._order = None if deployed(grid) else flower_quorum.draw(self, server_round)
        repairs = self.repairs(invited)
        self._sent, self._repaired = self.downlink.send(invited), len(repairs)
        if repairs:
            extra = np.array([repairs[i].nbytes if i in repairs else 0 for i in invited.tolist()])
            self._sent = replace(self._sent, repairs=extra)
        self.down = self.account.down(self._sent, self.downlink, str(server_round))
        carried = self._carried(arrays)
        return self.nodes.post.messages(Kind.TRAIN, invited, server_round, carried, self._sent.base, repairs)

    def _carried(self, arrays: ArrayRecord) -> dict[int, Carried]:
        """The records that go to the clients of each base."""
        carried = dict[int, Carried]()
        for base in bases(self._sent):
            sent = self.downlink.broadcast(base)
            if sent is None:
                carried[base] = arrays, None
            else:
                model = records.pack_model(self.downlink.model) if sent.increments is None else None
                carried[base] = model, records.pack_broadcast(sent)
        return carried

    def invite(self, round: int) -> Array:
        """Who is asked: everybody for first gradients at x0, else a sample that depends on (seed, round)."""
        chosen: Array = np.sort(flower_quorum.draw(self, round))
        return chosen

    @property
    def arrays(self) -> ArrayRecord:
        """What is sent as the model, where it is not compressed on its way."""
        return records.pack_model(self.descent.x if self.facts.hears == "" else self.downlink.model)

    @property
    def told(self) -> Tensor | None:
        """(d,) in the model's dtype: what clients hear besides the model, None where that is nothing."""
        return steps.told(self)

    @property
    def asked(self) -> Array:
        """(m,) clients whom the last round asked."""
        return self._sent.clients

    @property
    def used(self) -> Array:
        """(m,) clients whose messages the last round added."""
        clients: Array = self._changed[2]
        return clients

    def begins(self, round: int) -> bool:
        """Whether everybody sends a first gradient in this round, with which no compressor has to do."""
        return round == 1 and self.adder.forms.begins

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> tuple[ArrayRecord, MetricRecord]:
        """Refuse what cannot be used, add the rest into g in client order, step the model."""
        self.last = done = flower_round.aggregate(self, server_round, list(replies))
        refused, up = sum(done.refused.values()), done.uplink_bytes
        metrics = MetricRecord({"participants": done.participants, "refused": refused, "uplink-bytes": up})
        return self.arrays, metrics

    def open(self, replies: Iterable[Message]) -> Letters:
        """Replies that answer what is open, and what the others tell of their clients."""
        letters = self.nodes.post.open(replies)
        self.downlink.forget(np.array([*letters.lacking, *letters.behind], dtype=np.int64))
        for client in letters.heard.clients.tolist() if self._lacking else ():
            self._lacking.pop(client, None)
        self._lacking |= letters.lacking
        for client in letters.leaving:
            if self.server.remembers and self.history is None:
                log.warning("client %d leaves, but its part of g is not known and stays: there is no history", client)
            else:
                self.leave(client)
        return letters

    # Who comes, goes, and lacks something ---------------------------------------------------------

    def repairs(self, clients: Array) -> dict[int, Repair]:
        """What those of these clients are sent who lack something, and can be helped."""
        return population.repairs(self, clients)

    def leave(self, client: int) -> None:
        """The client is asked no more; with the next round its part is taken out of g.

        Raises: ValueError where nobody knows its part.
        """
        if self.server.remembers and self.history is None and self.rows is None:
            raise ValueError(f"client {client} cannot leave: without a history its part of g is not known")
        if self.members.there[client]:
            self._joining.discard(client)
            self._leaving.add(client)

    def join(self, client: int) -> None:
        """The client is there from the next round on, with g_i = 0; if it is about to leave, it leaves first."""
        self._joining.add(client)

    # What it takes to go on, or to make a round again ---------------------------------------------

    def commit(self) -> Commit:
        """What the last round changed."""
        left, joined, clients, payloads = self._changed
        return Commit(self.last.number, clients, payloads, left, joined, self.digest())

    def digest(self) -> bytes:
        """16 bytes over the model, g and the clients' points: equal for equal trajectories."""
        return images.digest(self)

    def redo(self, commit: Commit, late: Sequence[int] = ()) -> None:
        """Make a round again from what it changed, without asking anybody.

        late: clients whose reply answered an earlier round. Raises: Refused("digest") where it does not come to what it
        came to then.
        """
        images.redo(self, commit, late)

    def image(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that it takes to go on after the last round, for `restore`."""
        return images.taken(self)

    def restore(self, tensors: Mapping[str, Tensor], note: Mapping[str, Any]) -> None:
        """Go on from an image. Raises: Refused("image") where it is of another method."""
        images.restore(self, tensors, note)

    def audit(self, grid: Grid, anyway: bool = False) -> float | None:
        """|g - sum_i w_i g_i| / |g| over the clients' own states; None where g is not such a sum, or one is silent.

        anyway: ask the others although one cannot be reached, so that who lacks something is known.
        """
        return flower_questions.audit(self, grid, anyway)

    def shadow(self, grid: Grid, round: int) -> list[Seen]:
        """What shadow compressors would send in this round, the next one, by a sample of those who will be asked."""
        return flower_questions.shadow(self, grid, round)

    def retire(self, grid: Grid) -> None:
        """Let the clients forget this run."""
        flower_questions.retire(self, grid)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """Nothing: the runner evaluates the full objective where the data is."""
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> None:
        return None

    def summary(self) -> None:
        """One line to Flower's log."""
        logging.getLogger("flwr").info("%s: %s with %r", self.plan.label, self.plan.method, self.plan.compressors)
