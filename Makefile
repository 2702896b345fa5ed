# `make run` serves; `make test` tests. Both set everything up first, in .venv, from the lock.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
LOCK   := requirements/dev.lock
READY  := $(VENV)/.installed
# One lock for all of Python 3.11 to 3.13 and every platform, with hashes and without addresses.
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url --constraint requirements/constraints.txt

.PHONY: help install run test check format bench lock docs clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(READY) ## everything, training included, into .venv

$(READY): $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v < (3, 14) or sys.exit("Python 3.11 to 3.13 is needed; %s is %d.%d. Try: make PYTHON=python3.13 ..." % ((sys.executable,) + v))'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement $(LOCK)
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

run: install ## the service on port 5000 (SIGNALML_PORT), data in ./var (SIGNALML_HOME); the first time with a demonstration model
	$(BIN)/signalml demo
	exec $(BIN)/signalml run

# A file's tests stay in one process, since they share its servers and trained models; the long files come first.
test: install ## every test, a process for each core
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

check: install ## lint, format and types, as CI does
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install ## this service beside the original's way, in one run; needs the recordings
	$(BIN)/python -m benchmarks.inference

docs: install ## write the frozen schema and the reference pages anew, after a wanted change
	$(BIN)/signalml openapi > docs/openapi.json
	$(BIN)/signalml settings > docs/settings.md
	$(BIN)/signalml errors > docs/errors.md

lock: ## choose versions anew (needs uv)
	$(COMPILE) --extra train --extra local --group dev --output-file requirements/dev.lock pyproject.toml requirements/build.in
	$(COMPILE) --constraint requirements/dev.lock --output-file requirements/serve.lock pyproject.toml
	$(COMPILE) --constraint requirements/dev.lock --extra train --override requirements/train.overrides \
		--output-file requirements/train.lock pyproject.toml requirements/train.in
	$(COMPILE) --constraint requirements/dev.lock --output-file requirements/build.lock requirements/build.in

clean: ## remove what was built, not what was learned
	rm -rf $(VENV) dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
