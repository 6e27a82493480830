"""What a scenario file may say, and what is answered where it says something else."""

import dataclasses
import inspect
import math
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.loading import ScenarioError, gallery, load, parse, to_toml
from scenarios.schema import SECTIONS, Data, Partition, Scenario
from scenarios.schema_method import Method, default_values
from scenarios.schema_words import COMPRESSORS, EXACT, METHODS, MODELS, UNCOMPRESSED

HEAD = 'name = "a"\nrounds = 5\n'
METHOD = '[[method]]\nname = "ef21-sgdm"\ngamma = 0.1\ncompressor = "topk"\nk = 3\n'


def complaint(text: str, *overrides: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        parse(text, overrides)
    return str(caught.value)


NEVER_ROUNDED = ("unbiased", "absolute")


def names(section: type, key: str) -> set[str]:
    return set(get_args(section.model_fields[key].annotation))  # type: ignore[attr-defined]


def test_names_are_those_of_the_registries() -> None:
    import clients
    from fl_ef21 import compressors, data, partition, problems
    from fl_ef21.compressors import quantisers
    from fl_ef21.facts import facts_of
    from scenarios.suiting import FILLED, server_of

    assert {name: set(hyper) for name, hyper in METHODS.items()} == {
        name: {f.name for half in (kind, server_of(kind)) for f in dataclasses.fields(half)} - set(FILLED)
        for name, kind in clients.METHODS.items()
    }
    assert set(EXACT) == {name for name, kind in clients.METHODS.items() if facts_of(kind).needs in NEVER_ROUNDED}
    bare = {name for name, kind in clients.METHODS.items() if facts_of(kind).needs == "identity"}
    assert set(UNCOMPRESSED) == bare | {"sgdm"}
    assert names(Data, "source") == set(data.SOURCES)
    assert names(Partition, "scheme") == set(partition.SCHEMES)
    assert set(MODELS) == set(problems.MODELS)
    assert set(COMPRESSORS) == set(compressors.COMPRESSORS)
    assert set(get_args(get_args(Method.model_fields["values"].annotation)[0])) == set(quantisers.VALUES)


def test_options_are_those_that_compressors_take() -> None:
    from fl_ef21 import compressors

    for name, kind in compressors.COMPRESSORS.items():
        asked = set(inspect.signature(kind.from_options).parameters) - {"dim", "shapes"}
        assert set(COMPRESSORS[name]) == asked, name


def test_every_option_of_a_source_and_a_model_is_a_key_of_its_section() -> None:
    from fl_ef21 import data, problems

    for loader in data.SOURCES.values():
        assert set(inspect.signature(loader).parameters) - set(Data.model_fields) <= {
            "seed", "train_split", "test_split",
        }  # fmt: skip
    for builder in problems.MODELS.values():
        keys = {p.name for p in inspect.signature(builder).parameters.values() if p.kind is p.KEYWORD_ONLY}
        assert keys <= set(SECTIONS["model"].model_fields)


@pytest.mark.parametrize("name", gallery())
def test_every_scenario_of_the_gallery_loads_and_opens_with_a_comment(name: str) -> None:
    assert load(name).name == name
    assert gallery()[name].read_text().startswith("# ")


def test_reading_a_scenario_needs_nothing_heavy() -> None:
    code = "import sys; from scenarios.loading import load; load('quickstart'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "flwr", "ray", "pandas", "numpy"} & set(done.stdout.split())


# ---------------------------------------------------------------- wrong keys and values


@pytest.mark.parametrize(
    ("changed", "line", "told"),
    [
        ("rounds = 5 -> rounds = '5'", 2, "rounds = '5': must be a whole number"),
        ("rounds = 5 -> rounds = true", 2, "rounds = True: must be a whole number"),
        ("rounds = 5 -> rounds = 'abc'", 2, "rounds = 'abc': must be a whole number"),
        ("rounds = 5 -> rounds = 0", 2, "rounds = 0: must be at least 1"),
        (
            "rounds = 5 -> batch_size = 8",
            2,
            "batch_size = 8: there is no such key here; it belongs in [train]",
        ),
        ("gamma = -> gama =", 5, "method[0].gama = 0.1: there is no such key; did you mean 'gamma'?"),
        ("gamma = -> eta =", 3, "method[0].gamma is missing; the step size, such as gamma = 0.05"),
        ("0.1 -> 0", 5, "method[0].gamma = 0: must be greater than 0"),
        ("0.1 -> nan", 5, "method[0].gamma = nan: must be a finite number"),
        ("0.1 -> inf", 5, "method[0].gamma = inf: must be a finite number"),
        ("0.1 -> '0.1'", 5, "method[0].gamma = '0.1': must be a number or a table"),
        ("0.1 -> {value = -1}", 5, "method[0].gamma.value = -1: must be greater than 0"),
        (
            "0.1 -> {valeu = 1, value = 1}",
            5,
            "method[0].gamma.valeu = 1: there is no such key; did you mean 'value'?",
        ),
        ("gamma = 0.1 -> gamma = 0.1\neta = 1.5", 6, "method[0].eta = 1.5: must be at most 1"),
        ("topk -> top-k", 6, "method[0].compressor = 'top-k': is not known; did you mean 'topk'?"),
        ("ef21-sgdm -> ef21sgdm", 4, "method[0].name = 'ef21sgdm': is not known; did you mean 'ef21-sgdm'?"),
        ("ef21-sgdm -> sgdm", 3, "method[0]: sgdm is the uncompressed method"),
        ("[[method]] -> [method]", 3, "method: must be one or more tables, each headed [[method]]"),
        (
            "k = 3 -> [train]\nbatch_size = 'five'",
            8,
            "train.batch_size = 'five': must be a whole number or a list or a table or 'full'",
        ),
        (
            "k = 3 -> [train]\nbatch-size = 5",
            8,
            "train.batch-size = 5: there is no such key; did you mean 'batch_size'?",
        ),
        ("k = 3 -> [train]\nparticipation = 0.0", 8, "train.participation = 0.0: must be greater than 0"),
        (
            "k = 3 -> [train]\nstart = 'gradeint'",
            8,
            "train.start = 'gradeint': is not known; did you mean 'gradient'?",
        ),
        (
            "k = 3 -> [trian]\nbatch_size = 3",
            7,
            "trian: there is no such key or section; did you mean 'train'?",
        ),
        (
            "k = 3 -> [model]\nname = 'logstic'",
            8,
            "model.name = 'logstic': is not known; did you mean 'logistic'?",
        ),
        ("k = 3 -> [model]\nhidden = [3, 'a']", 8, "model.hidden[1] = 'a': must be a whole number"),
        (
            "k = 3 -> optimizer_args = {weight_decay = nan}",
            7,
            "method[0].optimizer_args: numbers must be finite",
        ),
        ("k = 3 -> [engine]\nactors = -1", 8, "engine.actors = -1: must be at least 0"),
        ("k = 3 -> k = []", 7, "method[0].k: needs at least one entry"),
        ("k = 3 -> k = [3, 0.5]", 7, "method[0].k[1] = 0.5: must be a whole number"),
        ("k = 3 -> values = 'bfloat'", 7, "method[0].values = 'bfloat': is not known; did you mean 'bfloat16'?"),
        ("k = 3 -> scale_block = 0", 7, "method[0].scale_block = 0: must be at least 1"),
        (
            'ef21-sgdm"\ngamma = 0.1\ncompressor = "topk"\nk = 3 -> sgdm"\ngamma = 1\nvalues = "int8"',
            3,
            "method[0]: sgdm is the uncompressed method, so values = 'int8' does not go with it",
        ),
        ("k = 3 -> levels = [3]", 7, "method[0].levels: must be a whole number"),
        ("k = 3 -> [train]\nbatch_size = []", 8, "train.batch_size: needs at least one entry"),
        ("k = 3 -> [train]\nbatch_size = [4, 0]", 8, "train.batch_size[1] = 0: must be at least 1"),
        ("k = 3 -> [train]\nlocal_steps = [2, 0]", 8, "train.local_steps[1] = 0: must be at least 1"),
        ("k = 3 -> [train]\nlocal_steps = 2", 7, "train: local_rate is missing; local_steps needs it"),
        ("k = 3 -> [train]\nlocal_rate = 0.1", 7, "train: local_rate = 0.1 has no meaning where local_steps is 1"),
        ("k = 3 -> [train]\nparticipation = [0.5]", 8, "train.participation: must be a number"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_what_would_be_right(changed: str, line: int, told: str) -> None:
    before, after = changed.split(" -> ")
    assert before in HEAD + METHOD
    words = complaint((HEAD + METHOD).replace(before, after, 1))
    assert any(one.startswith(f"scenario, line {line}: {told}") for one in words.splitlines()), words
    assert "type=" not in words and "pydantic" not in words and "Input should" not in words


KEYS = [(section, key) for section, kind in SECTIONS.items() for key in kind.model_fields if len(key) > 3]


@pytest.mark.parametrize(("section", "key"), KEYS, ids=lambda part: part)
def test_any_key_with_a_letter_missing_is_recognised(section: str, key: str) -> None:
    for at in range(len(key)):
        wrong = key[:at] + key[at + 1 :]
        text = HEAD + METHOD + (f"{wrong} = 1\n" if section == "method" else f"[{section}]\n{wrong} = 1\n")
        known = SECTIONS[section].model_fields
        if not any(wrong in (other, other[:at] + other[at + 1 :]) for other in known if other != key):
            assert f"did you mean {key!r}?" in complaint(text)


def test_all_mistakes_are_told_at_once() -> None:
    text = (HEAD + METHOD).replace("rounds = 5", "rounds = 0").replace("k = 3", "kk = 3")
    told = [line.split(": ")[1] for line in complaint(text).splitlines()]
    assert told == ["rounds = 0", "method[0].kk = 3"]


def test_a_key_of_the_second_method_is_found_in_its_own_lines() -> None:
    words = complaint(HEAD + METHOD + METHOD.replace("k = 3", 'label = "b"\nfracton = 0.1'))
    where = "scenario, line 13: method[1].fracton = 0.1"
    assert words == f"{where}: there is no such key; did you mean 'fraction'?"


def test_what_is_not_toml_is_told_with_its_line() -> None:
    assert "line 2" in complaint('name = "a"\nrounds =\n')


def test_a_missing_file_lists_near_names(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="did you mean 'quickstart'"):
        load("quickstrt")
    with pytest.raises(ScenarioError, match="no such file"):
        load(tmp_path / "nothing.toml")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ScenarioError, match=r"a\.toml: byte 0 is not UTF-8"):
        load(tmp_path / "a.toml")


# ---------------------------------------------------------------- labels


@pytest.mark.parametrize(
    ("changes", "labels"),
    [
        ([{}], ["ef21-sgdm"]),
        ([{}, {"name": "ef14"}], ["ef21-sgdm", "ef14"]),
        ([{}, {"k": 5}], ["ef21-sgdm k=3", "ef21-sgdm k=5"]),
        ([{"k": [3, 50]}, {"k": 5}], ["ef21-sgdm k=3/50", "ef21-sgdm k=5"]),
        ([{}, {"compressor": "randk"}], ["ef21-sgdm topk", "ef21-sgdm randk"]),
        ([{}, {"label": "mine"}], ["ef21-sgdm", "mine"]),
        ([{}, {"gamma": {"value": 0.1}}], ["ef21-sgdm gamma=0.1", "ef21-sgdm gamma=0.1 falling"]),
    ],
)
def test_labels_tell_methods_apart(changes: list[dict[str, Any]], labels: list[str]) -> None:
    base = {"name": "ef21-sgdm", "gamma": 0.1, "compressor": "topk", "k": 3}
    scenario = Scenario.model_validate({"name": "a", "rounds": 1, "method": [base | c for c in changes]})
    assert [m.label for m in scenario.method] == labels


@pytest.mark.parametrize("label", ["", 'label = "x"\n'])
def test_two_methods_of_one_name_are_an_error(label: str) -> None:
    assert "give each a label of its own" in complaint(HEAD + (METHOD + label) * 2)


# ---------------------------------------------------------------- overrides

TWO = HEAD + METHOD + '[[method]]\nname = "sgdm"\ngamma = 0.2\n'


def test_an_override_changes_one_key() -> None:
    scenario = parse(TWO, ["train.batch_size=8", "method.0.gamma=0.7", "method[1].eta=0.5", "name=b c"])
    assert (scenario.train.batch_size, scenario.name) == (8, "b c")
    assert (scenario.method[0].gamma, scenario.method[1].eta) == (0.7, 0.5)
    assert scenario.method[1].gamma == 0.2


def test_an_override_of_all_methods_passes_by_those_without_a_use_for_it() -> None:
    scenario = parse(TWO, ["method.gamma=0.7", "method.fraction=0.5"])
    assert [m.gamma for m in scenario.method] == [0.7, 0.7]
    assert [(m.k, m.fraction) for m in scenario.method] == [(None, 0.5), (None, None)]


def test_another_compressor_drops_the_options_of_the_one_before() -> None:
    scenario = parse(TWO, ["method.levels=4", "method.compressor=qsgd"])
    first, second = scenario.method
    assert (first.compressor, first.k, first.levels) == ("qsgd", None, 4)
    assert (second.compressor, second.levels) == ("identity", None)


def test_another_compressor_or_coding_drops_what_belonged_to_the_coding_before() -> None:
    coded = TWO.replace("k = 3", 'k = 3\nvalues = "qsgd"\nlevels = 4')
    first = parse(coded, ["method.compressor=randk"]).method[0]
    assert (first.compressor, first.k, first.values, first.levels) == ("randk", 3, "bfloat16", None)
    first = parse(coded, ["method.values=int8"]).method[0]
    assert (first.values, first.levels) == ("int8", None)
    first = parse(TWO, ["method.levels=5", "method.values=qsgd"]).method[0]
    assert (first.values, first.levels) == ("qsgd", 5)


def test_an_override_of_a_hyperparameter_passes_by_methods_that_do_not_have_it() -> None:
    others = '[[method]]\nname = "ef21-page"\ngamma = 0.1\n[[method]]\nname = "sgdm"\ngamma = 0.1\n'
    page, sgdm = parse('name = "x"\nrounds = 1\n' + others, ["method.hyper.p=0.5"]).method
    assert page.hyper == {"p": 0.5} and sgdm.hyper == {}


@pytest.mark.parametrize("name", UNCOMPRESSED)
def test_an_override_of_values_passes_by_an_uncompressed_method(name: str) -> None:
    two = TWO.replace('"sgdm"', f'"{name}"')
    assert [m.values for m in parse(two, ["method.values=int8"]).method] == ["int8", "exact"]


# ---------------------------------------------------------------- how values are sent


@pytest.mark.parametrize(
    ("dtype", "compressor", "values"),
    [
        ("float32", "topk", "bfloat16"),
        ("float64", "topk", "exact"),
        ("float32", "powersgd", "bfloat16"),
        ("float32", "identity", "exact"),
        ("float64", "identity", "exact"),
        ("float32", "sign", None),
    ],
)
def test_values_are_bfloat16_unless_digits_count_and_the_file_written_says_so(
    dtype: str, compressor: str, values: str | None
) -> None:
    text = HEAD + METHOD.replace("topk", compressor) + f'[train]\ndtype = "{dtype}"\n'
    scenario = parse(text)
    assert scenario.method[0].values == values
    assert (f'values = "{values}"' in to_toml(scenario)) == (values is not None)
    assert parse(to_toml(scenario)) == scenario


def test_what_is_said_of_values_holds() -> None:
    for values in ("exact", "float16", "int8"):
        assert parse(HEAD + METHOD + f'values = "{values}"').method[0].values == values


def test_every_coding_that_has_a_default_is_one_its_compressor_takes() -> None:
    from fl_ef21.compressors import make

    options: dict[str, dict[str, Any]] = {
        "topk": {"k": 2}, "block-topk": {"k": 2, "block": 4}, "layer-topk": {"fraction": 0.1}, "randk": {"k": 2},
        "hard-threshold": {"threshold": 1.0}, "powersgd": {"rank": 1},
    }  # fmt: skip
    for name, takes in COMPRESSORS.items():
        values = default_values(name, "float32")
        assert (values is not None) == ("values" in takes)
        if values is not None:
            made = make(name, dim=12, shapes=(("w", (4, 3)),), values=values, **options.get(name, {}))
            assert repr(made.values) == values  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("method.fracton=3", "--set method.fracton=3: there is no such key; did you mean 'fraction'?"),
        ("method.k=x", "--set method.k=x: must be a whole number or a list or a table"),
        ("train.batch_size=abc", "--set train.batch_size=abc: must be a whole number or a list or a table or 'full'"),
        ("method.7.k=1", "--set method.7.k=1: there is no method.7 in the scenario"),
        ("rounds.x=1", "--set rounds.x=1: rounds holds no keys"),
        ("rounds", "--set rounds: write it as section.key=value, such as train.batch_size=8"),
        ("=3", "--set =3: write it as section.key=value, such as train.batch_size=8"),
    ],
)
def test_a_wrong_override_is_blamed_on_itself(override: str, told: str) -> None:
    assert complaint(TWO, override) == told


# ---------------------------------------------------------------- paths and writing back


def test_paths_are_taken_from_here_then_from_the_scenarios_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here / "both", there / "both", there / "only"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    file = there / "a.toml"
    for name, home in (("both", here), ("only", there)):
        file.write_text(HEAD + METHOD + f'[data]\nsource = "mnist"\npath = "{name}"\n')
        assert load(file).data.path == str(home / name)


numbers = st.floats(1e-9, 1.0)
texts = st.text(st.characters(codec="utf-8"), min_size=1)
counts = st.integers(1, 9)
methods = st.fixed_dictionaries(
    {"name": st.sampled_from(["ef14", "ef21-sgdm"]),
     "gamma": numbers | st.fixed_dictionaries({"value": numbers, "tau": numbers}),
     "label": texts},
    optional={"eta": numbers, "compressor": st.sampled_from(sorted(COMPRESSORS)), "k": counts,
              "optimizer_args": st.dictionaries(texts, numbers | st.booleans())},
)  # fmt: skip
written = st.fixed_dictionaries(
    {"name": texts, "rounds": st.integers(1, 2**40),
     "method": st.lists(methods, min_size=1, max_size=3, unique_by=lambda m: m["label"])},
    optional={"seed": st.integers(0, 2**62),
              "engine": st.fixed_dictionaries({}, optional={"actors": st.integers(0, 9)}),
              "train": st.fixed_dictionaries({"batch_size": counts | st.just("full")}),
              "model": st.fixed_dictionaries({"hidden": st.lists(counts), "x0": st.lists(numbers)}),
              "stop": st.fixed_dictionaries({"uplink_bytes": st.integers(1, 10**12) | st.just(1e6)})},
)  # fmt: skip


@given(written)
def test_what_is_written_loads_back_equal(table: dict[str, Any]) -> None:
    scenario = Scenario.model_validate(table)
    assert parse(to_toml(scenario)) == scenario


def test_the_number_of_actors_is_written_only_where_it_was_given() -> None:
    assert "actors" not in to_toml(parse(HEAD + METHOD))
    assert "actors = 3" in to_toml(parse(HEAD + METHOD + "[engine]\nactors = 3\n"))


@given(st.text(max_size=60), st.text(max_size=30))
def test_whatever_the_file_and_the_override_only_scenario_errors_leave(text: str, override: str) -> None:
    for whole in (text, HEAD + METHOD + text):
        try:
            scenario = parse(whole, [override])
        except ScenarioError as error:
            assert str(error)
        else:
            assert math.isfinite(scenario.rounds)
