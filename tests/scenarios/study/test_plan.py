"""Settings, methods and trials of a study, and what is refused before any of them runs."""

from __future__ import annotations

import pytest

from fl_ef21.errors import InputError
from scenarios.loading import ScenarioError
from scenarios.study.checking import settled
from scenarios.study.form import powers
from scenarios.study.plan import plan
from scenarios.study.reading import studies
from tests.scenarios.study.studies import SCENARIO, study


def test_a_grid_is_every_combination_of_its_values_and_methods() -> None:
    made = plan(study('[grid]\n"partition.alpha" = [0.1, 1.0]\n"train.batch_size" = [1, 2, 4]'))
    assert len(made.arms) == 2 * 3 * 2
    assert {(a.scenario.partition.alpha, a.scenario.train.batch_size) for a in made.arms} == {
        (alpha, batch) for alpha in (0.1, 1.0) for batch in (1, 2, 4)
    }
    assert made.arms[0].where == "partition.alpha = 0.1, train.batch_size = 1"


def test_a_method_without_use_for_a_key_is_run_once() -> None:
    made = plan(study('[grid]\n"method.k" = [1, 5, 9]'))
    assert [arm.name for arm in made.arms] == ["sgdm", "ef21-sgdm, k 1", "ef21-sgdm, k 5", "ef21-sgdm, k 9"]


def test_seeds_are_paired_over_methods() -> None:
    made = plan(study("seeds = [4, 7]"))
    drawn = [[(t.seed, t.problem) for t in made.trials(arm)] for arm in made.arms]
    assert drawn[0] == drawn[1] and [seed for seed, _ in drawn[0]] == [4, 7] and len(set(drawn[0])) == 2


def test_a_trial_is_known_by_what_it_measures_and_not_by_the_study() -> None:
    one, other = plan(study()), plan(study('seeds = [1, 0]\n[grid]\n"partition.alpha" = [0.3, 0.5]'))
    ids = {t.id for arm in other.arms for t in other.trials(arm)}
    assert {t.id for arm in one.arms for t in one.trials(arm)[:2]} < ids and len(ids) == 8


def test_a_step_size_changes_the_method_and_nothing_else() -> None:
    made = plan(study("gamma = [0.5, 1.0]"))
    scenario = made.candidate(made.arms[1], {"method.gamma": 0.5})
    assert scenario.method[0].gamma == 0.5
    back = scenario.method[0].model_copy(update={"gamma": 0.2})
    assert scenario.model_copy(update={"method": [back]}) == made.arms[1].scenario


def test_a_falling_step_size_stays_falling() -> None:
    text = SCENARIO.replace("gamma = 0.2", "gamma = {value = 0.2, tau = 10.0}")
    made = plan(study("gamma = [0.5]", text))
    (gamma,) = {repr(t.scenario.method[0].gamma) for t in made.trials(made.arms[0], {"method.gamma": 0.5})}
    assert "value=0.5" in gamma and "tau=10.0" in gamma


def test_the_budget_ends_every_trial() -> None:
    made = plan(study("[budget]\nrounds = 3\nuplink_bytes = 5e4"))
    assert all((a.scenario.rounds, a.scenario.stop.uplink_bytes) == (3, 5e4) for a in made.arms)
    timed = plan(
        study(
            "[budget]\nvirtual_seconds = 60.0",
            SCENARIO.replace("rounds = 8", 'rounds = 8\ndevices = {profile = "phones-2020"}'),
        )
    )
    assert all(a.scenario.stop.virtual_seconds == 60.0 for a in timed.arms)


def test_powers_of_two_are_powers_of_two() -> None:
    assert powers("powers-of-two:-2..1") == [0.25, 0.5, 1.0, 2.0]
    assert all((2.0 * a == b) for a, b in zip(powers("powers-of-two"), powers("powers-of-two")[1:], strict=False))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[grid]\n"partition.alhpa" = [1.0]', "line 3: .*there is no such key; did you mean 'alpha'"),
        ('[grid]\n"partition.alpha" = [1.0, -1.0]', r'line 3: "partition.alpha" = -1.0: must be greater than 0'),
        ("sedes = [1]", "sedes: there is no such key or section; did you mean 'seeds'"),
        ("[serach]", "serach: there is no such key or section; did you mean 'search'"),
        ("seeds = [1, 1]", "a seed is there twice"),
        ('gamma = "powers-of-too"', "'powers-of-two'"),
        ("gamma = [0.1, -1.0]", "must be greater than 0"),
        ('[grid]\n"seed" = [1]', "list them in seeds"),
        ('[grid]\n"engine.actors" = [1]', "decides no figure"),
        ('[grid]\n"method.0.gamma" = [1.0]', "is of one method"),
        ('gamma = [0.1]\n[grid]\n"method.gamma" = [1.0]', "gamma is tuned already"),
        ('objective = "bytes_to_accuracy"', "needs target"),
        ("target = 0.5", "has no meaning with objective"),
        ("[prune]\naxis = 'round'", "it needs gamma"),
        ("gamma = [0.1]\n[prune]", "needs budget.uplink_bytes"),
        ('base = "quickstart"', "one of the two"),
        ('gamma = [0.1]\n[search.space]\n"method.gamma" = [0.1]', "both choose step sizes"),
        ('[search.space]\n"method.gamma" = {low = 2, high = 1}', "low must be less than high"),
        ('[search.space]\n"method.gamma" = {low = 1, hihg = 2}', "did you mean 'high'"),
        ('[search.space]\n"method.gamma" = [0.1]\n[grid]\n"method.gamma" = [1.0]', "in the grid and in search.space"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_before_anything_runs(text: str, told: str) -> None:
    with pytest.raises(ScenarioError, match=told):
        plan(study(text))


def test_every_impossible_combination_is_listed() -> None:
    with pytest.raises(ScenarioError) as caught:
        plan(study('[grid]\n"train.over_selection" = [1.0, 1.5]\n"train.participation" = [0.5, 0.9, 1.0]'))
    lines = str(caught.value).splitlines()
    assert len(lines) == 2 and all("with train.over_selection = 1.5, train.participation = " in line for line in lines)


def test_what_only_the_data_can_show_is_told_before_the_first_trial() -> None:
    made = plan(study('[grid]\n"partition.clients" = [6, 5000]\n"method.k" = [5, 100000]'))
    with pytest.raises(ScenarioError) as caught:
        settled(made)
    lines = str(caught.value).splitlines()
    assert any("partition.clients = 5000" in line for line in lines)
    assert any("partition.clients = 6: ef21-sgdm, k 100000: method.k = 100000: must be" in line for line in lines)


def test_a_step_of_the_reference_device_is_measured_once_for_all_trials() -> None:
    text = SCENARIO.replace("rounds = 8", 'rounds = 8\ndevices = {profile = "phones-2020"}')
    made = settled(plan(study('[grid]\n"partition.alpha" = [0.1, 1.0]', text)))
    steps = {t.scenario.devices and t.scenario.devices.step_seconds for arm in made.arms for t in made.trials(arm)}
    assert len(steps) == 1 and None not in steps


def test_a_method_or_baseline_that_is_not_there_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'ef21-sgdm'"):
        plan(study('[grid]\nmethod = ["ef21-sgmd"]'))
    with pytest.raises(InputError, match="did you mean 'sgdm'"):
        plan(study('baseline = "sgmd"'))


@pytest.mark.parametrize("name", studies())
def test_every_study_that_comes_along_can_be_planned(name: str) -> None:
    from scenarios.study.reading import read

    assert plan(read(studies()[name])).arms


def test_a_step_size_left_to_theory_is_refused_unless_it_is_tuned() -> None:
    text = SCENARIO.replace("gamma = 0.2", 'gamma = "theory"')
    with pytest.raises(ScenarioError, match="`fl-ef21 theory` says the number"):
        plan(study("", text))
    made = plan(study("gamma = [0.5]", text))
    assert made.trials(made.arms[0], {"method.gamma": 0.5})[0].gamma == 0.5
