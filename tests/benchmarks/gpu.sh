#!/usr/bin/env bash
# Measure training and prediction on a machine with one NVIDIA GPU, with JAX, without a network.
#
#     tests/benchmarks/gpu.sh pack FOLDER [--python 3.12] [--folds] [--without NAME ...]
#     tests/benchmarks/gpu.sh run WHEELS [--records FOLDER] [--seconds 540] [--out FOLDER] [--quick]
#
# `pack`, on a machine with a network, collects the wheels of the packages that the other machine
# lacks. `run` installs them next to the packages of `python3` there and prints a Markdown table.
# PYTHON names another interpreter. See docs/gpu.md.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python3}

fail() {
    echo "gpu.sh: $1" >&2
    exit 2
}

case ${1:-} in
pack)
    shift
    exec "$python" "$here/gpu_pack.py" "$@"
    ;;
run) shift ;;
-h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0" && exit ;;
*) fail "the first argument must be pack or run, got '${1:-}'; see $0 --help" ;;
esac

wheels=${1:-}
shift || fail "run needs the folder that \`gpu.sh pack FOLDER\` wrote"
compgen -G "$wheels/*.whl" >/dev/null ||
    fail "there are no wheels in '$wheels'; name the folder that \`gpu.sh pack FOLDER\` wrote"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv --system-site-packages --without-pip "$work/env"
site=$("$work/env/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
# If `python` is in a virtual environment itself, the new one would not see its packages.
"$python" -c 'import sysconfig
for folder in sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}):
    print(f"import site; site.addsitedir({folder!r})")' >"$site/machine.pth"
"$python" -m pip --python "$work/env/bin/python" install --quiet --no-index --no-deps \
    --no-compile --no-cache-dir --disable-pip-version-check "$wheels"/*.whl
KERAS_BACKEND=jax "$work/env/bin/python" "$here/gpu.py" "$@"
