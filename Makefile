# make demo   render the example list on this machine: no root, no torch, no GPU
# make up     the whole house: Prefect, its UI, workers, the nightly schedule (Ctrl-C stops it)
# make test   install everything that the tests need and run them
# make lint   style, types, layers and locks
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
PIP := $(BIN)/python -m pip install --quiet

.PHONY: demo up test lint clean

# one environment, installed twice at most: the core for the demo, the rest for the tests
$(VENV)/core.done: requirements/core.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	$(PIP) --no-deps -r requirements/core.lock
	$(PIP) --no-deps --editable .
	touch $@

$(VENV)/all.done: requirements/all.lock $(VENV)/core.done
	$(PIP) --no-deps -r requirements/all.lock
	touch $@

demo: $(VENV)/core.done
	@BIN=$(BIN) sh examples/demo.sh

up: $(VENV)/core.done
	@$(BIN)/dailies up

test: $(VENV)/all.done
	$(BIN)/python -m pytest

lint: $(VENV)/all.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pip check
	$(BIN)/python requirements/check.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
