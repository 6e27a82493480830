"""What Ray raises where an actor, its node or its results are gone, in words that help."""

from __future__ import annotations

import re

MEMORY = (
    'use fewer actors on a node (a larger engine.cpus_per_actor), engine.state = "mapped", more memory or nodes, or '
    "fewer clients; every client keeps its vectors, of the model's size each, in its shard"
)

LOW = "running low on memory"
_IDS = re.compile(r" (class_name|actor_id|pid|namespace|ip): \S+")


class Gone(RuntimeError):
    """There will be no result: the process of a shard has died, and cannot be had again for now."""


class ShardLost(RuntimeError):
    """A shard dies whenever it is started; the run cannot go on."""


def gone() -> tuple[type[BaseException], ...]:
    """Errors after which an actor is not to be used any more."""
    from ray import exceptions as e

    return (
        e.RayActorError, e.NodeDiedError, e.ObjectLostError, e.OutOfMemoryError, e.WorkerCrashedError,
        e.RuntimeEnvSetupError, e.ActorUnschedulableError, e.ActorPlacementGroupRemoved,
    )  # fmt: skip


def told(error: BaseException) -> str:
    """One line: the last of a traceback, else what Ray says, and what to do where memory was short."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    words = lines[-1] if "Traceback" in str(error) else " ".join(lines)
    if LOW in words:  # of which Ray tells two thousand characters
        used = re.search(r"was ([\d.]+ ?\w+ / [\d.]+ ?\w+)", words)
        words = f"Ray ended it because the node was {LOW}" + (f" ({used[1]})" if used else "")
    return _IDS.sub("", words).partition(" Some common causes include")[0].rstrip(". ") + advice(str(error))


def advice(words: str) -> str:
    """For what Ray and torch say of memory."""
    if "CUDA out of memory" in words:
        return "; the GPU is full: give actors a larger engine.gpus_per_actor, so that fewer share it"
    if LOW in words or "MemoryError" in words or "allocate memory" in words:
        return f"; the node ran out of memory: {MEMORY}"
    if "OOM killer" in words:
        return f"; if memory was short: {MEMORY}"
    return ""
