# effortstream: `make run` starts the demo, `make test` checks everything; both need Python 3.11+ and make alone.

VENV := .venv
INSTALLED := $(VENV)/.installed
UV ?= uv
# PYTHON=... chooses one; otherwise the first of these that is new enough
PYTHONS := $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11)

.DEFAULT_GOAL := help
.PHONY: help install run observability test lint format bench bench-alerts recovery chaos fuzz soak lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make .venv with exactly what requirements.lock names, and the command .venv/bin/effortstream

$(INSTALLED): requirements.lock pyproject.toml
	@for python in $(PYTHONS); do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found="$$python"; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo 'effortstream needs Python 3.11 or newer; none of "$(PYTHONS)" is. Install one, or name it: make install PYTHON=/path/to/python3' >&2; \
	  exit 1; \
	fi; \
	"$$found" -m venv --clear $(VENV) || { \
	  echo "$$found cannot make a virtual environment. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: $(INSTALLED) ## Run the demo until Ctrl-C; SECONDS=40 ends it by itself, PORT=8080 chooses the port
	@exec $(VENV)/bin/effortstream demo $(if $(SECONDS),--seconds $(SECONDS)) $(if $(PORT),--port $(PORT))

observability: $(INSTALLED) ## Run the demo with Prometheus and Alertmanager beside it; SECONDS=60 PORT=8080 as for run
	@exec $(VENV)/bin/effortstream demo --observability deploy \
	  $(if $(SECONDS),--seconds $(SECONDS)) $(if $(PORT),--port $(PORT))

test: lint ## Check style, types and layers, then run every test
	$(VENV)/bin/pytest

lint: $(INSTALLED) ## Check style, types and layers
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: $(INSTALLED) ## Format the code and repair what can be repaired
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

bench: $(INSTALLED) ## Measure the worker against the ceiling on Apache Kafka
	$(VENV)/bin/effortstream bench

bench-alerts: $(INSTALLED) ## Measure false alarms and delays of alerts on simulated answers: SEED=1 MONTHS=400
	$(VENV)/bin/python -m bench.alerts --seed $(or $(SEED),1) --months $(or $(MONTHS),400)

chaos: $(INSTALLED) ## Faults against real workers and brokers: SEED=1 MINUTES=3 BROKERS=1 (or 3) RATE=5000
	$(VENV)/bin/python -m tests.chaos.run --seed $(or $(SEED),1) --minutes $(or $(MINUTES),3) \
	  --brokers $(or $(BROKERS),1) --rate $(or $(RATE),5000)

fuzz: $(INSTALLED) ## Damaged input for the decoder: INPUTS=1000000 SEED=1
	$(VENV)/bin/python -m tests.fuzz.check --inputs $(or $(INPUTS),1000000) --seed $(or $(SEED),1)

soak: $(INSTALLED) ## Memory and lag of one worker under a steady load: MINUTES=30 RATE=20000 HORIZON=2m
	$(VENV)/bin/python -m bench.soak --minutes $(or $(MINUTES),30) --rate $(or $(RATE),20000) --horizon $(or $(HORIZON),2m)

recovery: $(INSTALLED) ## Time a worker's start on a million panes and five million responses
	$(VENV)/bin/python -m bench.recovery

lock: ## Resolve the dependencies anew into requirements.lock (needs uv)
	@command -v $(UV) >/dev/null || { echo 'make lock needs uv (https://docs.astral.sh/uv/), or UV=/path/to/uv' >&2; exit 1; }
	$(UV) pip compile --quiet --universal --generate-hashes --no-header --no-annotate --extra dev \
	  --upgrade --output-file requirements.lock pyproject.toml

clean: ## Remove .venv, caches and build output
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
