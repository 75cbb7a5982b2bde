# Two commands are all that a newcomer needs: `make demo` and `make test`. Each installs what it needs into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := data/benchmark/manifest.json
# processes that share the tests; each may want 6 GB and a core, so a model computes with one thread there
JOBS ?= 2
PYTEST := OMP_NUM_THREADS=1 pytest -n $(JOBS) --dist worksteal
# stages are started by DVC as `umgclip STAGE`
export PATH := $(CURDIR)/$(BIN):$(PATH)
# one slow answer of a package index must not end an installation
export UV_HTTP_TIMEOUT ?= 300
export UV_HTTP_RETRIES ?= 5
export GX_ANALYTICS_ENABLED ?= false
# stages and tests are hundreds of processes: each would compile the package again
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help install repository demo test test-all check types layers fix docs bench bench-gpu claim up down env lock clean

help: ## show these lines
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

install: $(STAMP) ## .venv with exactly the packages of requirements.lock; does nothing when they are there

# umgclip/__init__.py has the version, which the installed metadata repeat
$(STAMP): requirements.lock pyproject.toml umgclip/__init__.py
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(f"expected Python 3.11 or newer, got {v[0]}.{v[1]}; set PYTHON=" if v < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --retries 5 --timeout 60 "uv>=0.9"
	VIRTUAL_ENV="$(CURDIR)/$(VENV)" $(BIN)/uv pip sync --quiet --require-hashes --compile-bytecode requirements.lock
	VIRTUAL_ENV="$(CURDIR)/$(VENV)" $(BIN)/uv pip install --quiet --no-deps --editable .
	@touch $@

# the same seed and versions give the same bytes, so data.dvc changes only where one of them did
$(DEMO): params.yaml requirements.lock $(wildcard umgclip/sources/demo/*.py) umgclip/io/images.py umgclip/io/shards.py | $(STAMP)
	umgclip data demo --out data
	@before=$$(cat data.dvc 2>/dev/null); dvc add --quiet data; \
	  test "$$before" = "$$(cat data.dvc)" || echo "data.dvc: the demo differs from the recorded one; updated"

# DVC works in a git repository; a downloaded archive is none
repository:
	@git rev-parse --git-dir >/dev/null 2>&1 || { \
	  echo "expected a git repository, which DVC needs; this folder is none (a downloaded archive?). Clone it, or run:"; \
	  echo "  git init && git add --all && git commit --message start"; exit 1; }

demo: repository $(STAMP) $(DEMO) ## images in, an evaluated and registered model out: data, all stages, the table of results
	dvc repro
	umgclip report --markdown
	@changed=$$(git diff --name-only -- data.dvc dvc.lock metrics | tr '\n' ' '); test -z "$$changed" || \
	  printf '\nThis machine gave other numbers than the recorded ones: %s(git restore takes these files back)\n' "$$changed"

test: check ## checks, then the tests (minutes; JOBS=4 shares them among four processes)
	$(PYTEST)

test-all: check ## the tests of `make test` and the heavy ones: many servers, killed workers, a load of requests
	$(PYTEST)
	pytest -m heavy

check: $(STAMP) ## lint, format, types, layers
	ruff check .
	ruff format --check .
	@$(MAKE) --no-print-directory --jobs $(JOBS) --output-sync types layers

types:
	mypy --num-workers $(JOBS)

layers:
	lint-imports --no-logo

fix: $(STAMP) ## apply ruff's fixes and format the code
	ruff check --fix .
	ruff format .

# with --quiet, MkDocs counts no warnings, and strict passes whatever they are
docs: $(STAMP) ## build the documentation as a site in site/: pages, API reference, search; a warning is an error
	NO_MKDOCS_2_WARNING=1 mkdocs build --config-file docs/mkdocs/mkdocs.yml
	@echo "site/index.html; to see it: python -m http.server --bind 127.0.0.1 --directory site"

bench: $(STAMP) ## time what matters: every script in benchmarks/, after `make demo`
	@for script in benchmarks/*.py benchmarks/scale; do echo "== $$script"; python $$script || exit 1; done

bench-gpu: $(STAMP) ## measure on the GPU that is there, in ten minutes: a table, benchmarks/results, docs/gpu.md
	python -m benchmarks.gpu --write docs/gpu.md

claim: $(STAMP) $(DEMO) ## measure the paper's claim with three seeds, over an hour: docs/claim.md and its figure
	dvc repro validate
	python -m benchmarks.claim

up: $(STAMP) ## start PostgreSQL, MLflow, Prefect, an S3 server and workers on loopback, without containers
	@python -m infra.services up

down: $(STAMP) ## end what `make up` started; data stay in .services
	@python -m infra.services down

env: $(STAMP) ## print what a shell needs to use them, for eval
	@python -m infra.services env

lock: $(STAMP) ## resolve pyproject.toml again into requirements.lock; pins that still fit stay
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --extra dev --extra docs \
	  --no-emit-index-url --no-annotate pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --constraint requirements.lock \
	  --no-emit-index-url --no-annotate infra/docker/servers.in -o infra/docker/servers.lock

clean: ## remove artifacts, plots and the tools' caches; data, MLflow's store and .venv stay
	rm -rf artifacts plots dvc_plots site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .grimp_cache
