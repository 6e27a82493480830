"""What lies where in a fleet's folder.

deploy.json      what `init` was told
ca/              key and certificate of the fleet's authority: only needed to make certificates, keep it elsewhere
superlink/       the server: its certificate, devices' public keys, message keys, database, run folders
nodes/0/ ...     one device each, self-contained: copy the folder there
flower/          a Flower home with the connection entry, for `flwr` on the server's machine
processes.json   what `up` has started
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from fl_ef21.errors import InputError

NAME = "deploy.json"
VERSION = 1


@dataclass(frozen=True)
class Fleet:
    """A fleet that `init` made.

    Attributes:
      folder: absolute.
      name: of Flower's connection entry, `flwr run . NAME`.
      hosts: names and addresses of the SuperLink, the first of which devices connect to.
      port: of the SuperLink.
      nodes: how many devices there are keys for.
    """

    folder: Path
    name: str
    hosts: tuple[str, ...]
    port: int
    nodes: int

    @classmethod
    def load(cls, folder: Path) -> Fleet:
        """Raises: InputError where there is no fleet, or its file is damaged or of another version."""
        path = folder / NAME
        if not path.is_file():
            advice = f"holds no fleet (it has no {NAME}); make one: fl-ef21 deploy init {folder} --nodes 3"
            raise InputError("DIR", str(folder), advice)
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            if told.pop("version") != VERSION:
                raise ValueError(f"this program reads version {VERSION}")
            return cls(folder.resolve(), **told | {"hosts": tuple(told["hosts"])})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError("DIR", str(path), f"is damaged: {type(error).__name__} {error}") from error

    def text(self) -> str:
        """What `load` reads."""
        told = {"version": VERSION} | {key: value for key, value in asdict(self).items() if key != "folder"}
        return json.dumps(told, indent=1) + "\n"

    @property
    def ca(self) -> Path:
        return self.folder / "ca"

    @property
    def superlink(self) -> Path:
        return self.folder / "superlink"

    @property
    def runs(self) -> Path:
        """Run folders, where `out` says nothing else."""
        return self.superlink / "runs"

    @property
    def message_keys(self) -> Path:
        return self.superlink / "message-keys"

    @property
    def flower(self) -> Path:
        return self.folder / "flower"

    @property
    def processes(self) -> Path:
        return self.folder / "processes.json"

    @property
    def registered(self) -> Path:
        """By a client's number, Flower's id of its node."""
        return self.superlink / "registered.json"

    @property
    def submitted(self) -> Path:
        """The run that was submitted last, and its run folder."""
        return self.superlink / "submitted.json"

    def node(self, client: int) -> Path:
        return self.folder / "nodes" / str(client)

    def public_key(self, client: int) -> Path:
        return self.superlink / "devices" / f"{client}.pub"

    def home(self, role: str) -> Path:
        """The folder that a process runs in. role: "superlink" or "node-0"."""
        return self.superlink if role == "superlink" else self.node(int(role.removeprefix("node-")))

    def log(self, role: str) -> Path:
        return self.home(role) / "log.txt"
