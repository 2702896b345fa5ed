# `make run` starts the service, `make test` runs the tests. Both first install all packages into .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
LOCK   := requirements/dev.lock
READY  := $(VENV)/.installed
# One lock file for Python 3.11 to 3.13 and every platform, with hashes and without addresses of indexes.
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url --constraint requirements/constraints.txt

.PHONY: help install run test check format bench lock docs clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(READY) ## install all packages into .venv, including those for training

$(READY): $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v < (3, 14) or sys.exit("Python 3.11 to 3.13 is needed; %s is %d.%d. Try: make PYTHON=python3.13 ..." % ((sys.executable,) + v))'
	@echo "Creating the virtual environment $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@echo "Installing Python packages into $(VENV) (3 GB; 2 to 3 minutes, once) ..."
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement $(LOCK)
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

run: install ## start the service on port 5000 (SIGNALML_PORT) with its data in ./var (SIGNALML_HOME)
	@echo "Looking for a model (the first time, a demonstration model is trained: about 1 minute) ..."
	@$(BIN)/signalml demo
	@echo "Starting the service; Ctrl-C stops it ..."
	@exec $(BIN)/signalml run

# All tests of a file run in one process, because they share servers and trained models. The long files run first.
test: install ## run all tests, one process for each core
	@echo "Running all tests, one process for each core (several minutes) ..."
	@$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

check: install ## check format, lint and types, as CI does
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install ## measure this service and the original's way in one run; needs the recordings
	$(BIN)/python -m benchmarks.inference

docs: install ## write openapi.json and the reference pages in docs/ again, after an intended change
	$(BIN)/signalml openapi > docs/openapi.json
	$(BIN)/signalml settings > docs/settings.md
	$(BIN)/signalml errors > docs/errors.md
	$(BIN)/signalml training-options > docs/training-options.md

lock: ## update the versions of all packages in the lock files (needs uv)
	$(COMPILE) --extra train --extra local --extra formats --extra live --group dev --output-file requirements/dev.lock pyproject.toml requirements/build.in
	$(COMPILE) --constraint requirements/dev.lock --output-file requirements/serve.lock pyproject.toml
	$(COMPILE) --constraint requirements/dev.lock --extra train --override requirements/train.overrides \
		--output-file requirements/train.lock pyproject.toml requirements/train.in
	$(COMPILE) --constraint requirements/dev.lock --extra live --override requirements/listener.overrides \
		--output-file requirements/listener.lock pyproject.toml
	$(COMPILE) --constraint requirements/dev.lock --output-file requirements/build.lock requirements/build.in

clean: ## remove .venv and caches; models and data are kept
	rm -rf $(VENV) dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
