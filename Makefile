# Everything a newcomer types. `make` alone prints this list.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Locks are made by `make lock`; they hold hashes and no addresses.
UV_COMPILE = $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header pyproject.toml

# A test run starts hundreds of Pythons; those that may keep no bytecode compile all of our code again.
test chaos bench: export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo test coverage lint chaos bench up clean lock format audit sbom

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.base ## the main job against a simulated Deel, nothing else needed
	@$(BIN)/onboarding demo

test: $(VENV)/.dev ## every test; those that need a server it cannot reach are named in one line
	@$(BIN)/pytest -n 4

coverage: $(VENV)/.dev ## which lines the tests in this process run; those in child processes do not count
	@$(BIN)/pytest -n 4 --cov --cov-report=term tests/onboarding tests/tasks tests/security

lint: $(VENV)/.dev ## ruff, mypy --strict, import-linter
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

chaos: $(VENV)/.dev ## everything broken at once, from a seed: make chaos ARGS="--seed 7 --short"
	@$(BIN)/python -m tests.chaos $(ARGS)

bench: $(VENV)/.dev ## the figures of the README, measured here; a part of them: make bench ARGS="--only flat"
	@$(BIN)/python -m tests.bench $(ARGS)

up: $(VENV)/.base ## worker, intake and upkeep in one process, on the embedded default
	@$(BIN)/onboarding up

clean: ## what can be made again; the laptop's store, key and tokens in .onboarding/ stay
	rm -rf $(VENV) build .onboarding/demo .onboarding/demo.lock .coverage* .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	@rmdir .onboarding 2>/dev/null || true
	@if [ -d .onboarding ]; then echo "kept: .onboarding (the store, the vault's key, live tokens); yours to delete"; fi

format: $(VENV)/.dev ## ruff's formatter and fixes
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

lock: $(VENV)/.dev ## renew the locks from pyproject.toml
	$(BIN)/pip install -q uv
	$(UV_COMPILE) --upgrade --extra dev -o requirements-dev.lock
	$(UV_COMPILE) --extra build --extra web -c requirements-dev.lock -o requirements.lock

audit: $(VENV)/.dev ## look every pin up for known vulnerabilities; one line where the database cannot be reached
	@$(BIN)/python .ci/audit.py requirements.lock

sbom: $(VENV)/.dev ## build/sbom.json: what a deployment installs, as CycloneDX
	@mkdir -p build
	@$(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-reproducible \
		-o build/sbom.json
	@echo build/sbom.json

$(VENV)/.base: requirements.lock pyproject.toml .ci/setup
	@sh .ci/setup "$(PYTHON)" $(VENV) requirements.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml .ci/setup
	@sh .ci/setup "$(PYTHON)" $(VENV) requirements-dev.lock
	@touch $@ $(VENV)/.base
