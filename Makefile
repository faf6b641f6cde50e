# `make` lists what can be done. Everything runs in .venv, which `make install` makes and keeps current,
# so a fresh clone needs nothing but Python 3.11 or newer, make and git.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# Without bytecode, each process that the tests and the demo start spends a second on compiling the same modules.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
PYTHON := $(BIN)/python
STAMP := $(VENV)/.installed

# Candidates for the interpreter behind .venv, best first. `make install BASE_PYTHON=/opt/py/bin/python3` overrides.
BASE_PYTHON ?= python3.13 python3.12 python3.11 python3 python
NEW_ENOUGH := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

.PHONY: help install demo demo-kafka test chaos sim check bench bench-detection docs golden up down clean

help: ## List these targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

install: $(STAMP) ## Make .venv and install Driftline with all it takes to work on it

$(STAMP): pyproject.toml
	@if ! $(PYTHON) -c '$(NEW_ENOUGH)' 2>/dev/null; then \
	    for base in $(BASE_PYTHON) ""; do \
	        if [ -z "$$base" ]; then \
	            echo "No Python 3.11 or newer with the modules venv and ensurepip was found (looked for: $(BASE_PYTHON))." >&2; \
	            echo "Install one (on Debian and Ubuntu: python3 and python3-venv), or name it: make install BASE_PYTHON=/path/to/python3" >&2; \
	            exit 1; \
	        fi; \
	        if "$$base" -c '$(NEW_ENOUGH)' 2>/dev/null; then break; fi; \
	    done; \
	    echo "Making $(VENV) with $$("$$base" --version)"; \
	    "$$base" -m venv --clear $(VENV); \
	fi
	@echo "Installing into $(VENV), the first time for a minute or two ..."
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(STAMP)

demo: $(STAMP) ## The whole job on recorded and simulated streams, no broker
	$(PYTHON) -m examples.demo

demo-kafka: $(STAMP) ## The same fleet through a real Kafka broker on this machine
	$(PYTHON) -m examples.demo --kafka

test: $(STAMP) ## The whole test suite, real broker included, on two cores (JOBS=2)
	$(PYTHON) -m streamer.app.warm_up # else each process of the tests compiles the same kernels at once
	$(PYTHON) -m pytest -n $(or $(JOBS),2) --dist loadfile

chaos: $(STAMP) ## Three workers on three brokers, hurt for ten minutes (CHAOS_S=600 CHAOS_SEED=1)
	DRIFTLINE_CHAOS_S=$(or $(CHAOS_S),600) DRIFTLINE_CHAOS_SEED=$(or $(CHAOS_SEED),1) $(PYTHON) -m pytest -q -s tests/e2e/test_chaos.py

sim: $(STAMP) ## Simulated worlds by their seeds (SEEDS=1000 FIRST=0)
	DRIFTLINE_SIM_SEEDS=$(or $(SEEDS),1000) DRIFTLINE_SIM_FIRST=$(or $(FIRST),0) $(PYTHON) -m pytest -q -s tests/simulation/test_simulation.py -k outputs_equal

check: $(STAMP) ## Lint, format, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(STAMP) ## Throughput beside plain loops over the same file
	$(PYTHON) -m benchmarks

bench-detection: $(STAMP) ## Measure detection quality: rewrites tables of docs/detectors/
	$(PYTHON) -m benchmarks.detection
	$(PYTHON) -m benchmarks.situations

docs: $(STAMP) ## Rewrite the schemas and the pages that are generated from code
	$(PYTHON) -m docs.generate

golden: $(STAMP) ## Rewrite the expected outputs in tests/golden, then show what changed
	DRIFTLINE_GOLDEN=write $(PYTHON) -m pytest -q tests/golden
	git diff --stat -- tests/golden

up: ## Start Kafka, Driftline and Prometheus with docker compose
	docker compose up --build --detach --wait

down: ## Stop them; the volumes stay
	docker compose down

clean: ## Remove .venv, caches and outputs
	rm -rf $(VENV) build dist demo-output .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find detectors driftline retrain streamer tests examples benchmarks docs -name __pycache__ -prune -exec rm -rf {} +
