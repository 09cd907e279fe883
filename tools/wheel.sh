#!/usr/bin/env bash
# wheel.sh PYTHON [MODEL]: build the wheel, install it into a new environment, and segment a scan
# there without a network. Prints sizes and times; fails above the limit of the size.
# MODEL is used as the packaged model if the wheel has none.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 model=${2:-}
limit_mb=600
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir "$work/source"
cp -r setup.cfg pyproject.toml README.md LICENSE src "$work/source"
"$python" -m venv "$work/env"
export PATH="$work/env/bin:$PATH"
unset PYTHONPATH
pip=(python -m pip --quiet --disable-pip-version-check)
"${pip[@]}" wheel --no-deps --wheel-dir "$work" "$work/source"
"${pip[@]}" install --constraint "$root/constraints.txt" "$work"/thorax-*.whl

cd "$work"
site=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "wheel: $(du -k thorax-*.whl | cut -f1) kB; largest packages, in MB:"
du -sm "$site"/* | sort -rn | sed -n "1,20s|$site/|  |p"
size_mb=$(du -sm env | cut -f1)
echo "environment: $size_mb MB, limit $limit_mb MB"
unwanted=$(python -m pip list --format=freeze --disable-pip-version-check |
    grep -iE '^(dvc|dvclive|jax|keras|openvino|simpleitk|tensorflow|torch)==' || true)
echo "packages for training: ${unwanted:-none}"

weights=$site/thorax/models/weights/lungs.onnx
[ -f "$weights" ] || cp "$root/$model" "$weights"
python - <<'PYTHON'
from pathlib import Path

import numpy as np

from thorax.io import write_volume

# Two lungs of 4 L in a body of 40 HU, 120 slices.
x, y, z = np.ogrid[-1:1:256j, -1:1:256j, -1:1:120j]
hu = np.full((256, 256, 120), -1000.0)
hu[np.broadcast_to((x / 0.85) ** 2 + (y / 0.6) ** 2 < 1, hu.shape)] = 40
lungs = ((abs(x) - 0.4) / 0.28) ** 2 + (y / 0.42) ** 2 + (z / 0.85) ** 2 < 1
hu[lungs] = -850
hu += np.random.default_rng(0).normal(0, 20, hu.shape)
affine = np.diag([-1.5, -1.5, 2.5, 1.0])
write_volume(Path("ct.nii.gz"), hu.astype(np.int16), affine)
write_volume(Path("truth.nii.gz"), lungs.astype(np.uint8), affine)
PYTHON

offline=()
if unshare --map-root-user --net true 2>/dev/null; then offline=(unshare --map-root-user --net); fi
TIMEFORMAT='  %R s'
run() {
    echo "thorax $*"
    time "${offline[@]}" thorax "$@" >output.txt
}
run --help
run --help
run predict ct.nii.gz lungs.nii.gz
run predict ct.nii.gz again.nii.gz --preview
run score truth.nii.gz lungs.nii.gz --region lung=1,2,3
run view ct.nii.gz lungs.nii.gz --output page.html
run model list
cat output.txt
[ "$size_mb" -lt "$limit_mb" ] && [ -z "$unwanted" ]
