# make demo           a three-node cluster, a site, clients, and nodes that die: about a minute
# make demo SERVE=1   the same, and then the site stays up, with buttons that kill, until Ctrl-C
# make test           the whole suite on real clusters; ARGS="-k failover" picks; WORKERS=4
# make versions       the suite on each Python and Django that is there; ENVS=py313-django61 picks
# make debian SUITE=trixie   the suite in that release of Debian (as root); ENVS=py314-django60
# make chaos          load, faults, and every node checked; SECONDS=60 SEED=1 PROCESSES=4 THREADS=4
# make differential   random programmes beside stock Django; PROGRAMMES=5000 LEVEL=0 SEED=1
# make upgrade-drill  each node drained, stopped, started under load; MINUTES=10 WRITERS=8 READERS=8
# make mutants        routers broken on purpose, and which checker finds each; ARGS="--seeds 5"
# make histories      the checker of histories on 10,000 that are serializable
# make bench          CPU and time beside stock Django; ARGS="reads growth --rounds 30" picks
# make proof          all long runs one after the other, with a report in the folder proof
# make django-suite   Django's own suite, stock and with the router; ARGS="basic queries" picks
# make screenshots    the pictures in docs/images, of the demo in a browser
# make docs           the site in the folder site; a link that leads nowhere is an error
# make dist           sdist and wheel in the folder dist, checked; nothing is published
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
MINUTES ?= 10
WRITERS ?= 8
READERS ?= 8

.DEFAULT_GOAL := help
.PHONY: help setup demo test versions debian chaos differential upgrade-drill mutants histories
.PHONY: bench proof django-suite screenshots docs dist lint format coverage clean

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

upgrade-drill: $(VENV)/.installed-dev
	exec $(BIN)/python -m tests.drill --seconds $$(($(MINUTES) * 60)) \
		--writers $(WRITERS) --readers $(READERS) $(ARGS)

mutants: $(VENV)/.installed-dev
	exec $(BIN)/python -m tests.mutants $(ARGS)

histories: $(VENV)/.installed-dev
	exec $(BIN)/python -m tests.history --histories 10000 $(ARGS)

bench: $(VENV)/.installed-dev
	exec $(BIN)/python -m tests.benchmarks $(ARGS)

proof: $(VENV)/.installed-dev
	exec $(BIN)/python -m tests.proof $(ARGS)

django-suite: $(VENV)/.installed-dev
	exec $(BIN)/python -m tests.django_suite $(ARGS)

coverage: $(VENV)/.installed-dev
	$(BIN)/coverage run -m pytest $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

screenshots: $(VENV)/.installed-dev
	exec $(BIN)/python -m tests.screenshots $(ARGS)

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --clean

dist: $(VENV)/.installed-dev
	scripts/dist $(BIN)/python dist

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
	rm -rf htmlcov bench proof site .coverage .coverage.* example_project/.mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
