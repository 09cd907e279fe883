# `make` lists the targets. Each sets up what it needs in .venv, on a bare machine with Python
# 3.11 to 3.13, git and make.
PYTHON ?= python3
# make repro EXTRA=jax trains on JAX, without TensorFlow.
EXTRA ?= train
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help install dev repro lungs test coverage test-slow test-cluster wheel-test newest lock lint format bench picture viewer clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

# uv installs in parallel and compiles nothing in advance; where it cannot, pip installs the same.
INSTALL = $(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --constraint constraints.txt --editable
PIP_INSTALL = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

$(VENV)/installed: setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 11) <= v <= (3, 13) and f"thorax needs Python 3.11 to 3.13, got {v[0]}.{v[1]}: name another with make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	-$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(INSTALL) '.[$(EXTRA)]' || $(PIP_INSTALL) '.[$(EXTRA)]'
	@touch $@

$(VENV)/dev: $(VENV)/installed
	$(INSTALL) '.[train,dev]' || $(PIP_INSTALL) '.[train,dev]'
	@touch $@

install: $(VENV)/installed ## make .venv with the package

dev: $(VENV)/dev ## add the tools for tests and lint to .venv

repro: install ## run the whole pipeline: volumes, training, masks, scores
	dvc repro

lungs: install ## train the packaged model: make lungs LCTSC=FOLDER with scans/ and masks/
	cd models/lungs && { test -e data/lctsc || thorax data add "$(LCTSC)" --name lctsc --region lung=1,2; }
	cd models/lungs && dvc repro
	cp models/lungs/lungs.onnx src/thorax/models/weights/lungs.onnx

test: lint ## format, lint, types, layers, unit tests, doctests and one small pipeline run
	pytest -n auto --dist loadfile -m 'not slow and not cluster'

coverage: dev ## the tests of make test with their coverage, which takes half as long again
	pytest -n auto --dist loadfile -m 'not slow and not cluster' --cov --cov-report=term:skip-covered

test-slow: dev ## the tests that take long: many runs of DVC, killed processes, fault tables
	pytest -n auto --dist loadfile -m 'slow and not cluster'

test-cluster: dev ## jobs of a SLURM cluster that the tests start; needs Debian's slurm-wlm, munge
	pytest tests/cluster -m 'cluster and not slow'

wheel-test: ## install the wheel into a new environment, segment a scan; print sizes and times
	tools/wheel.sh $(PYTHON) models/segmenter.onnx

newest: ## the pipeline with the newest versions that setup.cfg allows, in .venv-newest
	tools/newest.sh $(PYTHON) pytest -q tests/end_to_end/test_repro.py -k 'in_order or learns or bytes_of_the_stage'

lock: ## write constraints.txt anew with the newest versions that setup.cfg allows
	tools/newest.sh $(PYTHON) tools/freeze.sh constraints.txt

lint: dev ## format, lint, types and import layers only
	ruff format --check
	ruff check
	mypy
	lint-imports --no-logo

format: dev ## put the source into shape
	ruff check --fix-only
	ruff format

bench: dev ## measure speed and memory on this machine
	python tests/benchmarks/run.py

picture: install ## the README's picture, from the last run of the pipeline
	cp "$$(ls reports/overlays/*.png | head -n 1)" docs/phantom.png

viewer: ## build the NiiVue bundle of thorax view again; needs node and npm
	tools/niivue/build.sh

clean: ## remove what the tools leave behind, but no data and no results
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage build
