# Two commands, each enough by itself in a fresh clone with python3 (3.11 to 3.13), python3-venv
# and make:  make screen   make test

PYTHON ?= python3
XRAYS ?=
OUT ?= results/$(shell date +%Y%m%d-%H%M%S)

VENV := .venv
TEST_VENV := .venv-test
TFLITE_VENV := .venv-tflite

# TensorFlow has wheels for 64-bit machines only; elsewhere the tests that need it are skipped.
DEV_EXTRA := $(if $(filter x86_64 aarch64 arm64,$(shell uname -m)),dev,test)

.PHONY: help screen test lint tflite-env wheel clean

help:
	@echo "make screen                  score example pictures, results under results/"
	@echo "make screen XRAYS=folder     score your own pictures (OUT=folder: where to)"
	@echo "make test                    all checks and tests, in an environment of their own"
	@echo "make wheel                   build the wheel that ships into dist/"
	@echo "make clean                   remove the environments and what they built"

screen: $(VENV)/.stamp
ifeq ($(strip $(XRAYS)),)
	@echo "No folder named (make screen XRAYS=folder): scoring examples. What they are:"
	@$(VENV)/bin/pneumoscope examples examples
	@$(VENV)/bin/pneumoscope batch examples -o "$(OUT)" || [ $$? -eq 1 ]
else
	@$(VENV)/bin/pneumoscope batch "$(XRAYS)" -o "$(OUT)" || [ $$? -eq 1 ]
endif

test: $(TEST_VENV)/.stamp tflite-env lint
	$(TEST_VENV)/bin/pytest

lint: $(TEST_VENV)/.stamp
	$(TEST_VENV)/bin/ruff check .
	$(TEST_VENV)/bin/ruff format --check .
	$(TEST_VENV)/bin/mypy --strict edge_app export

wheel: $(TEST_VENV)/.stamp
	$(TEST_VENV)/bin/pip wheel --quiet --no-deps --wheel-dir dist .

$(VENV)/.stamp: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "Python 3.11 to 3.13 is needed: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Preparing $(VENV) (once)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -e '.[examples]'
	@touch $@

$(TEST_VENV)/.stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "Python 3.11 to 3.13 is needed: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Preparing $(TEST_VENV) (once; with TensorFlow about 2 GB)"
	@$(PYTHON) -m venv --clear $(TEST_VENV)
	@$(TEST_VENV)/bin/pip install --quiet --disable-pip-version-check \
	  -c constraints.txt -e '.[$(DEV_EXTRA)]'
	@touch $@

# tflite-runtime 2.14 wants Python 3.11 and numpy 1. Where either cannot be had, the one test that
# runs in this environment says so and is skipped.
tflite-env:
	@if [ ! -e $(TFLITE_VENV)/.stamp ] || [ constraints-tflite.txt -nt $(TFLITE_VENV)/.stamp ]; then \
	  rm -rf $(TFLITE_VENV); \
	  if $(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; \
	  then python=$(PYTHON); else python=python3.11; fi; \
	  if $$python -m venv $(TFLITE_VENV) >/dev/null 2>&1 \
	    && $(TFLITE_VENV)/bin/pip install --quiet --disable-pip-version-check \
	       -r constraints-tflite.txt; \
	  then touch $(TFLITE_VENV)/.stamp; \
	  else echo "no environment for tflite-runtime (needs Python 3.11): its test is skipped"; \
	    rm -rf $(TFLITE_VENV); \
	  fi; \
	fi

clean:
	rm -rf $(VENV) $(TEST_VENV) $(TFLITE_VENV) build dist .mypy_cache .ruff_cache .pytest_cache
