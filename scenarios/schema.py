"""What a scenario file may say: the one list of sections, keys, types and defaults."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, FiniteFloat, field_validator, model_validator

from fl_ef21.devices import words
from scenarios.labels import labelled
from scenarios.schema_dial import dialled
from scenarios.schema_method import Method, default_values
from scenarios.schema_rounds import refuse_what_cannot_be
from scenarios.schema_words import (
    MODELS,
    ByClass,
    Count,
    Dealt,
    NotNegative,
    Positive,
    Section,
    Share,
    Switch,
    Text,
    chaos_words,
    compressor_word,
    finite,
    unknown,
)


class Data(Section):
    """Where samples come from."""

    source: Literal["digits", "mnist", "libsvm", "synthetic", "huggingface", "files"] = "digits"
    path: Text | None = None
    test_path: Text | None = None
    test_fraction: Annotated[FiniteFloat, Field(ge=0, lt=1)] | None = None
    name: Text | None = None
    subset: Text | None = None
    feature_column: Text | None = None
    label_column: Text | None = None
    natural_id: Text | None = None
    samples: Count | None = None
    features: Count | None = None
    shape: Annotated[list[Count], Field(min_length=1)] | None = None
    classes: Annotated[int, Field(ge=2)] | None = None
    separation: NotNegative | None = None
    groups: Count | None = None


class Partition(Section):
    """How samples are dealt to clients."""

    clients: Count = 10
    scheme: Literal[
        "iid", "dirichlet", "pathological", "label-sorted", "natural", "linear", "square", "exponential", "log-normal",
        "inner-dirichlet",
    ] = "iid"  # fmt: skip
    alpha: Positive = 0.3
    classes_per_client: Count = 2
    sigma: Annotated[FiniteFloat, Field(ge=0, le=10)] = 1.0
    min_samples: Count = 1
    features: Text | None = None
    correlation: Annotated[FiniteFloat, Field(ge=-1, le=1)] = 0.0


class Model(Section):
    """What is minimised."""

    name: Text = "logistic"
    regularizer: NotNegative | None = None
    bias: Switch | None = None
    hidden: list[Count] | None = None
    channels: Count | list[Count] | None = None
    per_client: Literal["auto", "vmap", "loop", "channels-last"] | None = None
    loss: Text | None = None
    args: dict[str, Any] | None = None
    L: Positive | None = None
    mu: Positive | None = None
    dim: Count | None = None
    sigma: NotNegative | None = None
    noise: Text | NotNegative | None = None
    x0: FiniteFloat | list[FiniteFloat] | None = None
    heterogeneity: NotNegative | None = None

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if ":" not in name and name not in MODELS:
            raise ValueError(unknown(name, MODELS, "or package.module:Class of a torch.nn.Module"))
        return name

    @field_validator("args")
    @classmethod
    def _finite(cls, args: dict[str, Any] | None) -> dict[str, Any] | None:
        return finite(args)


class Train(Section):
    """What a client does in a round, and which clients are asked."""

    batch_size: Count | Literal["full"] | Dealt[Count | Literal["full"]] | ByClass[Count | Literal["full"]] = 32
    local_steps: Count | Dealt[Count] | ByClass[Count] = 1
    local_rate: Positive | None = None
    participation: Share = 1.0
    mode: Literal["synchronous", "buffered"] = "synchronous"
    buffer: Count | None = None
    concurrency: Count | None = None
    over_selection: Annotated[FiniteFloat, Field(ge=1)] = 1.0
    min_reports: Count | None = None
    start_clients: Count | None = None
    patience: Positive = 120.0
    timeout: Positive | None = None
    late: Literal["discard", "apply"] = "discard"
    start: Literal["gradient", "zero"] = "gradient"
    dtype: Literal["float32", "float64"] = "float32"
    momentum_dtype: Literal["bfloat16"] | None = None
    weights: Literal["equal", "samples"] = "equal"

    @model_validator(mode="after")
    def _local_steps_have_a_rate(self) -> Train:
        steps = list(self.local_steps.values()) if isinstance(self.local_steps, dict) else self.local_steps
        several = max(steps if isinstance(steps, list) else [steps]) > 1
        if several and self.local_rate is None:
            raise ValueError("local_rate is missing; local_steps needs it, such as local_rate = 0.05")
        if not several and self.local_rate is not None:
            raise ValueError(f"local_rate = {self.local_rate:g} has no meaning where local_steps is 1; remove it")
        return self


class Attack(Section):
    """Byzantine clients, in every method. Without the section there are none."""

    name: Literal["sign-flip", "label-flip", "ipm", "alie", "scaled", "sleeper"]
    clients: Count | list[Annotated[int, Field(ge=0, strict=True)]] | None = None
    share: Annotated[FiniteFloat, Field(gt=0, lt=1)] | None = None
    scale: Positive | None = None
    z: NotNegative | None = None
    from_round: Count = 1


class Guard(Section):
    """Limits on what a client may lead g to, and what becomes of one who passes them."""

    norm: Positive | None = None
    times_median: NotNegative = 1e4
    strikes: Count = 3
    action: Literal["quarantine", "evict"] = "quarantine"


class Evaluate(Section):
    """When the full objective is measured."""

    every: Count = 10
    where: Literal["auto", "server", "clients"] = "auto"
    audit: Switch = True
    traffic: Literal["off", "rounds", "clients"] = "rounds"
    fairness: Literal["off", "end", "rounds"] = "end"
    theory: Switch = False


class Devices(Section):
    """The devices that clients are, for virtual time. Without the section there is none."""

    profile: Text
    availability: Annotated[Text, AfterValidator(words.word)] | None = None
    step_seconds: Positive | None = None
    work: Positive = 1.0
    server_seconds: NotNegative = 0.0


class Engine(Section):
    """What the simulation may use. actors = 0 computes in this process, without Ray."""

    actors: Annotated[int, Field(ge=0, strict=True)] = Field(default_factory=lambda: os.cpu_count() or 1)
    cpus_per_actor: Positive = 1.0
    gpus_per_actor: Annotated[FiniteFloat, Field(ge=0, le=1)] = 0.0
    address: Text | None = None
    state: Literal["auto", "device", "host", "mapped"] = "auto"
    memory_gib: Positive | None = None
    state_dir: Text | None = None


class Cuts(Section):
    """When a run keeps all that it needs to go on."""

    every: Count | None = None
    keep_last: Count = 2


class Stop(Section):
    """Ends a method early, at the first rule that holds."""

    uplink_bytes: Positive | None = None
    target_accuracy: Share | None = None
    grad_norm_sq: Positive | None = None
    wall_seconds: Positive | None = None
    virtual_seconds: Positive | None = None


class Scenario(Section):
    """A whole file."""

    name: Text
    seed: Annotated[int, Field(ge=0, strict=True)] = 0
    rounds: Count
    durability: Literal["memory", "disk"] = "memory"
    shadow: list[Annotated[Text, AfterValidator(compressor_word)]] = Field(default_factory=list)
    chaos: Annotated[Text, AfterValidator(chaos_words)] | None = None
    heterogeneity: Annotated[FiniteFloat, Field(ge=0, le=1)] | None = None
    data: Data = Data()
    partition: Partition = Partition()
    model: Model = Model()
    train: Train = Train()
    method: Annotated[list[Method], Field(min_length=1)]
    attack: Attack | None = None
    guard: Guard = Guard()
    evaluate: Evaluate = Evaluate()
    devices: Devices | None = None
    engine: Engine = Field(default_factory=Engine)
    cuts: Cuts = Cuts()
    stop: Stop = Stop()

    @model_validator(mode="after")
    def _rounds_can_be(self) -> Scenario:
        refuse_what_cannot_be(self.train, self.partition.clients)
        if self.train.mode == "buffered":
            object.__setattr__(self, "train", self.train.model_copy(update={"late": "apply"}))
        return self

    @model_validator(mode="after")
    def _one_dial_moves_all(self) -> Scenario:
        if self.heterogeneity is not None:
            object.__setattr__(self, "partition", dialled(self.partition, self.heterogeneity))
        return self

    @model_validator(mode="after")
    def _virtual_time_is_of_devices(self) -> Scenario:
        if self.stop.virtual_seconds is not None and self.devices is None:
            told = f"stop.virtual_seconds = {self.stop.virtual_seconds:g}: there is no virtual time without [devices]"
            raise ValueError(f'{told}; add the section, such as profile = "phones-lognormal", or remove it')
        return self

    @model_validator(mode="after")
    def _labels_tell_methods_apart(self) -> Scenario:
        named = [labelled(method, self.method) for method in self.method]
        labels = [m.label for m in named]
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise ValueError(f"two methods are called {twice[0]!r}; give each a label of its own")
        object.__setattr__(self, "method", named)
        return self

    @model_validator(mode="after")
    def _values_are_told(self) -> Scenario:
        told = list[Method]()
        for method in self.method:
            values = method.values or default_values(method.compressor, self.train.dtype, method.name)
            told.append(method.model_copy(update={"values": values}))
        object.__setattr__(self, "method", told)
        return self

    @model_validator(mode="after")
    def _files_are_dealt(self) -> Scenario:
        if self.data.source == "files" and self.partition.scheme != "natural":
            if "scheme" in self.partition.model_fields_set:
                told = "has no meaning where every client has its own file; remove it"
                raise ValueError(f"partition.scheme = {self.partition.scheme!r} {told}")
            object.__setattr__(self, "partition", self.partition.model_copy(update={"scheme": "natural"}))
        return self

    @model_validator(mode="after")
    def _what_clients_cannot_measure(self) -> Scenario:
        if self.evaluate.where == "clients" and self.stop.grad_norm_sq is not None:
            told = f"stop.grad_norm_sq = {self.stop.grad_norm_sq:g} needs the full gradient"
            raise ValueError(f'{told}, which clients do not send; remove it, or evaluate.where = "clients"')
        return self

    @field_validator("shadow")
    @classmethod
    def _shadows_differ(cls, words: list[str]) -> list[str]:
        if twice := sorted({word for word in words if words.count(word) > 1}):
            raise ValueError(f"{twice[0]!r} is there twice")
        return words


SECTIONS: dict[str, type[Section]] = {
    "data": Data, "partition": Partition, "model": Model, "train": Train, "method": Method,
    "attack": Attack, "guard": Guard, "evaluate": Evaluate, "devices": Devices,
    "engine": Engine, "cuts": Cuts, "stop": Stop,
}  # fmt: skip
