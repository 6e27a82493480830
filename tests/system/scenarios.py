"""What fleets of three devices are given to do in tests."""

from __future__ import annotations

CLIENTS = 3


def answer(round: int) -> int:
    """Which of a device's offers in a run of `small` is that of a round: before come who it is and what its g_i is."""
    return 2 + round


def small(rounds: int = 4, *, timeout: float = 120.0, every: int | None = None, more: str = "") -> str:
    """A scenario's text: digits, d = 650, durable; measured and audited in the end unless `every` says more often.

    timeout: seconds; long, so that on a slow machine nobody is late who is not meant to be. more: further sections.
    """
    return f"""
name = "small fleet"
rounds = {rounds}
seed = 3
durability = "disk"
partition = {{ clients = {CLIENTS}, scheme = "label-sorted" }}
model = {{ name = "logistic", bias = true }}
train = {{ batch_size = 2, timeout = {timeout} }}
evaluate = {{ every = {every or rounds}, traffic = "clients" }}
engine = {{ actors = 0 }}
method = [{{ name = "ef21-sgdm", eta = 0.3, gamma = 0.2, compressor = "topk", k = 5 }}]
{more}"""
