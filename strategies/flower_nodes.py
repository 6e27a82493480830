"""Which Flower node is which client. Identity is ours: a node id changes when a SuperNode starts again."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence

import numpy as np
from flwr.app import Message
from flwr.serverapp import Grid

from fl_ef21.blocks import Array
from fl_ef21.errors import Refused
from fl_ef21.flower_internals import NODE_UNAVAILABLE, deployed, sendable
from fl_ef21.sealing import ServerKeys
from strategies.flower_account import Account
from strategies.flower_exchange import Mail, Pauses
from strategies.flower_post import Post
from strategies.flower_replies import said
from strategies.ledger import Ledger
from strategies.rounds import Silence, names

log = logging.getLogger("fl_ef21")
PATIENCE = 120.0  # seconds
AGAIN = 5.0  # seconds until a node that could not answer is asked again who it is
STUCK = 10.0  # seconds until one is asked again whose answer was announced and does not come: it may be lost for ever


class Nodes:
    """The nodes that have said who they are.

    Attributes:
      of: the node of each client.
      post: makes the messages to them.
      wanted: how many must be there before training begins.
      patience: seconds to wait for them, and for some of them to come back where all are gone.
    """

    def __init__(
        self, ledger: Ledger, clients: int, account: Account, wanted: int | None = None, patience: float = PATIENCE
    ) -> None:
        self.of: dict[int, int] = {}
        self.post = Post(ledger, self.of)
        self.wanted, self.patience = clients if wanted is None else wanted, patience
        self._clients, self._account, self._gone = clients, account, False
        self._known = set[int]()  # nodes that have said who they are
        self._greeted = dict[int, float]()  # when each of the others was asked
        self._there: set[int] | None = None  # who is there, where that has to be looked at
        self._mail: Mail | None = None
        self._unproven = ""  # why the last could not be believed; others are waited for all the same
        self._trouble = ""  # what the first said that could not answer

    def authenticate(self, keys: ServerKeys) -> None:
        """From now on sign what goes to clients, and refuse what is not signed by the client it names."""
        self.post.keys, self._account.signed = keys, True

    # Who is there ---------------------------------------------------------------------------------

    def enrol(self, grid: Grid, patience: float | None = None) -> None:
        """Wait until as many clients as are wanted have said who they are.

        Raises: Silence where they do not within `patience` seconds, where two living nodes claim one client, or where
        everybody is wanted and one cannot answer.
        """
        patience = self.patience if patience is None else patience
        deadline, pauses = time.monotonic() + patience, Pauses()
        while len(self.of) < self.wanted:
            self.look(grid)
            self._greet(grid, patience, beginning=True)
            if len(self.of) >= self.wanted:
                break
            hopeless = self._trouble and self.wanted == self._clients
            if hopeless or time.monotonic() > deadline:
                absent = names(i for i in range(self._clients) if i not in self.of)
                told = f"{len(self.of)} of {self._clients} clients have enrolled"
                needed = "" if self.wanted == self._clients else f", {self.wanted} are needed"
                raise Silence(f"{told}{needed}; {self._trouble or self._unproven or 'time is up'}; not there: {absent}")
            pauses.sleep()

    def note(self, replies: Sequence[Message]) -> None:
        """Look at what came back: a node that is gone may come again, perhaps as another."""
        self._gone |= any(one.has_error() and one.error.code == NODE_UNAVAILABLE for one in replies)

    def refresh(self, grid: Grid, least: int = 1) -> None:
        """Before a round: who is there now, and who is new. Where too few are, wait for those who are gone."""
        deadline, pauses = time.monotonic() + self.patience, Pauses()
        while deployed(grid) or self._gone:
            self.look(grid)
            self._greet(grid, 60.0)
            if not deployed(grid) or np.count_nonzero(self.reachable()) >= least or time.monotonic() > deadline:
                return
            pauses.sleep()

    def reachable(self) -> Array:
        """(n,) bool: whose node is there, as far as is known; before anybody has enrolled, everybody's."""
        if self._there is None and len(self.of) in (0, self._clients):
            return np.ones(self._clients, bool)
        there = np.zeros(self._clients, bool)
        there[[client for client, node in self.of.items() if self._there is None or node in self._there]] = True
        return there

    def look(self, grid: Grid) -> None:
        """Who is there, where that can change."""
        if deployed(grid) or self._gone:
            self._there = set(grid.get_node_ids())

    # Who is who -----------------------------------------------------------------------------------

    def _greet(self, grid: Grid, patience: float, beginning: bool = False) -> None:
        """Ask those who are new. On a deployment nobody waits for their answers: they come with a later look."""
        there, now = grid.get_node_ids() if self._there is None else self._there, time.monotonic()
        new = [node for node in there if node not in self._known and now >= self._greeted.get(node, -AGAIN) + AGAIN]
        if deployed(grid):
            self._mail = self._mail or Mail(grid)
            awaited = {message.metadata.dst_node_id for message in self._mail.mine.values()}
            new = [node for node in new if node not in awaited]
            self._mail.send(self.post.hello(new))
            self._greeted |= dict.fromkeys(new, now)
            self._mail.ask_again(STUCK)
            replies: Iterable[Message] = self._mail.take()
        else:
            asked = sendable(grid, self.post.hello(new))
            replies = grid.send_and_receive(asked, timeout=patience) if new else ()
        answered = 0
        for reply in replies:
            answered += not reply.has_error()
            self._take(grid, reply, beginning)
        if answered:
            self._account.aside("enrol", [0] * answered, answered)

    def _take(self, grid: Grid, reply: Message, beginning: bool) -> None:
        """Take in one answer. Raises: Silence where two living nodes claim one client at the beginning."""
        if reply.has_error():
            if reply.error.code != NODE_UNAVAILABLE:
                self._trouble = self._trouble or said(reply.error.reason or "")
                log.warning("a node could not say who it is: %s", said(reply.error.reason or ""))
            return
        node = reply.metadata.src_node_id
        self._known.add(node)
        try:
            client = self.post.who(reply)
        except Refused as why:
            self._unproven = f"a node did not show who it is: {why}"
            log.warning("node %d does not show who it is: %s", node, why)
            return
        if client >= self._clients:
            log.warning("node %d says it is client %d; there are %d clients", node, client, self._clients)
        elif self.of.get(client, node) == node or self.of[client] not in set(grid.get_node_ids()):
            self.of[client] = node
        elif not beginning:
            log.warning("nodes %d and %d both say they are client %d: the first is asked, the second is not, as a "
                        "copy of a client's disk would be", self.of[client], node, client)  # fmt: skip
        else:
            raise Silence(f"nodes {self.of[client]} and {node} both say they are client {client}")
