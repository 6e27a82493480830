"""The server half as a Flower Strategy: sampling, replies, the commit protocol, bytes."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from torch import Tensor

from fl_ef21 import randomness, records, wire
from fl_ef21.commit import Block, Kind
from fl_ef21.errors import Refused
from fl_ef21.messages import whole
from fl_ef21.plan import Plan
from fl_ef21.threads import computing_with
from fl_ef21.types import ClientHalf
from strategies import SERVERS
from strategies.descent import Descent, Shapes
from strategies.ledger import Ledger

CLIENT_REASONS = ("block", "client", "source", "plan", "state", "model", "gradient", "value")
FLOWERS_PREFIX = "\nException ClientAppException occurred. Message: "  # before a client's own words


@dataclass(frozen=True)
class Round:
    """What one round did.

    Attributes:
      participants: clients whose message is in g.
      refused: how many replies were not used, by reason; `first` tells of one of them.
      uplink_bytes, downlink_bytes: serialised payloads of this round.
    """

    number: int
    invited: int
    participants: int
    refused: Mapping[str, int]
    first: str
    uplink_bytes: int
    downlink_bytes: int


class Silence(RuntimeError):
    """A round in which no client could be used."""


class CompressedStrategy(Strategy):
    """A Flower strategy that steps a model by what compressed messages add up to.

    Attributes:
      plan: the method, as both sides know it.
      half: the client half's class, of which only the facts a server must know are read.
      weights: (n,) float64, w_i; n is the population.
      participation: share of the population asked per round, in (0, 1].
    """

    def __init__(
        self, plan: Plan, half: type[ClientHalf[Any]], *, number: int, x: Tensor, shapes: Shapes, weights: Tensor,
        participation: float, optimizer: str, optimizer_args: Mapping[str, Any], source: bytes, run: bytes,
    ) -> None:  # fmt: skip
        self.plan, self.half, self.weights, self.participation = plan, half, weights, participation
        self.clients, self.dim = len(weights), len(x)
        self.descent = Descent(x, shapes, optimizer, optimizer_args, plan.gamma(1))
        self.server = plan.half(SERVERS[half.server], 1)
        self.state: Any = self.server.start(torch.zeros(self.dim, dtype=torch.float64))
        experiment = blake2b(run + plan.label.encode(), digest_size=16).digest()
        self.ledger = Ledger(experiment, source, number, self.clients)
        self.nodes: dict[int, int] = {}
        self._specs = self._expect()
        self._last = Round(0, 0, 0, {}, "", 0, 0)

    def _expect(self) -> tuple[wire.Spec, wire.Spec]:
        """What a first and any other message must look like."""
        u = torch.ones(1, self.dim, dtype=self.plan.dtype)
        key = torch.zeros(1, dtype=torch.int64)
        spec = wire.Spec.of_any([C(u, key) for C in self.plan.compressors])
        if self.plan.compressor.bits(self.dim) is None:  # how much is sent depends on u
            spec = replace(spec, most=self.dim)
        return wire.Spec.of(whole(u)), spec

    # Rounds ---------------------------------------------------------------------------------------

    def rounds(self, grid: Grid, rounds: int, timeout: float | None = None) -> Iterator[Round]:
        """Train, yielding after each round; a caller stops by leaving the loop.

        Raises: Silence where a round has not one usable reply.
        """
        arrays = records.pack_model(self.descent.x)
        for number in range(1, rounds + 1):
            messages = self.configure_train(number, arrays, ConfigRecord(), grid)
            replies = grid.send_and_receive(messages, timeout=timeout)
            arrays, _ = self.aggregate_train(number, replies)
            yield self._last
            if self._last.participants == 0:
                raise Silence(f"round {number}: none of {self._last.invited} clients could be used; {self._last.first}")

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterator[Message]:
        """One message per invited client, all with the same model record, made as they are sent."""
        if not self.nodes:
            self.enrol(grid)
        self.ledger.close()
        invited = self.invite(server_round)
        self._sent = (len(invited), records.model_bytes(arrays) * len(invited))
        return (self._message(Kind.TRAIN, client, server_round, arrays) for client in invited)

    def invite(self, round: int) -> list[int]:
        """Who is asked: everybody for first gradients at x0, else a sample that depends on (seed, round)."""
        if round == 1 and self.half.dense_start and self.plan.start == "gradient":
            return list(range(self.clients))
        m = max(1, round_half_up(self.participation * self.clients))
        key = randomness.key(self.plan.seed, "participation", round=round)
        return [int(i) for i in randomness.subset(self.clients, m, key)]

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> tuple[ArrayRecord, MetricRecord]:
        """Refuse what cannot be used, add the rest into g in client order, step the model."""
        refused: Counter[str] = Counter()
        first = ""
        heard: list[tuple[Block, bytes]] = []
        for message in replies:
            try:
                heard.append(self._open(message))
            except Refused as why:
                refused[why.reason] += 1
                first = first or str(why)
        heard.sort(key=lambda one: one[0].client)
        with computing_with(1):
            c, used, bad = self._sum(heard)
        for one in bad:
            refused[one.reason] += 1
            first = first or str(one)
        if used:
            self.server = self.plan.half(SERVERS[self.half.server], server_round)
            self.state = self.server.step(self.state, c)
            self.descent.step(self.state.g, self.plan.gamma(server_round))
        for block, payload in used:
            self.ledger.commit(block.client, payload)
        invited, down = self._sent
        up = sum(len(payload) for _, payload in heard)
        self._last = Round(server_round, invited, len(used), dict(refused), first, up, down)
        metrics = MetricRecord({"participants": len(used), "refused": sum(refused.values()), "uplink-bytes": up})
        return records.pack_model(self.descent.x), metrics

    def _open(self, message: Message) -> tuple[Block, bytes]:
        if message.has_error():
            told = said(message.error.reason or "")
            reason, _, detail = told.partition(": ")
            raise Refused(reason if reason in CLIENT_REASONS else "client raised", detail or told)
        block = self.ledger.accept(records.read_block(message.content))
        return block, records.read_payload(message.content)

    def _sum(self, heard: Sequence[tuple[Block, bytes]]) -> tuple[Tensor, list[tuple[Block, bytes]], list[Refused]]:
        """sum_i w_i c_i (d,) float64, the messages in it, and why others are not."""
        scale = 1.0 if self.server.remembers else self.clients / max(1, self._sent[0])
        total = torch.zeros(self.dim, dtype=torch.float64)
        used: list[tuple[Block, bytes]] = []
        bad: list[Refused] = []
        for first in (True, False):
            part = [one for one in heard if self._is_first(one[0]) == first]
            if not part:
                continue
            c, refused = wire.decode([payload for _, payload in part], self._specs[0 if first else 1])
            total += c.total(self.weights[[block.client for block, _ in part]] * scale)
            used += [one for at, one in enumerate(part) if at not in refused]
            bad += refused.values()
        return total, used, bad

    def _is_first(self, block: Block) -> bool:
        return self.half.dense_start and self.plan.start == "gradient" and block.point.version == 0

    # Questions ------------------------------------------------------------------------------------

    def enrol(self, grid: Grid, patience: float = 120.0) -> None:
        """Learn which node is which client; waits until the whole population is there.

        Raises: Silence where it does not come within `patience` seconds, or two nodes claim one client.
        """
        deadline, asked, first = time.monotonic() + patience, set[int](), ""
        while len(self.nodes) < self.clients:
            new = [node for node in grid.get_node_ids() if node not in asked]
            hello = [self._hello(node) for node in new]
            for reply in grid.send_and_receive(hello, timeout=patience) if hello else ():
                if reply.has_error():
                    first = first or said(reply.error.reason or "")
                    continue
                asked.add(reply.metadata.src_node_id)
                client = Block.unpack(records.read_block(reply.content)).client
                if self.nodes.get(client, reply.metadata.src_node_id) != reply.metadata.src_node_id:
                    raise Silence(f"two nodes say they are client {client}")
                if client < self.clients:
                    self.nodes[client] = reply.metadata.src_node_id
            if first or time.monotonic() > deadline:
                raise Silence(f"{len(self.nodes)} of {self.clients} clients have enrolled; {first or 'time is up'}")
            if len(self.nodes) < self.clients:
                time.sleep(0.2)

    def audit(self, grid: Grid) -> float | None:
        """|g - sum_i w_i g_i| / |g| over the clients' own states; None where g is not such a sum, or one is silent."""
        if not self.server.remembers:
            return None
        messages = [self._message(Kind.AUDIT, client, self._last.number, None) for client in range(self.clients)]
        payloads = {}
        for reply in grid.send_and_receive(messages, timeout=600):
            try:
                block, payload = self._open(reply)
            except Refused:
                return None
            payloads[block.client] = payload
        if len(payloads) < self.clients:
            return None
        g, refused = wire.decode([payloads[i] for i in range(self.clients)], self._specs[0])
        if refused:
            return None
        size = float(self.state.g.norm())
        return float((self.state.g - g.total(self.weights)).norm()) / (size if size > 0 else 1.0)

    def retire(self, grid: Grid) -> None:
        """Let the clients forget this run."""
        if self.nodes:
            messages = [self._message(Kind.RETIRE, client, self._last.number, None) for client in self.nodes]
            list(grid.send_and_receive(messages, timeout=60))

    def _message(self, kind: Kind, client: int, round: int, arrays: ArrayRecord | None) -> Message:
        block = self.ledger.instruct(kind, client, round)
        category = "train" if kind == Kind.TRAIN else "query"
        return Message(records.instruction(arrays, block), self.nodes[client], category, group_id=str(round))

    def _hello(self, node: int) -> Message:
        block = self.ledger.hello()
        return Message(records.instruction(None, block), node, "query", group_id="enrol")

    # What Flower asks of a strategy besides -------------------------------------------------------

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


def said(reason: str) -> str:
    """What a client itself raised, out of what Flower's runtimes wrap around it."""
    inner = re.fullmatch(r"<class '.*?'>:<'(.*)'>", reason, re.DOTALL)
    return (inner[1] if inner else reason).rpartition(FLOWERS_PREFIX)[2].strip()


def round_half_up(number: float) -> int:
    """2.5 -> 3, where Python's own rounding says 2."""
    return int(number + 0.5)
