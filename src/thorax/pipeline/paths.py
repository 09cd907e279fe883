"""Folders and files of the project: `data/`, `models/`, `reports/`."""

from pathlib import Path

DATA = Path("data")

AUDIT = DATA / "audit"

RECORDS = DATA / "records"

PREDICTIONS = DATA / "predictions"

SEGMENTER = Path("models/segmenter")

MODEL_FILE = Path("models/segmenter.onnx")

INITIAL = Path("models/initial")

REPORTS = Path("reports")


def checkpoints(project: Path) -> Path:
    """Where trainings of a project keep their state.

    An experiment of DVC's queue runs in a copy of the project under ``.dvc/tmp/exps``, which goes
    when it ends or fails; the checkpoints of the project that it was copied from stay.

    Example:
        >>> checkpoints(Path("/home/ann/study/.dvc/tmp/exps/tmp1a2b")).as_posix()
        '/home/ann/study/models/checkpoints'
    """
    for parent in project.parents:
        if parent.parts[-3:] == (".dvc", "tmp", "exps"):
            project = parent.parents[2]
    return project / "models/checkpoints"
