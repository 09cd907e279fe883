"""Ten thousand cases in a folder: what each step over them takes."""

import sys

from .bench import Answer, Trial
from .fault import Fault

CASES = 10_000
MEASURE = """
import os, resource, shutil, sys, time
from dataclasses import asdict
from pathlib import Path

import nibabel
import numpy as np
import yaml

from thorax.cases import load_dataset
from thorax.folds import members_of, split_cases
from thorax.index import load_index, verify
from thorax.inference.inputs import find_tasks
from thorax.inference.manifest import DONE, Manifest, ManifestRow
from thorax.params import load_params
from thorax.preparation import prepare

CASES = int(sys.argv[1])
FOLDER, RECORDS = Path("many"), Path("records")

def told(what, begun):
    mib = max(resource.getrusage(who).ru_maxrss for who in
              (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    print(f"{what} {time.monotonic() - begun:.1f} s, at most {mib:.0f} MiB", flush=True)

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
    begun = time.monotonic()
    dataset = load_dataset(FOLDER)
    told("load_dataset", begun)
    for what in ("prepare", "prepare again"):
        begun = time.monotonic()
        prepare(dataset, RECORDS, canvas=32, crop="none")
        told(what, begun)
    begun = time.monotonic()
    index = load_index(RECORDS)
    split = split_cases(members_of(index), params.split, seed=0)
    told("load_index and split", begun)
    begun = time.monotonic()
    verify(RECORDS, [index.entry(case) for case in split.train])
    told("verify the records", begun)
    begun = time.monotonic()
    tasks = find_tasks([FOLDER / "scans"], Path("out"))
    assert len(tasks) == CASES
    told("find_tasks", begun)
    begun = time.monotonic()
    manifest = Manifest(Path("out"))
    for task in tasks:
        manifest.add(ManifestRow(task.case, DONE, str(task.scan), str(task.mask), "m", "s"))
    manifest.write()
    Manifest(Path("out"))
    told("manifest", begun)
    for folder in (FOLDER, RECORDS, Path("out")):
        shutil.rmtree(folder)
"""


def many_cases(trial: Trial) -> Answer:
    """Measure, and then let the stage run as it should."""
    script = trial.root / "measure.py"
    script.write_text(MEASURE)
    measured = trial.run(sys.executable, "measure.py", str(CASES), env={"PYTHONPATH": "src"})
    script.unlink()
    if measured.status != 0:
        return measured
    again = trial.repro()
    steps = "; ".join(line for line in measured.said.splitlines() if " MiB" in line)
    return Answer(again.status, f"{CASES:,} cases: {steps}")


FAULTS = (Fault("many-cases", many_cases, ("prepare",), by_default=False),)
