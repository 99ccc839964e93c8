# Everything here needs only Python 3.11 or newer and make; the JavaScript tests need Node as well.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# What writes to the database, and what must therefore hold on both.
POSTGRES_TESTS := tests/dashboard tests/realtime/delivery tests/integration/test_nothing_is_lost.py tests/integration/test_two_workers.py \
	$(addprefix tests/realtime/test_,$(addsuffix .py,bridge credentials feed gaps history keeper leases notes relay sql wanted worker))

.DEFAULT_GOAL := help

.PHONY: help
help:  ## Show this list.
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/ready  ## Run everything on this machine. PORT, HOST, DEVICES, RATE change it; Ctrl-C stops it.
	@exec $(BIN)/python manage.py demo

.PHONY: test
test: install chromium lint types check test-js test-python  ## Run what must pass before a change is merged.

.PHONY: install
install: $(VENV)/installed  ## Make the virtual environment from the pinned, hashed dependencies.

$(VENV)/installed: requirements-dev.txt $(VENV)/ready
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

# What it takes to run, and no more: nobody who tries the demo waits for the tools of those who work on it.
$(VENV)/ready: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

.PHONY: chromium
chromium:
	@.ci/chromium

.PHONY: lint
lint: install  ## Check style and formatting.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: types
types: install  ## Check the types.
	$(BIN)/mypy

.PHONY: check
check: install  ## Check that the settings are sound and every model has its migration.
	ENV_FILE=/dev/null $(BIN)/python manage.py check
	ENV_FILE=/dev/null $(BIN)/python manage.py makemigrations --check --dry-run

.PHONY: test-js
test-js:  ## Run the JavaScript tests.
	node --test $$(find tests/js -name '*.test.js')

.PHONY: test-python
test-python: install  ## Run the Python tests, those in Chromium and with short faults included.
	$(BIN)/pytest --numprocesses 2 --no-loadscope-reorder --max-worker-restart 0

.PHONY: test-postgres
test-postgres: install  ## Run what writes on a PostgreSQL of its own, if that is installed.
	$(BIN)/python -m tests.on_postgres $(POSTGRES_TESTS)

# Hours of what is logged fill the memory, and asyncio's own checks take a fifth of the time.
.PHONY: soak
soak: install  ## Run the tests that take hours: long properties, random faults, fuzzing.
	$(BIN)/pytest -m soak -p no:logging -o asyncio_debug=false -o faulthandler_timeout=0

.PHONY: bench
bench: install chromium  ## Measure speed beside plainer ways to do the same. BENCH="--only live --turns 1" narrows it.
	@$(BIN)/python -m tests.bench $(BENCH)

.PHONY: pins
pins:  ## Pin the dependencies of pyproject.toml anew (needs uv).
	uv pip compile --quiet --upgrade --universal --generate-hashes --no-header --no-emit-index-url \
		pyproject.toml -o requirements.txt
	uv pip compile --quiet --upgrade --universal --generate-hashes --no-header --no-emit-index-url \
		--extra dev -c requirements.txt pyproject.toml -o requirements-dev.txt
