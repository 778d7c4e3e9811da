# Needs Python 3.11 or newer with pip, and make. Everything lives in .venv; `make clean` undoes it all.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP_INSTALL := -m pip --disable-pip-version-check install --quiet

# On Linux without an NVIDIA GPU, PyTorch's own index of CPU builds, a tenth of the download, if it answers in time.
CPU_INDEX := https://download.pytorch.org/whl/cpu
HAS_NVIDIA := command -v nvidia-smi || test -e /proc/driver/nvidia/version || test -e /usr/lib/wsl/lib/libcuda.so.1
CAN_READ := import sys, urllib.request; urllib.request.urlopen(sys.argv[1])
TORCH_INDEX = $(shell test "$$(uname -s)" != Linux || { $(HAS_NVIDIA); } >/dev/null 2>&1 \
	|| { timeout 3 $(PYTHON) -c '$(CAN_READ)' $(CPU_INDEX)/torch/ 2>/dev/null && echo --index-url $(CPU_INDEX); })

.DEFAULT_GOAL := help
.PHONY: help demo test quick test-latest check lock bench wheel clean

help:
	@echo "make demo         install, fetch the demo model, hold two short conversations, then chat"
	@echo "make test         run the tests"
	@echo "make quick        a choice of the tests that touches every room, in half a minute"
	@echo "make test-latest  run the tests on the newest packages that pyproject.toml admits"
	@echo "make check        formatting, lint, types and the order of imports"
	@echo "make lock         choose all packages anew, at their newest, and write them into requirements/"
	@echo "make bench        time the demo model and the shape of Qwen-7B, and what this machine could do at most"
	@echo "make wheel        build an installable file for machines like this one, into dist"
	@echo "make clean        remove the environments and all caches of this folder (not the downloaded models)"

demo: .venv/installed
	@.venv/bin/qwen7b pull demo >/dev/null
	@.venv/bin/python examples/demo.py
	@if [ -t 0 ] && [ -t 1 ]; then exec .venv/bin/qwen7b chat; fi

# Up to four processes share the tests; those of one file stay together.
ALL_TESTS := -m pytest -q -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: .venv/installed-dev
	@.venv/bin/python $(ALL_TESTS)

# What of each room takes a second or two, without a model that must be fetched.
QUICK := $(addprefix tests/, \
	test_errors.py test_public.py test_imports.py docs/test_code_page.py docs/test_languages.py \
	system/test_container.py system/test_json_file.py system/test_whole_file.py \
	config files/test_safetensors_file.py \
	kernels/test_linear.py kernels/test_matrix.py \
	hub/test_address.py hub/test_known.py hub/test_locate.py \
	model/test_golden.py model/test_rotary.py text/test_chatml.py text/test_detokenizer.py text/test_golden.py \
	packed/test_key_balance.py packed/test_runner.py::test_native_layers_equal_the_reference \
	dialects/test_definition.py checkpoint/test_chat_verdict.py checkpoint/test_folders.py \
	packing/test_cached.py loading/test_placement.py sampling/test_sampling.py \
	tasks/test_intervals.py tasks/test_number_reading.py sandbox/test_seccomp.py \
	tools/test_toolbox.py generate/test_stopping.py batch/test_request_body.py \
	adapters/test_adapters.py::test_layers_are_found_by_the_end_of_their_names data/test_order.py data/test_weights.py \
	vocab/test_byte_pairs.py train/test_conversations.py train/test_recipe_file.py \
	convert/test_prompts.py::test_a_base_model_stays_one doctor/test_generation.py \
	evals/test_bench.py results/test_published.py hf/test_cache_name.py terminal/test_conversation.py cli/test_tokenize.py)

quick: .venv/installed-dev
	@.venv/bin/python -m pytest -q $(QUICK)

test-latest: python-is-usable
	@$(PYTHON) -m venv --clear .venv-latest
	@.venv-latest/bin/python $(PIP_INSTALL) $(TORCH_INDEX) torch
	@.venv-latest/bin/python $(PIP_INSTALL) -e '.[dev]'
	@.venv-latest/bin/python -m pip list
	@echo "Held back by an upper bound:"; .venv-latest/bin/python -m pip list --outdated
	@.venv-latest/bin/python $(ALL_TESTS)

check: .venv/installed-dev
	@.venv/bin/ruff format --check --quiet . || { echo "run: .venv/bin/ruff format"; exit 1; }
	@.venv/bin/ruff check --quiet .
	@.venv/bin/mypy
	@.venv/bin/python -m pytest -q tests/test_imports.py

# uv resolves for every Python and system at once, which pip cannot.
lock: python-is-usable
	@$(PYTHON) -m venv --clear build/lock
	@build/lock/bin/python $(PIP_INSTALL) uv
	@$(LOCK) --extra dev --output-file requirements/dev.txt
	@$(LOCK) --constraints requirements/dev.txt --output-file requirements/run.txt
LOCK := UV_CUSTOM_COMPILE_COMMAND='make lock' build/lock/bin/uv pip compile --quiet --upgrade --universal \
	--python-version 3.11 --generate-hashes --no-emit-package torch --constraints requirements/torch.txt \
	pyproject.toml --group build

bench: .venv/installed
	@for which in "--model demo" "--shape 7b"; do for format in q4 q8; do \
		echo "$$which --quantize $$format"; .venv/bin/qwen7b bench $$which --quantize $$format || exit 1; echo; \
	done; done

wheel: .venv/installed
	@.venv/bin/python -m pip --disable-pip-version-check wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

clean:
	rm -rf .venv .venv-latest .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist src/qwen7b/kernels/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: python-is-usable
python-is-usable:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "qwen7b needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian, Ubuntu: apt install python3-venv)"; exit 1; }

# Every package comes by version and hash, so that what passes today passes on any day. torch comes last, when all that
# it shares with others is there in its locked version. What has no wheel is built by the setuptools that is there by then.
.venv/installed: pyproject.toml requirements/run.txt requirements/torch.txt $(wildcard kernels/* kernels/*/*) | python-is-usable
	@echo "Installing the packages into .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv
	@.venv/bin/python $(PIP_INSTALL) --no-deps --require-hashes -r requirements/run.txt
	@echo "Installing torch, the largest download"
	@.venv/bin/python $(PIP_INSTALL) $(TORCH_INDEX) -r requirements/torch.txt
	@echo "Building the native kernels"
	@.venv/bin/python $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

.venv/installed-dev: .venv/installed requirements/dev.txt
	@echo "Installing the development tools"
	@.venv/bin/python $(PIP_INSTALL) --no-deps --no-build-isolation --use-pep517 --require-hashes -r requirements/dev.txt
	@touch $@
