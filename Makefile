# fastcopy: `make demo` and `make test` need nothing but Python 3.11+ and this directory; everything goes into .venv.
# PYTHON chooses the interpreter of the virtual environment.

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
SOURCES := pyproject.toml setup.py $(wildcard fastcopy/_native/*.pyx fastcopy/_native/csrc/*)

.PHONY: help demo test check unit pure asan bench serve clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-8s %s\n", $$1, $$2}'

demo: $(VENV)/.ready  ## copy a several hundred MB image set between two embedded registries, and prove it
	$(PY) -m benchmarks.demo

test: $(VENV)/.test-ready tools check unit pure  ## everything: linters, types, the suite on native code and on the plain twin

check: $(VENV)/.test-ready  ## ruff and mypy
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

unit: $(VENV)/.test-ready tools  ## the whole suite
	$(PY) -m pytest

pure: $(VENV)/.test-ready tools  ## what touches bytes, again on the plain twin
	FASTCOPY_PURE=1 $(PY) -m pytest -m "not slow" tests/native tests/http tests/engine tests/copy tests/serve

asan: $(VENV)/.test-ready  ## the native suite under the address sanitizer
	tests/native/asan.sh $(PY)

bench: $(VENV)/.test-ready  ## the scenarios of the README beside every peer found (SCENARIOS="..." chooses)
	$(PY) -m benchmarks run $(SCENARIOS)

.PHONY: tools
tools:
	@tests/install_tools.sh

# A build that fails although there is a compiler is an error here; without one the plain twin is used, and says so.
$(VENV)/.ready: $(SOURCES)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "fastcopy needs Python 3.11 or newer (set PYTHON=...)"; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@if command -v cc >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null; \
	then FASTCOPY_REQUIRE_NATIVE=1 $(PY) -m pip install --quiet --editable '.[serve]'; \
	else echo "no C compiler: fastcopy runs on its plain Python twin"; $(PY) -m pip install --quiet --editable '.[serve]'; fi
	@touch $@

$(VENV)/.test-ready: $(VENV)/.ready
	@$(PY) -m pip install --quiet --editable '.[serve,sync,sign,test]'
	@touch $@

clean:  ## remove everything that was built
	rm -rf $(VENV) build .cache *.egg-info fastcopy/_native/*.so .demo
