# make compare   trains and compares mask proposals on text, about six minutes; make compare ARGS="--preset smoke" passes flags
# make test      runs the tests
# make gpu       proves the project on a GPU, with the Python that has CuPy (PYTHON), in five minutes; ARGS=--pretend rehearses it
# make docs      writes pages of all functions and classes, from their docstrings, into $(DOCS)
# Each makes a virtual environment in $(VENV) at first, and again whenever setup.py or pyproject.toml has changed.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
DOCS ?= build/api
MODULES = $(shell find minimapnet -name '*.py' ! -name __main__.py ! -name cupy_kernels.py | sed 's|/__init__.py||; s|\.py$$||; s|/|.|g' | sort)

.PHONY: help compare test docs gpu
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

compare: $(VENV)/.installed
	$(VENV)/bin/python -m minimapnet compare $(ARGS)

test: $(VENV)/.installed-test
	$(VENV)/bin/python -m pytest $(ARGS)

gpu:
	$(PYTHON) benchmarks/gpu.py $(ARGS)

docs: $(VENV)/.installed-docs
	$(VENV)/bin/python -W "ignore:The module specification" -m pdoc --output-directory $(DOCS) --docformat markdown $(MODULES)
	@echo "Written to $(DOCS)/index.html"

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "minimapnet needs Python 3.11 or later; give yours with make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "minimapnet needs Python 3.11 or later, and" \
	    "$(PYTHON) is $$($(PYTHON) -V 2>&1); give another with make PYTHON=..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) >/dev/null || { rm -rf $(VENV); echo "$(PYTHON) cannot make virtual environments: install its" \
	    "venv module (on Debian and Ubuntu the package python3-venv)"; exit 1; }

$(VENV)/.installed: setup.py pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-docs: setup.py pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --editable ".[docs]"
	@touch $@

$(VENV)/.installed-test: setup.py pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --editable ".[test]"
	@touch $@
