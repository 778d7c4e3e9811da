# Needs Python 3.11 or newer with pip, and make. Everything lives in .venv; `make clean` undoes it all.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP := .venv/bin/pip --disable-pip-version-check install --quiet -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test check bench wheel clean

help:
	@echo "make demo    install, fetch the demo model, hold two short conversations, then chat"
	@echo "make test    run the tests"
	@echo "make check   formatting, lint, types and the order of imports"
	@echo "make bench   time the demo model and the shape of Qwen-7B, and what this machine could do at most"
	@echo "make wheel   build an installable file for machines like this one, into dist"
	@echo "make clean   remove .venv and all caches of this folder (not the downloaded models)"

demo: .venv/installed
	@.venv/bin/qwen7b pull demo >/dev/null
	@.venv/bin/python examples/demo.py
	@if [ -t 0 ] && [ -t 1 ]; then exec .venv/bin/qwen7b chat --model demo --quantize q8; fi

test: .venv/installed-dev
	@.venv/bin/python -m pytest -q

check: .venv/installed-dev
	@.venv/bin/ruff format --check --quiet . || { echo "run: .venv/bin/ruff format"; exit 1; }
	@.venv/bin/ruff check --quiet .
	@.venv/bin/mypy
	@.venv/bin/python -m pytest -q tests/test_imports.py

bench: .venv/installed
	@for which in "--model demo" "--shape 7b"; do for format in q4 q8; do \
		echo "$$which --quantize $$format"; .venv/bin/qwen7b bench $$which --quantize $$format || exit 1; echo; \
	done; done

wheel: .venv/installed
	@.venv/bin/pip --disable-pip-version-check wheel --quiet --no-deps --wheel-dir dist .
	@ls dist/*.whl

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist src/qwen7b/kernels/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# torch comes first and pinned: another package's looser wish must not bring a second build of it.
.venv/installed: pyproject.toml constraints.txt $(wildcard kernels/* kernels/*/*)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "qwen7b needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	@echo "Installing into .venv with $$($(PYTHON) --version): torch first, the largest download"
	@$(PYTHON) -m venv .venv
	@$(PIP) torch
	@$(PIP) -e .
	@touch $@

.venv/installed-dev: .venv/installed
	@echo "Installing the development tools"
	@$(PIP) -e '.[dev]'
	@touch $@
