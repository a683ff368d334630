# Two commands matter: `make demo` and `make test`. Nothing needs to be installed first but Python 3.11 or later.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
DATA   ?= gantry-data
PORT   ?= 8000
# Of `make browser`; a name or a path.
CHROMIUM ?= chromium
# Training time of each preset in `make quality`.
MINUTES ?= 2
# Cases of `make fuzz`.
CASES ?= 5000
# Test processes: one more than cores, because half of a test process's time is waiting. Each starts servers and
# trainers of its own: with two more than cores, the suite took as long.
JOBS   ?= $(shell n=$$(nproc 2>/dev/null || echo 2); [ $$n -gt 5 ] && n=5; echo $$((n + 1)))

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test check lint types audit fuzz hostile faults quality failures stopped curves session health-cost service-cost api-load scale sampling bench browser clients openapi lock clean

help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make the environment in .venv, nothing else

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Gantry needs Python 3.11 or later; this is " + sys.version.split()[0] + ". Say make PYTHON=python3.12 ..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

demo: $(READY) ## train the default GAN on a CPU in a minute or so; leaves demo/samples.png and demo/loss.png
	$(BIN)/gantry demo --out demo

serve: $(READY) ## start the service on this machine: http://127.0.0.1:8000 (PORT=..., DATA=...)
	$(BIN)/gantry up --port $(PORT) --data $(DATA)

test: $(READY) ## every test, on SQLite and on real PostgreSQL and Redis or Valkey
	$(BIN)/pytest -n $(JOBS) --dist loadgroup

check: lint types test ## what CI runs: ruff, mypy --strict, every test

lint: $(READY) ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## mypy --strict
	$(BIN)/mypy

audit: $(READY) ## known weaknesses of the libraries in constraints.txt; asks PyPI's advisories, or says that it cannot
	$(BIN)/pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/python -m tests.hostile.audit

fuzz: $(READY) ## schemathesis against a service of its own: all checks, stateful, 5,000 cases (CASES=..., FUZZ_POSTGRES_URL=...)
	$(BIN)/python -m tests.hostile.fuzz --cases $(CASES)

hostile: $(READY) ## every row of the bad-input matrix thrown at a service that trains meanwhile; 5 minutes
	$(BIN)/python -m tests.hostile

faults: $(READY) ## storms: 200 jobs and 300 faults on PostgreSQL and Redis, 60 and 80 on the embedded default; 45 minutes
	$(BIN)/python -m tests.faults

quality: $(READY) ## every preset side by side on Fashion-MNIST, 45 minutes; writes docs/quality.md (MINUTES=2 each)
	$(BIN)/python -m benchmarks.quality --minutes $(MINUTES) --out quality/all
	$(BIN)/python -m benchmarks.quality cgan --minutes 10 --jobs 1 --out quality/long
	$(BIN)/python -m benchmarks.quality_page quality/all quality/long

failures: $(READY) ## jobs that fail on purpose: each is found, and cured by its remedy; 20 minutes
	$(BIN)/python -m benchmarks.failures

stopped: $(READY) ## every preset stopped at 1, 10 and 30 % of its run: no verdict is healthy without evidence; hours, or --steps
	$(BIN)/python -m benchmarks.verdicts.stopped

curves: $(READY) ## the pictures of docs/curves.md: jobs that fail on purpose, through a service; 20 minutes
	$(BIN)/python -m benchmarks.curves_page

session: $(READY) ## docs/session.md: a session at the command line, recorded; 5 minutes
	$(BIN)/python -m benchmarks.session

health-cost: $(READY) ## what the cheap checks take of a step's time, in pairs
	$(BIN)/python -m benchmarks.health_cost

service-cost: $(READY) ## what it costs the default job to be kept by the service, in pairs; 10 minutes
	$(BIN)/python -m benchmarks.service_cost

api-load: $(READY) ## the API under load: polls, curves, lists; BENCH_POSTGRES_URL adds PostgreSQL; 5 minutes
	$(BIN)/python -m benchmarks.api_load

scale: $(READY) ## claim, poll, sweep, submit, list with 1e3, 1e5 and 1e6 queued jobs, on a PostgreSQL of its own; 20 minutes, 5 GB
	$(BIN)/python -m benchmarks.fleet.scale

sampling: $(READY) ## 64 images over HTTP against the bare forward and PNG, repeats, and 16 clients at once; 2 minutes
	$(BIN)/python -m benchmarks.sampling

bench: $(READY) ## every figure of speed as a ratio, the peers' loops among them; writes docs/performance.md; 35 minutes
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps torchgan torch-mimicry
	$(BIN)/python -m benchmarks.bench

browser: $(READY) ## a real Chromium does the whole story at the dashboard and takes docs/ui's pictures; 5 minutes (CHROMIUM=...)
	@command -v $(CHROMIUM) >/dev/null || { echo "make browser needs Chromium, and there is no '$(CHROMIUM)'. Debian: apt-get install chromium. Elsewhere: make browser CHROMIUM=/path/to/it"; exit 2; }
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,browser]"
	$(BIN)/python -m tests.browser --chromium $(CHROMIUM) --out docs/ui

clients: $(READY) ## clients that others generate from docs/openapi.json do a session each; linters; needs Node.js; 5 minutes
	$(BIN)/python -m tests.clients

openapi: $(READY) ## write docs/openapi.json anew: the interface, as programs read it
	$(BIN)/gantry openapi > docs/openapi.json

lock: $(READY) ## write constraints.txt anew from pyproject.toml
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-header --no-annotate --upgrade pyproject.toml -o constraints.txt

clean: ## remove what this Makefile made, the environment too
	rm -rf $(VENV) demo build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
