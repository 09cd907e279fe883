#!/usr/bin/env bash
# Rebuild the NiiVue bundle of thorax.reporting.viewer (`make viewer`). Needs node and npm.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
target="$here/../../src/thorax/reporting/viewer/niivue/niivue.js"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cp "$here"/{package.json,entry.js,zarrita.js} "$work"
cd "$work"
npm install --no-audit --no-fund --loglevel=error
npx esbuild entry.js --bundle --minify --format=iife --global-name=thoraxNiivue --target=es2020 \
  --legal-comments=none --charset=utf8 --alias:zarrita=./zarrita.js --outfile="$target"
cd "$(dirname "$target")"
sha256sum niivue.js
