# Two commands for everybody: `make demo` and `make test`. CONTRIBUTING.md lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# cpu, cu130 or auto makes uv take that build of torch from PyTorch's own index; empty: whatever the
# configured package index serves.
TORCH_BACKEND ?=

# uv reads its own variables, not pip's: hand pip's folder of wheels on.
# Compiled once here: a rank imports 3,700 modules, which takes 14 s from source where nothing may be written
# beside them, and 5 s compiled.
UV := UV_FIND_LINKS="$${UV_FIND_LINKS:-$${PIP_FIND_LINKS:-}}" $(BIN)/uv pip install --quiet --compile-bytecode \
	--python $(BIN)/python --constraint constraints.txt $(if $(TORCH_BACKEND),--torch-backend $(TORCH_BACKEND))

.PHONY: help install demo test check format clean constraints

help:
	@echo "make demo     install, fine-tune a small language model, evaluate it, write a report"
	@echo "make test     install, then every check: format, lint, types, import rules, tests"
	@echo "make install  only create $(VENV) and install"
	@echo "make format   rewrite the files as the formatter wants them"

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "rankfold needs Python 3.11 or newer; $$($(PYTHON) --version) was found. Try: make PYTHON=python3.12 demo"; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
		|| { echo "Python's venv module is incomplete here. Try: apt-get install python3-venv"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt uv

$(VENV)/.installed: $(BIN)/uv pyproject.toml constraints.txt requirements-demo.txt
	$(UV) --editable .
	$(UV) --no-deps --requirement requirements-demo.txt
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(UV) --editable '.[dev]'
	@touch $@

install: $(VENV)/.installed

demo: $(VENV)/.installed
	$(BIN)/launch submit recipes/quickstart.yaml --follow --again

test: check

check: $(VENV)/.installed-dev
	tests/check.sh

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .venv-3.12 build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# torch itself pins the CUDA packages of its build, so they are left out here.
constraints: $(BIN)/uv
	printf 'uv\n' | $(BIN)/uv pip compile --quiet --universal --no-annotate --no-header --python-version 3.11 \
		--extra dev pyproject.toml - --upgrade | grep -v -e '^nvidia-' -e '^cuda-' -e '^triton' > constraints.new
	(sed -n '/^#/p' constraints.txt; cat constraints.new) > constraints.tmp && mv constraints.tmp constraints.txt
	rm constraints.new
