# make demo           a three-node cluster, a site, clients, and nodes that die: about a minute
# make demo SERVE=1   the same, and then the site stays up until Ctrl-C
# make test           the whole suite on real clusters; ARGS="-k failover" picks; WORKERS=4
# make versions       the suite on each Python and Django that is there; ENVS=py313-django61 picks
# make debian SUITE=trixie   the suite in that release of Debian (as root); ENVS=py314-django60
# make chaos          load, faults, and every node checked; SECONDS=60 SEED=1 PROCESSES=4 THREADS=4
# make differential   random programmes beside stock Django; PROGRAMMES=5000 LEVEL=0 SEED=1
# make mutants        routers broken on purpose, and which checker finds each; ARGS="--seeds 5"
# make histories      the checker of histories on 10,000 that are serializable
# make proof          all long runs one after the other, with a report in the folder proof
# make django-suite   Django's own suite, stock and with the router; ARGS="basic queries" picks
# make lint           ruff, import-linter and mypy
# make coverage       the suite again, with a report of the lines it reached
# make setup          only what the others need: system packages and .venv

PYTHON ?= python3
VENV ?= .venv
BIN := $(abspath $(VENV))/bin
ARGS ?=
ENVS ?= ALL
SUITE ?=
SERVE ?=
SECONDS ?= 60
SEED ?= 1
PROGRAMMES ?= 5000
LEVEL ?= 0
PROCESSES ?= 4
THREADS ?= 4
WORKERS ?= 4

.DEFAULT_GOAL := help
.PHONY: help setup demo test versions debian chaos differential mutants histories proof django-suite
.PHONY: lint format coverage clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

setup: $(VENV)/.installed-dev

demo: $(VENV)/.installed-demo
	cd example_project && exec $(BIN)/python -m demo $(if $(SERVE),--serve) $(ARGS)

test: $(VENV)/.installed-dev
	WORKERS=$(WORKERS) scripts/suite $(BIN)/python $(ARGS)

versions: $(VENV)/.installed-dev
	scripts/versions $(BIN)/tox $(ENVS) $(ARGS)

# Their values are passed on as they are, whatever quotes are in them.
debian: export ARGS := $(ARGS)
debian: export ENVS := $(ENVS)
debian: export WORKERS := $(WORKERS)
debian:
	scripts/debian "$(SUITE)" $(if $(filter ALL,$(ENVS)),test,versions)

chaos: $(VENV)/.installed-dev
	exec $(BIN)/python -m tests.chaos --seconds $(SECONDS) --seed $(SEED) \
		--processes $(PROCESSES) --threads $(THREADS) $(ARGS)

differential: $(VENV)/.installed-dev
	exec $(BIN)/python -m tests.differential --level $(LEVEL) --programmes $(PROGRAMMES) \
		--seed $(SEED) --all $(ARGS)

mutants: $(VENV)/.installed-dev
	exec $(BIN)/python -m tests.mutants $(ARGS)

histories: $(VENV)/.installed-dev
	exec $(BIN)/python -m tests.history --count 10000 $(ARGS)

proof: $(VENV)/.installed-dev
	exec $(BIN)/python -m tests.proof $(ARGS)

django-suite: $(VENV)/.installed-dev
	exec $(BIN)/python -m tests.django_suite $(ARGS)

coverage: $(VENV)/.installed-dev
	$(BIN)/coverage run -m pytest $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy
	cd example_project && $(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What the extra of that name needs of the system.
system-%:
	@scripts/system-packages $(PYTHON) $*

# One stamp per extra: "demo" brings what the site needs, "dev" everything.
$(VENV)/.installed-%: setup.cfg pyproject.toml scripts/virtual-environment | system-%
	@scripts/virtual-environment $(PYTHON) $(VENV) $*
	@touch $@

clean:
	rm -rf $(VENV) .tox build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf htmlcov proof .coverage .coverage.* example_project/.mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
