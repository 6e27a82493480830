"""Small scenarios for tests."""

from typing import Any

from scenarios.schema import Scenario

SPARSE = {"compressor": "topk", "k": 5}
ALL_METHODS: list[dict[str, Any]] = [
    {"name": "sgdm", "eta": 0.3, "gamma": 0.2},
    {"name": "compressed-sgd", "gamma": 0.2} | SPARSE,
    {"name": "ef14", "gamma": 0.2} | SPARSE,
    {"name": "ef21-sgd", "gamma": 0.2} | SPARSE,
    {"name": "ef21-sgdm", "eta": 0.3, "gamma": 0.2} | SPARSE,
    {"name": "ef21-sgd2m", "eta": 0.3, "gamma": 0.2} | SPARSE,
]


def scenario(**changes: Any) -> Scenario:
    """Digits on 12 label-sorted clients in this process; sections are merged into the defaults."""
    base: dict[str, Any] = {
        "name": "small", "rounds": 6, "seed": 3,
        "partition": {"clients": 12, "scheme": "label-sorted"},
        "model": {"name": "logistic", "bias": True},
        "train": {"batch_size": 2},
        "method": [ALL_METHODS[4]],
        "evaluate": {"every": 2},
        "engine": {"actors": 0},
    }  # fmt: skip
    for key, value in changes.items():
        base[key] = base[key] | value if isinstance(value, dict) and key in base else value
    return Scenario.model_validate(base)
