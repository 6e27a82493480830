# `make demo` trains and writes a report, `make test` checks everything; both set up .venv on first use.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION := 1
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: setup demo test lint types tests bench fuzz nightly clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(shell command -v $(PYTHON) || command -v python3) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m fl_ef21.warm
	touch $@

demo: $(READY)
	$(BIN)/fl-ef21 run quickstart

test: lint types tests

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

tests: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal

bench: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,bench]'
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.codec
	$(BIN)/python -m benchmarks.chaos

# A million mutated payloads, some with every index of a compiled loop checked, then so many minutes of atheris, which
# keeps what it finds in .fuzz/.
FUZZ_MINUTES ?= 10
fuzz: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,fuzz]'
	$(BIN)/python -m tests.fuzz.campaign --mutations 1000000
	NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=.fuzz/numba $(BIN)/python -m tests.fuzz.campaign --mutations 100000 --seed 1
	$(BIN)/python -m tests.fuzz.fuzz_decode .fuzz/corpus -artifact_prefix=.fuzz/ -max_total_time=$$((60 * $(FUZZ_MINUTES)))

nightly: fuzz
	$(BIN)/python -m pytest -n 2 --dist worksteal -m nightly

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
