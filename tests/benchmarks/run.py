"""Measure speed and memory on this machine: `make bench`.

Everything is measured on synthetic chests blown up to the size of a clinical CT, so that anyone
can run it. Nothing here is asserted; the numbers go to stdout, with the machine beside them.
"""

import gzip
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from thorax.architectures import build
from thorax.augmentation import Augmentation
from thorax.batches import StackSource, epoch_batches
from thorax.canvases import find_placement, place_scan
from thorax.cases import Case, Dataset
from thorax.engines import KerasEngine
from thorax.index import Index
from thorax.intensity import HU, Window
from thorax.losses import SegmentationLoss
from thorax.params import Params, load_params
from thorax.phantom import chest
from thorax.precision import choose
from thorax.preparation import prepare
from thorax.regions import Regions
from thorax.scans import Scan, mask_file, write_volume
from thorax.segmenter import Segmenter, SegmenterSpec
from thorax.training import Job, compile_network

SHAPE = (512, 512, 300)
REGIONS = Regions({"lung": (1, 2, 3), "infection": (3,)})
CASES = 4


def main() -> None:
    """Measure one thing after the other."""
    say(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}"
    )
    with tempfile.TemporaryDirectory() as folder:
        cases = make_cases(Path(folder))
        index = bench_prepare(cases, Path(folder))
        bench_training(index, Path(folder))
        bench_prediction(cases[0], Path(folder))


def make_cases(folder: Path) -> list[Case]:
    """Blow phantoms up to 512×512×300, with noise so that they compress like real scans."""
    cases = []
    for number in range(CASES):
        made = chest(number, seed=0)
        zoom = np.divide(SHAPE, made.scan.voxels.shape)
        noise = np.random.default_rng(number).normal(0, 12, SHAPE).astype(np.float32)
        hu = ndimage.zoom(made.scan.voxels.astype(np.float32), zoom, order=1) + noise
        labels = ndimage.zoom(made.mask.voxels, zoom, order=0)
        affine = made.scan.grid.affine @ np.diag([*(1 / zoom), 1.0])
        case = Case(
            made.name, made.name, folder / f"{number}.nii.gz", folder / f"{number}_mask.nii.gz", HU
        )
        write_volume(case.scan, np.rint(hu).astype(np.int16), affine)
        write_volume(case.mask, labels, affine)
        cases.append(case)
    return cases


def bench_prepare(cases: list[Case], folder: Path) -> Index:
    """Volumes a second, next to what gunzip alone takes."""
    unzip = sum(
        timed(lambda path=path: gunzip(path)) for case in cases for path in (case.scan, case.mask)
    )
    dataset = Dataset("bench", REGIONS, tuple(cases))
    index: list[Index] = []
    for workers in (1, os.cpu_count() or 1):
        records = folder / f"records-{workers}"
        seconds = timed(
            lambda records=records, workers=workers: index.append(
                prepare(dataset, records, canvas=128, crop="none", workers=workers)
            )
        )
        say(
            f"prepare     {CASES / seconds:6.2f} volumes/s of {SHAPE}, {workers} process(es); "
            f"gunzip alone, 1 process: {CASES / unzip:.2f} volumes/s"
        )
    return index[-1]


def bench_training(index: Index, folder: Path) -> None:
    """Stacks a second with the real input, next to the model alone on one cached batch."""
    params = load_params()
    names = [
        folder / f"records-{os.cpu_count() or 1}" / f"{e.case}.tfrecord" for e in index.records
    ]
    source = StackSource(
        paths=names,
        stacks=sum(entry.planes for entry in index.records),
        canvas=128,
        regions=2,
        context=params.train.context,
        window=Window(*params.train.window),
        augmentation=Augmentation(params.augmentation),
    )
    job = Job(source, [], ["lung", "infection"], params.train, 0, Path())
    network = compiled(params, job)
    batches = epoch_batches(source, batch=job.batch, seed=0, epoch=0)
    cached = batches.take(1).cache().repeat(40)
    network.fit(cached.take(3), verbose=0)
    alone = 40 * job.batch / timed(lambda: network.fit(cached, verbose=0))
    feed = job.steps * job.batch / timed(lambda: sum(1 for _ in batches))
    real = job.steps * job.batch / timed(lambda: network.fit(batches, verbose=0))
    say(
        f"train       {real:6.1f} stacks/s with the real input; cached batch {alone:.1f}; "
        f"input alone {feed:.0f}; {choose(params.train.precision).policy}"
    )


def compiled(params: Params, job: Job) -> Any:
    """The default network, compiled as the train stage does."""
    precision = choose(params.train.precision)
    network = build(
        params.network,
        canvas=128,
        channels=2 * params.train.context + 1,
        regions=2,
        seed=0,
        dtype=precision.policy,
    )
    loss = SegmentationLoss(params.loss, params.losses)
    compile_network(network, loss, job, scale_loss=precision.scales_loss)
    return network


def bench_prediction(case: Case, folder: Path) -> None:
    """One scan: the whole process from the shell, then its parts."""
    params = load_params()
    network = build(params.network, canvas=128, channels=5, regions=2, seed=0, dtype="float32")
    spec = SegmenterSpec(128, "none", 2, params.train.window, dict(REGIONS.labels))
    engine = KerasEngine(network)
    Segmenter(spec, engine).save(folder / "segmenter")
    command = [sys.executable, "-m", "thorax.cli", "predict", str(case.scan)]
    command += [str(folder / "mask.nii.gz"), "--model", str(folder / "segmenter")]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall = timed(lambda: subprocess.run(command, check=True, capture_output=True))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    again = [*command[:4], str(folder / "again.nii.gz"), *command[5:]]
    say(
        f"predict     {wall:6.2f} s a {SHAPE} volume, whole process; "
        f"CPU {cpu:.1f} s; peak {peak_mib(again):.0f} MiB"
    )
    parts = break_down(Scan(case.scan), engine, spec, folder / "parts.nii.gz")
    say("  of which  " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in parts.items()))


def break_down(
    scan: Scan, engine: KerasEngine, spec: SegmenterSpec, mask: Path
) -> dict[str, float]:
    """Seconds of each part of a prediction, in one process that is warm."""
    placement = find_placement(scan, HU, canvas=spec.canvas, crop=spec.crop)
    gunzipped = timed(lambda: gunzip(scan.path))
    planes: list[Any] = []
    placed = timed(lambda: planes.append(place_scan(scan, HU, placement)))
    spans, found = scan.spans(), []
    engine.probabilities(planes[0], 0, 16, window=spec.window)
    ran = timed(
        lambda: found.extend(
            engine.probabilities(planes[0], start, stop, window=spec.window)
            for start, stop in spans
        )
    )
    restored: list[Any] = []

    def restore() -> None:
        for probability in found:
            masks = np.stack([placement.restore(probability[..., r]) >= 0.5 for r in range(2)])
            restored.append(REGIONS.merge(masks))

    back = timed(restore)

    def write() -> None:
        with mask_file(mask, scan) as writer:
            for (start, _), labels in zip(spans, restored, strict=True):
                writer.write(start, labels)

    return {
        "gunzip": gunzipped,
        "place": placed - gunzipped,
        "network": ran,
        "restore": back,
        "write": timed(write),
    }


def peak_mib(command: list[str]) -> float:
    """Peak resident memory of a command, measured in a process of its own."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, "
        "stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def gunzip(path: Path) -> None:
    """Decompress a file and throw the bytes away."""
    with gzip.open(path) as stream:
        while stream.read(2**20):
            pass


def timed(work: Callable[[], Any]) -> float:
    """Seconds that something takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def say(text: str) -> None:
    """Print a result."""
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
