"""Every promise of one method: of its halves alone, and of both through messages, payloads, protocol and engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from fl_ef21.checking.claims import Broken, require
from fl_ef21.checking.suite import Finding, told_by
from fl_ef21.errors import InputError
from fl_ef21.threads import computing_with
from scenarios.checking import halves
from scenarios.checking.beside import apart
from scenarios.checking.given import Rule
from scenarios.checking.small import Ran, Subject, rule_of, run, same
from scenarios.loading import ScenarioError

EXACT = 1e-12  # of |g - sum_i w_i g_i| / |g| in float64
SINGLE = 1e-6  # in float32
BESIDE = 1e-10  # of iterates beside a rule in NumPy
FAULTS = "lose=15%,late=10%,duplicate=10%,damage=10%"
STARTS = ("gradient", "zero")
Property = Callable[[Subject], str | None]


def suite(subject: Subject, like: str | None = None, oracle: str | None = None) -> Iterator[Finding]:
    """One finding for each promise. like: a method that it must equal under what is set; oracle: FILE.py:rule.

    Raises: InputError and ScenarioError where it cannot be run at all.
    """
    rule = None if oracle is None else rule_of(oracle)
    with computing_with(1):
        for says, holds in properties(subject, like, rule).items():
            yield _found(says, holds, subject)


def properties(subject: Subject, like: str | None, rule: Rule | None) -> dict[str, Property]:
    found: dict[str, Property] = {
        "it says what it must": halves.says_what_it_must,
        "a step leaves its inputs alone": halves.leaves_its_inputs_alone,
        "the same step twice is the same": halves.answers_alike_twice,
        "a client does not depend on its tile": halves.clients_are_alone,
        "its messages are of the form it says": halves.messages_are_what_it_says,
        "g is sum_i w_i g_i, whoever is asked": keeps_the_sum,
        "g is sum_i w_i g_i, whatever is lost, late, repeated or damaged": keeps_the_sum_under_faults,
        "who loses its state is brought back": keeps_the_sum_when_clients_forget,
        "the same in float32": keeps_the_sum_in_float32,
        "state that is moved goes on bitwise": goes_on_elsewhere,
        "without compression, eta = 1": is_sgd_without_compression,
    }
    if like is not None:
        found[f"it equals {like} under these keys"] = lambda subject: equals(subject, like)
    if rule is not None:
        found["it follows the oracle"] = lambda subject: follows(subject, rule)
    return found


def keeps_the_sum(subject: Subject) -> str | None:
    return _kept(subject, [run(subject.setup(start=s, participation=p)) for s in STARTS for p in (1.0, 0.6)], EXACT)


def keeps_the_sum_under_faults(subject: Subject) -> str | None:
    return _kept(subject, [run(subject.setup(start=start), FAULTS) for start in STARTS], EXACT, refusing=True)


def keeps_the_sum_when_clients_forget(subject: Subject) -> str | None:
    if not subject.remembers:
        return "its server remembers nothing"
    return _kept(subject, [run(subject.setup(), "wipe=20%")], EXACT, refusing=True)


def keeps_the_sum_in_float32(subject: Subject) -> str | None:
    return _kept(subject, [run(subject.setup(dtype="float32", participation=0.6))], SINGLE)


def goes_on_elsewhere(subject: Subject) -> str | None:
    setup = subject.setup(participation=0.6)
    require(same(run(setup), run(setup, moved=5)), "its state was moved into other shards, and it went elsewhere")
    return None


def is_sgd_without_compression(subject: Subject) -> str | None:
    """What it is in its limiting case is told, not judged: methods differ in it."""
    away = ["method.compressor=identity", "method.eta=1.0"]
    plain = Subject("sgdm", ("method.eta=1.0",))
    try:
        ours = run(subject.setup(away))
    except (InputError, ScenarioError) as error:
        return f"not possible: {error}"
    theirs = run(plain.setup())
    off = max(float(np.abs(x - y).max()) for x, y in zip(ours.xs, theirs.xs, strict=True))
    return "it is SGD" if off <= BESIDE else f"it is not SGD: iterates differ by up to {off:.1e}"


def equals(subject: Subject, like: str) -> str | None:
    ours, theirs = subject.setup(), Subject(like, tuple(s for s in subject.sets if ".hyper" not in s)).setup()
    found = [run(setup) for setup in (ours, theirs)]
    off = max(float(np.abs(x - y).max()) for x, y in zip(found[0].xs, found[1].xs, strict=True))
    require(off <= EXACT, f"iterates differ by up to {off:.1e}")
    return f"iterates differ by {off:.1e} at the most"


def follows(subject: Subject, rule: Rule) -> str | None:
    worst = 0.0
    for participation in (1.0, 0.6):
        setup = subject.setup(participation=participation)
        ran = run(setup)
        off = apart(setup, ran.xs, ran.who, rule)
        require(off <= BESIDE, f"iterates differ by {off:.1e} with participation {participation:g}; {BESIDE:g} allowed")
        worst = max(worst, off)
    return f"iterates differ by {worst:.1e} at the most"


def _kept(subject: Subject, runs: list[Ran], most: float, refusing: bool = False) -> str | None:
    """refusing: damaged messages are refused, as they should be."""
    refused = [why for ran in runs for why in ran.refused]
    require(refusing or not refused, f"its messages are refused: {refused[0] if refused else ''}")
    require(all(np.isfinite(ran.xs[-1]).all() for ran in runs), "the model is not finite any more")
    if not subject.remembers:
        return "its server remembers nothing" + ("" if refusing else "; every message was used")
    errors = [error for ran in runs for error in ran.audits]
    silent = [error for error in errors if error is None]
    require(refusing or not silent, "a client lacked the state that the server believes in")
    worst = max((error for error in errors if error is not None), default=0.0)
    require(worst <= most, f"|g - sum_i w_i g_i| / |g| = {worst:.1e}, {most:g} allowed: what does g_i leave out?")
    return f"|g - sum_i w_i g_i| / |g| <= {worst:.1e}"


def _found(says: str, holds: Property, subject: Subject) -> Finding:
    try:
        beside = holds(subject)
    except Broken as broken:
        return Finding(says, str(broken))
    except (InputError, ScenarioError):
        raise
    except Exception as error:  # somebody's code: whatever it raises breaks the promise
        return Finding(says, told_by(error))
    return Finding(says, beside=beside or "")
