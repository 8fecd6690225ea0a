# Every command of this checkout. Works with GNU make 3.81 (macOS) and later.
#
#   make run PORT=3001              another port
#   make test PYTHON=python3.12     another Python

PYTHON ?= python3
BIN := .venv/bin
# Two workers keep two cores busy; more only make the tests of timing unsteady.
WORKERS ?= 2
PYTEST_ARGS ?=

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help run test twin twin-kill twin-status twin-deps test-twin test-guards measure bench bench-deps test-bench load lint typecheck format lock observe observe-deps test-observe dashboards slo openapi charts charts-release sbom image clean install-local install-dev

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

run: install-local ## Start the whole platform on this machine: real servers, demo data, http://localhost:3000
	@exec $(BIN)/python -m telemed.cli run

test: install-dev lint typecheck ## Run every check and every test, against real servers
	@$(BIN)/python -m pytest -n $(WORKERS) $(PYTEST_ARGS)

twin: install-dev ## Start a twin of the cluster: replicas, poolers, Redis Cluster, HTTPS gateway (after twin-deps)
	@exec $(BIN)/python -m tests.twin up

WHAT ?=
HOW ?= kill
twin-kill: install-dev ## Break a part of the running twin: WHAT=primary, HOW=kill, stop, cont, term or restart
	@$(BIN)/python -m tests.twin kill "$(WHAT)" "$(HOW)"

twin-status: install-dev ## Show who runs where in the twin
	@$(BIN)/python -m tests.twin status

twin-deps: ## Install what the twin needs beyond Python: PgBouncer and HAProxy, by apt
	@sh requirements/packages.sh "make twin-deps" pgbouncer haproxy

# make test-twin                                   every drill once, short
# make test-twin DRILLS="zombie own-reads" SEEDS="1 2 3"
# make test-twin MINUTES=60 SEEDS=7                a campaign: at random, faults as long as in life
# make test-twin DRILLS=primary-kills SIZE=100     a drill that is counted
# make test-twin RATE=10                           fewer arrivals a second, for a slower machine
# make test-twin GUARD_OFF=shield                  the drill that must go red without it
SEEDS ?=
MINUTES ?= 0
DRILLS ?=
SIZE ?=
RATE ?=
GUARD_OFF ?=
DRILL := $(BIN)/python -m tests.twin.drills --seeds "$(SEEDS)" --minutes "$(MINUTES)" --drills "$(DRILLS)" \
	$(if $(SIZE),--size $(SIZE)) $(if $(RATE),--rate $(RATE)) --guard-off "$(GUARD_OFF)"
test-twin: install-dev ## Break the twin in every way under load, and judge what is left (after twin-deps)
	@$(DRILL)
	@$(if $(strip $(DRILLS) $(GUARD_OFF)),:,$(BIN)/python -m pytest -n 0 -m drill tests/pods)

GUARDS := synchronous-commit shield token breaker
test-guards: install-dev ## Take each guard of the twin away and see its drill fail
	@$(BIN)/python -m tests.twin.drills --seeds "$(SEEDS)" --guard-off "$(or $(GUARD_OFF),$(GUARDS))" --expect-red

measure: install-dev ## Measure anew what a request costs in CPU, for `telemed capacity`; takes three minutes
	@$(BIN)/python load-tests/bench/measure.py

# make load                                        a day of 100,000 consultations, played in three minutes
# make load SHAPE=surge                            or steady, spike, stampede, soak, breakpoint, peak, peak-knee
# make load PROFILE=my.yaml URL=http://host:3000   a profile and a platform of your own
# make load SCALE=10                               ten times as many; SECONDS=60 another length
# make load SECRET=.telemed/platform.env           with people of a data set (load-tests/dataset) of that platform
# make load PROCESSES=2                            two generators that share the load
SHAPE ?= day
PROFILE ?=
URL ?=
SCALE ?=
SECONDS ?=
SECRET ?=
PROCESSES ?=
load: install-dev ## Load the platform as on a day, and judge it: met, missed or invalid (load-tests/README.md)
	@PYTHONPATH=load-tests exec $(BIN)/python -m telemed_load --profile "$(or $(PROFILE),$(SHAPE))" \
		$(if $(URL),--url "$(URL)") $(if $(SCALE),--scale $(SCALE)) $(if $(SECONDS),--seconds $(SECONDS)) \
		$(if $(SECRET),--secret "$(SECRET)") $(if $(PROCESSES),--workers $(PROCESSES))

bench-deps: ## Install what `make bench` needs beyond Python: wrk and PgBouncer, by apt
	@sh requirements/packages.sh "make bench-deps" wrk pgbouncer

# make bench                                       every ratio, a table, load-tests/results/bench-latest.json; 15 minutes
# make bench ONLY=cached-search                    or several: ONLY="booking pooler"
# make bench BIGGEST=1e7                           growth up to ten million slots; ten minutes more to load them
ONLY ?=
BIGGEST ?= 1e6
bench: install-dev ## Measure the hot paths against their floors on this machine (after bench-deps)
	@$(BIN)/python load-tests/bench --only "$(ONLY)" --biggest "$(BIGGEST)"

test-bench: install-dev ## See that every benchmark runs from end to end, at the smallest size
	@$(BIN)/python -m pytest -n 0 -m drill tests/load/bench

lint: install-dev ## Check style, formatting and the floors of imports
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/lint-imports

typecheck: install-dev ## Check the types
	@$(BIN)/python -m mypy

format: install-dev ## Format the code and apply the safe fixes
	@$(BIN)/python -m ruff check --fix .
	@$(BIN)/python -m ruff format .

observe-deps: ## Install what `make observe` needs beyond Python: Prometheus, Alertmanager, blackbox exporter, by apt
	@sh requirements/packages.sh "make observe-deps" promtool:prometheus prometheus-alertmanager prometheus-blackbox-exporter

# make observe                                     some five minutes: quiet, 5 % errors, the page, well again
# make observe STAY=1                              go on afterwards, for a look; Ctrl-C stops all of it
STAY ?=
observe: install-dev ## Watch an alert come and go on this machine: the platform, Prometheus, Alertmanager, traffic, errors
	@exec $(BIN)/python -m observability.look observe $(if $(STAY),--stay)

test-observe: install-dev ## Do the same as a test: the page comes within two minutes, alone, and goes (after observe-deps)
	@$(BIN)/python -m pytest -n 0 -m drill tests/observability

# make dashboards PROMETHEUS=http://127.0.0.1:9090 MINUTES=15
PROMETHEUS ?= http://127.0.0.1:9090
MINUTES ?= 15
dashboards: install-dev ## Write the dashboards from the code, and draw them from a running Prometheus as pictures
	@$(BIN)/python -m observability.boards build
	@$(BIN)/python -m observability.boards draw --prometheus "$(PROMETHEUS)" --minutes "$(MINUTES)"

slo: install-dev ## Write what follows from the objectives: rules, their tests, gates of load tests, documents
	@$(BIN)/python -m telemed.cli slo build

openapi: install-dev ## Write docs/openapi.json from the code
	@$(BIN)/python -m telemed.cli openapi --output docs/openapi.json

charts-release: install-dev ## Keep what the charts render in this version, for the next one to be compared with
	@$(BIN)/python -m tests.charts.releases

sbom: install-dev ## Write dist/telemed.cdx.json: what the image is made of, its licences and hashes (CycloneDX)
	@$(BIN)/python requirements/sbom.py dist/telemed.cdx.json

# make image                                       what runs; the same commit gives the same layers
# make image TARGET=dev IMAGE=telemed:dev          restarts when its code changes
# make image BUILD_ARGS="--build-arg PYTHON_IMAGE=python:3.11.17-slim-trixie@sha256:..."
IMAGE ?= ghcr.io/telemed/telemed:0.1.0
TARGET ?= prod
BUILD_ARGS ?=
image: ## Build the container image: IMAGE=name:tag, TARGET=prod or dev
	@DOCKER_BUILDKIT=1 docker build --file services/Dockerfile --target $(TARGET) --tag $(IMAGE) \
		--build-arg REVISION="$$(git rev-parse HEAD)" --build-arg SOURCE_DATE_EPOCH="$$(git log -1 --format=%ct)" \
		$(BUILD_ARGS) .

charts: install-dev ## Write what is derived of the charts: schemas of values, tables in READMEs
	@$(BIN)/python -m charts.generate

# dev first: it holds everything, and the others follow its choices, so that what is tested is what is shipped.
COMPILE := $(BIN)/uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header
lock: ## Renew requirements/*.lock
	@$(PYTHON) requirements/environment.py install lock
	@$(COMPILE) --extra local --extra dev -o requirements/dev.lock
	@$(COMPILE) --extra local -c requirements/dev.lock -o requirements/local.lock
	@$(COMPILE) -c requirements/dev.lock -o requirements/runtime.lock

clean: ## Remove the environment, the data of `make run`, and the caches
	@$(PYTHON) requirements/environment.py clean

install-local:
	@$(PYTHON) requirements/environment.py install local

install-dev:
	@$(PYTHON) requirements/environment.py install dev
