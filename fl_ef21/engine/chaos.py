"""A Grid that disturbs the training it carries: `fl_ef21.faults` says how, drawn for each client and round.

A draw is keyed by (seed, fault, client, round), so that a run is disturbed in the same way however often it is
repeated, by any number of actors, and for each of its methods. Other questions than training pass undisturbed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fl_ef21 import blocks, randomness, records
from fl_ef21.commit import Block, Kind
from fl_ef21.engine.grid import RayGrid
from fl_ef21.faults import Faults
from fl_ef21.flower_internals import Run, sendable
from fl_ef21.flower_stamp import node_of

PLAN = ("lose", "lose-instruction", "lose-reply", "late", "damage", "leave", "duplicate")  # the first drawn happens


@dataclass(frozen=True)
class _Round:
    """What is to happen in one round: a word for each client whose messages are disturbed, and its instruction."""

    number: int
    words: Mapping[int, str]
    asked: Mapping[int, Message]  # by node
    client: Mapping[int, int]  # by node
    kill: Sequence[int]


class ChaosGrid(Grid):
    """Around any Grid.

    Attributes:
      done: how many faults there were of each word.
      absent, welcome: who has left, and what lets one of them join; whoever knows the members sets them.
    """

    def __init__(self, inner: Grid, faults: Faults, *, tile: int = 1) -> None:
        """`tile`: clients the inner grid computes together.

        Raises: InputError where the inner grid cannot do what is asked.
        """
        if not isinstance(inner, RayGrid):
            faults.without_devices()
        self.inner, self.faults, self.tile = inner, faults, tile
        self.done: Counter[str] = Counter()
        self.absent: Callable[[], Sequence[int]] = lambda: ()
        self.welcome: Callable[[int], None] = lambda client: None
        self._shares = dict(faults.shares)
        self._experiment, self._held, self._leaving = b"", list[Message](), set[int]()
        self._now: _Round | None = None

    def set_run(self, run: Run) -> None:
        self.inner.set_run(run)

    @property
    def run(self) -> Run:
        return self.inner.run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        return self.inner.create_message(content, message_type, dst_node_id, group_id, ttl)

    def get_node_ids(self) -> Iterable[int]:
        return self.inner.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """A lost instruction has a name, too, to which no reply will come."""
        sent = list(messages)
        self._now = round = self._draw(sent)
        if round is None:
            return self.inner.push_messages(sendable(self.inner, sent))
        going = self._going(sent, round)
        self._strike(round.kill[::2])
        names = list(self.inner.push_messages(sendable(self.inner, going)))
        self._strike(round.kill[1::2])  # in the midst of it
        return names + [f"lost-{round.number}-{at}" for at in range(len(sent) - len(going))]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        wanted = [name for name in message_ids if not name.startswith("lost-")]
        return list(self._received(self.inner.pull_messages(wanted)))

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        sent = list(messages)
        self._now = round = self._draw(sent)
        if round is None:
            return self.inner.send_and_receive(sendable(self.inner, sent), timeout=timeout)
        going = self._going(sent, round)
        self._strike(round.kill[::2])
        if not round.kill[1::2]:
            return list(self._received(self.inner.send_and_receive(sendable(self.inner, going), timeout=timeout)))
        names = list(self.inner.push_messages(going))
        self._strike(round.kill[1::2])  # in the midst of it
        return list(self._received(self._awaited(names, timeout)))

    def _awaited(self, names: Sequence[str], timeout: float | None) -> list[Message]:
        """The replies to these, in their order; of a grid that waits in `pull_messages`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        replies, waiting = dict[str, Message](), list(names)
        while waiting and (deadline is None or time.monotonic() < deadline):
            replies |= {one.metadata.reply_to_message_id: one for one in self.inner.pull_messages(waiting)}
            waiting = [name for name in waiting if name not in replies]
        return [replies[name] for name in names if name in replies]

    # What happens ---------------------------------------------------------------------------------

    def _draw(self, sent: Sequence[Message]) -> _Round | None:
        """The faults of a round of training; None of anything else. Clients are wiped and welcomed by now."""
        told, bad = blocks.parse([records.read_block(message) for message in sent])
        if bad or not len(told) or told["kind"][0] != Kind.TRAIN:
            return None
        self._begin(told["experiment"][0].tobytes())
        number, ids = int(told["round"][0]), told["client"].astype(np.int64)
        words = dict[int, str]()
        for word in reversed(PLAN):
            words |= dict.fromkeys(self._drawn(word, ids, number), word)
        words = {i: self._either(i, number) if word == "lose" else word for i, word in words.items()}
        gone = set(self.absent())
        self._leaving -= gone  # they have left by now
        leavers = [i for i in sorted(words) if words[i] == "leave"]
        for client in leavers[max(0, self._population() // 2 - len(gone | self._leaving)) :]:
            del words[client]  # half of them stay
        if wiped := self._drawn("wipe", ids, number):
            assert isinstance(self.inner, RayGrid)
            self.inner.wipe(wiped)
        if "join" in self._shares:
            self._join(np.array(sorted(gone), dtype=np.int64), number)
        kill = self._drawn("kill", ids, number)
        self._count({"wipe": len(wiped), "kill": len(kill)})
        nodes = [node_of(message) for message in sent]
        by_node = dict(zip(nodes, ids.tolist(), strict=True))
        return _Round(number, words, dict(zip(nodes, sent, strict=True)), by_node, kill)

    def _population(self) -> int:
        return len(list(self.inner.get_node_ids()))

    def _begin(self, experiment: bytes) -> None:
        """Of the last method nothing is left."""
        if experiment != self._experiment:
            self._experiment, self._held, self._leaving = experiment, [], set()

    def _drawn(self, word: str, ids: np.ndarray, round: int) -> list[int]:
        """Those of these clients (m,) that this fault befalls."""
        share = self._shares.get(word, 0.0)
        if not share:
            return []
        keys = randomness.keys(self.faults.seed, f"chaos {word}", torch.from_numpy(ids), round)
        befallen: list[int] = ids[(randomness.uniform(keys, 1)[:, 0] < share).numpy()].tolist()
        return befallen

    def _either(self, client: int, round: int) -> str:
        key = randomness.key(self.faults.seed, "chaos which", client, round)
        return "lose-instruction" if float(randomness.uniform(key, 1)) < 0.5 else "lose-reply"

    def _join(self, gone: np.ndarray, round: int) -> None:
        back = self._drawn("join", gone, round)
        for client in back:
            self.welcome(client)
        self._count({"join": len(back)})

    def _count(self, faults: Mapping[str, int]) -> None:
        self.done.update({word: count for word, count in faults.items() if count})

    def _strike(self, clients: Sequence[int]) -> None:
        for client in clients:
            assert isinstance(self.inner, RayGrid)
            self.inner.kill(client)

    def _going(self, sent: Sequence[Message], round: _Round) -> list[Message]:
        """What is really sent: repeated instructions after all others, with those that share a tile.

        Where clients are computed together, a client alone might come to another last bit than among its neighbours.
        """
        clients = list(round.client.values())
        lost = {i for i, word in round.words.items() if word == "lose-instruction"}
        self._count({"lose-instruction": len(lost)})
        going = [(i, message) for i, message in zip(clients, sent, strict=True) if i not in lost]
        tiles = {i // self.tile for i, word in round.words.items() if word == "duplicate"}
        again = [_twin(message) for i, message in going if i // self.tile in tiles]
        return [message for _, message in going] + again

    def _received(self, replies: Iterable[Message]) -> Iterator[Message]:
        """What arrives of these replies, and of those of the round before."""
        if self._now is None:
            yield from replies
            return
        held, self._held = self._held, []
        yield from held
        heard = Counter[int]()
        for reply in replies:
            node = reply.metadata.src_node_id
            client = self._now.client.get(node, -1)
            word = self._now.words.get(client, "")
            heard[client] += 1
            if heard[client] > 1 and word != "duplicate":
                continue  # a neighbour of who was asked twice
            if word == "damage" and (reply.has_error() or not records.read_answer(reply)[1]):
                word = ""  # there is no payload
            self._count({word: int(word != "" and heard[client] == 1)})
            if word == "late":
                self._held.append(reply)
            elif word != "lose-reply":
                yield self._changed(reply, word, node, client)

    def _changed(self, reply: Message, word: str, node: int, client: int) -> Message:
        assert self._now is not None
        asked = self._now.asked.get(node, reply)
        if word == "leave":
            self._leaving.add(client)
            return Message(records.reply(Block.answered(records.read_block(asked), Kind.BYE), b""), reply_to=asked)
        if word != "damage":
            return reply
        block, payload = records.read_answer(reply)
        key = randomness.key(self.faults.seed, "chaos bit", client, self._now.number)
        at = int(randomness.below(key, 1, torch.tensor([8 * len(payload)])))
        payload = payload[: at // 8] + bytes((payload[at // 8] ^ 1 << at % 8,)) + payload[at // 8 + 1 :]
        return Message(records.reply(block, payload), reply_to=asked)


def _twin(message: Message) -> Message:
    """The same instruction as another message."""
    told = message.metadata
    return Message(message.content, told.dst_node_id, told.message_type, group_id=told.group_id)
