"""Measurements of `gpu.sh`, each part in a process of its own; prints a line of JSON per row.

A line has `section` and `row`, and `windows`: begin and end of each measurement by the column of
the GPU's utilisation during it.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from subprocess import run
from typing import Any

import numpy as np
from gpu_table import (
    BUSY_DEVICE,
    BUSY_ONE,
    BUSY_PREDICTION,
    BUSY_REAL,
    NOTE,
    Window,
    note,
    say,
)
from measuring import REGIONS, timed

from thorax.common.machine import describe_machine, keep_freed_memory, kind_of_machine
from thorax.common.parallel import in_processes
from thorax.common.params import Params, load_params
from thorax.datasets.dataset import Case, Dataset
from thorax.imaging.intensity import HU
from thorax.imaging.intensity import Window as HuWindow
from thorax.models.backend import import_keras
from thorax.pipeline.phantom import write_chest
from thorax.preprocessing.index import RecordIndex, load_index, verify_records
from thorax.preprocessing.prepare import prepare
from thorax.preprocessing.records import read_record

ROOT = Path(__file__).parents[2]

MAX_STEPS = 5000


def emit(section: str, row: dict[str, Any], **windows: Window) -> None:
    """Print a row for `gpu.py`."""
    say(json.dumps({"section": section, "row": row, "windows": windows.pop("windows", windows)}))


def machine(_: argparse.Namespace) -> None:
    """Describe GPU, processor and versions."""
    import jax

    facts = describe_machine()
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        gpu = run(query, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, ValueError):
        gpu = "no nvidia-smi"
    values = {
        "GPU, memory, driver": gpu,
        "devices of JAX": ", ".join(str(device) for device in jax.devices()),
        "processor": f"{facts['processor']}, {kind_of_machine()['instructions']}",
        "cores": facts["cores"],
        "memory, GiB": facts["memory_gib"],
        "Python": facts["python"],
    }
    for name in ("jax", "keras", "torch", "onnxruntime", "numpy"):
        values[name] = metadata.version(name) if find_spec(name) else "not installed"
    for name, value in values.items():
        emit("Machine", {"property": name, "value": value})


def records(options: argparse.Namespace) -> None:
    """Make records of synthetic chests."""
    folder = options.records.parent / "chests"
    write = partial(write_chest, seed=0, folder=folder)
    in_processes([partial(write, number) for number in range(options.chests)], title="phantom")
    cases = []
    for scan in sorted((folder / "scans").iterdir()):
        name = scan.name.removesuffix(".nii.gz")
        cases.append(Case(name, name, scan, folder / "masks" / scan.name, HU))
    dataset = Dataset("phantom", REGIONS, tuple(cases))
    seconds = timed(lambda: prepare(dataset, options.records, canvas=options.canvas, crop="lungs"))
    index = load_index(options.records)
    planes = sum(entry.planes for entry in index.records)
    text = f"{len(cases)} synthetic chests, {planes} slices, canvas {index.canvas}"
    emit("Machine", {"property": "records", "value": f"{text}; prepared in {seconds:.1f} s"})


def train(options: argparse.Namespace) -> None:
    """Measure the training of a network with each batch size."""
    import_keras()
    from thorax.training.precision import choose_precision

    keep_freed_memory()
    index = load_index(options.records)
    for batch in options.batches:
        params = load_params(ROOT / "params.yaml")
        params = replace(
            params,
            network=replace(params.network, name=options.network),
            train=replace(params.train, batch=batch, precision=options.precision),
        )
        row = training_row(options.network, options.precision, batch)
        windows: dict[str, Window] = {}
        try:
            policy = choose_precision(params.train.precision).policy
            measure_training(params, index, options, policy, row, windows)
        except Exception as error:  # the next batch size may fit into memory
            row[NOTE] = short(error)
        emit("Training", row, windows=windows)


def training_row(network: str, precision: str, batch: int) -> dict[str, Any]:
    """Return the first cells of a row of Keras."""
    return {
        "framework": "Keras on JAX",
        "network": network,
        "precision": precision,
        "batch": batch,
    }


def measure_training(
    params: Params,
    index: RecordIndex,
    options: argparse.Namespace,
    policy: str,
    row: dict[str, Any],
    windows: dict[str, Window],
) -> None:
    """Measure into a row, value by value, so that an error keeps those before it."""
    from networks import batches, compiled, exhaust, fit_once, make_plan, repeated

    plan = make_plan(params, index, options.records)
    if plan.steps < 1:
        row[NOTE] = f"not measured: there are only {plan.dataset.stacks} stacks"
        return
    network = compiled(params, plan, policy)
    augmentation = replace(params.augmentation, device="gpu")
    on_device = make_plan(replace(params, augmentation=augmentation), index, options.records)
    batch = next(repeated(plan, 1))
    row["first step s"] = timed(lambda: fit_once(network, (batch for _ in range(1)), 1))
    works: dict[str, Callable[[int], object]] = {
        "one batch": lambda steps: fit_once(network, (batch for _ in range(steps)), steps),
        "real input": lambda steps: fit_once(network, batches(plan, steps), steps),
        "on device": lambda steps: fit_once(network, batches(on_device, steps), steps),
        "input alone": lambda steps: exhaust(batches(plan, steps)),
        "on device alone": lambda steps: exhaust(batches(on_device, steps)),
    }
    busy = {"one batch": BUSY_ONE, "real input": BUSY_REAL, "on device": BUSY_DEVICE}
    for name, work in works.items():
        per_step, window = seconds_per_step(work, options.seconds)
        row[name] = params.train.batch / per_step
        if name in busy:
            windows[busy[name]] = window


def seconds_per_step(work: Callable[[int], object], seconds: float) -> tuple[float, Window]:
    """Time as many steps as take about the given seconds, at least two, after a short trial.

    The trial is repeated with more steps until the start of the work no longer dominates it.
    """
    steps = 2
    while (trial := timed(partial(work, steps))) < seconds / 4 and steps < MAX_STEPS:
        steps *= 4
    count = int(min(MAX_STEPS, max(2, seconds * steps / trial)))
    begin = time.time()
    measured = timed(partial(work, count))
    return measured / count, (begin, time.time())


def short(error: BaseException) -> str:
    """Return kind and first line of an error."""
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:100]}"


def predict(options: argparse.Namespace) -> None:
    """Compare Keras on JAX with ONNX Runtime on the CPU, on the scan with the most slices."""
    import_keras()
    index = load_index(options.records)
    largest = max(index.records, key=lambda entry: entry.planes)
    planes = read_record(verify_records(options.records, [largest])[0]).planes
    for name in options.networks:
        row: dict[str, Any] = {"network": name, "slices": len(planes)}
        windows: dict[str, Window] = {}
        try:
            measure_prediction(name, index, planes, options, row, windows)
        except Exception as error:
            row[NOTE] = short(error)
        emit("Prediction", row, windows=windows)


def measure_prediction(
    name: str,
    index: RecordIndex,
    planes: Any,
    options: argparse.Namespace,
    row: dict[str, Any],
    windows: dict[str, Window],
) -> None:
    """Measure both engines into a row, and count the pixels that differ."""
    from thorax.models.engines.keras_engine import KerasEngine
    from thorax.models.engines.open import open_engine
    from thorax.models.keras_file import MODEL, load_network, save_trained
    from thorax.models.keras_graph import to_graph
    from thorax.models.networks import build
    from thorax.training.provenance import make_spec

    params = load_params(ROOT / "params.yaml")
    network = build(
        replace(params.network, name=name),
        canvas=index.canvas,
        channels=2 * params.train.context + 1,
        regions=len(index.regions),
        seed=0,
        dtype="float32",
    )
    folder = options.work / name
    save_trained(folder, network, make_spec(params, index, {}))
    loaded = load_network(folder / MODEL)
    window = HuWindow(*params.train.window)
    keras = KerasEngine(loaded, window)
    expected = keras.probabilities(planes)
    row["Keras on JAX s"], windows[BUSY_PREDICTION] = repeat(
        lambda: keras.probabilities(planes), options.seconds
    )
    onnx = open_engine(to_graph(loaded), "onnxruntime", window=window)
    exported = onnx.probabilities(planes)
    row["ONNX Runtime CPU s"], _ = repeat(lambda: onnx.probabilities(planes), options.seconds)
    row["pixels that differ"] = int(np.count_nonzero((expected >= 0.5) != (exported >= 0.5)))
    row["of pixels"] = int(expected.size)
    row["largest difference"] = float(np.abs(expected - exported).max())


def repeat(work: Callable[[], object], seconds: float) -> tuple[float, Window]:
    """Return the fastest of calls that together take at least the given seconds."""
    begin, times = time.time(), [timed(work)]
    while sum(times) < seconds:
        times.append(timed(work))
    return min(times), (begin, time.time())


def folds(options: argparse.Namespace) -> None:
    """Train five folds as the stage `train` does, and validate the test cases of each."""
    import_keras()
    from thorax.training.trainer import set_determinism

    keep_freed_memory()
    index = load_index(options.records)
    params = load_params(options.params)
    if options.epochs:
        params = replace(params, train=replace(params.train, epochs=options.epochs))
    set_determinism(params.seed)
    for fold in range(5):
        split = replace(
            params.split,
            method="random",
            folds=5,
            fold=fold,
            validation=0.2,
            train=[],
            test=[],
            validation_cases=[],
        )
        train_fold(replace(params, split=split), index, options)


def train_fold(params: Params, index: RecordIndex, options: argparse.Namespace) -> None:
    """Train one fold and emit its row."""
    from thorax.datasets.folds import split_cases
    from thorax.models.networks import build
    from thorax.pipeline.train import members_of
    from thorax.training.checkpoint import source_files
    from thorax.training.precision import choose_precision
    from thorax.training.progress import Callbacks
    from thorax.training.provenance import training_provenance
    from thorax.training.session import Folders, Session
    from thorax.training.trainer import fit
    from thorax.training.validation import mean_dice, validate

    begin = time.time()
    split = split_cases(members_of(index), params.split, seed=params.seed)
    precision = choose_precision(params.train.precision)
    work = options.work
    folders = Folders(options.records, work / "initial", work / "checkpoints", work / "reports")
    session = Session(params, index, precision, folders, note)
    provenance = training_provenance(params, index, split, precision, initial=folders.initial)
    plan = session.make_plan(split, provenance, source_files())
    trained = session.build_training_model(plan)
    history = fit(trained, plan, callback=Callbacks())
    end = time.time()
    network = build(
        params.network,
        canvas=index.canvas,
        channels=2 * params.train.context + 1,
        regions=len(index.regions),
        seed=params.seed,
        dtype="float32",
    )
    network.set_weights(trained.network.get_weights())
    paths = verify_records(options.records, [index.entry(case) for case in split.test])
    dice = mean_dice(validate(network, paths, window=plan.dataset.window), list(index.regions))
    dice.pop("dice")
    row = {
        "fold": params.split.fold,
        "cases": f"{len(split.train)} + {len(split.validation)}, test {len(split.test)}",
        "epochs": len(history),
        "batch": plan.batch,
        "precision": precision.policy,
        "seconds": end - begin,
        "validation Dice, canvas": ", ".join(
            f"{name.removeprefix('dice_')} {value:.4f}" for name, value in dice.items()
        ),
    }
    emit("Folds", row, windows={BUSY_REAL: (begin, end)})


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("machine", "records", "train", "predict", "folds"))
    parser.add_argument("--records", type=Path)
    parser.add_argument("--work", type=Path, help="folder for temporary files")
    parser.add_argument("--params", type=Path, default=ROOT / "params.yaml")
    parser.add_argument("--network", default="lean")
    parser.add_argument("--networks", nargs="+", default=["lean", "unet"])
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--batches", type=int, nargs="+", default=[8])
    parser.add_argument("--seconds", type=float, default=2.5, help="of each measurement")
    for name in ("chests", "canvas", "epochs"):
        parser.add_argument(f"--{name}", type=int, default=0)
    options = parser.parse_args()
    # Otherwise JAX takes three quarters of the memory at once, whatever the batch.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    globals()[options.part](options)


if __name__ == "__main__":
    main()
