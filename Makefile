# `make demo` and `make test` make the environment they need in $(VENV); nothing has to be installed by hand but Python and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test test-slow test-browser bench lint typecheck clean

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("connectofit needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/connectofit run worm --demo --out runs/demo

test: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 --dist loadfile --durations=40 --durations-min=5

test-slow: $(VENV)/.installed
	$(BIN)/python -m pytest -m slow

test-browser: $(VENV)/.installed
	$(BIN)/python -m pytest -m browser

bench: $(VENV)/.installed
	$(BIN)/python -m pytest -m benchmark -s tests/benchmarks

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Types are checked on what a user installs: the package as pip lays it out.
typecheck: $(VENV)/.installed
	rm -rf build
	CONNECTOFIT_NO_EXTENSION=1 $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --upgrade --target build/typecheck .
	cd build/typecheck && $(abspath $(BIN))/mypy --config-file $(CURDIR)/pyproject.toml connectofit

clean:
	rm -rf build *.egg-info .pytest_cache .ruff_cache .mypy_cache
