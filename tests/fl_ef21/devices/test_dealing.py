"""Who is of which class and what each drew: exact shares, and functions of seed and client alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_ef21.devices import availability
from fl_ef21.devices.catalogue import Profile
from fl_ef21.devices.classes import DeviceClass, Power
from fl_ef21.devices.dealing import counts
from fl_ef21.devices.fleet import Fleet
from fl_ef21.devices.links import Link, link
from fl_ef21.devices.profile import Device
from fl_ef21.devices.spread import Spread
from fl_ef21.errors import InputError

SLOW = DeviceClass(
    "slow", 1.0, Spread(10.0, 0.5), Link(Spread(1e4)), Link(Spread(1e5)), power=Power(1.0, 2.0, 3.0, 0.5)
)
FAST = DeviceClass("fast", 3.0, Spread(1.0), Link(Spread(1e6), message_sigma=0.3), Link(Spread(1e7, 1.0)))
BOTH = Profile("both", classes=(SLOW, FAST))
IDS = np.arange(1000)


@given(shares=st.lists(st.floats(0.01, 100), min_size=1, max_size=6), clients=st.integers(0, 300))
def test_each_class_has_its_share_to_within_one_client(shares: list[float], clients: int) -> None:
    found = counts(shares, clients)
    assert found.sum() == clients and (np.abs(found - clients * np.array(shares) / sum(shares)) < 1).all()


def test_the_largest_remainders_are_rounded_up() -> None:
    assert counts([0.5, 0.3, 0.2], 9).tolist() == [4, 3, 2]  # 4.5, 2.7, 1.8
    assert counts([1, 1, 1], 4).tolist() == [2, 1, 1]


def test_shares_are_exact_and_a_seed_turns_them() -> None:
    kinds = [Fleet.deal(BOTH, 200, seed, 0.1).kinds for seed in (1, 1, 2)]
    assert kinds[0] == kinds[1] != kinds[2]
    assert all(each.count("slow") == 50 for each in kinds)
    assert 20 < kinds[0][:100].count("slow") < 30  # neither half has them all


def test_a_step_is_the_factor_times_the_reference() -> None:
    fleet = Fleet.deal(BOTH, 1000, 3, 0.25)
    slow = np.array(fleet.kinds) == "slow"
    assert np.array_equal(fleet.step(IDS), 0.25 * Fleet.deal(BOTH, 1000, 3, 1.0).step(IDS))
    assert (fleet.step(IDS[~slow]) == 0.25).all()
    z = np.log(fleet.step(IDS[slow]) / 2.5) / 0.5
    assert z.mean() == pytest.approx(0, abs=0.2) and z.std() == pytest.approx(1, abs=0.15)


def test_power_is_the_class_s_and_unknown_where_nobody_says() -> None:
    fleet = Fleet.deal(BOTH, 8, 0, 1.0)
    slow = np.array(fleet.kinds) == "slow"
    assert fleet.power(IDS[:8][slow]).tolist() == [[1.0, 2.0, 3.0, 0.5]] * 2
    assert np.isnan(fleet.power(IDS[:8][~slow])).all()


def test_messages_differ_from_round_to_round_and_by_direction_but_not_by_who_is_asked() -> None:
    fleet, size, start = Fleet.deal(BOTH, 1000, 3, 1.0), np.full(1000, 1e6), np.zeros(1000)
    slow = np.array(fleet.kinds) == "slow"
    first, second = (fleet.transfer_up(IDS, size, start, round) for round in (1, 2))
    assert (first[slow] == 100.0).all() and np.array_equal(first[slow], second[slow])
    assert (first[~slow] != second[~slow]).all()
    assert np.log(first[~slow]).std() == pytest.approx(0.3, rel=0.1)
    assert np.median(first[~slow]) == pytest.approx(1.0, rel=0.05)
    some = IDS[[900, 4, 31]]
    assert np.array_equal(fleet.transfer_up(some, size[:3], start[:3], 2), second[some])
    assert np.array_equal(fleet.transfer_down(IDS, size, start, 1), fleet.transfer_down(IDS, size, start, 2))


def test_half_the_bytes_take_half_the_time() -> None:
    fleet, size, start = Fleet.deal(BOTH, 1000, 3, 1.0), np.full(1000, 1e6), np.zeros(1000)
    whole = fleet.transfer_up(IDS, size, start, 7)
    assert fleet.transfer_up(IDS, size / 2, start, 7) == pytest.approx(whole / 2)


def test_rates_of_a_device_are_correlated_as_its_class_says() -> None:
    for r in (-0.9, 0.0, 0.6):
        kind = replace(FAST, up=Link(Spread(1e6, 0.5)), link_correlation=r)
        fleet = Fleet.deal(Profile("one", classes=(kind,)), 1000, 3, 1.0)
        assert np.corrcoef(np.log(fleet.up.rates), np.log(fleet.down.rates))[0, 1] == pytest.approx(r, abs=0.06)


def test_links_of_a_trace_begin_somewhere_in_it_and_go_as_it_says(tmp_path: Path) -> None:
    (tmp_path / "link.csv").write_text("t_s,mbps\n0,8\n10,80\n")  # ten seconds of 1 MB/s, ten of 10
    traced = link({"trace": "link.csv"}, "up", "up", tmp_path)
    kind = replace(SLOW, up=traced, down=link({"trace": "link.csv"}, "down", "down", tmp_path))
    fleet = Fleet.deal(Profile("traced", classes=(kind,)), 1000, 3, 1.0)
    one, start = np.full(1000, 1e6), np.full(1000, 123.0)
    took = fleet.transfer_up(IDS, one, start, 1)
    assert took.min() == pytest.approx(0.1) and took.max() == pytest.approx(1.0)
    assert 0.4 < (took < 0.2).mean() < 0.6
    assert np.array_equal(took, fleet.transfer_down(IDS, one, start, 5))  # one link, whatever the round
    assert fleet.transfer_up(IDS, one, start + 10, 1).mean() == pytest.approx(took.mean(), rel=0.1)
    assert fleet.transfer_up(IDS, one, start + 20, 1) == pytest.approx(took)


def test_devices_of_the_file_come_first_and_classes_share_the_rest() -> None:
    own = Device("mine", 7.0, 100.0, 200.0, "board", off_seconds=10.0)
    mixed = Profile("mixed", (own,), (SLOW, FAST))
    fleet = Fleet.deal(mixed, 9, 4, 2.0)
    assert fleet.kinds[0] == "board" and fleet.kinds.count("slow") == 2 and fleet.kinds.count("fast") == 6
    assert fleet.step(np.array([0])).tolist() == [7.0]
    assert fleet.transfer_up(np.array([0]), np.array([50.0]), np.zeros(1), 1).tolist() == [0.5]
    alone = Fleet.of([own], 1, 4)
    times = np.array([1e5])
    assert fleet.there(np.array([0]), times).tolist() == alone.there(np.array([0]), times).tolist()
    assert Fleet.deal(mixed, 1, 4, 2.0).kinds == ("board",)


def test_availability_may_be_another_than_the_profile_s() -> None:
    never = availability.parse("windows:1/99", "availability", Path())
    fleet = Fleet.deal(BOTH, 1000, 0, 1.0, never)
    assert (fleet.there(IDS, np.zeros(1000)) > 0).mean() > 0.95
    assert (Fleet.deal(BOTH, 1000, 0, 1.0).there(IDS, np.zeros(1000)) == 0).all()


def test_classes_need_the_step_of_the_reference_device() -> None:
    with pytest.raises(InputError, match=r"devices.step_seconds = None: is missing: the profile both"):
        Fleet.deal(BOTH, 3)
