"""A small study for tests: digits on 6 clients, in this process."""

from __future__ import annotations

from pathlib import Path

from scenarios.study.reading import Source, parse

SCENARIO = """
[scenario]
rounds = 8
partition = {clients = 6, scheme = "dirichlet"}
model = {name = "logistic"}
train = {batch_size = 2}
evaluate = {every = 2, audit = false}

[[scenario.method]]
name = "sgdm"
gamma = 0.2

[[scenario.method]]
name = "ef21-sgdm"
gamma = 0.2
compressor = "topk"
k = 5
"""


def study(text: str = "", scenario: str = SCENARIO) -> Source:
    """`text`: keys and tables besides the name; an own `base` goes with scenario = ""."""
    return parse(f'name = "small"\n{text}\n{scenario}', "study.toml", Path.cwd())
