"""What a scenario file may say of one method."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, FiniteFloat, field_validator, model_validator

from fl_ef21 import plugins
from scenarios.schema_words import (
    AGGREGATES,
    COMPRESSORS,
    EXACT,
    MIXINGS,
    PROXES,
    ByClass,
    Count,
    Dealt,
    NotNegative,
    Positive,
    Section,
    Share,
    Switch,
    Text,
    Whole,
    compressor_name,
    finite,
    method_name,
    one_of,
)

Theory = Literal["theory"]  # what the method's theorem allows, resolved when the scenario is prepared


class Decay(Section):
    """A number that falls: value / (1 + (round - 1) / tau)^power."""

    value: Positive
    power: NotNegative = 0.5
    tau: Positive = 1.0


class Method(Section):
    """One method with its hyperparameters; several are run side by side."""

    name: Annotated[Text, AfterValidator(method_name)]
    eta: Share | Decay | Theory = 0.1
    gamma: Positive | Decay | Theory
    hyper: dict[Text, FiniteFloat | Decay] = Field(default_factory=dict)
    compressor: Annotated[Text, AfterValidator(compressor_name)] = "identity"
    k: Whole | Dealt[Whole] | ByClass[Whole] | None = None
    fraction: FiniteFloat | Dealt[FiniteFloat] | ByClass[FiniteFloat] | None = None
    block: Count | None = None
    threshold: FiniteFloat | None = None
    step: FiniteFloat | None = None
    levels: Count | None = None
    bucket: Count | None = None
    rank: Count | None = None
    iterations: Count | None = None
    scaled: Switch | None = None
    contractive: Switch | None = None
    values: Literal["exact", "bfloat16", "float16", "int8", "int4", "sign", "natural", "qsgd"] | None = None
    scale_block: Count | None = None
    options: dict[Text, Any] = Field(default_factory=dict)
    downlink: Text | None = None
    layer_aware: Switch = False
    aggregate: Annotated[Text, AfterValidator(one_of(AGGREGATES))] = "mean"
    mixing: Annotated[Text | None, AfterValidator(one_of(MIXINGS))] = None
    prox: Annotated[Text | None, AfterValidator(one_of(PROXES))] = None
    optimizer: Text = "sgd"
    optimizer_args: dict[str, Any] = Field(default_factory=dict)
    label: Annotated[str, Field(strict=True)] = ""

    @field_validator("downlink")
    @classmethod
    def _known_downlink(cls, text: str | None) -> str | None:
        name = plugins.named(text or "identity", COMPRESSORS)
        try:
            compressor_name(name)
        except ValueError as error:
            raise ValueError(f"{name!r} {error}") from error
        return text

    @field_validator("eta")
    @classmethod
    def _eta_at_most_one(cls, eta: float | Decay | Theory) -> float | Decay | Theory:
        if isinstance(eta, Decay) and eta.value > 1:
            raise ValueError(f"eta must start in (0, 1], not at {eta.value:g}")
        return eta

    @field_validator("optimizer_args", "options")
    @classmethod
    def _finite(cls, args: dict[str, Any]) -> dict[str, Any]:
        return finite(args)

    @model_validator(mode="after")
    def _ours_have_keys_of_their_own(self) -> Method:
        if self.options and self.compressor in COMPRESSORS:
            takes = ", ".join(COMPRESSORS[self.compressor]) or "none"
            raise ValueError(
                f"options are for compressors of other packages; those of {self.compressor!r} are keys of the method: "
                f"{takes}"
            )
        return self

    @model_validator(mode="after")
    def _sgdm_is_not_compressed(self) -> Method:
        if self.name == "sgdm" and self.compressor != "identity":
            raise ValueError(
                f"sgdm is the uncompressed method, so compressor = {self.compressor!r} does not go with it; "
                "leave it out, or take name = 'ef21-sgdm' or 'compressed-sgd'"
            )
        if self.name == "sgdm" and self.values not in (None, "exact"):
            raise ValueError(
                f"sgdm is the uncompressed method, so values = {self.values!r} does not go with it; leave it out, or "
                "take name = 'compressed-sgd' with compressor = 'identity'"
            )
        return self


def default_values(compressor: str, dtype: str, method: str = "") -> str | None:
    """How a compressor sends its values where nothing is said; None where it has no choice, or is not ours and knows
    for itself.

    bfloat16 is half of float32, and its error is fed back; float64 is asked for where every digit counts, and some
    methods are defined for compressors that do not round.
    """
    if "values" not in COMPRESSORS.get(compressor, ()):
        return None
    exact = compressor == "identity" or dtype == "float64" or method in EXACT
    return "exact" if exact else "bfloat16"
