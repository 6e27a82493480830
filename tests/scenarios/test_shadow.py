"""Shadow compressors in whole runs: they tell the truth and change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pandas import DataFrame

import scenarios
from clients import program, shadow, stepping
from fl_ef21.commit import Kind
from fl_ef21.errors import InputError
from fl_ef21.messages import Compressed
from fl_ef21.plan import Plan
from scenarios.loading import ScenarioError, parse
from scenarios.results import SHADOW_COLUMNS, Result
from scenarios.setup import prepare
from tests.small import ALL_METHODS, scenario

WORDS = ["topk:k=5", "sign", "qsgd:15", "randk:0.1"]
FIGURES = ["alpha", "clients", "payload_bytes", "kept_energy"]
RANDK = {"name": "ef21-sgdm", "eta": 0.3, "gamma": 0.2, "compressor": "randk", "fraction": 0.1, "label": "randk"}
DEALT = {"name": "ef21-sgdm", "eta": 0.3, "gamma": 0.2, "compressor": "topk", "k": [2, 5], "label": "dealt"}
METHODS = [*ALL_METHODS[:4], {**ALL_METHODS[4], "label": "sgdm topk"}, ALL_METHODS[5], RANDK, DEALT]
LABELS = [str(method.get("label", method["name"])) for method in METHODS]


def measured(result: Result) -> DataFrame:
    return result.rounds.drop(columns="wall_seconds")


def of(result: Result, word: str, label: str = "") -> DataFrame:
    rows = result.shadow[result.shadow["shadow"] == word]
    return (rows[rows["method"] == label] if label else rows).reset_index(drop=True)


def test_no_method_goes_another_way_for_being_looked_at() -> None:
    plain, watched = (scenarios.run(scenario(method=METHODS, shadow=words)) for words in ([], WORDS))
    assert measured(watched).equals(measured(plain))
    assert plain.shadow.empty and all(list(of(watched, "sign", label)["round"]) == [2, 4, 6] for label in LABELS)


def test_the_methods_own_compressor_as_a_shadow_tells_the_same_as_the_method() -> None:
    result = scenarios.run(scenario(method=METHODS[:-1], shadow=["topk:k=5", "identity", "randk:0.1"]))
    same = {"sgdm": "identity", "randk": "randk:0.1"}
    for label in LABELS[:-1]:
        own, shadow = of(result, "own", label), of(result, same.get(label, "topk:k=5"), label)
        assert len(own) == 3 and own["kept_energy"].between(0, 1).all()
        assert shadow[FIGURES].equals(own[FIGURES])


@pytest.mark.parametrize("start", ["gradient", "zero"])
def test_the_bytes_told_are_those_really_sent(start: str) -> None:
    """Everybody is asked every round, so the mean times the clients is what a round adds to the uplink."""
    s = scenario(method=METHODS, shadow=["sign"], evaluate={"every": 1}, train={"start": start}, rounds=4)
    result, setup = scenarios.run(s), prepare(s)
    for number, label in enumerate(LABELS):
        sent = result.of(label).set_index("round")["uplink_bytes"].diff()
        told = of(result, "own", label).set_index("round")
        assert list(told.index) == list(range(2 if setup.strategy(number, b"").begins(1) else 1, 5))
        assert (told["payload_bytes"] * told["clients"]).round(6).tolist() == [sent[r] for r in told.index]


def test_shadows_see_bitwise_the_vectors_that_the_compressor_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step that trains is watched through the plan: without its kernel it hands every u to it."""
    monkeypatch.setattr(stepping.fused, "step", lambda *_: None)
    seen: dict[str, list[bytes]] = {"shadow": [], "train": []}
    kind, follow, compress = ["train"], program.Program._follow, Plan.compress

    def following(self: Any, x: Any, told: Any, repairs: Any, asked: Any, answers: Any) -> None:
        kind[0] = "shadow" if asked.kind == Kind.SHADOW else "train"
        follow(self, x, told, repairs, asked, answers)

    def compressing(self: Plan, u: Any, keys: Any, clients: Any) -> Compressed:
        seen[kind[0]].append(u.numpy().tobytes())
        return compress(self, u, keys, clients)

    monkeypatch.setattr(program.Program, "_follow", following)
    monkeypatch.setattr(Plan, "compress", compressing)
    scenarios.run(scenario(method=METHODS, shadow=["sign"], evaluate={"every": 1}, rounds=3))
    assert len(seen["shadow"]) >= 2 * len(METHODS) and seen["shadow"] == seen["train"]


def test_with_many_clients_a_sample_is_asked_that_depends_on_seed_and_round_alone() -> None:
    many = scenario(partition={"clients": 80}, train={"participation": 0.7}, shadow=WORDS)
    a, b = scenarios.run(many), scenarios.run(many)
    assert set(a.shadow["clients"]) == {32} and a.shadow.equals(b.shadow)
    assert measured(a).equals(measured(scenarios.run(many.model_copy(update={"shadow": []}))))


def test_a_shadow_that_cannot_say_a_vector_has_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Compressed:
        raise ValueError("too large")

    monkeypatch.setattr("fl_ef21.compressors.sign.Sign.__call__", refuse)
    rows = of(scenarios.run(scenario(shadow=["sign"])), "sign")
    assert (rows["clients"] == 0).all() and rows["payload_bytes"].isna().all() and rows["kept_energy"].isna().all()


def test_a_client_whose_gradient_fails_is_left_out_of_the_means(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = scenarios.run(scenario(shadow=["sign"]))
    answer = shadow.answer

    def troubled(problem: Any, *rest: Any) -> None:
        class Broken:
            dim = problem.dim

            @staticmethod
            def gradients(*args: Any) -> Any:
                q = problem.gradients(*args)
                q[0] = float("nan")
                return q

        answer(Broken, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(shadow, "answer", troubled)
    broken = scenarios.run(scenario(shadow=["sign"]))
    assert (broken.shadow["clients"] < 12).all() and broken.shadow["kept_energy"].notna().all()
    assert measured(broken).equals(measured(whole))


@pytest.mark.system
@pytest.mark.nightly
def test_actors_and_flowers_simulation_tell_the_same(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "method": [ALL_METHODS[2], ALL_METHODS[4]], "partition": {"clients": 80}, "shadow": WORDS,
        "train": {"participation": 0.5, "dtype": "float64"}, "rounds": 4,
    }  # fmt: skip
    here = scenarios.run(scenario(**changes)).shadow
    for actors in (1, 2):
        assert scenarios.run(scenario(**changes, engine={"actors": actors})).shadow.equals(here)
    small = changes | {"partition": {"clients": 12}}
    ours = scenarios.run(scenario(**small)).shadow
    theirs = scenarios.run(scenario(**small, engine={"actors": 2}), runtime="flower", out=tmp_path / "run").shadow
    assert theirs[["method", "round", "shadow", "clients", "payload_bytes"]].equals(
        ours[["method", "round", "shadow", "clients", "payload_bytes"]]
    )
    assert (theirs["kept_energy"] - ours["kept_energy"]).abs().max() < 1e-9


def test_the_folder_keeps_the_figures(tmp_path: Path) -> None:
    result = scenarios.run(scenario(shadow=WORDS), out=tmp_path / "run")
    assert list(result.shadow) == list(SHADOW_COLUMNS) and len(result.shadow) == 3 * (1 + len(WORDS))
    assert Result.load(tmp_path / "run").shadow.equals(result.shadow)
    scenarios.run(scenario(), out=tmp_path / "none")
    assert not (tmp_path / "none" / "shadow.jsonl").exists()


HEAD = 'name = "s"\nrounds = 2\nshadow = {}\n[[method]]\nname = "ef21-sgd"\ngamma = 0.1\n'


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ('["sign", "topq:0.1"]', r"line 3: shadow\[1\] = 'topq:0.1': is not known; did you mean 'topk'"),
        ('["sign", "sign"]', r"line 3: shadow: 'sign' is there twice"),
        ('["sign", 3]', r"line 3: shadow\[1\] = 3: must be a text in quotes"),
        ('"sign"', r"line 3: shadow = 'sign': must be a list"),
    ],
)
def test_a_mistake_in_the_list_is_told_by_its_place(words: str, told: str) -> None:
    with pytest.raises(ScenarioError, match=told):
        parse(HEAD.format(words))


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("topk:0", r"shadow\[1\]\.k = 0: must be a whole number in 1 .. 650"),
        ("topk", r"shadow\[1\]\.k.* is missing; give k or fraction"),
        ("sign:wide=3", r"shadow\[1\]\.wide = 3: is not an option of 'sign'"),
    ],
)
def test_a_wrong_option_is_told_before_anything_starts(word: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        prepare(scenario(shadow=["sign", word]))
