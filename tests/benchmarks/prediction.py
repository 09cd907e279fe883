"""Benchmark of `thorax predict`: `make bench`, or in more detail

    python tests/benchmarks/prediction.py [--engines] [--growth] [--files] [--batch SCANS]
        [--scan CT] [--model MODEL]
    git worktree add ../before COMMIT; python tests/benchmarks/prediction.py --before ../before

Without a model, the default network is exported untrained: speed does not depend on the weights.
Wall time, CPU time and peak memory are those of a whole process. With another checkout of this
repository, both run in turn, because the speed of a machine may change from minute to minute.
With ``--lungmask PYTHON``, the Python of an environment with lungmask (https://github.com/JoHof/
lungmask), its R231 network segments the same scan between runs of ours. Weights are random, so its
postprocessing, whose time depends on the mask, is off.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from measuring import REGIONS, Cost, cost_of, make_scan, say, timed
from segmentation_objects import save_series

from thorax.common.params import load_params
from thorax.inference.outputs import Outputs, write_outputs
from thorax.inference.segmenter import Segmenter, load
from thorax.io import Scan
from thorax.models.engines.keras_engine import KerasEngine
from thorax.models.engines.open import open_engine
from thorax.models.export import export_model
from thorax.models.keras_file import MODEL, load_network, save_trained
from thorax.models.networks import build
from thorax.models.onnx_file import read_model
from thorax.models.packaged import find_model
from thorax.models.spec import ModelSpec, default_postprocessing

SHAPE = (512, 512, 300)
GROWTH = [(512, 512, 50), (512, 512, 150), SHAPE, (512, 512, 600), (512, 512, 1200)]
GROWTH += [(256, 256, 300), (1024, 1024, 300)]
STACKS = 128


def main() -> None:
    """Run the chosen benchmarks."""
    options = parse()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trained, model = untrained_model(folder)
        scan = options.scan or folder / "scan.nii.gz"
        if not options.scan:
            make_scan(0, SHAPE, scan, folder / "truth.nii.gz")
        if options.before or options.lungmask:
            compare_in_turn(scan, folder, options.model or model, options)
            return
        bench_prediction(scan, folder, model=options.model or model)
        if options.engines:
            compare_engines(trained, model)
            compare_processes(scan, folder, trained=trained, model=model)
        if options.growth:
            bench_growth(folder, options.model or model)
        if options.files:
            bench_files(scan, folder, options.model or model)
        for scans in options.batch:
            bench_batch(scan, folder, options.model or model, scans=scans)


def parse() -> argparse.Namespace:
    """Parse the options."""
    parser = argparse.ArgumentParser()
    for name in ("engines", "growth", "files"):
        parser.add_argument(f"--{name}", action="store_true")
    for name in ("scan", "before", "lungmask"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--model", type=lambda model: find_model(Path(model)))
    parser.add_argument("--batch", type=int, nargs="+", default=[], metavar="SCANS")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def untrained_model(folder: Path) -> tuple[Path, Path]:
    """Save the untrained default network in Keras and ONNX format."""
    params = load_params()
    network = build(params.network, canvas=128, channels=5, regions=2, seed=0, dtype="float32")
    spec = ModelSpec(
        128,
        "lungs",
        2,
        params.train.window,
        dict(REGIONS.labels),
        postprocessing=default_postprocessing(REGIONS.names),
    )
    save_trained(folder / "trained", network, spec)
    export_model(folder / "trained", folder / "model.onnx")
    return folder / "trained", folder / "model.onnx"


def bench_prediction(scan: Path, folder: Path, *, model: Path | None = None) -> None:
    """Measure the whole process for one scan, then its parts in a warm process."""
    path = model or untrained_model(folder)[1]
    segment = command(scan, folder / "mask.nii.gz", path)
    cost_of(segment)
    say(f"predict     {Scan(scan).grid.shape}: {cost_of(segment)}")
    start = time.perf_counter()
    segmenter = Segmenter([load(path)])
    parts = {"model": time.perf_counter() - start}
    preprocessed, predictions = [], []
    parts["read and place"] = timed(lambda: preprocessed.append(segmenter.preprocess(Scan(scan))))
    parts["network and postprocessing"] = timed(
        lambda: predictions.append(segmenter.predict(preprocessed[0]))
    )
    parts["restore and write"] = timed(
        lambda: write_outputs(predictions[0], Outputs(folder / "parts.nii.gz"))
    )
    say("  of which  " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in parts.items()))


def command(scans: Path, target: Path, model: Path, *more: str) -> list[str]:
    """Return the command that segments a scan or a folder of scans."""
    arguments = [sys.executable, "-m", "thorax.cli", "predict", str(scans), str(target)]
    return [*arguments, "--model", str(model), "--force", *more]


def median_cost(costs: list[Cost]) -> Cost:
    """Return the cost of the run with the median wall time."""
    return sorted(costs, key=lambda cost: cost.wall)[len(costs) // 2]


def compare_in_turn(scan: Path, folder: Path, model: Path, options: argparse.Namespace) -> None:
    """Measure with another checkout, or another program, in turn."""
    if options.lungmask:
        compare_lungmask(scan, folder, options.lungmask, rounds=options.rounds)
    if options.before:
        for chosen in (find_model("lungs"), model):
            compare_checkouts(scan, folder, chosen, options.before, rounds=options.rounds)


def compare_checkouts(scan: Path, folder: Path, model: Path, before: Path, *, rounds: int) -> None:
    """Measure this checkout and another one in turn, and count the voxels that differ."""
    checkouts = {"before": before.resolve(), "now": Path(__file__).resolve().parents[2]}
    costs: dict[str, list[Cost]] = {name: [] for name in checkouts}
    for _ in range(1 + rounds):
        for name, checkout in checkouts.items():
            segment = command(scan, folder / f"{name}.nii.gz", model)
            costs[name].append(cost_of(["env", f"PYTHONPATH={checkout / 'src'}", *segment]))
    # The first round compiles the modules.
    for name, (_, *measured) in costs.items():
        walls = sorted(cost.wall for cost in measured)
        label = f"{model.stem}, {name}"
        say(f"{label:<16} {median_cost(measured)}; wall {walls[0]:.2f} to {walls[-1]:.2f} s")
    masks = [Scan(folder / f"{name}.nii.gz").voxels() for name in checkouts]
    say(f"{np.count_nonzero(masks[0] != masks[1])} of {np.count_nonzero(masks[1])} voxels differ")


def compare_lungmask(scan: Path, folder: Path, python: Path, *, rounds: int) -> None:
    """Measure the packaged model and lungmask on the same scan."""
    weights, mask = folder / "random.pth", folder / "mask.nii.gz"
    network = "UNet(n_classes=3, depth=5, padding=True, batch_norm=True, up_mode='upsample')"
    code = f"import torch; from lungmask.resunet import UNet; torch.save({network}.state_dict(), "
    subprocess.run([str(python), "-c", f"{code}{str(weights)!r})"], check=True)
    ours = command(scan, mask, find_model("lungs"))
    theirs = [str(python.parent / "lungmask"), str(scan), str(mask), "--modelpath", str(weights)]
    theirs += ["--nopostprocess", "--noprogress"]
    cost_of(ours)
    measured = [cost_of(ours) for _ in range(rounds)]
    other = cost_of(theirs)
    measured += [cost_of(ours) for _ in range(rounds)]
    median = median_cost(measured)
    say(f"lungs            {median}")
    say(f"lungmask R231    {other}; {other.wall / median.wall:.0f} times as long")


def bench_growth(folder: Path, model: Path) -> None:
    """Measure scans of other sizes."""
    resampled = folder / "resampled.nii.gz"
    for shape in GROWTH:
        make_scan(0, shape, resampled, folder / "truth.nii.gz")
        say(f"{shape!s:<18} {cost_of(command(resampled, folder / 'mask.nii.gz', model))}")


def bench_files(scan: Path, folder: Path, model: Path, *, rounds: int = 3) -> None:
    """Measure other inputs and additional outputs of one scan, in turn with a mask alone."""
    series = make_series(scan, folder)
    cases: dict[str, tuple[Path, str, tuple[str, ...]]] = {
        "mask": (scan, "mask.nii.gz", ()),
        "--statistics": (scan, "mask.nii.gz", ("--statistics",)),
        "--preview": (scan, "mask.nii.gz", ("--preview",)),
        "--probabilities": (scan, "mask.nii.gz", ("--probabilities",)),
        "from DICOM": (series, "mask.nii.gz", ()),
        "from DICOM to SEG": (series, "mask.dcm", ()),
    }
    cost_of(command(scan, folder / "mask.nii.gz", model))  # compiles the modules
    costs: dict[str, list[Cost]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, (source, target, more) in cases.items():
            costs[name].append(cost_of(command(source, folder / target, model, *more)))
    for name, measured in costs.items():
        say(f"{name:<18} {median_cost(measured)}")


def make_series(scan: Path, folder: Path) -> Path:
    """Write a scan as a DICOM series, once."""
    series = folder / "series"
    if not series.exists():
        save_series(series, Scan(scan))
    return series


def bench_batch(scan: Path, folder: Path, model: Path, *, scans: int) -> None:
    """Measure many scans in one call: NIfTI and DICOM, in one and in two processes."""
    series = make_series(scan, folder)
    for kind in ("NIfTI", "DICOM"):
        many = folder / f"{scans}-{kind}"
        many.mkdir()
        for number in range(scans):
            if kind == "NIfTI":
                (many / f"{number}.nii.gz").symlink_to(scan)
            else:
                shutil.copytree(series, many / str(number), copy_function=os.link)
        for workers in ("1", "2"):
            masks = folder / f"masks-{scans}-{kind}-{workers}"
            cost = cost_of(command(many, masks, model, "--workers", workers))
            # The system does not count processes that a server starts (`forkserver`).
            more = f"; {cost}" if workers == "1" else ""
            say(
                f"{scans} scans, {kind}, --workers {workers}: {cost.wall / scans:.2f} s per scan, "
                f"{60 * scans / cost.wall:.1f} scans a minute{more}"
            )


def compare_engines(trained: Path, path: Path) -> None:
    """Measure speed, start and agreement of the engines on noise within the window."""
    spec, graph = read_model(path)
    planes = np.random.default_rng(0).integers(-1000, 400, (STACKS, 128, 128)).astype(np.int16)
    keras = KerasEngine(load_network(trained / MODEL), spec.window)
    reference = keras.probabilities(planes)
    say(f"{'engine':<24} {'start s':>8} {'stacks/s':>9} {'largest difference':>19} {'pixels':>7}")
    makers = {
        "keras float32": lambda: KerasEngine(load_network(trained / MODEL), spec.window),
        "onnxruntime float32": lambda: open_engine(graph, "onnxruntime", window=spec.window),
        "openvino float32": lambda: open_engine(
            graph, "openvino", window=spec.window, precision="float32"
        ),
        "openvino auto": lambda: open_engine(graph, "openvino", window=spec.window),
    }
    for name, make in makers.items():
        begin = time.perf_counter()
        engine = make()
        start = time.perf_counter() - begin
        seconds = min(timed(lambda e=engine: e.probabilities(planes)) for _ in range(4))
        probabilities = engine.probabilities(planes)
        differing = np.count_nonzero((probabilities >= 0.5) != (reference >= 0.5))
        largest = np.abs(probabilities - reference).max()
        say(f"{name:<24} {start:8.2f} {STACKS / seconds:9.1f} {largest:19.1e} {differing:7}")


def compare_processes(scan: Path, folder: Path, *, trained: Path, model: Path) -> None:
    """Measure whole processes with each engine, and count voxels that differ from Keras."""
    engines = (
        ("keras", trained, "float32"),
        ("onnxruntime", model, "float32"),
        ("openvino", model, "float32"),
        ("openvino", model, "auto"),
    )
    masks = []
    for name, model_path, precision in engines:
        mask = folder / "mask.nii.gz"
        options = ("--engine", name, "--precision", precision)
        cost = cost_of(command(scan, mask, model_path, *options))
        masks.append(Scan(mask).voxels())
        differing = np.count_nonzero(masks[-1] != masks[0])
        say(
            f"{name:<12} {precision:<8} {cost}; {differing} of {np.count_nonzero(masks[0])} voxels "
            "differ from keras"
        )


if __name__ == "__main__":
    main()
