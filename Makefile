# The environment lives in .venv and is made from pyproject.toml and constraints.txt alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(shell date +%Y%m%d-%H%M%S)

.PHONY: run test test-all coverage lint docs bench mistakes fuzz compat clean
.DEFAULT_GOAL := help

help:  ## show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(VENV)/.base: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"equiprop needs Python 3.11 or newer, this is {v[0]}.{v[1]}: try make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,lint]'
	@touch $@

run: $(VENV)/.base  ## the main job on the built-in digits: three trainings of three seeds each, a table and an HTML report
	@for name in homeostasis plain adjoint; do \
	  $(BIN)/equiprop train --config experiments/digits_$$name.toml --out runs/digits-$(STAMP)/$$name || exit $$?; \
	done
	@$(BIN)/equiprop report runs/digits-$(STAMP)/homeostasis runs/digits-$(STAMP)/plain runs/digits-$(STAMP)/adjoint --out runs/digits-$(STAMP)

test: $(VENV)/.dev  ## the test suite but for what is slow, in five minutes on two cores
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-all: $(VENV)/.dev  ## the whole test suite
	$(BIN)/python -m pytest -n 2 --dist worksteal --durations 40

coverage: $(VENV)/.dev  ## the whole test suite, and the lines and branches of the library that it leaves out; at most 5 %
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov

lint: $(VENV)/.dev  ## style, types, the order of the packages, and that every mistake can be planted
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/python tools/write_keys.py --check
	$(BIN)/python tools/plant_mistakes.py --check

docs: $(VENV)/.dev  ## the documentation as a site in site/, every link checked; python -m http.server -d site shows it
	$(BIN)/zensical build --strict

bench: $(VENV)/.base  ## time and memory of a training step and its parts (benchmarks/ has more)
	$(BIN)/equiprop bench --config experiments/digits_homeostasis.toml

mistakes: $(VENV)/.dev  ## plant known mistakes one at a time; a test must notice each (an hour or two)
	$(BIN)/python tools/plant_mistakes.py

fuzz: $(VENV)/.dev  ## damage 100,000 files of every kind that is read; each must be read or refused (some minutes)
	$(BIN)/python tools/fuzz.py

compat:  ## the tests on the oldest and the newest versions of everything, on the oldest and the newest Python (an hour)
	$(PYTHON) tools/compatibility.py

clean:  ## remove the environment and the caches
	rm -rf $(VENV) .pytest_cache .ruff_cache .coverage .hypothesis .cache .import_linter_cache
