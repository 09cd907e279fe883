#!/usr/bin/env bash
# freeze.sh FILE: write the versions of this environment, below the comment that FILE begins with.
set -euo pipefail
{
    grep '^#' "$1"
    python -m pip freeze --exclude thorax
} >"$1.new"
mv "$1.new" "$1"
