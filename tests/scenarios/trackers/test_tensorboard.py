"""TensorBoard reads back what a run told it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import scenarios
from scenarios.trackers import named
from tests.small import ALL_METHODS, scenario

pytest.importorskip("tensorboard", reason="needs pip install 'fl-ef21[tensorboard]'")


def test_every_figure_of_every_method_is_a_curve(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker = named(f"tensorboard:{tmp_path / 'curves'}")
    result = scenarios.run(scenario(method=ALL_METHODS[3:5]), out=tmp_path / "run", trackers=[tracker])
    (folder,) = (tmp_path / "curves").iterdir()
    assert folder.name.startswith("small-") and {p.name for p in folder.iterdir()} == {"ef21-sgd", "ef21-sgdm"}
    read: Any = EventAccumulator(str(folder / "ef21-sgdm"))
    read.Reload()
    rows = result.of("ef21-sgdm")
    told = [(event.step, event.value) for event in read.Scalars("train_loss")]
    assert [step for step, _ in told] == [0, 2, 4, 6]
    assert [value for _, value in told] == pytest.approx(rows["train_loss"].tolist(), rel=1e-6)
    assert {"test_accuracy", "uplink_bytes"} <= set(read.Tags()["scalars"])
    assert b"train.batch_size | 2" in read.Tensors("scenario/text_summary")[0].tensor_proto.string_val[0]
