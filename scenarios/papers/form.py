"""What `paper.toml` may say: what was published, and what must come out here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, model_validator

from scenarios.schema_words import Count, Positive, Section, Text

Figure = Literal["train_loss", "grad_norm_sq", "test_accuracy", "bits_to_loss", "diverged"]
Arm = Annotated[dict[str, Any], Field(min_length=1)]  # "method" and keys of the grid, with their values


class Bounds(Section):
    """Where the whole interval of a claim must lie, both ends included."""

    at_least: FiniteFloat | None = None
    at_most: FiniteFloat | None = None


class Claim(Bounds):
    """A sentence and the numbers that bear it out: a figure of one method, or set against another's seed by seed.

    Attributes:
      study: the file's name without .toml; needed where the folder holds several.
      figure: `bits_to_loss` are uplink bits as papers count them, 32 a number, until the training loss is at `target`,
        inf where it never was; `diverged` is 1 or 0.
      when: the last evaluation, the mean of those in the second half of the rounds, or the least of all.
      of: the method (and setting) it is about; of several step sizes the one that is best in this very figure.
      over: the figure is divided by this method's; less: this method's is taken away.
      small: bounds on the reduced size; a claim without them is not held to it there.
    """

    says: Text
    study: Text | None = None
    figure: Figure
    when: Literal["end", "tail", "least"] = "end"
    target: Positive | None = None
    of: Arm
    over: Arm | None = None
    less: Arm | None = None
    small: Bounds | None = None

    @model_validator(mode="after")
    def _can_be_held(self) -> Claim:
        if self.at_least is None and self.at_most is None:
            raise ValueError("a claim needs at_least or at_most")
        if self.over is not None and self.less is not None:
            raise ValueError("over divides and less subtracts: one of the two")
        if (self.figure == "bits_to_loss") != (self.target is not None):
            raise ValueError("target is the training loss of figure = 'bits_to_loss', which needs it")
        return self


class Small(Section):
    """What is less on the reduced size: of the study of the same name, else as it is."""

    seeds: list[int] | None = None
    gamma: list[Positive] | None = None
    grid: dict[str, list[Any]] | None = None
    rounds: Count | None = None
    sets: list[Text] = Field(default_factory=list)


class Paper(Section):
    """A whole file. `published`: what the paper shows; `differs`: what is not the same here."""

    title: Text
    source: Text
    published: Text
    differs: Text
    claim: Annotated[list[Claim], Field(min_length=1)]
    small: dict[str, Small] = Field(default_factory=dict)
