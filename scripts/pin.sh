#!/bin/sh
# Writes constraints.txt: one version of every package, for all supported Pythons and systems at once.
# Versions that are there already stay unless pyproject.toml rules them out; with --upgrade all are chosen anew.
set -eu

"${PYTHON:-python3}" -m venv .venv-pins
.venv-pins/bin/python -m pip install --quiet uv==0.13.8
# editables: what an editable install of a hatchling project is built with
echo editables | .venv-pins/bin/uv pip compile pyproject.toml - --all-extras --universal --python-version 3.10 \
    --no-annotate --custom-compile-command "make pins" --quiet --output-file constraints.txt "$@"
