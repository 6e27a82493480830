"""A method of a scenario beside its NumPy rule, which is given nothing of the package: scenarios/checking/given.py.

The file of a rule holds its `Case`s, which tests/engine/test_family.py runs through the engine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from scenarios.checking.given import Compress, Given, Gradient, Rule, Vector

__all__ = ["Case", "Compress", "Given", "Gradient", "Rule", "Vector"]


@dataclass(frozen=True)
class Case:
    """A method of a scenario beside its rule.

    Attributes:
      method: as in a scenario, with its name, compressor and numbers.
      train: what [train] says besides, such as local_steps.
      starts: values of train.start that it is defined for.
      sampled: whether it is compared under partial participation, too.
    """

    method: dict[str, Any]
    rule: Rule
    train: dict[str, Any] = field(default_factory=dict)
    starts: tuple[str, ...] = ("gradient", "zero")
    sampled: bool = True

    def __str__(self) -> str:
        return str(self.method.get("label", self.method["name"]))
