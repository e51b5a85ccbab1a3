.DEFAULT_GOAL := help
.PHONY: help setup install demo demo-grid test test-long check lint types floors docs bench fuzz clean
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := lib9 ndbdb venti_store fossil_fs hubfs replicator spawngrid
export PATH := $(CURDIR)/$(BIN):$(PATH)

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*  ## ' $(MAKEFILE_LIST) | sed 's/:.*  ## /\t/' | expand -t 12

$(VENV)/ready: pyproject.toml constraints.txt debian-packages.txt $(wildcard lib9/fuse/*.[ch])
	tools/setup run build
	tools/venv $(VENV)

setup: $(VENV)/ready  ## the virtual environment with this project in it

PREFIX := /usr/local
install:  ## for everybody on this machine, below PREFIX (/usr/local); with man pages after `make docs`
	tools/setup run build
	tools/install $(PREFIX)

demo: $(VENV)/ready  ## a directory becomes a score, a mount, a new score: on real files
	sh tools/demo

demo-grid: $(VENV)/ready  ## a grid of two nodes: spawn, work, save, spawn elsewhere (root; makes a Debian root once)
	tools/setup run grid
	sh tools/demo-grid

test: $(VENV)/ready  ## all tests that take less than minutes (REQUIRE=fuse,root: skips fail)
	tools/setup test grid
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not long' -q tests

test-long: $(VENV)/ready  ## everything, the long ones too; the file systems once more on the stock engine
	tools/setup test grid bench
	$(BIN)/python -m pytest -n 2 --dist worksteal -q --timeout 3600 tests
	SPAWNGRID_ENGINE=stock $(BIN)/python -m pytest -n 2 --dist worksteal -m 'not long' -q tests/lib9 tests/fossil_fs tests/hubfs tests/acceptance

check: lint types floors docs  ## lint, types, import floors, docs

lint: $(VENV)/ready
	$(BIN)/ruff format --check . && $(BIN)/ruff check --output-format concise .

types: $(VENV)/ready
	$(BIN)/mypy

floors: $(VENV)/ready
	for f in floors/*.toml; do $(BIN)/lint-imports --config $$f --no-cache > $(VENV)/floors.log 2>&1 || { cat $(VENV)/floors.log; exit 1; }; done

docs: $(VENV)/ready  ## HTML, man pages and bash completion, into docs/_build
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -q -b man docs docs/_build/man
	$(BIN)/python -m docs._ext.completion docs/_build/completion

fuzz: $(VENV)/ready  ## random input against every decoder, FUZZ_SECONDS (20) for each
	$(BIN)/python -m tests.fuzz

bench: $(VENV)/ready  ## the figures, beside the peers' (a table, and bench-results/results.jsonl)
	tools/setup test grid bench
	$(BIN)/python -m tests.bench

clean:  ## remove what was built
	rm -rf $(VENV) build docs/_build *.egg-info
