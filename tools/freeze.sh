#!/usr/bin/env bash
# freeze.sh FILE: write the installed versions to FILE, below the comment at its start.
set -euo pipefail
{
    grep '^#' "$1"
    python -m pip freeze --exclude thorax --exclude uv
} >"$1.new"
mv "$1.new" "$1"
