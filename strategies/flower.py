"""The server half as a Flower Strategy: sampling, replies, the commit protocol, bytes."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from torch import Tensor

from fl_ef21 import randomness, records, wire
from fl_ef21.blocks import Array
from fl_ef21.commit import Block, Kind
from fl_ef21.errors import Refused
from fl_ef21.flower_internals import sendable
from fl_ef21.flower_stamp import Stamp
from fl_ef21.messages import whole
from fl_ef21.plan import Plan
from fl_ef21.shadow import Seen, means
from fl_ef21.threads import computing_with
from fl_ef21.types import ClientHalf
from strategies import SERVERS
from strategies.descent import Descent, Shapes
from strategies.downlink import WHOLE, bases, downlink_of
from strategies.flower_account import Account, Measured
from strategies.flower_replies import Heard, read, said
from strategies.ledger import Ledger
from strategies.rounds import Round, Silence, groups, round_half_up
from strategies.shadow import watched, words

Carried = tuple[ArrayRecord | None, ConfigRecord | None]  # the model, and its version
NOTHING: Mapping[int, Carried] = {WHOLE: (None, None)}


class CompressedStrategy(Strategy):
    """A Flower strategy that steps a model by what compressed messages add up to.

    Attributes:
      plan: the method, as both sides know it.
      half: the client half's class, of which only the facts a server must know are read.
      weights: (n,) float64, w_i; n is the population.
      participation: share of the population asked per round, in (0, 1].
      account: whether rounds say what they cost in layers.
    """

    def __init__(
        self, plan: Plan, half: type[ClientHalf[Any]], *, number: int, x: Tensor, shapes: Shapes, weights: Tensor,
        participation: float, optimizer: str, optimizer_args: Mapping[str, Any], source: bytes, run: bytes,
        account: bool = True,
    ) -> None:  # fmt: skip
        self.plan, self.half, self.weights, self.participation = plan, half, weights, participation
        self.clients, self.dim = len(weights), len(x)
        self.descent = Descent(x, shapes, optimizer, optimizer_args, plan.gamma(1))
        self.server = plan.half(SERVERS[half.server], 1)
        self.state: Any = self.server.start(torch.zeros(self.dim, dtype=torch.float64))
        experiment = blake2b(run + plan.label.encode(), digest_size=16).digest()
        self.ledger = Ledger(experiment, source, number, self.clients)
        self.nodes: dict[int, int] = {}
        self.account = Account(plan, self.dim, account)
        self._specs = self._expect()
        self._last = Round(0, 0, 0, {}, "", 0, 0)
        whole = records.model_bytes(records.pack_model(self.descent.x))
        self.downlink = downlink_of(plan, self.descent.x, self.clients, whole, experiment)

    def _expect(self) -> tuple[wire.Spec, wire.Spec]:
        """What a first and any other message must look like."""
        u = torch.ones(1, self.dim, dtype=self.plan.dtype)
        key = torch.zeros(1, dtype=torch.int64)
        spec = replace(wire.Spec.of_any([C(u, key) for C in self.plan.compressors]), layers=self.plan.layers)
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
            replies = grid.send_and_receive(sendable(grid, messages), timeout=timeout)
            arrays, _ = self.aggregate_train(number, replies)
            yield self._last
            if self._last.participants == 0:
                raise Silence(f"round {number}: none of {self._last.invited} clients could be used; {self._last.first}")

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterator[Message]:
        """One message per invited client, made as they are sent: with the same model record, or with what is new."""
        if not self.nodes:
            self.enrol(grid)
        self.ledger.close()
        invited = self.invite(server_round)
        self._sent = self.downlink.send(invited)
        self._down = self.account.down(self._sent, self.downlink, str(server_round))
        return self._messages(Kind.TRAIN, invited, server_round, self._carried(arrays), self._sent.base)

    def _carried(self, arrays: ArrayRecord) -> dict[int, Carried]:
        """The records that go to the clients of each base."""
        carried = dict[int, Carried]()
        for base in bases(self._sent):
            sent = self.downlink.broadcast(base)
            if sent is None:
                carried[base] = arrays, None
            else:
                model = records.pack_model(self.downlink.w) if sent.increments is None else None
                carried[base] = model, records.pack_broadcast(sent)
        return carried

    def invite(self, round: int) -> Array:
        """Who is asked: everybody for first gradients at x0, else a sample that depends on (seed, round)."""
        if self.begins(round):
            return np.arange(self.clients)
        m = max(1, round_half_up(self.participation * self.clients))
        key = randomness.key(self.plan.seed, "participation", round=round)
        return randomness.subset(self.clients, m, key).numpy()

    def begins(self, round: int) -> bool:
        """Whether everybody sends a first gradient in this round, with which no compressor has to do."""
        return round == 1 and self.half.dense_start and self.plan.start == "gradient"

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> tuple[ArrayRecord, MetricRecord]:
        """Refuse what cannot be used, add the rest into g in client order, step the model."""
        replies = list(replies)
        heard, refused = self._open(replies)
        with computing_with(1):
            c, used, bad, measured = self._sum(heard)
        refused += bad
        self.downlink.confirm(heard.clients)
        if len(used):
            self.server = self.plan.half(SERVERS[self.half.server], server_round)
            self.state = self.server.step(self.state, c)
            self.downlink.advance(self.descent.step(self.state.g, self.plan.gamma(server_round)), server_round)
            self.ledger.commit(used.clients, used.payloads)
        up = sum(len(payload) for payload in heard.payloads)
        reasons, first = Counter(one.reason for one in refused), str(refused[0]) if refused else ""
        spent = self.account.round(server_round, self._down, heard, measured, replies, self.nodes)
        down = self._sent.total
        self._last = Round(server_round, len(self._sent), len(used), dict(reasons), first, up, down, spent)
        metrics = MetricRecord({"participants": len(used), "refused": len(refused), "uplink-bytes": up})
        return records.pack_model(self.descent.x), metrics

    def _open(self, replies: Iterable[Message]) -> tuple[Heard, list[Refused]]:
        """The replies that answer what was asked, in client order, and why the others cannot be used."""
        packed, payloads, refused = list[bytes](), list[bytes](), list[Refused]()
        for message in replies:
            try:
                block, payload = read(message)
            except Refused as why:
                refused.append(why)
                continue
            packed.append(block)
            payloads.append(payload)
        answers, unasked = self.ledger.accept(packed)
        lost = [at for at, why in unasked.items() if why.reason in ("lacks", "behind")]
        self.downlink.forget(answers["client"][lost].astype(np.int64))
        good = np.setdiff1d(np.arange(len(packed)), list(unasked))
        good = good[np.argsort(answers["client"][good], kind="stable")]
        clients, version = (answers[name][good].astype(np.int64) for name in ("client", "version"))
        return Heard(clients, version, [payloads[at] for at in good.tolist()]), refused + list(unasked.values())

    def _sum(self, heard: Heard) -> tuple[Tensor, Heard, list[Refused], Measured]:
        """sum_i w_i c_i (d,) float64, the messages in it, why others are not, and the bits of each message."""
        scale = 1.0 if self.server.remembers else self.clients / max(1, len(self._sent))
        total = torch.zeros(self.dim, dtype=torch.float64)
        begins = self.half.dense_start and self.plan.start == "gradient"
        starting = heard.version == 0 if begins else np.zeros(len(heard), bool)
        used, bad, measured = np.ones(len(heard), bool), list[Refused](), np.zeros((2, len(heard)))
        for first in (True, False):
            spec = self._specs[0 if first else 1]
            for part in groups(np.flatnonzero(starting == first), spec.most):
                weights = self.weights[torch.from_numpy(heard.clients[part])] * scale
                payloads = [heard.payloads[at] for at in part.tolist()]
                c, refused = wire.total(payloads, spec, weights)
                total += c
                used[part[list(refused)]] = False
                bad += refused.values()
                compressors = [] if first else self.plan.each(heard.clients[part])
                measured[:, part] = self.account.up(payloads, spec, compressors)
        return total, heard[np.flatnonzero(used)], bad, measured

    # Questions ------------------------------------------------------------------------------------

    def enrol(self, grid: Grid, patience: float = 120.0) -> None:
        """Learn which node is which client; waits until the whole population is there.

        Raises: Silence where it does not come within `patience` seconds, or two nodes claim one client.
        """
        deadline, asked, first = time.monotonic() + patience, set[int](), ""
        while len(self.nodes) < self.clients:
            new = [node for node in grid.get_node_ids() if node not in asked]
            for reply in grid.send_and_receive(sendable(grid, self._hello(new)), timeout=patience) if new else ():
                if reply.has_error():
                    first = first or said(reply.error.reason or "")
                    continue
                node = reply.metadata.src_node_id
                asked.add(node)
                self.account.aside("enrol", [0], 1)
                client = Block.unpack(records.read_block(reply)).client
                if self.nodes.get(client, node) != node:
                    raise Silence(f"two nodes say they are client {client}")
                if client < self.clients:
                    self.nodes[client] = node
            if first or time.monotonic() > deadline:
                raise Silence(f"{len(self.nodes)} of {self.clients} clients have enrolled; {first or 'time is up'}")
            if len(self.nodes) < self.clients:
                time.sleep(0.2)

    def audit(self, grid: Grid) -> float | None:
        """|g - sum_i w_i g_i| / |g| over the clients' own states; None where g is not such a sum, or one is silent.

        Clients are asked in groups, so that memory does not grow with the population.
        """
        if not self.server.remembers:
            return None
        total = torch.zeros(self.dim, dtype=torch.float64)
        for clients in groups(np.arange(self.clients), self.dim):
            messages = self._messages(Kind.AUDIT, clients, self._last.number)
            heard, _ = self._open(grid.send_and_receive(sendable(grid, messages), timeout=600))
            self.account.aside(str(self._last.number), [len(payload) for payload in heard.payloads], len(clients))
            if len(heard) < len(clients):
                return None
            g, refused = wire.decode(heard.payloads, self._specs[0])
            if refused:
                return None
            total += g.total(self.weights[torch.from_numpy(clients)])
        size = float(self.state.g.norm())
        return float((self.state.g - total).norm()) / (size if size > 0 else 1.0)

    def shadow(self, grid: Grid, round: int) -> list[Seen]:
        """What shadow compressors would send in this round, the next one, by a sample of those who will be asked.

        Training knows nothing of it: nothing is staged, and no byte of it is counted.
        """
        clients = watched(self.plan.seed, self.invite(round), round)
        messages = self._messages(Kind.SHADOW, clients, round, {WHOLE: (records.pack_model(self.downlink.w), None)})
        heard, _ = self._open(grid.send_and_receive(messages, timeout=600))
        return means(words(self.plan, self.dim), heard.payloads)

    def retire(self, grid: Grid) -> None:
        """Let the clients forget this run."""
        if self.nodes:
            messages = self._messages(Kind.RETIRE, np.array(sorted(self.nodes)), self._last.number)
            heard = list(grid.send_and_receive(sendable(grid, messages), timeout=60))
            self.account.aside(str(self._last.number), [0] * len(heard), len(self.nodes))

    def _messages(
        self, kind: Kind, clients: Array, round: int,
        carried: Mapping[int, Carried] = NOTHING, base: Array | None = None,
    ) -> Iterator[Message]:  # fmt: skip
        """One instruction a client, made as they are taken. `carried`: the records for each base; base (m,)."""
        packed = self.ledger.instruct(kind, clients, round)
        category = "train" if kind == Kind.TRAIN else "query"
        stamps = dict[int, Stamp]()
        for one, (model, version) in carried.items():
            content = records.instruction(model, packed[0], version)
            stamps[one] = Stamp(Message(content, 1, category, group_id=str(round)), records.PROTOCOL)
        which = [WHOLE] * len(clients) if base is None else base.tolist()
        told = zip(clients.tolist(), which, packed, strict=True)
        return (stamps[one].to(self.nodes[i], {records.BLOCK: block}) for i, one, block in told)

    def _hello(self, nodes: Sequence[int]) -> Iterator[Message]:
        hello = self.ledger.hello()
        pattern = Message(records.instruction(None, hello), 1, "query", group_id="enrol")
        stamp = Stamp(pattern, records.PROTOCOL)
        return (stamp.to(node, {records.BLOCK: hello}) for node in nodes)

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
