"""Train a segmenter on the records."""

import csv
import io
import itertools
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import thorax
from thorax.backend import import_keras

import_keras()

import keras

from thorax.architectures import build
from thorax.augmentation import Augmentation
from thorax.batches import StackSource
from thorax.checkpoints import run_key
from thorax.engines import KerasEngine
from thorax.folds import Split, split_by_name, split_by_patient
from thorax.index import Index, load_index, verify
from thorax.intensity import Window
from thorax.losses import SegmentationLoss
from thorax.params import Params, SplitParams, load_params
from thorax.precision import Chosen, choose
from thorax.segmenter import Segmenter, SegmenterSpec
from thorax.stages import CHECKPOINTS, RECORDS, REPORTS, SEGMENTER, run, tell
from thorax.training import Job, Row, compile_network, fit, make_repeatable
from thorax.writing import write_text


def main() -> None:
    """Train on one side of the split, keep the best weights, write `models/segmenter`."""
    params, index = load_params(), load_index(RECORDS)
    split = choose_split(index, params.split, params.seed)
    precision = choose(params.train.precision)
    tell(f"precision {precision.policy}: {precision.reason}")
    provenance = describe(params, index, split, precision)
    job = plan(params, index, split, provenance)
    make_repeatable(params.seed)
    trained = build_for(params, index, precision.policy)
    loss = SegmentationLoss(params.loss, params.losses)
    compile_network(trained, loss, job, scale_loss=precision.scales_loss)
    history = fit(trained, job, tell=follow(params.train.epochs))
    network = build_for(params, index, "float32")
    network.set_weights(trained.get_weights())
    Segmenter(describe_segmenter(params, index, provenance), KerasEngine(network)).save(SEGMENTER)
    write_text(REPORTS / "history.csv", as_csv(history))
    job.checkpoint.unlink(missing_ok=True)


def choose_split(index: Index, params: SplitParams, seed: int) -> Split:
    """The split that the parameters ask for: cases by name, or a fold by patient."""
    patients = {entry.case: entry.patient for entry in index.records}
    if params.test:
        return split_by_name(patients, test=params.test, validation=params.validation, seed=seed)
    return split_by_patient(
        patients,
        folds=params.folds,
        fold=params.fold,
        validation=params.validation,
        seed=seed,
    )


def plan(params: Params, index: Index, split: Split, provenance: dict[str, Any]) -> Job:
    """What is trained on what; the records are checked against their digests."""
    learnt = [index.entry(case) for case in split.train]
    source = StackSource(
        paths=verify(RECORDS, learnt),
        stacks=sum(entry.planes for entry in learnt),
        canvas=index.canvas,
        regions=len(index.regions),
        context=params.train.context,
        window=Window(*params.train.window),
        augmentation=Augmentation(params.augmentation),
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
        seed=params.seed,
        checkpoint=CHECKPOINTS / f"{key}.npz",
    )


def build_for(params: Params, index: Index, dtype: str) -> keras.Model:
    """The network for these records."""
    return build(
        params.network,
        canvas=index.canvas,
        channels=2 * params.train.context + 1,
        regions=len(index.regions),
        seed=params.seed,
        dtype=dtype,
    )


def describe(params: Params, index: Index, split: Split, precision: Chosen) -> dict[str, Any]:
    """What the segmenter says of its training; holds no time, so that equal runs are equal."""
    return {
        "dataset": index.dataset,
        "split": asdict(split),
        "records_sha256": index.digest(split.train + split.validation),
        "loss": params.loss,
        "seed": params.seed,
        "network": asdict(params.network),
        "losses": asdict(params.losses),
        "augmentation": asdict(params.augmentation),
        "train": asdict(params.train),
        "precision": precision.policy,
        "backend": keras.backend.backend(),
        "versions": {
            name: metadata.version(name) for name in ("thorax", "keras", keras.backend.backend())
        },
    }


def describe_segmenter(params: Params, index: Index, provenance: dict[str, Any]) -> SegmenterSpec:
    """The spec of the trained segmenter."""
    return SegmenterSpec(
        canvas=index.canvas,
        crop=index.crop,
        context=params.train.context,
        window_hu=params.train.window,
        regions=index.regions,
        provenance=provenance,
    )


def follow(epochs: int) -> Callable[[Row], None]:
    """A function that tells the figures of each epoch, and how long the rest will take."""
    started, told = time.monotonic(), itertools.count(1)

    def tell_epoch(row: Row) -> None:
        each = (time.monotonic() - started) / next(told)
        left = round(each * (epochs - row["epoch"]))
        figures = "  ".join(f"{name} {value:.4f}" for name, value in row.items() if name != "epoch")
        tell(f"epoch {row['epoch']:.0f}/{epochs}  {figures}  {left // 60}:{left % 60:02d} left")

    return tell_epoch


def as_csv(history: list[Row]) -> str:
    """The history as CSV, one row an epoch; undefined figures are empty."""
    text = io.StringIO()
    names = dict.fromkeys(["epoch", "loss", "dice", *history[0]])
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {key: "" if math.isnan(value) else value for key, value in row.items()} for row in history
    )
    return text.getvalue()


if __name__ == "__main__":
    run(main)
