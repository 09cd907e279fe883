"""Training and prediction, measured."""

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from measuring import REGIONS, gunzip, peak_mib, say, timed

from thorax.architectures import build
from thorax.augmentation import Augmentation
from thorax.batches import StackSource, epoch_batches
from thorax.canvases import find_placement, place_scan
from thorax.cases import Case
from thorax.engines import KerasEngine
from thorax.index import Index
from thorax.intensity import HU, Window
from thorax.losses import SegmentationLoss
from thorax.params import Params, load_params
from thorax.precision import choose
from thorax.scans import Scan, mask_file
from thorax.segmenter import Segmenter, SegmenterSpec
from thorax.training import Job, Trainee, compile_trainee

STEPS = 60


def bench_training(index: Index, folder: Path) -> None:
    """Stacks a second with the real input, next to the model alone on one cached batch."""
    params = load_params()
    names = [folder / "records" / f"{e.case}.tfrecord" for e in index.records]
    source = StackSource(
        paths=names,
        planes=[entry.planes for entry in index.records],
        canvas=128,
        regions=2,
        context=params.train.context,
        window=Window(*params.train.window),
        augmentation=Augmentation(params.augmentation),
    )
    job = Job(source, [], ["lung", "infection"], params.train, params.train.batch, 0, Path())
    network = compiled(params, job)
    batches = epoch_batches(source, batch=job.batch, seed=0, epoch=0).take(STEPS)
    cached = batches.take(1).cache().repeat(STEPS)
    fit_once(network, cached.take(3))
    rounds = [
        (timed(lambda: fit_once(network, cached)), timed(lambda: fit_once(network, batches)))
        for _ in range(3)
    ]
    alone, real = (STEPS * job.batch / min(seconds) for seconds in zip(*rounds, strict=True))
    feed = STEPS * job.batch / timed(lambda: sum(1 for _ in batches))
    say(
        f"train       {real:6.1f} stacks/s with the real input; one cached batch {alone:.1f}; "
        f"input alone {feed:.0f}; batch {job.batch}, {choose(params.train.precision).policy}; "
        "best of 3"
    )


def fit_once(network: Any, batches: Any) -> None:
    """One pass over batches that come shuffled."""
    network.fit(batches, shuffle=False, verbose=0)


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
    loss = SegmentationLoss(params.loss, params.losses, regions=job.regions)
    compile_trainee(Trainee(network, network), loss, job, scale_loss=precision.scales_loss)
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
    again = [*command[:5], str(folder / "again.nii.gz"), *command[6:]]
    say(
        f"predict     {wall:6.2f} s a {Scan(case.scan).grid.shape} volume, whole process; "
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
