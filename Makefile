# `make demo` and `make test` need nothing before them but Python 3.11+, make and a package index.
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.dev-installed
RUN_STAMP := $(VENV)/.installed

.PHONY: help demo test debian conformance lint unit bench laws million demo-oscar dist clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(RUN_STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Floodgate needs Python 3.11 or newer; this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	echo "setting up $(VENV), once: a minute or so"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(STAMP): $(RUN_STAMP)
	@echo "adding what the tests need to $(VENV), once: two minutes or so"
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(RUN_STAMP) ## the whole thing on this machine, with a tour: shop, gate, store, console
	$(BIN)/gate demo $(ARGS)

test: $(STAMP) debian ## every test, in its short form
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 3 --dist loadfile $(ARGS)

debian: ## Debian packages for the tests: chromium, redis-server, prometheus (as root; else it says what is left out)
	@.ci/debian

conformance: $(STAMP) ## public suites through the gate: Autobahn, http-cache-tests, slowhttptest, httplint; edges that ask it
	@command -v slowhttptest >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get install -y -qq --no-install-recommends slowhttptest; } || \
		echo "left out: slow attacks; install Debian's slowhttptest to run them"
	@command -v npm >/dev/null && npm install --silent --no-audit --no-fund --prefix .cache/conformance http-cache-tests@0.4.5 || \
		echo "left out: http-cache-tests; install node and npm to run them"
	$(BIN)/python -c 'from tests.bench.peers import fetch_all; fetch_all(print)'
	FULL=1 $(BIN)/pytest tests/conformance tests/wire/test_isolation.py tests/wire/test_framing_corpus.py tests/e2e/test_edges.py $(ARGS)

lint: $(STAMP) ## ruff and mypy
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

unit: $(STAMP) ## the fast tests only
	$(BIN)/pytest -m 'not slow and not browser' $(ARGS)

bench: $(STAMP) ## the gate beside nginx, HAProxy, Envoy and others, all fetched by itself; ARGS="--help"
	@$(BIN)/python -m tests.bench $(ARGS)

laws: $(STAMP) ## a long run with faults, decided from what clients and shop wrote down; ARGS="--help"
	$(BIN)/python -m tests.laws $(ARGS)

million: $(STAMP) ## a million waiting in a real store
	$(BIN)/python -m tests.load.million $(ARGS)

demo-oscar: $(STAMP) ## a real third-party shop (django-oscar) behind the gate
	$(BIN)/python -m tests.oscar.demo $(ARGS)

dist: $(RUN_STAMP) ## build the wheel
	@$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	ls dist/*.whl

clean: ## remove what the targets made
	rm -rf $(VENV) .cache .bench dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
