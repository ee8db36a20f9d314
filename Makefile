# Everything lives in .venv; nothing else on the machine is touched. With another Python, in a folder of its own:
#   make PYTHON=python3.12 VENV=.venv-3.12 test
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
STUDY ?= study

.PHONY: help quickstart test check docs dist third-party format gpu bench clean

help:  ## what there is to make
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

quickstart: $(VENV)/.core  ## set up, then train, export, measure and amortise the seven forecasters
	$(BIN)/ptprof --study $(STUDY) quickstart

test: $(VENV)/.dev  ## set up, then run the tests, room by room
	PYTHON=$(BIN)/python scripts/test

check: $(VENV)/.dev  ## what CI checks beside the tests: lint, format, types, direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.dev  ## the documentation as a site, into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

dist: $(VENV)/.dev  ## sdist and wheel into dist/, checked, and used in a clean environment
	$(BIN)/python scripts/dist

third-party: $(VENV)/.dev  ## write the tables of THIRD_PARTY.md from what is installed
	$(BIN)/python scripts/third-party

format: $(VENV)/.dev  ## put the code into the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

gpu: $(VENV)/.dev  ## on a machine with an NVIDIA GPU: the tests marked gpu, then the measurements
	PYTHON=$(BIN)/python scripts/gpu

bench: $(VENV)/.dev  ## against peers; figures into results/
	PYTHON=$(BIN)/python scripts/bench

clean:  ## remove the environment and the caches; studies stay
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
		|| { echo "ptprof needs Python 3.11 to 3.13: make PYTHON=python3.11 …" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing ptprof into $(VENV): 1.8 GB on disk with torch for the CPU, 5 GB with CUDA, once"
	$(PIP) -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing ptprof and its development tools into $(VENV)"
	$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.core
