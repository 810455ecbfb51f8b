# SPDX-License-Identifier: Apache-2.0
# Everything anyone does with this tree. Needs make and Python 3.11 or newer with venv; the rest goes into .venv.
# `make` alone lists the targets.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# Which Python makes the environment; later ones are its own.
PYTHON ?= python3
# Further arguments for pytest, as in: make test PYTEST_ARGS="-k prefix -x"
PYTEST_ARGS ?=
# How many tests run at once.
JOBS ?= 2
# What `make simulate` plays: SEED=n one seed, else SEEDS=n from FIRST=n on, or as many as begin within MINUTES=n.
SERVERS ?= 20
SIMULATE = $(foreach name,seed seeds first minutes faults trace,$(if $($(call upper,$(name))),--$(name) "$($(call upper,$(name)))"))
upper = $(shell echo $(1) | tr a-z A-Z)

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
CONTRACTS := $(shell find protos/bms -name '*.proto')
IMAGE := build/contracts.binpb
# The contracts as last released; there is none before the first release (see `make release-contracts`).
RELEASED := $(wildcard protos/released.binpb)

# The test files that have a mark: reading every file of the suite to find those costs each target a quarter of a minute.
# tests/conftest.py sees to it that a marked test's own file names its mark. A path in PYTEST_ARGS is all there is then.
marked = $(if $(filter tests/%,$(PYTEST_ARGS)),,$(shell grep -rlE --include='test_*.py' 'mark\.($(1))\b' tests))

# ---- for everybody ---------------------------------------------------------------------------------------------------

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.run $(VENV)/.stubs ## start five services and a simulated rack, and play the whole story
	@$(BIN)/bms demo

.PHONY: run
run: $(VENV)/.run $(VENV)/.stubs ## start the same and stay up until Ctrl-C
	@exec $(BIN)/bms up

.PHONY: test
test: dev ## run the tests that need nothing but pip
	@$(BIN)/python -m pytest -n $(JOBS) -m "not slow and not rabbitmq and not openstack and not containers and not story and not races" $(PYTEST_ARGS)

# ---- while changing it -----------------------------------------------------------------------------------------------

.PHONY: dev
dev: $(VENV)/.dev $(VENV)/.stubs ## install everything that tests and checks need

.PHONY: gen
gen: $(VENV)/.run ## generate the contracts' code again
	@$(BIN)/python protos/build_hook.py
	@touch $(VENV)/.stubs

.PHONY: fmt
fmt: dev ## format everything
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .
	@$(BIN)/buf format --write --path protos

.PHONY: check
check: lint types contracts ## every check that runs no test

.PHONY: lint
lint: dev ## style, formatting and which module may import which
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

.PHONY: types
types: dev ## strict type checks
	@$(BIN)/mypy

.PHONY: contracts
contracts: dev ## contracts: style, comments, form, and that nobody's stubs break
	@$(BIN)/python protos/build_hook.py --image $(IMAGE)
	@$(BIN)/buf lint $(IMAGE) --config buf.yaml
	@$(BIN)/buf format --diff --exit-code --path protos
	@if test -n "$(RELEASED)"; then $(BIN)/buf breaking $(IMAGE) --against $(RELEASED) --config buf.yaml; \
	else echo "contracts: nothing released yet that could break"; fi

.PHONY: release-contracts
release-contracts: dev ## keep the contracts as they are now as what may not be broken
	@$(BIN)/python protos/build_hook.py --image protos/released.binpb

# ---- what takes longer -----------------------------------------------------------------------------------------------

.PHONY: test-all
test-all: dev ## every test but the races; needs podman, RabbitMQ and the like
	@$(BIN)/python -m pytest -n $(JOBS) -m "not openstack and not openstack_full and not containers and not story and not races" $(PYTEST_ARGS)
	@$(BIN)/python -m pytest -m "openstack or openstack_full or containers or story" --timeout=1800 $(PYTEST_ARGS)

.PHONY: slow
slow: dev ## the tests that only take long
	@$(BIN)/python -m pytest -n $(JOBS) -m "slow and not rabbitmq and not openstack and not containers and not story and not races" --timeout=900 $(call marked,slow) $(PYTEST_ARGS) \
	  || test $$? -eq 5 # none there is no failure

.PHONY: simulate
simulate: dev ## play seeds of the simulated site, faults and all (SEED, SEEDS, FIRST, SERVERS, MINUTES, FAULTS, TRACE)
	@PYTHONPATH=.:protos $(BIN)/python -m tests.simulation --servers $(SERVERS) --jobs $(JOBS) $(SIMULATE)

.PHONY: races
races: dev ## replicas of each service race over one PostgreSQL, killed and stopped meanwhile (MINUTES of load, SEED)
	@BMS_RACES_MINUTES="$(MINUTES)" BMS_RACES_SEED="$(or $(SEED),1)" $(BIN)/python -m pytest -n 0 -m races -s $(call marked,races) $(PYTEST_ARGS)

.PHONY: kills
kills: dev ## telemetry, another generator and the database killed while events come (MINUTES, SEED)
	@BMS_KILL_MINUTES="$(MINUTES)" BMS_KILL_SEED="$(or $(SEED),1)" $(BIN)/python -m pytest -n 0 -s tests/telemetry/kills $(PYTEST_ARGS)

.PHONY: story
story: dev ## the whole story as a test, with processes killed on the way
	@$(BIN)/python -m pytest -m story --timeout=1800 $(call marked,story) $(PYTEST_ARGS)

.PHONY: test-openstack
test-openstack: openstack-life openstack-cloud openstack-oldest ## everything that runs on genuine OpenStack

.PHONY: openstack-life
openstack-life: dev ## a server's life on a genuine Ironic alone, Keystone's tokens, Glance's images
	@$(BIN)/python -m pytest -n 0 -m openstack --timeout=900 $(call marked,openstack) $(PYTEST_ARGS)

.PHONY: openstack-oldest
openstack-oldest: dev ## nodes on the Ironic of this machine's Debian, which is unpacked and not installed
	@BMS_TEST_IRONIC=debian $(BIN)/python -m pytest -n 0 -m openstack --timeout=900 tests/openstack/test_ironic_nodes.py $(PYTEST_ARGS)

.PHONY: openstack-up
openstack-up: dev ## Keystone, Glance, Placement, Neutron, Nova and Ironic on loopback, with tenants and nodes (PORT_BASE)
	@$(BIN)/python -m tests.openstack.cloud up $(if $(PORT_BASE),--port-base "$(PORT_BASE)")

.PHONY: openstack-status
openstack-status: dev ## its processes; JSON=1 as JSON
	@$(BIN)/python -m tests.openstack.cloud status $(if $(JSON),--json)

.PHONY: openstack-down
openstack-down: dev ## end them; what they know stays under build/openstack
	@$(BIN)/python -m tests.openstack.cloud down

.PHONY: openstack-cloud
openstack-cloud: dev ## what needs that whole cloud, which is brought up and ended unless it is up
	@$(BIN)/python -m pytest -n 0 -m openstack_full --timeout=900 $(call marked,openstack_full) $(PYTEST_ARGS)

.PHONY: containers
containers: dev ## build the images and run the compose file with podman
	@$(BIN)/python -m pytest -m containers --timeout=1800 $(call marked,containers) $(PYTEST_ARGS)

.PHONY: bench
bench: dev ## the benchmarks; each prints ratios
	@set -e; for file in tests/benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python "$$file"; done

.PHONY: bench-fleet
bench-fleet: dev ## a day of 500 to 10,000 simulated servers: more than half an hour of a core
	@$(BIN)/python tests/benchmarks/bench_fleet.py 500 1000 2000 5000 10000

.PHONY: wheels
wheels: dev ## the wheels of the product, the contracts and the verifier, in dist/
	@rm -rf dist
	@$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist . ./protos ./services/verifier
	@ls dist

.PHONY: clean
clean: ## remove what the targets above made, the environment included
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find protos/bms \( -name '*_pb2*' -o -name py.typed \) -delete
	find services telemetry tests protos -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- the environment -------------------------------------------------------------------------------------------------
# Each file below stands for a finished step, so that a step runs again only when what it depends on has changed.

# Build tools first, into the environment itself: with them there, pip builds the product in place in seconds instead
# of making an isolated environment for the build each time.
$(VENV)/.tools: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed, and '$(PYTHON)' is not: $$($(PYTHON) --version 2>&1)"; \
	  echo "Name another one: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || { echo "[1/3] making $(VENV)"; $(PYTHON) -m venv $(VENV); } || { \
	  rm -rf $(VENV); echo "'$(PYTHON) -m venv' failed; on Debian: apt-get install python3-venv"; exit 1; }
	@echo "[2/3] installing build tools"
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], "setuptools", "wheel", sep="\n")' > $(VENV)/build-requires.txt
	@$(PIP) install --requirement $(VENV)/build-requires.txt
	@touch $@

$(VENV)/.run: $(VENV)/.tools
	@echo "[3/3] installing the product"
	@$(PIP) install --no-build-isolation --editable '.[demo]'
	@touch $@ $(VENV)/.stubs

$(VENV)/.dev: $(VENV)/.run
	@echo "[+] installing what tests and checks need"
	@$(PIP) install --no-build-isolation --editable '.[dev]'
	@touch $@ $(VENV)/.stubs

# Installing generates the stubs as well; this is for contracts that changed since.
$(VENV)/.stubs: $(CONTRACTS) protos/build_hook.py | $(VENV)/.run
	@echo "generating the contracts' code"
	@$(BIN)/python protos/build_hook.py
	@touch $@
