"""Time and memory of the steps over ten thousand cases."""

import sys

from .bench import Answer, Trial
from .fault import Fault

CASES = 10_000
MEASURE = """
import os, resource, shutil, sys, time
from pathlib import Path

import nibabel
import numpy as np

from thorax.common.params import load_params
from thorax.datasets.dataset import load_dataset
from thorax.datasets.folds import split_cases
from thorax.inference.inputs import find_tasks
from thorax.inference.manifest.files import Manifest
from thorax.inference.manifest.row import DONE, ManifestRow
from thorax.pipeline.train import members_of
from thorax.preprocessing.index import load_index, verify_records
from thorax.preprocessing.prepare import prepare

CASES = int(sys.argv[1])
FOLDER, RECORDS = Path("many"), Path("records")

def report(step, start):
    mib = max(resource.getrusage(who).ru_maxrss for who in
              (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    print(f"{step} {time.monotonic() - start:.1f} s, at most {mib:.0f} MiB", flush=True)

def make():
    for kind, value in (("scans", 40), ("masks", 1)):
        (FOLDER / kind).mkdir(parents=True)
        affine = np.diag([1.0, 1.0, 1.0, 1.0])
        for number in range(CASES):
            voxels = np.full((8, 8, 8), value, np.int16 if kind == "scans" else np.uint8)
            voxels[0, 0, :] = number % 50 if kind == "scans" else 0
            nibabel.save(nibabel.Nifti1Image(voxels, affine), FOLDER / kind / f"c{number:05d}.nii")
    (FOLDER / "dataset.yaml").write_text("regions: {lung: [1]}")

if __name__ == "__main__":
    make()
    params = load_params()
    start = time.monotonic()
    dataset = load_dataset(FOLDER)
    report("load_dataset", start)
    for step in ("prepare", "prepare again"):
        start = time.monotonic()
        prepare(dataset, RECORDS, canvas=32, crop="none")
        report(step, start)
    start = time.monotonic()
    index = load_index(RECORDS)
    split = split_cases(members_of(index), params.split, seed=0)
    report("load_index and split", start)
    start = time.monotonic()
    verify_records(RECORDS, [index.entry(case) for case in split.train])
    report("verify_records", start)
    start = time.monotonic()
    tasks = find_tasks([FOLDER / "scans"], Path("out"))
    assert len(tasks) == CASES
    report("find_tasks", start)
    start = time.monotonic()
    manifest = Manifest(Path("out"))
    for task in tasks:
        manifest.add(ManifestRow(task.case, DONE, str(task.scan), str(task.mask), "m", "s"))
    manifest.write()
    Manifest(Path("out"))
    report("manifest", start)
    for folder in (FOLDER, RECORDS, Path("out")):
        shutil.rmtree(folder)
"""


def many_cases(trial: Trial) -> Answer:
    """Measure the steps, then run the stage normally."""
    script = trial.root / "measure.py"
    script.write_text(MEASURE)
    answer = trial.run(sys.executable, "measure.py", str(CASES), env={"PYTHONPATH": "src"})
    script.unlink()
    if answer.status != 0:
        return answer
    again = trial.repro()
    steps = "; ".join(line for line in answer.output.splitlines() if " MiB" in line)
    return Answer(again.status, f"{CASES:,} cases: {steps}")


FAULTS = (Fault("many-cases", many_cases, ("prepare",), by_default=False),)
