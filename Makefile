# Everything this project is run with. Needs Python 3.10 to 3.13, make and git, and nothing installed before.

PYTHON ?= python3
WORKERS ?= 2
SYSTEM :=

# The versions of everything, what builds the package included. Newer releases of pip want the second name for that.
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

.PHONY: help install demo test lint system vendor pins clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

install: .venv/installed  ## everything, torch included, into .venv (6 GB)

demo: .venv-base/installed  ## the base package alone into .venv-base, then a first look at output/quickstart
	.venv-base/bin/blemish quickstart --output output/quickstart

test: export OMP_NUM_THREADS := 1
test: export OPENBLAS_NUM_THREADS := 1
test: SYSTEM := test
test: system lint  ## set up all there is, then lint, types, direction of imports, and the tests
	.venv/bin/python -m pytest -n $(WORKERS) --dist loadfile

lint: .venv/installed  ## style, types and the direction of imports
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

system:
	@PYTHON='$(PYTHON)' scripts/system-packages.sh $(SYSTEM)

vendor:  ## renew htmx, Swagger UI and onnxruntime-web from npm, after a change of their lists; needs npm
	$(PYTHON) scripts/vendor.py

pins:  ## bring constraints.txt in line with pyproject.toml; `make pins UPGRADE=--upgrade` takes the newest of all
	PYTHON='$(PYTHON)' scripts/pin.sh $(UPGRADE)

clean:  ## remove what these targets have made
	rm -rf .venv .venv-base .venv-pins output/quickstart build dist
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Installing takes minutes, so it is done again only when one of these two files has changed.
.venv/installed: EXTRAS := [pdf,train,tune,openvino,decode,serve,postgres,parquet,mqtt,opcua,test]
.venv/installed .venv-base/installed: pyproject.toml constraints.txt | system
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' || \
		{ echo 'Blemish needs Python 3.10 to 3.13; name one with: make PYTHON=python3.12 ...' >&2; exit 1; }
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --editable '.$(EXTRAS)'
	@touch $@
