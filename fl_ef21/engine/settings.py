"""What a simulation may use."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fl_ef21.errors import InputError

ADDRESS = re.compile(r"(ray://)?[^\s/:]+:[0-9]{1,5}")


@dataclass(frozen=True)
class Settings:
    """What a simulation may use. Raises: InputError for what no machine could offer.

    Attributes:
      actors: Ray actors, >= 0; 0 computes in this process without Ray. None, with an address only, is as many
        as all nodes of the cluster hold.
      cpus_per_actor: > 0; may be a fraction, so that several actors share a CPU.
      gpus_per_actor: in [0, 1]; a fraction lets several actors share a GPU, and above 0 clients compute on it.
      address: the Ray cluster to join, "auto" for the one this machine belongs to, "host:port" or
        "ray://host:port"; None starts Ray on this machine.
    """

    actors: int | None = 2
    cpus_per_actor: float = 1.0
    gpus_per_actor: float = 0.0
    address: str | None = None

    def __post_init__(self) -> None:
        if self.actors is None and self.address is None:
            raise InputError("engine.actors", None, "must be a number where there is no engine.address")
        if self.actors is not None and self.actors < 0:
            raise InputError("engine.actors", self.actors, "must be at least 0")
        if not 0 < self.cpus_per_actor < float("inf"):
            raise InputError("engine.cpus_per_actor", self.cpus_per_actor, "must be greater than 0")
        if not 0 <= self.gpus_per_actor <= 1:
            advice = "must lie in [0, 1]: an actor computes on one GPU; for more GPUs, use more actors"
            raise InputError("engine.gpus_per_actor", self.gpus_per_actor, advice)
        if self.address is not None and self.actors == 0:
            raise InputError("engine.address", self.address, "goes with actors; 0 actors are this process alone")
        if self.address is not None and self.address != "auto" and not ADDRESS.fullmatch(self.address):
            raise InputError("engine.address", self.address, "write it as 'auto', 'host:port' or 'ray://host:port'")

    @property
    def threads(self) -> int:
        return max(1, int(self.cpus_per_actor))
