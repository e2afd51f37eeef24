# Everything works as root and as an ordinary user, with Python 3.11+, git and make. PYTHON=... chooses another Python.
.DEFAULT_GOAL := help
.PHONY: help setup run test test-system lint format bench lock upgrade clean
SHELL := /bin/sh

BIN := .venv/bin
STAMP := .venv/.ready
RUNS := .venv/.runs
CODE := src tests $(wildcard benchmarks examples tools)

help: ## Show what can be made
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## Make .venv with all that tests and linters need; .venv/bin/windlass is there afterwards
	@:

$(STAMP): pyproject.toml uv.lock scripts/setup.sh scripts/uv.sh
	@sh scripts/setup.sh
	@touch $@ $(RUNS)

# What the product needs to run: a newcomer does not wait for browsers' drivers, clusters and linters.
$(RUNS): pyproject.toml uv.lock scripts/setup.sh scripts/uv.sh
	@sh scripts/setup.sh product
	@touch $@

run: $(RUNS) ## Set up and start the product on port 8000 with SQLite
	@LOG_FILE=logs/app.log $(BIN)/windlass up

test: setup ## Set up and pass every test that needs no system package
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest tests --ignore=tests/system -n 3 --dist worksteal

test-system: setup ## Install promtool and a browser where allowed, then pass the tests that need them
	@sh scripts/install-system-packages.sh
	@$(BIN)/python -m pytest tests/system

lint: setup ## Check style, types, imports, the image and the compose file
	@sh scripts/lint.sh $(CODE)

format: setup ## Rewrite the code in the house's style
	@$(BIN)/ruff check --quiet --fix-only $(CODE)
	@$(BIN)/ruff format --quiet $(CODE)

bench: setup ## Measure ours, the peers and the bare limits; writes benchmarks/results.md
	@$(BIN)/python -m benchmarks

lock: ## Write the versions that pyproject.toml now asks for to uv.lock, changing no others
	@sh scripts/uv.sh lock --quiet

upgrade: ## Choose the newest allowed versions and write them to uv.lock
	@sh scripts/uv.sh lock --upgrade

clean: ## Remove what was built, keep databases and logs
	@rm -rf .venv .bench dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find src tests $(wildcard benchmarks examples tools) -name __pycache__ -prune -exec rm -rf {} +
