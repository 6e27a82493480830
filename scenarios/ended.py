"""failure.json: why a ServerApp ended otherwise than by finishing, for who follows its run from another process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from scenarios.folder import put

NAME = "failure.json"
NETWORK = ("httpx", "httpcore", "requests", "urllib3", "grpc")  # whose errors mean that the SuperLink did not answer


@dataclass(frozen=True)
class Failure:
    """Attributes:
    code: exit code that `fl-ef21 run` would have.
    words: what it would say.
    lost: the SuperLink did not answer any more; nothing is wrong with the run.
    """

    code: int
    words: str
    lost: bool

    @classmethod
    def of(cls, folder: Path) -> Failure | None:
        """What is noted in a run folder, if anything."""
        with suppress(OSError, ValueError, TypeError):
            return cls(**json.loads((folder / NAME).read_text(encoding="utf-8")))
        return None


@contextmanager
def noted(folder: Path | None) -> Iterator[None]:
    """An error raised inside is noted in the run folder, if it is there: bad input makes none. None notes nothing."""
    if folder is not None:
        (folder / NAME).unlink(missing_ok=True)
    try:
        yield
    except Exception as error:
        if folder is not None and folder.is_dir():
            from scenarios.commands.failures import explain

            code, words = explain(error)
            with suppress(OSError):  # a full disk must not hide that it is full
                put(folder / NAME, json.dumps(asdict(Failure(int(code), words, lost(error)))) + "\n")
        raise


def lost(error: BaseException) -> bool:
    """Whether this is the network's doing."""
    return isinstance(error, ConnectionError) or type(error).__module__.partition(".")[0] in NETWORK
