"""Stage `train`: train the network on the training cases of the split."""

import time
from pathlib import Path

from thorax.models.backend import import_keras

import_keras()

from thorax.common.files import write_text
from thorax.common.machine import keep_freed_memory
from thorax.common.params import load_params
from thorax.datasets.folds import Member, split_cases
from thorax.imaging.overlap import Overlap
from thorax.models.keras_file import save_trained
from thorax.pipeline import log, run
from thorax.pipeline.paths import INITIAL, RECORDS, REPORTS, SEGMENTER, checkpoints
from thorax.preprocessing.index import RecordIndex, load_index
from thorax.training.checkpoint import source_files
from thorax.training.initial_weights import input_notes
from thorax.training.precision import choose_precision
from thorax.training.provenance import history_csv, make_spec, training_json, training_provenance
from thorax.training.session import Folders, Session
from thorax.training.trainer import check_validation, set_determinism


def main() -> None:
    """Write the trained network to `models/segmenter`, and its history to `reports`."""
    start = time.monotonic()
    params, index = load_params(), load_index(RECORDS)
    split = split_cases(members_of(index), params.split, seed=params.seed)
    check_validation(params.train, validation_cases=len(split.validation))
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
    network, history, plan = session.train(initial_plan)
    if params.train.batch == "auto":
        provenance["batch"] = plan.batch
    spec = make_spec(params, index, provenance)
    save_trained(SEGMENTER, network, spec)
    write_text(REPORTS / "history.csv", history_csv(history, plan.regions))
    write_text(REPORTS / "training.json", training_json(history, time.monotonic() - start))
    session.delete_checkpoint(plan)


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
