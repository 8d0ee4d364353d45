# Two commands do all the set-up on a fresh machine:
#   make screen [XRAYS=folder]   install the edge app from this checkout and score a folder
#   make test                    everything that CI runs
# They need python3 (3.11 to 3.13) with venv, and make.

PYTHON ?= python3
XRAYS ?=
OUT ?= results/$(shell date +%Y%m%d-%H%M%S)

EDGE := .venv
TEST := .venv-test
TFLITE := .venv-tflite
PIP_FLAGS := --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: screen test lint typecheck unittest slow-test clean

screen: $(EDGE)/.installed
ifeq ($(strip $(XRAYS)),)
	@$(EDGE)/bin/pneumoscope examples examples
	@$(EDGE)/bin/pneumoscope batch examples -o "$(OUT)"
else
	@$(EDGE)/bin/pneumoscope batch "$(XRAYS)" -o "$(OUT)"
endif

test: lint typecheck unittest

lint: $(TEST)/.installed
	$(TEST)/bin/ruff check .
	$(TEST)/bin/ruff format --check .

typecheck: $(TEST)/.installed
	$(TEST)/bin/mypy

unittest: $(TEST)/.installed $(TFLITE)/.tried
	$(TEST)/bin/python -m pytest

# Longer than CI allows: many kills, many files.
slow-test: $(TEST)/.installed
	$(TEST)/bin/python -m pytest -m slow

# What the edge runs on: no TensorFlow. pydicom-data holds the example radiograph.
$(EDGE)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than 3.11; name another: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(EDGE)
	@echo "installing the edge app (about 100 MB, once) ..."
	$(EDGE)/bin/pip install $(PIP_FLAGS) --editable '.[dicom,examples]'
	@touch $@

$(TEST)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(TEST)
	@echo "installing the test environment (about 2 GB, once) ..."
	$(TEST)/bin/pip install $(PIP_FLAGS) --editable '.[dev]'
	@touch $@

# tflite-runtime ended at Python 3.11 and numpy 1, so it has an environment of its own. Where none
# can be made (no Python 3.11, no wheel for this machine), the tests that need it say so and skip.
$(TFLITE)/.tried: pyproject.toml
	@rm -rf $(TFLITE)
	@{ python3.11 -m venv $(TFLITE) && \
		$(TFLITE)/bin/pip install --quiet --disable-pip-version-check \
			'numpy<2' pillow tqdm cryptography tflite-runtime && \
		$(TFLITE)/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .; } || \
		{ echo "no tflite-runtime here: its tests will be skipped"; rm -rf $(TFLITE); \
		  mkdir -p $(TFLITE); }
	@touch $@

clean:
	rm -rf $(EDGE) $(TEST) $(TFLITE) examples .mypy_cache .ruff_cache .pytest_cache .hypothesis
