"""Collect the wheels that a machine with JAX, PyTorch and ONNX Runtime lacks: `gpu.sh pack`.

The list is what a virtual environment with JAX, PyTorch, SciPy and ONNX Runtime alone lacked. The
versions are those of `constraints.txt`. Dependencies are not resolved: NumPy and JAX are those of
the other machine.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMIT_MIB = 64.0
MIB = 2**20

KERAS = (
    "keras",
    "absl-py",
    "h5py",
    "markdown-it-py",
    "mdurl",
    "namex",
    "optree",
    "Pygments",
    "rich",
)
AUGMENTATION = ("albumentations", "albucore", "opencv-python-headless", "simsimd", "stringzilla")
PYDANTIC = (
    "pydantic",
    "pydantic_core",
    "annotated-types",
    "typing-inspection",
    "typing_extensions",
)
OTHERS = ("PyYAML", "google-crc32c", "isal", "nibabel", "onnx", "psutil", "threadpoolctl", "tqdm")
NEEDED = KERAS + AUGMENTATION + PYDANTIC + OTHERS
"""Packages of training and prediction."""

PICTURES = ("matplotlib", "contourpy", "cycler", "fonttools", "kiwisolver", "pillow", "pyparsing")
FOLDS = (*PICTURES, "python-dateutil", "six")
"""Packages that only the training of folds needs: it can also draw pictures."""

PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in (28, 27, 26, 24, 17, 12, 5)]
PLATFORMS += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"]


class PackError(ValueError):
    """Wheels that cannot be packed; the message is one line."""


def main(arguments: list[str] | None = None) -> None:
    """Write the wheels to a new folder."""
    options = parse(arguments)
    try:
        if options.folder.exists() and any(options.folder.iterdir()):
            raise PackError(f"the folder must be new or empty, got {options.folder}")
        names = chosen(options.without, folds=options.folds)
        with tempfile.TemporaryDirectory() as work:
            wheels = Path(work) / "wheels"
            download(pinned(names, (ROOT / "constraints.txt").read_text()), options.python, wheels)
            build_own(Path(work) / "source", wheels)
            sizes = {wheel.name: wheel.stat().st_size for wheel in wheels.glob("*.whl")}
            check_size(sizes, options.limit)
            options.folder.mkdir(parents=True, exist_ok=True)
            for name in sizes:
                shutil.move(wheels / name, options.folder / name)
    except PackError as error:
        sys.exit(f"gpu.sh pack: {error}")
    say(f"{len(sizes)} wheels for Python {options.python}, {total_mib(sizes):.1f} MiB")
    if options.without:
        say(f"left out, the other machine must have them: {', '.join(options.without)}")
    if not options.folds:
        say("without Matplotlib, which `run --records` needs: pack --folds")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the options."""
    parser = argparse.ArgumentParser(prog="gpu.sh pack", description=__doc__)
    parser.add_argument("folder", type=Path, help="new folder for the wheels")
    version = ".".join(map(str, sys.version_info[:2]))
    parser.add_argument("--python", default=version, metavar="X.Y", help="Python there")
    parser.add_argument("--folds", action="store_true", help="also the packages of `run --records`")
    parser.add_argument(
        "--without", nargs="+", default=[], metavar="NAME", help="packages that the machine has"
    )
    parser.add_argument("--limit", type=float, default=LIMIT_MIB, metavar="MIB")
    return parser.parse_args(arguments)


def chosen(without: Iterable[str], *, folds: bool) -> list[str]:
    """Return the names of the packages to download."""
    names = {canonical(name): name for name in NEEDED + (FOLDS if folds else ())}
    known = {canonical(name) for name in NEEDED + FOLDS}
    for name in without:
        if canonical(name) not in known:
            raise PackError(
                f"--without must name packages of the list, got {name}; they are "
                f"{', '.join(sorted(known))}"
            )
        names.pop(canonical(name), None)
    return list(names.values())


def canonical(name: str) -> str:
    """Return the form of a package name that package indexes compare."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(names: Iterable[str], constraints: str) -> list[str]:
    """Return ``name==version`` for each name, as in `constraints.txt`."""
    lines = [line for line in constraints.splitlines() if "==" in line]
    versions = {canonical(line.partition("==")[0]): line.strip() for line in lines}
    if missing := sorted(name for name in names if canonical(name) not in versions):
        raise PackError(f"constraints.txt must have every package, but lacks {', '.join(missing)}")
    return [versions[canonical(name)] for name in names]


def download(requirements: list[str], python: str, folder: Path) -> None:
    """Download binary wheels for another Python on Linux (x86-64)."""
    target = ["--python-version", python, "--implementation", "cp", "--only-binary=:all:"]
    for platform in PLATFORMS:
        target += ["--platform", platform]
    pip("download", "--no-deps", *target, "--dest", str(folder), *requirements)


def build_own(source: Path, folder: Path) -> None:
    """Build the wheel of this checkout from a copy, so that no build files are left in it."""
    source.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info"))
    pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(source))


def pip(*arguments: str) -> None:
    """Run pip; an error is its last line."""
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = lines[-1] if lines else f"status {done.returncode}"
        raise PackError(f"`pip {arguments[0]}` must succeed; {reason}")


def check_size(sizes: Mapping[str, int], limit_mib: float) -> None:
    """Check the sum of the sizes in bytes."""
    if total_mib(sizes) <= limit_mib:
        return
    largest = sorted(sizes, key=lambda name: -sizes[name])[:5]
    parts = [f"{name.partition('-')[0]} {sizes[name] / MIB:.1f}" for name in largest]
    raise PackError(
        f"the wheels must have at most {limit_mib:g} MiB, got {total_mib(sizes):.1f} MiB; leave "
        f"out what the other machine has with --without, the largest are {', '.join(parts)} MiB"
    )


def total_mib(sizes: Mapping[str, int]) -> float:
    """Return the sum of the sizes in MiB."""
    return sum(sizes.values()) / MIB


def say(text: str) -> None:
    """Print a result."""
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
