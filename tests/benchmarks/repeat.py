"""Run the whole pipeline twice from clean copies, and compare the bytes of its outputs.

The second copy is in another folder, with a longer non-ASCII name, another time zone and another
language. Only the time of the training may differ.

Example:
    python tests/benchmarks/repeat.py --small
"""

import argparse
import hashlib
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.end_to_end.project import SMALL, copy_of_the_working_tree

OUTPUTS = {
    "volumes": ("data/phantom/scans/*", "data/phantom/masks/*"),
    "records": ("data/records/*",),
    "weights": ("models/segmenter/*",),
    "model file": ("models/segmenter.onnx",),
    "masks and probabilities": ("data/predictions/*.*", "data/predictions/*/*"),
    "history": ("reports/history.csv",),
    "scores": tuple(
        f"reports/{name}.csv" for name in ("scores", "sides", "lesions", "calibration")
    ),
    "metrics": ("reports/metrics.json", "reports/summary.json"),
    "overlays": ("reports/overlays/*",),
}
"""All outputs without times: not `training.json` and the report."""


def main() -> None:
    """Print the digest of each kind of output for both runs; exit with 1 after a difference."""
    options = read_options()
    with TemporaryDirectory() as temporary:
        runs = [
            run(Path(temporary) / "one", options.small, TZ="UTC", LANG="C"),
            run(Path(temporary) / "Größe 2/two", options.small, TZ="Asia/Tokyo", LANG="de_DE"),
        ]
    print(f"{'':<24} {'files':>5}  {'first run':<16}  {'second run':<16}")  # noqa: T201
    for name in OUTPUTS:
        (count, first), (_, second) = (digests[name] for digests in runs)
        same = "the same" if first == second else "DIFFERENT"
        print(f"{name:<24} {count:>5}  {first:<16}  {second:<16}  {same}")  # noqa: T201
    sys.exit(runs[0] != runs[1])


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="a small network and few cases")
    return parser.parse_args()


def run(folder: Path, small: bool, **environment: str) -> dict[str, tuple[int, str]]:
    """Run the pipeline in a new folder; return number and digest of its files by kind."""
    os.environ.update(environment)
    project = copy_of_the_working_tree(folder)
    if small:
        project.set(SMALL)
    project.commit("Start")
    log(f"{datetime.now(UTC):%H:%M:%S} dvc repro in {folder}")
    project.dvc("repro")
    log(f"{datetime.now(UTC):%H:%M:%S} done")
    return {name: digest(project.root, patterns) for name, patterns in OUTPUTS.items()}


def digest(root: Path, patterns: tuple[str, ...]) -> tuple[int, str]:
    """Return the number of files, and one digest of their names and bytes."""
    total = hashlib.sha256()
    files = list(matches(root, patterns))
    for path in files:
        total.update(path.relative_to(root).as_posix().encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return len(files), total.hexdigest()[:16]


def matches(root: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    """Yield the files of a kind; every pattern must match a file."""
    for pattern in patterns:
        paths = sorted(path for path in root.glob(pattern) if path.is_file())
        if not paths:
            sys.exit(f"{root / pattern} matches no file")
        yield from paths


def log(text: str) -> None:
    """Print progress."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
