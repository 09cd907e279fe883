"""Stage `train`: train the network on the training cases of the split.

In several processes, each runs this module, and process 0 alone prints and writes; see
`thorax.training.hosts`.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from thorax.models.backend import import_keras
from thorax.pipeline import log, run
from thorax.training.launch import watch_process

if __name__ == "__main__":
    run(watch_process)
import_keras()

from thorax.common.files import write_text
from thorax.common.machine import keep_freed_memory
from thorax.common.params import SplitParams, load_params
from thorax.common.text import counted
from thorax.datasets.folds import Member, Split, split_cases
from thorax.imaging.overlap import Overlap
from thorax.models.keras_file import save_trained
from thorax.pipeline.paths import INITIAL, RECORDS, REPORTS, SEGMENTER, checkpoints, logs
from thorax.preprocessing.index import RecordIndex, load_index
from thorax.training.checkpoint import source_files
from thorax.training.hosts import is_leader, joined_processes
from thorax.training.initial_weights import input_notes, note_earlier_training
from thorax.training.loggers.callback import Loggers, check_loggers, final_metrics
from thorax.training.loggers.run import describe_run
from thorax.training.precision import choose_precision
from thorax.training.provenance import (
    history_csv,
    make_spec,
    records_digest,
    training_json,
    training_provenance,
)
from thorax.training.session import Folders, Session
from thorax.training.trainer import set_determinism
from thorax.training.validation import check_validation


def main() -> None:
    """Write the trained network to `models/segmenter`, and its history to `reports`."""
    with joined_processes():
        _train(log if is_leader() else _keep_silent)


def _keep_silent(_: str) -> None:
    """Print nothing, in processes other than process 0."""


def _train(log: Callable[[str], None]) -> None:
    start = time.monotonic()
    params, index = load_params(), load_index(RECORDS)
    check_loggers(params.train.loggers)
    split = split_cases(members_of(index), params.split, seed=params.seed)
    check_validation(params.train, validation_cases=len(split.validation))
    log(describe_split(split, params.split))
    split = note_earlier_training(split, params, index, INITIAL)
    precision = choose_precision(params.train.precision)
    log(f"precision {precision.policy}: {precision.reason}")
    provenance = training_provenance(params, index, split, precision, initial=INITIAL)
    for note in filter(None, [split.note, *input_notes(params, index, INITIAL)]):
        log(note)
    keep_freed_memory()
    set_determinism(params.seed, xla=params.train.xla)
    folders = Folders(RECORDS, INITIAL, checkpoints(Path.cwd()), REPORTS)
    session = Session(params, index, precision, folders, log)
    initial_plan = session.make_plan(split, provenance, source_files())
    describe = partial(
        describe_run,
        params,
        records_sha256=records_digest(index, split),
        checkpoint=initial_plan.checkpoint,
        folder=logs(Path.cwd()),
    )
    with Loggers(params.train.loggers if is_leader() else [], describe, log) as loggers:
        network, history, plan = session.train(initial_plan, callbacks=[loggers])
        if not is_leader():
            return
        seconds = time.monotonic() - start
        if params.train.batch == "auto":
            provenance["batch"] = plan.batch
        save_trained(SEGMENTER, network, make_spec(params, index, provenance))
        write_text(REPORTS / "history.csv", history_csv(history, plan.regions))
        write_text(REPORTS / "training.json", training_json(history, seconds))
        loggers.finish(final_metrics(history, seconds=seconds), SEGMENTER)
    session.delete_checkpoint(plan)


def describe_split(split: Split, params: SplitParams) -> str:
    """State the number of cases on each side of the split.

    A final model, or one trained on named cases, is expected to learn from all of them: the text
    says how to train on the validation cases, too, if they were drawn.

    Example:
        >>> params = SplitParams("random", 5, 0, 0.2, train=[], validation_cases=[], test=[])
        >>> describe_split(Split(("a", "b"), ("c",), ("d",)), params)
        'training on 2 cases, validating on 1, testing on 1'
    """
    train, validation, test = map(len, (split.train, split.validation, split.test))
    text = f"training on {counted(train, 'case')}, validating on {validation}, testing on {test}"
    drawn = split.validation and not params.validation_cases
    if drawn and (params.train or not split.test):
        text += (
            "; split.validation=0 trains on the validation cases, too, and keeps the last weights"
        )
    return text


def members_of(index: RecordIndex) -> tuple[Member, ...]:
    """Return the cases for the split, each with its disease load."""
    return tuple(
        Member(entry.case, entry.patient, entry.site, disease_load(list(entry.ceiling.values())))
        for entry in index.records
    )


def disease_load(regions: list[Overlap]) -> float:
    """Volume of the smallest region as a share of the largest, in the original mask."""
    voxels = [region.truth for region in regions]
    return min(voxels) / max(voxels) if len(voxels) > 1 and any(voxels) else 0.0


if __name__ == "__main__":
    run(main)
