#!/usr/bin/env bash
# newest.sh PYTHON COMMAND…: run a command in a new .venv-newest with the newest versions that
# setup.cfg allows.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1
shift
rm -rf .venv-newest
"$python" -m venv .venv-newest
export PATH="$PWD/.venv-newest/bin:$PATH" PYTHONPATH="$PWD/src"
python -m pip install --quiet --disable-pip-version-check uv || true
.venv-newest/bin/uv pip install --quiet --python .venv-newest/bin/python '.[train,dev]' ||
    python -m pip install --quiet --disable-pip-version-check '.[train,dev]'
python -m pip check
"$@"
