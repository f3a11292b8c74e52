# `make demo` and `make test` set everything up themselves; `make setup` is the installation alone.
PYTHON ?= python3
BIN := .venv/bin
# With a CUDA driver the tested CPU build of torch is not asked for, and pip takes the CUDA build instead.
HAS_CUDA := $(shell nvidia-smi -L >/dev/null 2>&1 && echo yes)

.PHONY: setup demo test lint docs clean
.DEFAULT_GOAL := setup

setup: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "grape-ops needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Say make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(if $(HAS_CUDA),grep -v '^torch==' constraints.txt,cat constraints.txt) > .venv/constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c .venv/constraints.txt --upgrade pip
	$(BIN)/python -m pip install --quiet -c .venv/constraints.txt --editable '.[cluster,explore,features,leiden,tensorboard,umap]' --group dev
	@touch $@

demo: setup
	$(BIN)/grape-ops demo --out demo

test: setup
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy benchmarks $(addprefix --disable-error-code ,arg-type call-overload func-returns-value misc)
	$(BIN)/lint-imports

# The site, in build/docs: its notebooks run, every warning is an error. DOCS_NOTEBOOKS=off leaves their results out.
docs: .venv/docs-installed
	$(BIN)/python -m sphinx -b html -W --keep-going -E -q docs build/docs
	@echo "Documentation: build/docs/index.html"

.venv/docs-installed: .venv/installed
	$(BIN)/python -m pip install --quiet -c .venv/constraints.txt --group docs
	@touch $@

clean:
	rm -rf .venv demo dist build
