"""Who signs which message, and what of it.

An instruction is signed by the server and a reply by its client, over

    a word for the direction | the block | a digest of everything else in the message

Client, round, run, term and a count are in the block: a signature is good for one message. What Flower writes around
the records is not signed, and nothing of ours is read there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict

from fl_ef21 import signing
from fl_ef21.errors import InputError, Refused
from fl_ef21.flower_stamp import entries, values_of
from fl_ef21.records import BLOCK, PROTOCOL, SIGNATURE, read_block

Digests = Mapping[str, bytes]  # of a message's records, by name
APART = (BLOCK, SIGNATURE)  # the first is signed as it is


@dataclass(frozen=True)
class ServerKeys:
    """Attributes: private, the server's; clients, the public key of each client, by number."""

    private: signing.Private
    clients: tuple[signing.Public, ...]

    @staticmethod
    def load(folder: Path, clients: int) -> ServerKeys:
        """From `server.key` and a `client-NUMBER.pub` for every client. Raises: InputError about `message-keys`."""
        field = "run-config.message-keys"
        if not folder.is_dir():
            advice = "is no folder; it must hold server.key and a client-NUMBER.pub for each client"
            raise InputError(field, str(folder), advice)
        private = signing.private_key(field, folder / "server.key")
        public = [signing.public_key(field, folder / f"client-{i}.pub") for i in range(clients)]
        return ServerKeys(private, tuple(public))

    def sign(self, block: bytes, others: Digests) -> bytes:
        """The signature of an instruction."""
        return signing.sign(self.private, signing.INSTRUCTION, block + _together(others))

    def check(self, reply: Message, block: bytes, client: int) -> None:
        """Raises: Refused("signature") where this client has not signed this."""
        if client >= len(self.clients):
            raise Refused("signature", f"there is no key of client {client}")
        _check(self.clients[client], reply, signing.REPLY, block, f"client {client}")


@dataclass(frozen=True)
class ClientKeys:
    """Attributes: private, the client's, None where it does not sign; server, the public key of the server whose
    instructions are followed, None for anybody's.
    """

    private: signing.Private | None = None
    server: signing.Public | None = None

    @staticmethod
    def load(private: str, server: str) -> ClientKeys:
        """From the files of these names, "" for none. Raises: InputError about `message-key` or `server-key`."""
        mine = signing.private_key("node-config.message-key", Path(private)) if private else None
        theirs = signing.public_key("node-config.server-key", Path(server)) if server else None
        return ClientKeys(mine, theirs)

    def check(self, instruction: Message) -> None:
        """Raises: Refused("signature") where the server has not signed this."""
        if self.server is not None:
            _check(self.server, instruction, signing.INSTRUCTION, read_block(instruction), "the server")

    def seal(self, reply: RecordDict) -> RecordDict:
        """The same records, signed."""
        if self.private is not None:
            protocol: Any = reply[PROTOCOL]
            told = protocol[BLOCK] + _together(digests(reply))
            protocol[SIGNATURE] = signing.sign(self.private, signing.REPLY, told)
        return reply


def digests(content: RecordDict) -> dict[str, bytes]:
    """Of every record that is signed. Raises: Refused("signature") where one holds what our messages do not."""
    return {name: digest(record, APART if name == PROTOCOL else ()) for name, record in entries(content).items()}


def digest(record: Any, besides: Sequence[str] = ()) -> bytes:
    """32 bytes over the names and values of a record, besides those of some names."""
    told = sha256()
    if isinstance(record, ArrayRecord):
        for name, array in sorted(entries(record).items()):
            _feed(told, b"array", name.encode(), array.dtype.encode(), repr(tuple(array.shape)).encode(),
                  array.stype.encode(), array.data)  # fmt: skip
    elif isinstance(record, ConfigRecord):
        for name, value in sorted(entries(record).items()):
            if name not in besides:
                _feed(told, b"bytes" if isinstance(value, bytes) else b"list", name.encode(), *_pieces(value))
    else:
        raise Refused("signature", f"a {type(record).__name__} is in no message of ours")
    return told.digest()


def _pieces(value: Any) -> list[bytes]:
    pieces = value if isinstance(value, list) else [value]
    if not all(isinstance(one, bytes) for one in pieces):
        raise Refused("signature", f"entries of our messages are bytes, not {type(value).__name__}")
    return pieces


def _feed(told: Any, *parts: bytes) -> None:
    """So many parts, of such lengths: two different lists are never the same bytes."""
    told.update(len(parts).to_bytes(8, "little"))
    for part in parts:
        told.update(len(part).to_bytes(8, "little"))
        told.update(part)


def _together(others: Digests) -> bytes:
    told = sha256()
    for name, one in sorted(others.items()):
        _feed(told, name.encode(), one)
    return told.digest()


def _check(key: signing.Public, message: Message, domain: bytes, block: bytes, who: str) -> None:
    signature = (values_of(message, PROTOCOL) or {}).get(SIGNATURE)
    if not isinstance(signature, bytes):
        raise Refused("signature", f"the message is not signed; {who} must have signed it")
    if not signing.holds(key, signature, domain, block + _together(digests(message.content))):
        raise Refused("signature", f"{who} has not signed this message")
