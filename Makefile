# Two commands do all set-up on a machine with Python 3.11 and make: `make demo` and `make test`.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt

.PHONY: demo up test test-all bench bench-scale lint types layers format constraints clean

demo: $(VENV)/.product  ## train, serve and ask an iris model; prints the answers and ends
	$(BIN)/python examples/iris/demo.py

up: $(VENV)/.product  ## the same on the default ports, and stays up until Ctrl-C
	$(BIN)/python examples/iris/demo.py --stay

test: lint types layers  ## what CI runs: format, lint, types, layers, unit and end-to-end tests
	$(BIN)/pytest -n 2 --dist loadfile

test-all: lint types layers  ## the same with the slow suites: a million requests twice, ten minutes of fuzzing
	$(BIN)/pytest -m ''

bench-scale: $(VENV)/.dev  ## cold starts, a step of the load, a thousand services; writes bench/SCALE.md
	$(BIN)/python -m bench.scale

bench: $(VENV)/.dev  ## us and the peers side by side; writes bench/RESULTS.md
	$(BIN)/python -m bench.run

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy

layers: $(VENV)/.dev
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## rewrite the sources in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

constraints: $(VENV)/.dev  ## renew the tested versions
	$(BIN)/uv pip compile --quiet --universal --python $(BIN)/python --all-extras --group dev --no-header --no-annotate --no-emit-index-url --no-emit-package colonnade pyproject.toml --upgrade -o constraints.txt

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis bench/.work examples/iris/model

$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv

$(VENV)/.product: $(BIN)/uv pyproject.toml constraints.txt
	$(UV) --editable .
	touch $@

$(VENV)/.dev: $(BIN)/uv pyproject.toml constraints.txt
	$(UV) --editable '.[all]' --group dev
	touch $@ $(VENV)/.product
