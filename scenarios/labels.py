"""What reports call a method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scenarios.schema_method import Method


def labelled(method: Method, among: Sequence[Method]) -> Method:
    """The method with a label: its own, else its name and whatever tells it from others of that name."""
    if method.label:
        return method
    label: str = method.name.rpartition(":")[2]  # of a class of another package, its own name
    alike = [other for other in among if other.name == method.name]
    if len(alike) > 1:
        told = method.model_dump(exclude_defaults=True, exclude={"name", "label", "optimizer_args"})
        differing = [
            key for key in type(method).model_fields
            if key in told and any(getattr(other, key) != getattr(method, key) for other in alike)
        ]  # fmt: skip
        words = [str(told[key]) if key == "compressor" else f"{key}={_short(told[key])}" for key in differing]
        label = " ".join([label, *words])
    return method.model_copy(update={"label": label})


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['value']:g} falling"
    if isinstance(value, list):
        return "/".join(_short(entry) for entry in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
