# Three commands do all the set-up on a fresh machine:
#   make screen [XRAYS=folder]   install the edge app from this checkout and score a folder
#   make serve                   the clinic's workstation in a browser, on this machine
#   make test                    everything that CI runs
# They need python3 (3.11 to 3.13) with venv, and make.

PYTHON ?= python3
XRAYS ?=
# A folder's results have its name, so that an interrupted run goes on.
ifeq ($(origin OUT),undefined)
OUT := results/$(if $(strip $(XRAYS)),$(shell basename "$(XRAYS)"),$(shell date +%Y%m%d-%H%M%S))
endif

EDGE := .venv
TEST := .venv-test
TFLITE := .venv-tflite
S3 := .venv-s3
PIP_FLAGS := --quiet --disable-pip-version-check
PINNED := $(PIP_FLAGS) --constraint constraints.txt

# TensorFlow has wheels for 64-bit machines only; elsewhere the tests that need it are skipped.
TEST_EXTRA := $(if $(filter x86_64 aarch64 arm64,$(shell uname -m)),dev,test)

PORT ?= 8000

.PHONY: screen serve test lint typecheck unittest docs coverage mutants slow-test test-pi test-no-vnni guard benchmarks wheel clean check-python

# Exit code 1 of a batch says that some files failed: each is in the results with its reason.
screen: $(EDGE)/.installed
ifeq ($(strip $(XRAYS)),)
	@echo "No folder was named (XRAYS=folder), so examples are scored. What they are:"
	@$(EDGE)/bin/pneumoscope examples examples
	@$(EDGE)/bin/pneumoscope batch examples -o "$(OUT)" || [ $$? -eq 1 ]
	@echo "Next, your own pictures: make screen XRAYS=/path/to/folder"
else
	@$(EDGE)/bin/pneumoscope batch "$(XRAYS)" -o "$(OUT)"; code=$$?; \
		[ $$code -ne 2 ] || echo "With make, OUT=FOLDER names another folder."; [ $$code -le 1 ]
	@echo "Next, what waits for a person: $(EDGE)/bin/pneumoscope worklist '$(OUT)'"
endif

# With examples to try; --host 0.0.0.0 and accounts: docs/clinic.md.
serve: $(EDGE)/.serves
	@$(EDGE)/bin/pneumoscope examples examples > /dev/null
	@echo "Try it with the pictures in $(CURDIR)/examples"
	@$(EDGE)/bin/pneumoscope serve --port $(PORT)

test: lint typecheck unittest guard

lint: $(TEST)/.installed
	$(TEST)/bin/ruff check .
	$(TEST)/bin/ruff format --check .

typecheck: $(TEST)/.installed
	$(TEST)/bin/mypy --strict edge_app export train benchmarks

# A file's tests stay in one process, since they share what is slow to make.
JOBS ?= 2
unittest: $(TEST)/.installed $(TFLITE)/.tried $(S3)/.tried
	$(TEST)/bin/python -m pytest --numprocesses $(JOBS) --dist loadfile

# Which lines and branches of edge_app the tests of its rooms reach. Not part of `make test`, since
# counting takes a third more time: only the modules that run in one process and without TensorFlow,
# so what is tested through processes and through other folders' tests counts as not reached.
COVERED := $(addprefix tests/test_,$(addsuffix .py,appended_file bundle calibration cli codec \
	default_bundle dicom discovery examples file_scoring image intervals jpeg locator locks metrics \
	operating pneumo preprocess report results runtimes screener selftest storage store))
coverage: $(TEST)/.installed
	$(TEST)/bin/python -m coverage run -m pytest $(COVERED)
	$(TEST)/bin/python -m coverage report --skip-covered --sort=cover

# Which small changes of the modules that decide do their tests not notice? Hours for all; fewer with
# MUTANTS="--seconds 600 edge_app/bundle/signature.py". What survived: docs/mutants.md.
MUTANTS ?=
mutants: $(TEST)/.installed
	$(TEST)/bin/pip install $(PINNED) --editable '.[mutants]'
	$(TEST)/bin/python -m tests.mutants $(MUTANTS)

# The pages of docs/ that come from the code; tests/test_docs.py fails where one is stale.
docs: $(TEST)/.installed
	$(TEST)/bin/python -m tests.make_docs

# Ratios of speed against the landed state; a busy machine is no fault, so nothing fails on them.
guard: $(TEST)/.installed
	$(TEST)/bin/python -m benchmarks check --report-only

# Longer than CI allows: many kills, many files.
slow-test: $(TEST)/.installed
	$(TEST)/bin/python -m pytest -m slow

# The edge app on a Raspberry Pi's instruction set: needs root, debootstrap and qemu-user-static.
test-pi:
	$(PYTHON) -m tests.emulated_pi

# Scores as on a processor with AVX2 alone: needs qemu-user; about ten minutes.
test-no-vnni: $(TEST)/.installed
	$(TEST)/bin/python -m tests.emulated_cpu

# The tables of docs/, measured again; nothing else should run (how long
# each part takes: docs/benchmarks.md). Interrupted, the same command goes on; once it is through,
# it begins anew. Everything is also in out/benchmarks/report.html.
DATA ?= ../shared/data
BENCH := $(TEST)/bin/python -m benchmarks
SHIPPED = train/checkpoints/$(shell $(TEST)/bin/python -c "from edge_app import load_bundle; \
	print(load_bundle().manifest.provenance.config)")
OTHER_PYTHON := --python tflite-runtime=$(TFLITE)/bin/python
benchmarks: $(TEST)/.installed $(EDGE)/.installed $(TFLITE)/.tried
	$(TEST)/bin/pip install $(PIP_FLAGS) --editable '.[benchmarks]'
	[ -e out/benchmarks/unfinished ] || rm -rf out/benchmarks
	mkdir -p out/benchmarks && touch out/benchmarks/unfinished
	$(BENCH) compare --data $(SHIPPED)/split.csv --split validation --root $(DATA) \
		--name 'chest_xray patient-wise validation' $(OTHER_PYTHON)
	$(BENCH) throughput $(DATA)/originals --checkpoint $(SHIPPED)/model.keras $(OTHER_PYTHON) --resume
	$(EDGE)/bin/python -m benchmarks startup --resume
	$(BENCH) scale $(DATA)/originals --most-files 100000 --resume
	$(BENCH) article
	$(BENCH) gate $(DATA) --split $(SHIPPED)/split.csv --into docs/gate.md
	$(BENCH) gate $(DATA) --split $(SHIPPED)/split.csv --short --into README.md
	cp out/benchmarks/results.json benchmarks/results.json
	$(BENCH) readme
	$(BENCH) check --write
	$(BENCH) check --write $(DATA)/originals $(OTHER_PYTHON)
	rm out/benchmarks/unfinished

# The shipped bundle again from its checkpoint, every byte but the signature's; files that differ are
# named. Options as they were for the shipped one: tests/test_export_rebuild.py holds them together.
.PHONY: bundle
bundle: $(TEST)/.installed
	rm -rf out/bundle
	$(TEST)/bin/python -m export bundle $(SHIPPED) --locator train/checkpoints/locator \
		-o out/bundle --about chest_xray --data $(DATA)/chest_xray/labels.csv \
		--larger 448=$(DATA)/chest_xray_448/train --larger original=$(DATA)/originals \
		--external adult_nih=$(DATA)/adult_nih/labels.csv --column label=rsna_class \
		--positive 'Lung Opacity' --negative Normal --negative 'No Lung Opacity / Not Normal'
	diff --recursive --brief --exclude SIGNATURE edge_app/bundles/default out/bundle
	@echo "out/bundle holds the same bytes as edge_app/bundles/default"

wheel: $(TEST)/.installed
	$(TEST)/bin/pip wheel $(PIP_FLAGS) --no-deps --wheel-dir dist .

check-python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "error: $(PYTHON) is not Python 3.11 to 3.13; name another: make PYTHON=python3.11"; \
		  exit 1; }

# What the edge runs on: no TensorFlow. pydicom-data holds the example radiograph.
$(EDGE)/.installed: pyproject.toml constraints.txt | check-python
	@echo "installing the edge app into $(EDGE) (about 100 MB, once) ..."
	@$(PYTHON) -m venv --clear $(EDGE)
	@$(EDGE)/bin/pip install $(PINNED) --editable '.[examples]'
	@touch $@

$(EDGE)/.serves: $(EDGE)/.installed
	@echo "adding the workstation's packages (about 40 MB, once) ..."
	@$(EDGE)/bin/pip install $(PINNED) --editable '.[examples,web]'
	@touch $@

$(TEST)/.installed: pyproject.toml constraints.txt | check-python
	@echo "installing the test environment into $(TEST) (about 2 GB, once) ..."
	@$(PYTHON) -m venv --clear $(TEST)
	@$(TEST)/bin/pip install $(PINNED) --editable '.[$(TEST_EXTRA)]'
	@touch $@

# tflite-runtime ended at Python 3.11 and numpy 1, so it has an environment of its own. Where none
# can be made (no Python 3.11, no wheel for this machine), the tests that need it say so and skip.
$(TFLITE)/.tried: pyproject.toml
	@rm -rf $(TFLITE)
	@{ python3.11 -m venv $(TFLITE) && \
		$(TFLITE)/bin/pip install $(PIP_FLAGS) \
			'numpy<2' pillow simplejpeg tqdm cryptography 'tflite-runtime==2.14.0' && \
		$(TFLITE)/bin/pip install $(PIP_FLAGS) --no-deps --editable .; } || \
		{ echo "no tflite-runtime here: its tests will be skipped"; rm -rf $(TFLITE); \
		  mkdir -p $(TFLITE); }
	@touch $@

# moto's S3 server wants other versions than the test environment has (botocore an older
# python-dateutil). Where it cannot be made, the tests that need it say so and skip.
$(S3)/.tried: | check-python
	@rm -rf $(S3)
	@{ $(PYTHON) -m venv $(S3) && \
		$(S3)/bin/pip install $(PIP_FLAGS) 'moto[s3]==5.2.5' flask flask-cors; } || \
		{ echo "no S3 server here: its tests will be skipped"; rm -rf $(S3); mkdir -p $(S3); }
	@touch $@

clean:
	rm -rf $(EDGE) $(TEST) $(TFLITE) $(S3) dist examples .mypy_cache .ruff_cache .pytest_cache .hypothesis
