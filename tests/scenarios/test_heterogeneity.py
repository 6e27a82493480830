"""How different clients are: numbers against closed forms, rare classes on slow devices, one dial, values by class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scenarios
from fl_ef21.devices.profile import Device, save
from fl_ef21.errors import InputError
from fl_ef21.rarity import rarity
from scenarios import fleets, heterogeneity
from scenarios.by_class import each
from scenarios.heterogeneity import figures
from scenarios.loading import ScenarioError, parse, to_toml
from scenarios.setup import prepare
from tests.small import scenario

PHONES = {"profile": "phones-2020", "step_seconds": 0.1}
INNER = {"scheme": "inner-dirichlet", "alpha": 0.1, "sigma": 0.5}  # no class is as common as another


def test_clients_that_are_alike_are_at_no_distance_and_disjoint_ones_at_the_largest() -> None:
    alike = heterogeneity.labels(np.full((5, 4), 3.0))
    assert [alike[key] for key in ("label_tv", "label_js", "label_hellinger")] == pytest.approx([0.0] * 3, abs=1e-7)
    apart = heterogeneity.labels(np.eye(4) * 7)
    assert apart["label_tv"] == pytest.approx(3 / 4) and apart["classes_per_client"] == 1
    assert apart["label_hellinger"] == pytest.approx(np.sqrt(1 - np.sqrt(1 / 4)))
    middle = np.array([5 / 8, 1 / 8, 1 / 8, 1 / 8])
    js = (np.log2(8 / 5) + (0.25 * np.log2(0.25 / middle)).sum()) / 2
    assert apart["label_js"] == pytest.approx(js)


def test_rarity_is_the_mean_surprise_at_a_client_s_labels_by_what_the_mean_client_holds() -> None:
    assert rarity(np.array([[6, 0], [2, 0], [0, 8]])).tolist() == pytest.approx([np.log2(1.5)] * 2 + [np.log2(3)])
    assert len(set(rarity(np.array([[3, 1], [1, 3]])).tolist())) == 1


def test_where_all_labels_or_devices_are_alike_a_correlation_is_refused() -> None:
    alike = {"scheme": "pathological", "classes_per_client": 10, "clients": 2, "correlation": 1.0}
    even = {"source": "synthetic", "samples": 400, "test_fraction": 0.0}
    with pytest.raises(InputError, match="equally rare"):
        prepare(scenario(devices=PHONES, partition=alike, data=even))
    with pytest.raises(InputError, match="equally fast"):
        prepare(scenario(devices={"profile": "uniform", "step_seconds": 0.1}, partition=INNER | {"correlation": 1.0}))


def measured(**changes: Any) -> dict[str, Any]:
    found = figures(prepare(scenario(**changes)))
    assert found is not None
    return found


def test_a_skewed_partition_is_further_from_uniform_in_every_number() -> None:
    even, skewed = measured(partition={"scheme": "iid"}), measured(partition={"scheme": "label-sorted"})
    for key in ("label_tv", "label_js", "label_hellinger", "gradient_dissimilarity", "gradient_dissimilarity_relative"):
        assert even[key] < skewed[key]
    assert even["size_gini"] < 0.01 < measured(partition={"scheme": "linear"})["size_gini"]


@pytest.mark.parametrize("rho", [1.0, -1.0, 0.5])
def test_the_dial_of_correlation_gives_slow_devices_rare_classes(rho: float) -> None:
    found = measured(devices=PHONES, partition={"clients": 60, "correlation": rho} | INNER)
    assert found["slowness_rarity_correlation"] == pytest.approx(rho, abs=0.2 if abs(rho) < 1 else 1e-9)
    assert found["speed_p90_p10"] > 5


def test_correlation_moves_parts_and_changes_none() -> None:
    plain, moved = (prepare(scenario(devices=PHONES, partition=INNER | {"correlation": rho})) for rho in (0.0, 1.0))
    a, b = plain.label_counts, moved.label_counts
    assert a is not None and b is not None and not np.array_equal(a, b)
    assert sorted(map(tuple, a.tolist())) == sorted(map(tuple, b.tolist()))
    with pytest.raises(InputError, match=r"partition\.correlation = 0\.5: needs \[devices\]"):
        prepare(scenario(partition={"correlation": 0.5}))


def test_one_dial_moves_data_speeds_and_availability() -> None:
    clients = {"clients": 40, "scheme": "dirichlet"}
    found = [measured(heterogeneity=h, devices=PHONES, partition=clients) for h in (0.0, 0.5)]
    assert found[0]["label_tv"] < found[1]["label_tv"] and found[0]["speed_p90_p10"] == 1 < found[1]["speed_p90_p10"]
    one = scenario(heterogeneity=0.5, devices=PHONES, partition=clients)
    fleet, times = fleets.fleet(one, 40), np.zeros(40)
    waiting = (fleet.there(np.arange(40), times) > 0).sum()
    whole = (fleets.fleet(scenario(devices=PHONES), 40).there(np.arange(40), times) > 0).sum()
    assert 0 < waiting < whole
    assert one.partition.alpha == pytest.approx(np.sqrt(100 * 0.05), rel=1e-5)
    assert parse(to_toml(one)) == one


def test_a_dial_and_a_key_that_disagree_are_told() -> None:
    with pytest.raises((ScenarioError, ValueError), match=r"heterogeneity = 0\.5 sets it to 'dirichlet'"):
        scenario(heterogeneity=0.5)  # label-sorted


def test_values_go_by_class_of_device(tmp_path: Path) -> None:
    some = [Device(kind, 0.1, 1e5, 1e5, kind=kind) for kind in ("slow", "fast")]
    save(tmp_path / "p.toml", some)
    devices = {"profile": str(tmp_path / "p.toml")}
    method = {"name": "ef21-sgdm", "eta": 0.3, "gamma": 0.2, "compressor": "topk", "k": {"slow": 2, "fast": 20}}
    train = {"batch_size": {"slow": 1, "other": 4}, "local_steps": {"slow": 1, "fast": 3}, "local_rate": 0.05}
    one = scenario(devices=devices, method=[method], train=train, evaluate={"traffic": "clients"})
    result = scenarios.run(one, out=tmp_path / "run")
    sent = result.traffic("ef21-sgdm", each="message")
    later = sent[sent["round"] > 1].groupby("client")["uplink_algorithm_bits"].first()
    assert (later[later.index % 2 == 0] == 16 * 2).all() and (later[later.index % 2 == 1] == 16 * 20).all()
    assert parse(to_toml(one)) == one and result.rounds["invariant_error"].max() < 1e-6


def test_slow_and_fast_go_by_link_where_no_class_has_these_names(tmp_path: Path) -> None:
    save(tmp_path / "p.toml", [Device(f"{i}", 0.1, 1e4 * (i + 1), 1e5) for i in range(4)])
    one = scenario(devices={"profile": str(tmp_path / "p.toml")})
    assert each(one, "method[0].k", {"slow": 2, "fast": 20}) == [2, 2, 20, 20] * 3


def test_a_class_that_is_none_or_is_left_out_is_told() -> None:
    one = scenario(devices=PHONES)
    with pytest.raises(InputError, match=r"train\.batch_size\.slwo = 1: is no class of the profile; .*slow"):
        each(one, "train.batch_size", {"slwo": 1})
    with pytest.raises(InputError, match="says nothing of the class"):
        each(one, "train.batch_size", {"slow": 1})
    with pytest.raises(InputError, match=r"needs \[devices\]"):
        each(scenario(), "train.batch_size", {"slow": 1})


def test_the_report_shows_the_numbers(tmp_path: Path) -> None:
    scenarios.run(scenario(rounds=2), out=tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text()
    assert "How different clients are" in page and "gradient dissimilarity" in page
