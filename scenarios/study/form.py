"""What a study file may say."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, FiniteFloat, field_validator, model_validator

from scenarios.schema_words import Count, Positive, Section, Share, Switch, Text

LARGEST = ("test_accuracy",)  # objectives of which more is better
TO_TARGET = ("bytes_to_accuracy", "seconds_to_accuracy")
POWERS = "powers-of-two"  # the grid of step sizes that the EF21-SGDM paper tunes every method on
LOW, HIGH = -6, 1  # exponents where the file names none


def powers(text: str) -> list[float]:
    """The step sizes of "powers-of-two" or "powers-of-two:-8..2", smallest first. Raises: ValueError."""
    name, colon, span = text.partition(":")
    low, dots, high = span.partition("..")
    if name != POWERS or (colon and not dots):
        raise ValueError(f"write a list of step sizes, {POWERS!r}, or '{POWERS}:-8..2' for 2^-8 to 2^2")
    try:
        first, last = (int(low), int(high)) if colon else (LOW, HIGH)
    except ValueError:
        raise ValueError(f"{span!r} is no span of exponents, such as -8..2") from None
    if not -60 <= first <= last <= 60:
        raise ValueError(f"exponents must rise and lie in -60 .. 60, not {span}")
    return [2.0**power for power in range(first, last + 1)]


def _gamma(value: str | list[float] | None) -> str | list[float] | None:
    if isinstance(value, str):
        powers(value)
    elif value is not None and len(set(value)) < len(value):
        raise ValueError("a step size is there twice")
    return value


class Span(Section):
    """Numbers between two bounds, both included; of whole bounds whole numbers."""

    low: FiniteFloat | int
    high: FiniteFloat | int
    log: Switch = False

    @model_validator(mode="after")
    def _in_order(self) -> Span:
        if not self.low < self.high:
            raise ValueError(f"low must be less than high, got {self.low:g} and {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low must be greater than 0 on a logarithmic scale, got {self.low:g}")
        return self


class Search(Section):
    """Candidates of each method in each setting are proposed by Optuna, in batches."""

    sampler: Literal["tpe", "random"] = "tpe"
    trials: Count = 16
    batch: Count = 4
    space: Annotated[dict[str, Span | Annotated[list[Any], Field(min_length=1)]], Field(min_length=1)]


class Prune(Section):
    """Successive halving of the candidates of a method, at equal bytes, virtual seconds or rounds."""

    axis: Literal["uplink_bytes", "virtual_seconds", "round"] = "uplink_bytes"
    rungs: Annotated[list[Annotated[FiniteFloat, Field(gt=0, lt=1)]], Field(min_length=1)] = Field(
        default_factory=lambda: [0.25, 0.5]
    )
    keep: Annotated[FiniteFloat, Field(gt=0, lt=1)] = 0.5

    @field_validator("rungs")
    @classmethod
    def _rising(cls, rungs: list[float]) -> list[float]:
        if sorted(set(rungs)) != rungs:
            raise ValueError("shares of the budget must rise")
        return rungs


class Budget(Section):
    """Where every trial ends, so that methods are compared at equal cost."""

    rounds: Count | None = None
    uplink_bytes: Positive | None = None
    virtual_seconds: Positive | None = None


class Machine(Section):
    """What trials may use together. parallel = 0 computes in this process, one after another."""

    parallel: Annotated[int, Field(ge=0, strict=True)] | None = None
    gpus_per_trial: Annotated[FiniteFloat, Field(ge=0, le=1)] = 0.0


class Study(Section):
    """A whole file. `scenario` is the base where `base` names none."""

    name: Text
    base: Text | None = None
    scenario: dict[str, Any] | None = None
    seeds: Annotated[list[Annotated[int, Field(ge=0, strict=True)]], Field(min_length=1)] = Field(
        default_factory=lambda: [0, 1, 2]
    )
    objective: Literal["test_accuracy", "train_loss", "grad_norm_sq", "bytes_to_accuracy", "seconds_to_accuracy"] = (
        "test_accuracy"
    )
    target: Share | None = None
    baseline: Text | None = None
    gamma: Annotated[Text | Annotated[list[Positive], Field(min_length=1)] | None, AfterValidator(_gamma)] = None
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    search: Search | None = None
    prune: Prune | None = None
    budget: Budget = Budget()
    machine: Machine = Machine()

    @field_validator("seeds")
    @classmethod
    def _differ(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed is there twice")
        return seeds

    @field_validator("grid")
    @classmethod
    def _values_differ(cls, grid: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for key, values in grid.items():
            if any(value in values[:i] for i, value in enumerate(values)):
                raise ValueError(f"a value of {key!r} is there twice")
        return grid

    @model_validator(mode="after")
    def _what_goes_together(self) -> Study:
        if (self.base is None) == (self.scenario is None):
            raise ValueError("name a scenario as base, or write it under [scenario]: one of the two")
        if self.objective in TO_TARGET and self.target is None:
            raise ValueError(f"objective = {self.objective!r} needs target, such as target = 0.9")
        if self.objective not in TO_TARGET and self.target is not None:
            told = f"target = {self.target:g} has no meaning with objective = {self.objective!r}"
            raise ValueError(f"{told}; take 'bytes_to_accuracy' or 'seconds_to_accuracy', or remove it")
        if self.search is not None and self.gamma is not None:
            raise ValueError("gamma and [search] both choose step sizes; put 'method.gamma' into search.space")
        if self.prune is not None and self.gamma is None and self.search is None:
            raise ValueError("[prune] ends candidates early; it needs gamma = [...] or [search]")
        if self.prune is not None and self.objective in TO_TARGET:
            told = f"[prune] cannot rank unfinished trials by {self.objective!r}"
            raise ValueError(f"{told}; take 'test_accuracy', 'train_loss' or 'grad_norm_sq'")
        limit = self.prune and self.prune.axis != "round" and getattr(self.budget, self.prune.axis) is None
        if self.prune is not None and limit:
            raise ValueError(f"prune.axis = {self.prune.axis!r} needs budget.{self.prune.axis}")
        return self

    @property
    def gammas(self) -> list[float]:
        """The step sizes that every method is tuned on; empty where it keeps its own."""
        return powers(self.gamma) if isinstance(self.gamma, str) else list(self.gamma or [])

    @property
    def larger_is_better(self) -> bool:
        return self.objective in LARGEST
