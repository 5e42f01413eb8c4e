# make demo     set everything up, compress a real trained network, run it, compare
# make test     set everything up and pass the tests
# make test-frameworks  the adapters of PyTorch and JAX with the real ones: fetches 3 GB
# make lint     ruff, mypy, clang-format
# make bench    latency of whole networks beside other engines -> benchmarks/RESULTS.md: an hour or so
# make sanitize tests of the core under the address and undefined-behaviour sanitizers, then the thread sanitizer
# make test-arm64  tests of the core for 64-bit ARM, cross-compiled and emulated; needs Debian or Ubuntu
# make fuzz     the core's readers and engine under libFuzzer, FUZZ_SECONDS (60) per target; needs clang
# make docs     API reference as HTML -> build/docs
# Needs python3 (3.10 or newer) with venv, make, and a C++20 compiler; all else comes from the package index.

PYTHON ?= python3
CXX ?= g++
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(shell find src cpp -type f -not -name '*.pyc') CMakeLists.txt pyproject.toml README.md

.PHONY: demo test test-frameworks test-arm64 lint format bench sanitize fuzz docs clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed
	$(BIN)/python examples/demo.py

test: $(VENV)/.installed
	$(BIN)/python -m pytest

test-frameworks: $(VENV)/.installed $(VENV)/.frameworks
	$(BIN)/python -m pytest tests/test_torch.py tests/test_jax.py tests/test_finetuning.py tests/test_finetuning_imagenet.py

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files '*.c' '*.cpp' '*.h')

format: $(VENV)/.packages
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(git ls-files '*.c' '*.cpp' '*.h')

bench: $(VENV)/.installed $(VENV)/.bench
	$(BIN)/python benchmarks/networks.py --write benchmarks/RESULTS.md

docs: $(VENV)/.installed
	$(BIN)/pdoc --output-directory build/docs opq

sanitize: $(VENV)/.packages
	PYTHON=$(BIN)/python CXX=$(CXX) sh tools/sanitize.sh

test-arm64: $(VENV)/.installed
	PYTHON=$(BIN)/python sh tools/test_arm64.sh

fuzz: $(VENV)/.installed
	PYTHON=$(BIN)/python sh tools/fuzz.sh

clean:
	rm -rf build $(VENV)

# Each missing tool is named in one line, before anything is downloaded.
$(VENV)/.packages: pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "opq: $(PYTHON) is missing: install python3 (3.10 or newer)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "opq: $(PYTHON) is older than 3.10"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "opq: the module venv is missing: install python3-venv"; exit 1; }
	@command -v $(CXX) >/dev/null || { echo "opq: $(CXX) is missing: install g++ (or set CXX)"; exit 1; }
	@echo 'int main() {}' | $(CXX) -std=c++20 -x c++ -fsyntax-only - 2>/dev/null || { echo "opq: $(CXX) does not know C++20"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1,<27'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group dev
	@touch $@

# The other engines that benchmarks measure: 0.2 GB on disk.
$(VENV)/.bench: $(VENV)/.packages
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group bench
	@touch $@

# PyTorch and JAX, which only the tests of their adapters and benchmarks/finetuning.py need: 3 GB to fetch, about a minute.
$(VENV)/.frameworks: $(VENV)/.packages
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group frameworks
	@touch $@

$(VENV)/.installed: $(VENV)/.packages $(SOURCES)
	headers=$$(sh tools/python_headers.sh $(BIN)/python) && \
	CXX=$(CXX) $(BIN)/python -m pip install --quiet --disable-pip-version-check $$headers '.[onnx]'
	@touch $@
