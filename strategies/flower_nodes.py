"""Which Flower node is which client. Identity is ours: a node id changes when a SuperNode starts again."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from flwr.app import Message
from flwr.serverapp import Grid

from fl_ef21.errors import Refused
from fl_ef21.flower_internals import NODE_UNAVAILABLE, sendable
from fl_ef21.sealing import ServerKeys
from strategies.flower_account import Account
from strategies.flower_post import Post
from strategies.flower_replies import said
from strategies.ledger import Ledger
from strategies.rounds import Silence

log = logging.getLogger("fl_ef21")


class Nodes:
    """The nodes that have said who they are.

    Attributes:
      of: the node of each client.
      post: makes the messages to them.
    """

    def __init__(self, ledger: Ledger, clients: int, account: Account) -> None:
        self.of: dict[int, int] = {}
        self.post = Post(ledger, self.of)
        self._clients, self._account, self._gone = clients, account, False
        self._known = set[int]()  # every node that has been asked who it is

    def authenticate(self, keys: ServerKeys) -> None:
        """From now on sign what goes to clients, and refuse what is not signed by the client it names."""
        self.post.keys, self._account.signed = keys, True

    def enrol(self, grid: Grid, patience: float = 120.0) -> None:
        """Wait until the whole population is there.

        Raises: Silence where it does not come within `patience` seconds, or two living nodes claim one client.
        """
        deadline = time.monotonic() + patience
        while len(self.of) < self._clients:
            first = self._ask(grid, self._new(grid), patience)
            if first or time.monotonic() > deadline:
                raise Silence(f"{len(self.of)} of {self._clients} clients have enrolled; {first or 'time is up'}")
            if len(self.of) < self._clients:
                time.sleep(0.2)

    def note(self, replies: Sequence[Message]) -> None:
        """Look at what came back: a node that is gone may come again as another."""
        self._gone |= any(one.has_error() and one.error.code == NODE_UNAVAILABLE for one in replies)

    def refresh(self, grid: Grid) -> None:
        """Where a node was gone, ask those who are new."""
        if self._gone:
            self._gone = False
            self._ask(grid, self._new(grid), 60.0, again=True)

    def _new(self, grid: Grid) -> list[int]:
        return [node for node in grid.get_node_ids() if node not in self._known]

    def _ask(self, grid: Grid, nodes: Sequence[int], patience: float, again: bool = False) -> str:
        """Take in who answers; what the first of them said that could not."""
        first = ""
        for reply in grid.send_and_receive(sendable(grid, self.post.hello(nodes)), timeout=patience) if nodes else ():
            if reply.has_error():
                first = first or said(reply.error.reason or "")
                continue
            node = reply.metadata.src_node_id
            self._known.add(node)
            self._account.aside("enrol", [0], 1)
            try:
                client = self.post.who(reply)
            except Refused as why:
                log.warning("node %d does not show who it is: %s", node, why)
                continue
            if client >= self._clients:
                log.warning("node %d says it is client %d; there are %d clients", node, client, self._clients)
            elif self.of.get(client, node) == node or self.of[client] not in set(grid.get_node_ids()):
                self.of[client] = node
            elif again:
                log.warning("nodes %d and %d both say they are client %d: the first is asked, the second is not, as a "
                            "copy of a client's disk would be", self.of[client], node, client)  # fmt: skip
            else:
                raise Silence(f"nodes {self.of[client]} and {node} both say they are client {client}")
        return first
