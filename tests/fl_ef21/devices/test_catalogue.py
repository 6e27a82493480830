"""Profiles with classes: kept as they are, the mistakes by their keys, and those that come with us."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fl_ef21.devices import classes, words
from fl_ef21.devices.catalogue import Profile, find, save
from fl_ef21.devices.classes import Power
from fl_ef21.devices.fleet import Fleet
from fl_ef21.devices.profile import Device
from fl_ef21.errors import InputError
from tests.shared_data import rows

CLASS = """version = 2
[[class]]
name = "phone"
share = 2
step_factor = {median = 20, p90_p10 = 39}
up_bytes_per_second = {median = 1e6, sigma = 0.5, message_sigma = 0.25}
down_bytes_per_second = 1e7
latency_seconds = {median = 0.05, sigma = 0.1}
availability = "markov:300/100"
link_correlation = 0.5
[class.power]
compute_watts = 3
"""
PLAIN = '[[class]]\nname = "box"\nshare = 1\nstep_factor = 1\nup_bytes_per_second = inf\ndown_bytes_per_second = 1e9\n'
DEVICE = '[[device]]\nname = "a"\nstep_seconds = 1\nup_bytes_per_second = 10\ndown_bytes_per_second = 10\n'


def told(folder: Path, text: str) -> Profile:
    (folder / "mine.toml").write_text(text)
    return find(folder / "mine.toml")


def test_a_class_says_what_its_file_says(tmp_path: Path) -> None:
    (one,) = told(tmp_path, CLASS).classes
    assert (one.name, one.share, one.link_correlation, one.poll_seconds) == ("phone", 2.0, 0.5, 0.5)
    p10, p90 = (one.step_factor.quantile(z) for z in (-1.2815515655, 1.2815515655))
    assert p90 / p10 == pytest.approx(39) and one.step_factor.median == 20
    assert one.up.rate.sigma == 0.5 and one.up.message_sigma == 0.25 and one.down.rate.sigma == 0
    assert one.power == Power(compute_watts=3.0) and one.availability.share == 0.75


@pytest.mark.parametrize("name", words.shipped())
def test_a_profile_loads_as_it_was_saved(name: str, tmp_path: Path) -> None:
    save(tmp_path / "again.toml", find(name))
    assert replace(find(tmp_path / "again.toml"), name=name) == find(name)


def test_devices_and_classes_may_stand_in_one_file(tmp_path: Path) -> None:
    found = told(tmp_path, CLASS + PLAIN + DEVICE)
    assert [one.name for one in found.classes] == ["phone", "box"] and found.devices == (Device("a", 1.0, 10.0, 10.0),)
    save(tmp_path / "again.toml", found)
    assert replace(find(tmp_path / "again.toml"), name="mine") == found


def test_a_file_of_devices_alone_is_what_it_was(tmp_path: Path) -> None:
    assert (
        told(tmp_path, DEVICE) == told(tmp_path, "version = 1\n" + DEVICE) == told(tmp_path, "version = 2\n" + DEVICE)
    )
    assert not told(tmp_path, DEVICE).needs_reference


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (CLASS.replace("share = 2", "share = 0"), "class[0].share = 0: must be a number greater than 0"),
        (CLASS.replace("share = 2\n", ""), "class[0].share = None: is missing; a class needs name, share, step_factor"),
        (CLASS.replace("median = 20, ", ""), "class[0].step_factor.median = None: is missing"),
        (CLASS.replace("p90_p10 = 39", "p90_p10 = 0.5"), "step_factor.p90_p10 = 0.5: must be at least 1"),
        (CLASS.replace("p90_p10 = 39", "p90_p10 = 39, sigma = 1"), "says the same as sigma"),
        (CLASS.replace("p90_p10 = 39", "p90p10 = 39"), "did you mean 'p90_p10'?"),
        (
            CLASS.replace("message_sigma = 0.25", "message_sigma = -1"),
            "message_sigma = -1: must be a number of at",
        ),
        (CLASS.replace("markov:300/100", "markof:300/100"), "class[0].availability = 'markof:300/100': "),
        (CLASS.replace("link_correlation = 0.5", "link_correlation = 2"), "link_correlation = 2: must lie in [-1, 1]"),
        (CLASS.replace("compute_watts", "compute_watt"), "class[0].power.compute_watt = 3: there is no such key"),
        (
            CLASS.replace("compute_watts = 3", "compute_watts = -3"),
            "compute_watts = -3: must be a number of at",
        ),
        (CLASS.replace("latency_seconds", "latenzy_seconds"), "did you mean 'latency_seconds'?"),
        (CLASS + CLASS.replace("version = 2\n", ""), "class = 'phone': is the name of two classes"),
        (CLASS.replace("version = 2", "version = 1"), "version = 1: has no classes"),
        (CLASS.replace("version = 2", "version = 3"), "version = 3: is not known; this program reads versions 1 and 2"),
        (CLASS.replace("1e7", '{trace = "none.csv"}'), "down_bytes_per_second.trace = "),
        ("version = 2\nabout = 3\n" + PLAIN, "about = 3: must be a text"),
        ("version = 2\nsources = 3\n" + PLAIN, "sources = 3: must be a list of texts"),
        ("version = 2\n", "must be one or more tables"),
        ("version = 2\nclass = 3\n", "must be one or more tables, each headed [[class]]"),
    ],
)
def test_a_mistake_is_told_by_its_table_and_key(text: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        told(tmp_path, text)
    assert why in str(caught.value) and "mine.toml" in str(caught.value)


def test_a_name_that_is_not_there_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'phones-2020'"):
        find("phone-2020")
    with pytest.raises(InputError, match="cannot be read"):
        find("phones.toml")


# ---------------------------------------------------------------- the page

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "devices.md").read_text()


def test_the_page_names_every_profile_key_and_process() -> None:
    for part, names in (
        ("Profiles that come along", words.shipped()),
        ("A profile of classes", [*classes.KEYS, *words.FORMS.split(", ")[:3]]),
    ):
        here = PAGE.split(f"\n## {part}\n", 1)[1].split("\n## ", 1)[0]
        assert [name for name in names if f"`{name}`" not in here and f'"{name}"' not in here] == []


def test_the_example_of_classes_loads(tmp_path: Path) -> None:
    (text,) = [block for block in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL) if "[[class]]" in block]
    found = told(tmp_path, text)
    assert [one.name for one in found.classes] == ["tablet", "hub"] and found.about


# ---------------------------------------------------------------- those that come with us

EVERYBODY = np.arange(20_000)


def quantiles(values: np.ndarray) -> np.ndarray:
    return np.quantile(values, [0.1, 0.5, 0.9])


@pytest.mark.parametrize("name", words.shipped())
def test_each_says_what_it_rests_on_and_what_is_synthetic(name: str) -> None:
    found = find(name)
    assert found.about and found.synthetic and found.classes and not found.devices
    assert (words.SHIPPED / f"{name}.toml").read_text().startswith("# ")
    assert not np.isnan(Fleet.deal(found, 30, step_seconds=1.0).power(np.arange(30))).any()


def test_phones_of_2020_spread_as_their_scores_do() -> None:
    scores = np.array([float(row["ai_score"]) for row in rows("ai_benchmark_2020.csv")])
    fleet = Fleet.deal(find("phones-2020"), len(EVERYBODY), step_seconds=1.0)
    p10, p50, p90 = quantiles(fleet.step(EVERYBODY))
    assert p90 / p10 == pytest.approx(39, rel=0.08)
    assert np.array([p10, p50, p90]) == pytest.approx(quantiles(177_000 / scores), rel=0.12)


def test_two_phones_with_a_score_and_a_measured_step_agree_with_it() -> None:
    taken = [row for row in rows("flash_batch_time.csv") if row["task"] == "femnist"]
    measured = {row["device_class"]: float(row["mean_ms"]) for row in taken}
    scores = {row["model"]: float(row["ai_score"]) for row in rows("ai_benchmark_2020.csv")}
    core = 26.3  # ms
    for phone, kind in (("Xiaomi Redmi Note 8", "middle"), ("Samsung Galaxy Note10", "fast")):
        assert measured[kind] / core == pytest.approx(177_000 / scores[phone], rel=0.05)


def test_phones_of_2020_have_the_networks_of_its_users() -> None:
    fleet = Fleet.deal(find("phones-2020"), len(EVERYBODY), step_seconds=1.0)
    for links, median, sigma, message in ((fleet.up, 2.88e6, 0.712, 0.381), (fleet.down, 4.71e6, 0.488, 0.356)):
        assert np.exp(np.log(links.rates).mean()) == pytest.approx(median, rel=0.02)
        assert np.log(links.rates).std() == pytest.approx(sigma, rel=0.02)
        took = links.seconds(EVERYBODY, np.full(len(EVERYBODY), 1e6), np.zeros(len(EVERYBODY)), 3)
        assert np.log(took * links.rates / 1e6).std() == pytest.approx(message, rel=0.02)
    assert np.corrcoef(np.log(fleet.up.rates), np.log(fleet.down.rates))[0, 1] == pytest.approx(0.45, abs=0.03)


def test_uniform_devices_are_equal_and_silos_nearly() -> None:
    for name, most in (("uniform", 1.0), ("silo", 1.6), ("phones-lognormal", 5.0)):
        p10, _, p90 = quantiles(Fleet.deal(find(name), 5000, step_seconds=0.5).step(np.arange(5000)))
        assert 0.85 * most <= p90 / p10 <= most


def test_a_profile_is_text_that_a_bundle_carries() -> None:
    assert {path.suffix for path in words.SHIPPED.iterdir()} == {".toml"}
