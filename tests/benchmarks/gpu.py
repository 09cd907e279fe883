"""Measure training and prediction on a GPU within a time limit: `gpu.sh run` starts it.

Each part runs in a process of its own, which frees the memory of the GPU, and is cut at its limit.
The parts are in order of importance. `gpu.md` is written anew after each row.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gpu_pack import NEEDED
from gpu_table import NOTE, GpuSampler, Table, note

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LEAST_SECONDS = 5.0
"""No part is started with less time left."""

Message = dict[str, Any]
"""Section and cells of a row, and the windows of its measurements."""


@dataclass(frozen=True)
class Extent:
    """How much to measure.

    Args:
        batches: Stacks per step.
        seconds: Of each measurement.
        chests: Synthetic chests, if no records are given.
        canvas: Side of their canvas in pixels.
        epochs: Of each fold; 0: as in the parameters.
        precisions: Precisions in order of importance; prediction and folds follow the first.
        eager: Precisions of PyTorch.
        compiled: Precisions in which PyTorch also compiles its network.
        patience: Factor of the limits of the parts.
    """

    batches: tuple[int, ...] = (8, 64, 256)
    seconds: float = 2.5
    chests: int = 8
    canvas: int = 128
    epochs: int = 0
    precisions: tuple[str, ...] = ("bfloat16", "float32", "float16")
    eager: tuple[str, ...] = ("bfloat16", "float32", "float16")
    compiled: tuple[str, ...] = ("bfloat16", "float32", "float16")
    patience: float = 1.0


QUICK = Extent(
    batches=(8,),
    seconds=0.4,
    chests=5,
    canvas=32,
    epochs=1,
    precisions=("float32", "bfloat16", "float16"),
    eager=("float32",),
    compiled=(),
    patience=4.0,
)
"""PyTorch takes seconds for a step in half precision on a CPU without instructions for it."""


@dataclass(frozen=True)
class Part:
    """One process.

    Args:
        name: Name for the user.
        section: Section of the row that states a failure.
        limit: Most seconds.
        command: Command that prints one line of JSON per row.
        row: First cells of the row that states a failure.
        parse: Makes a message of a line of JSON.
    """

    name: str
    section: str
    limit: float
    command: tuple[str, ...]
    row: dict[str, Any] = field(default_factory=dict)
    parse: Callable[[dict[str, Any]], Message] = dict


def main(arguments: list[str] | None = None) -> None:
    """Run the parts until the time is up."""
    options = parse(arguments)
    deadline = time.monotonic() + options.seconds
    options.out.mkdir(parents=True, exist_ok=True)
    extent = QUICK if options.quick else Extent()
    table = Table(options.out / "gpu.md", "Training and prediction on a GPU")
    sampler = GpuSampler()
    if missing := [name for name in NEEDED if not is_installed(name)]:
        table.add("Machine", {"property": "packages that are missing", "value": ", ".join(missing)})
    skipped = []
    try:
        with tempfile.TemporaryDirectory() as work, (options.out / "gpu.log").open("w") as log:
            cache = Path(work) / "cache"
            runner = Runner(table, sampler, log, cache=cache, patience=extent.patience)
            for part in all_parts(options, extent, Path(work)):
                left = deadline - time.monotonic()
                if left < LEAST_SECONDS:
                    skipped.append(part.name)
                    continue
                note(f"{part.name}, {left:.0f} s left")
                runner.run(part, left)
    finally:
        sampler.close()
    if skipped:
        table.add("Machine", {"property": "not measured, time was up", "value": "; ".join(skipped)})


def is_installed(name: str) -> bool:
    """Return True if the metadata of a package are found."""
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse and check the options."""
    parser = argparse.ArgumentParser(prog="gpu.sh run WHEELS", description=__doc__)
    parser.add_argument("--records", type=Path, help="records of stage prepare, also for the folds")
    parser.add_argument(
        "--params", type=Path, default=ROOT / "params.yaml", help="parameters of the folds"
    )
    parser.add_argument("--seconds", type=float, default=540.0, help="for everything")
    default = Path(os.environ.get("OUT", "gpu"))
    parser.add_argument("--out", type=Path, default=default, help="folder of gpu.md; default: $OUT")
    parser.add_argument("--quick", action="store_true", help="a trial of the script, on any CPU")
    names = [*PARTS]
    parser.add_argument("--parts", nargs="+", choices=names, default=names, metavar="PART")
    options = parser.parse_args(arguments)
    if options.seconds <= 0:
        parser.error(f"--seconds must be above 0, got {options.seconds:g}")
    if options.records and not (options.records / "index.json").is_file():
        parser.error(f"--records must name a folder with index.json, got {options.records}")
    if not options.params.is_file():
        parser.error(f"--params must name a file, got {options.params}")
    return options


def all_parts(options: argparse.Namespace, extent: Extent, work: Path) -> Iterator[Part]:
    """Yield the chosen parts, the most important first."""
    records = options.records.resolve() if options.records else work / "records"
    yield own_part("machine", "Machine", 60, "machine")
    if not options.records:
        chests = ("--chests", str(extent.chests), "--canvas", str(extent.canvas))
        yield own_part("records", "Machine", 150, "records", "--records", str(records), *chests)
    given = ("--records", str(records), "--work", str(work), "--seconds", str(extent.seconds))
    for precision in extent.precisions:
        for name, make in PARTS.items():
            once = name in ("predict", "folds")
            if name in options.parts and (precision == extent.precisions[0] or not once):
                yield from make(options, extent, given, precision)


def own_part(name: str, section: str, limit: float, *arguments: str, **row: Any) -> Part:
    """Return a part of `gpu_parts.py`."""
    command = (sys.executable, str(HERE / "gpu_parts.py"), *arguments)
    return Part(name, section, limit, command, row)


Given = tuple[str, ...]


def train_parts(
    _: argparse.Namespace, extent: Extent, given: Given, precision: str
) -> Iterator[Part]:
    """Training of both networks in one precision."""
    for network in ("lean", "unet"):
        arguments = ["train", *given, "--network", network, "--precision", precision]
        arguments += ["--batches", *map(str, extent.batches)]
        yield own_part(
            f"train {network} {precision}",
            "Training",
            110,
            *arguments,
            framework="Keras on JAX",
            network=network,
            precision=precision,
        )


def torch_parts(
    _: argparse.Namespace, extent: Extent, given: Given, precision: str
) -> Iterator[Part]:
    """Training of the `unet` in PyTorch in one precision: eager, then compiled."""
    for is_compiled in (False, True):
        if precision not in (extent.compiled if is_compiled else extent.eager):
            continue
        row = {
            "framework": f"PyTorch, channels last{', compiled' if is_compiled else ''}",
            "network": "unet",
            "precision": precision,
        }
        command = [sys.executable, str(HERE / "torch_unet.py"), "--device", "auto", "--train-only"]
        command += ["--channels-last", *(["--compile"] if is_compiled else [])]
        command += ["--precision", precision, "--batch", *map(str, extent.batches)]
        command += ["--seconds", str(extent.seconds), "--canvas", str(extent.canvas)]
        command += ["--threads", str(len(os.sched_getaffinity(0)))]
        name = f"{row['framework']} {precision}"
        yield Part(name, "Training", 110, tuple(command), row, torch_message(row))


def torch_message(row: dict[str, Any]) -> Callable[[dict[str, Any]], Message]:
    """Return a function that makes a row of a measurement of `torch_unet.py`."""

    def message(measured: dict[str, Any]) -> Message:
        measurement = {"batch": measured["batch"], "one batch": measured["train"][0]}
        return {
            "section": "Training",
            "row": row | measurement | {"first step s": measured["first"]},
            "windows": {"GPU busy, one batch": measured["window"]},
        }

    return message


def predict_parts(
    _: argparse.Namespace, __: Extent, given: Given, precision: str
) -> Iterator[Part]:
    """Prediction of both networks."""
    yield own_part("predict", "Prediction", 90, "predict", *given)


def fold_parts(
    options: argparse.Namespace, extent: Extent, given: Given, precision: str
) -> Iterator[Part]:
    """Training of five folds, if there are records."""
    if options.records:
        arguments = ["folds", *given, "--params", str(options.params.resolve())]
        yield own_part("folds", "Folds", 300, *arguments, "--epochs", str(extent.epochs))


PARTS = {"train": train_parts, "torch": torch_parts, "predict": predict_parts, "folds": fold_parts}
"""Kinds of parts, in order of importance."""


class Runner:
    """Runs parts and adds their rows.

    Args:
        table: Gets the rows.
        sampler: Has the utilisation of the GPU.
        log: Gets stderr of the processes.
        cache: Folder of compiled programs.
        patience: Factor of the limits of the parts.
    """

    def __init__(
        self, table: Table, sampler: GpuSampler, log: Any, *, cache: Path, patience: float = 1.0
    ) -> None:
        self._table, self._sampler, self._log = table, sampler, log
        self._patience = patience
        self._environment = {
            "PYTHONUNBUFFERED": "1",
            # The parts share the many small programs that initialise weights.
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }

    def run(self, part: Part, left: float) -> None:
        """Run a part for at most its limit and the time that is left.

        If it fails or is cut, a row says so.
        """
        if "torch_unet" in " ".join(part.command) and not find_spec("torch"):
            self._fail(part, "PyTorch is not installed")
            return
        limit = min(part.limit * self._patience, left)
        process = subprocess.Popen(
            part.command,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
            env=os.environ | self._environment,
        )
        is_cut = threading.Event()

        def cut() -> None:
            is_cut.set()
            os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(limit, cut)
        timer.start()
        try:
            for line in process.stdout or ():
                self._add(part, line)
            status = process.wait()
        finally:
            timer.cancel()
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            if process.stdout:
                process.stdout.close()
        if is_cut.is_set():
            self._fail(part, f"cut after {limit:.0f} s")
        elif status:
            self._fail(part, f"ended with status {status}; see gpu.log")

    def _add(self, part: Part, line: str) -> None:
        if not line.startswith("{"):
            self._log.write(line)
            return
        message = part.parse(json.loads(line))
        row, windows = message["row"], message["windows"]
        if windows:
            row = self._sampler.fill(row, windows)
        self._table.add(message["section"], row)

    def _fail(self, part: Part, reason: str) -> None:
        if part.section == "Machine":
            self._table.add("Machine", {"property": part.name, "value": reason})
        else:
            self._table.add(part.section, part.row | {NOTE: reason})


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the running part, too
    main()
