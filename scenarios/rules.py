"""Stop rules: what ends a method early."""

from __future__ import annotations

from scenarios.schema import Stop
from scenarios.tally import Row, Tally


def cheap_rule(rule: Stop, tally: Tally) -> str:
    """Which rule holds that needs no evaluation, in words; empty where none does."""
    if rule.uplink_bytes is not None and tally.uplink_bytes >= rule.uplink_bytes:
        return f"uplink_bytes reached {tally.uplink_bytes}"
    if rule.wall_seconds is not None and tally.seconds >= rule.wall_seconds:
        return f"wall_seconds reached {tally.seconds:.1f}"
    if rule.virtual_seconds is not None and (tally.virtual_seconds or 0.0) >= rule.virtual_seconds:
        return f"virtual_seconds reached {tally.virtual_seconds:.1f}"
    return ""


def measured_rule(rule: Stop, row: Row) -> str:
    """Likewise of an evaluated row."""
    accuracy = row["test_accuracy"]
    if rule.target_accuracy is not None and accuracy is not None and accuracy >= rule.target_accuracy:
        return f"target_accuracy reached {accuracy:.4f}"
    norm = row["grad_norm_sq"]
    if rule.grad_norm_sq is not None and norm is not None and norm <= rule.grad_norm_sq:
        return f"grad_norm_sq reached {norm:.3g}"
    return ""
