"""Train a segmenter on the records."""

import json
import platform
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import thorax
from thorax.backend import import_keras

import_keras()

import keras

from thorax.architectures import build, is_encoder
from thorax.architectures.supervision import supervise
from thorax.augmentation import Augmentation
from thorax.batches import StackSource
from thorax.checkpoints import run_key
from thorax.devices import share_batches
from thorax.engines.keras_engine import KerasEngine
from thorax.errors import InputError
from thorax.folds import Split, members_of, split_cases
from thorax.hardware import describe_machine, kind_of_machine, versions
from thorax.index import Index, load_index, verify
from thorax.intensity import Window
from thorax.losses import SegmentationLoss
from thorax.memory import BatchTooLargeError, largest_batch
from thorax.params import Params, load_params
from thorax.postprocess import default_cleaning
from thorax.precision import Chosen, choose
from thorax.specs import SegmenterSpec
from thorax.stages import RECORDS, REPORTS, SEGMENTER, START, checkpoints, run, tell
from thorax.starts import digests, notes, start
from thorax.tables import as_csv
from thorax.trained import save_trained
from thorax.training import (
    Job,
    Row,
    Trainee,
    check_watched,
    compile_trainee,
    fit,
    make_repeatable,
)
from thorax.watching import Places, TrainingWatch
from thorax.writing import write_text

RAN_ON = ("thorax", "keras", keras.backend.backend(), "numpy", "albumentations")


def main() -> None:
    """Train on one side of the split, keep the best weights, write `models/segmenter`."""
    begun = time.monotonic()
    params, index = load_params(), load_index(RECORDS)
    split = split_cases(members_of(index), params.split, seed=params.seed)
    check_watched(params.train, watched=len(split.validation))
    precision = choose(params.train.precision)
    tell(f"precision {precision.policy}: {precision.reason}")
    provenance = describe(params, index, split, precision)
    for note in filter(None, [split.note, *notes(params, index, START)]):
        tell(note)
    job = plan(params, index, split, provenance)
    make_repeatable(params.seed)
    network, history, done = train(params, index, sized(params, index, job, precision), precision)
    if params.train.batch == "auto":
        provenance["batch"] = done.batch
    spec = describe_segmenter(params, index, provenance)
    save_trained(SEGMENTER, KerasEngine(network), spec)
    write_text(REPORTS / "history.csv", history_csv(history, job.regions))
    write_text(REPORTS / "training.json", effort_json(history, time.monotonic() - begun))
    forget(done)


def train(params: Params, index: Index, job: Job, precision: Chosen) -> tuple[Any, list[Row], Job]:
    """Train, with ever smaller batches where ``auto`` was too bold.

    Returns:
        The float32 network, its history, and the job with the batch that it ended with.
    """
    while True:
        trainee, begun = ready(params, index, job, precision), written(job.checkpoint)
        try:
            history = fit(trainee, job, watcher=watcher_of(params, job))
            break
        except BatchTooLargeError:
            if params.train.batch != "auto" or job.batch == 1:
                raise
            if written(job.checkpoint) != begun:
                raise InputError(
                    f"memory ran out, though epochs with batch {job.batch} went through; the same "
                    "command goes on after them"
                ) from None
            forget(job)
            job = with_batch(job, job.batch // 2)
            tell(f"memory ran out; beginning again with batch {job.batch}")
    network = build_for(params, index, "float32")
    network.set_weights(trainee.network.get_weights())
    return network, history, job


def watcher_of(params: Params, job: Job) -> TrainingWatch:
    """What tells, plots and draws how this training goes."""
    return TrainingWatch(
        epochs=params.train.epochs,
        every=params.train.pictures,
        regions=job.regions,
        window=job.source.window,
        places=places(job),
        tell=tell,
    )


def sized(params: Params, index: Index, job: Job, precision: Chosen) -> Job:
    """The job with the batch that ``auto`` stands for: the one it was begun with, or what fits."""
    if params.train.batch != "auto":
        return job
    begun = sorted(job.checkpoint.parent.glob(f"{job.checkpoint.stem}-batch*.npz"))
    if begun:
        batch = int(begun[0].stem.rpartition("-batch")[2])
    else:
        untrained = build_for(params, index, precision.policy)
        batch = largest_batch(untrained, stacks=job.source.stacks)
    tell(f"batch {batch}")
    return with_batch(job, batch)


def with_batch(job: Job, batch: int) -> Job:
    """The same job in other batches; its checkpoints are its own, for it makes other steps."""
    key = job.checkpoint.stem.partition("-")[0]
    return replace(job, batch=batch, checkpoint=job.checkpoint.with_stem(f"{key}-batch{batch}"))


def written(path: Path) -> int:
    """When a file was written, in nanoseconds; 0 if there is none."""
    return path.stat().st_mtime_ns if path.exists() else 0


def forget(job: Job) -> None:
    """Take away what a job that is done, or given up, would have gone on from."""
    job.checkpoint.unlink(missing_ok=True)
    shutil.rmtree(places(job).kept, ignore_errors=True)


def places(job: Job) -> Places:
    """Where plots and pictures go, and where these outlive the stage: beside the checkpoint."""
    return Places(REPORTS / "live", REPORTS / "watched", job.checkpoint.with_suffix(".pictures"))


def plan(params: Params, index: Index, split: Split, provenance: dict[str, Any]) -> Job:
    """What is trained on what; the records are checked against their digests."""
    learnt = [index.entry(case) for case in split.train]
    source = StackSource(
        paths=verify(RECORDS, learnt),
        planes=[entry.planes for entry in learnt],
        canvas=index.canvas,
        regions=len(index.regions),
        context=params.train.context,
        window=Window(*params.train.window),
        augmentation=Augmentation(params.augmentation),
        fraction=params.train.fraction,
        rare_share=params.train.rare_share,
        rare=rarest(index, split.train),
    )
    key = run_key(
        settings=provenance,
        records=index.digest(split.train + split.validation),
        code=Path(thorax.__file__).parent.rglob("*.py"),
    )
    return Job(
        source=source,
        watched=verify(RECORDS, [index.entry(case) for case in split.validation]),
        regions=list(index.regions),
        params=params.train,
        batch=source.stacks
        if params.train.batch == "auto"
        else min(params.train.batch, source.stacks),
        seed=params.seed,
        checkpoint=checkpoints(Path.cwd()) / f"{key}.npz",
        supervision=params.losses.deep_supervision,
    )


def rarest(index: Index, cases: Sequence[str]) -> int:
    """Channel of the region with the fewest voxels in these cases together."""
    ceilings = [index.entry(case).ceiling for case in cases]
    voxels = [sum(ceiling[region].truth for ceiling in ceilings) for region in index.regions]
    return voxels.index(min(voxels))


def ready(params: Params, index: Index, job: Job, precision: Chosen) -> Trainee:
    """A network with its first weights, its loss and its optimizer."""
    unshared = [f"`train.accumulate: {job.params.accumulate}`"] * (job.params.accumulate > 1)
    unshared += ["`train.precision: float16`"] * precision.scales_loss
    sharing = share_batches(params.train.devices, batch=job.batch, unshared=unshared)
    with sharing.scope():
        network = build_for(params, index, precision.policy)
        poured = start(network, params.network.start, list(index.regions), folder=START)
        model = network
        if job.supervision:
            model = supervise(network, regions=len(index.regions), seed=params.seed)
        trainee = Trainee(network, model, sharing)
        loss = SegmentationLoss(params.loss, params.losses, regions=job.regions)
        compile_trainee(trainee, loss, job, scale_loss=precision.scales_loss, encoder=is_encoder)
    if poured:
        tell(str(poured))
    return trainee


def build_for(params: Params, index: Index, dtype: str) -> keras.Model:
    """The network for these records, with fresh weights."""
    return build(
        params.network,
        canvas=index.canvas,
        channels=2 * params.train.context + 1,
        regions=len(index.regions),
        seed=params.seed,
        dtype=dtype,
    )


def describe(params: Params, index: Index, split: Split, precision: Chosen) -> dict[str, Any]:
    """What the segmenter says of its training; holds no time, so that equal runs are equal.

    Runs on two kinds of machine differ, and so do their segmenters; this says which it was.
    """
    return {
        "dataset": index.dataset,
        "split": asdict(split),
        "records_sha256": index.digest(split.train + split.validation),
        "loss": params.loss,
        "seed": params.seed,
        "network": asdict(params.network),
        "files_sha256": digests(params, START),
        "losses": asdict(params.losses),
        "augmentation": asdict(params.augmentation),
        "train": asdict(params.train),
        "precision": precision.policy,
        "backend": keras.backend.backend(),
        "versions": {"python": platform.python_version(), **versions(RAN_ON)},
        "machine": kind_of_machine(),
    }


def describe_segmenter(params: Params, index: Index, provenance: dict[str, Any]) -> SegmenterSpec:
    """The spec of the trained segmenter."""
    return SegmenterSpec(
        canvas=index.canvas,
        crop=index.crop,
        context=params.train.context,
        window_hu=params.train.window,
        regions=index.regions,
        cleaning=default_cleaning(index.regions),
        provenance=provenance,
    )


def history_csv(history: Sequence[Row], regions: Sequence[str]) -> str:
    """The history as CSV, one row an epoch."""
    names = ["epoch", "loss", "dice", *(f"dice_{region}" for region in regions)]
    return as_csv(history, [*names, "rate", "gradient_norm"])


def effort_json(history: Sequence[Row], seconds: float) -> str:
    """What the training took, and where: unlike all else, no two runs agree in it.

    A training that went on after an interruption counts its seconds from there.
    """
    effort = {"epochs": len(history), "seconds": round(seconds, 1), "machine": describe_machine()}
    return json.dumps(effort, indent=1) + "\n"


if __name__ == "__main__":
    run(main)
