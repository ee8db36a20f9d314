# Everything lives in .venv; nothing else on the machine is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
STUDY ?= study

.PHONY: help quickstart test check format gpu bench clean

help:  ## what there is to make
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

quickstart: $(VENV)/.core  ## set up, then train, export, measure and amortise the seven forecasters
	$(BIN)/ptprof --study $(STUDY) quickstart

test: $(VENV)/.dev  ## set up, then run the tests
	$(BIN)/python -m pytest

check: $(VENV)/.dev  ## what CI checks beside the tests: lint, format, types, direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## put the code into the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

gpu: $(VENV)/.dev  ## on a machine with an NVIDIA GPU: the tests marked gpu, then the measurements
	PYTHON=$(BIN)/python scripts/gpu

bench: $(VENV)/.dev  ## against peers; figures into results/
	PYTHON=$(BIN)/python scripts/bench

clean:  ## remove the environment and the caches; studies stay
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
		|| { echo "ptprof needs Python 3.11 to 3.13: make PYTHON=python3.11 …" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing ptprof into $(VENV): about 1 GB with torch and ONNX Runtime, once"
	$(PIP) -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing ptprof and its development tools into $(VENV)"
	$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.core
