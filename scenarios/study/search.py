"""Candidates proposed by Optuna (Akiba et al., KDD 2019), batch by batch.

Nothing of Optuna is kept on the disk: the sampler is seeded, asked in the same order and told the same values, so who
goes on with a study asks again and is proposed the trials that lie in its folders. Every arm starts from the same seed
with the same number of candidates, so that methods are tuned with equal effort.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fl_ef21.errors import InputError
from scenarios.study.form import Search, Span
from scenarios.study.lines import Candidate, Line, Race
from scenarios.study.plan import Arm, Plan, takes

if TYPE_CHECKING:
    import optuna

EXTRA = "pip install 'fl-ef21[study]'"


def check(plan: Plan) -> None:
    """Every end of the space resolved, in every setting. Raises: InputError without Optuna, ScenarioError."""
    search = plan.source.study.search
    if search is None:
        return
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise InputError("search.sampler", search.sampler, f"needs Optuna: {EXTRA}") from error
    for arm in plan.arms:
        for key, space in _space(plan, arm).items():
            for value in _ends(space):
                plan.candidate(arm, {key: value})


def searched(race: Race, arm: Arm) -> Line:
    """The line of one arm: batches until it has had all its candidates."""
    search = race.study.search
    assert search is not None
    space = _space(race.plan, arm)
    if not space:  # nothing of the space is of this method
        yield from race.race([race.add(arm, {})])
        return
    study, asked = _study(search, race.study.seeds[0]), 0
    while asked < search.trials:
        batch = []
        for _ in range(min(search.batch, search.trials - asked)):
            trial = study.ask({key: _distribution(one) for key, one in space.items()})
            batch.append((trial, race.add(arm, {key: _value(space[key], v) for key, v in trial.params.items()})))
        asked += len(batch)
        yield from race.race([candidate for _, candidate in batch])
        for trial, candidate in batch:
            _tell(study, trial, candidate, race)


def _study(search: Search, seed: int) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a liar for those that are still running is called experimental
        sampler: optuna.samplers.BaseSampler = (
            optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=max(search.batch, search.trials // 4), constant_liar=True
            )
            if search.sampler == "tpe"
            else optuna.samplers.RandomSampler(seed=seed)
        )
    return optuna.create_study(sampler=sampler, direction="minimize")


def _tell(study: optuna.Study, trial: optuna.Trial, candidate: Candidate, race: Race) -> None:
    from optuna.trial import TrialState

    if candidate.pruned is None:
        study.tell(trial, race.score(candidate))
        return
    assert race.study.prune is not None
    for rung in range(candidate.pruned + 1):
        trial.report(race.score_at(candidate, race.study.prune.rungs[rung]), rung)
    study.tell(trial, state=TrialState.PRUNED)


def _space(plan: Plan, arm: Arm) -> Mapping[str, Span | list[Any]]:
    """The part that this arm has a use for."""
    search = plan.source.study.search
    assert search is not None
    found = {}
    for key, space in search.space.items():
        changed = {repr(value): (plan.candidate(arm, {key: value}), value) for value in _ends(space)}
        if not key.startswith("method.") or all(takes(s.method[0], key, value) for s, value in changed.values()):
            found[key] = space
    return found


def _ends(space: Span | list[Any]) -> list[Any]:
    return space if isinstance(space, list) else [space.low, space.high]


def _distribution(space: Span | list[Any]) -> optuna.distributions.BaseDistribution:
    from optuna import distributions

    if isinstance(space, list):  # by position, for lists and tables are no categories
        return distributions.CategoricalDistribution(tuple(range(len(space))))
    if isinstance(space.low, int) and isinstance(space.high, int):
        return distributions.IntDistribution(space.low, space.high, log=space.log)
    return distributions.FloatDistribution(float(space.low), float(space.high), log=space.log)


def _value(space: Span | list[Any], drawn: Any) -> Any:
    """A float with six digits is as good, and reads better."""
    return space[drawn] if isinstance(space, list) else drawn if isinstance(drawn, int) else float(f"{drawn:.6g}")
