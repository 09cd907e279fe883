"""Stages, results and tables of the pipeline for these tests."""

import csv
import json
import re

from .project import Project

STAGES = [
    "data/phantom/dvc.yaml:phantom",
    "prepare",
    "train",
    "export",
    "predict",
    "evaluate",
    "report",
]
RESULTS = (
    "models/segmenter/*",
    "data/predictions/*.nii.gz",
    "data/predictions/probabilities/*",
    "reports/*.csv",
    "reports/metrics.json",
    "reports/summary.json",
    "reports/overlays/*",
)
"""Outputs that contain no times."""


def stages_run(log: str) -> list[str]:
    return re.findall(r"^Running stage '(.+)':$", log, re.MULTILINE)


def names_of_test_cases(project: Project) -> list[str]:
    """Return the names of the test cases, from the provenance of the model."""
    spec = json.loads((project.root / "models/segmenter/spec.json").read_text())
    return spec["provenance"]["split"]["test"]


def read_csv(project: Project, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((project.root / name).read_text().splitlines()))


def read_scores(project: Project) -> list[dict[str, str]]:
    return read_csv(project, "reports/scores.csv")
