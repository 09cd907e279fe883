"""Folders and files of the project, relative to its top folder."""

from pathlib import Path

DATA = Path("data")

AUDIT = DATA / "audit"

RECORDS = DATA / "records"

PREDICTIONS = DATA / "predictions"

SEGMENTER = Path("models/segmenter")

MODEL_FILE = Path("models/segmenter.onnx")

INITIAL = Path("models/initial")

REPORTS = Path("reports")


def predicted_mask(case: str) -> Path:
    """Path of the mask that `predict` writes for a test case.

    Example:
        >>> predicted_mask("S1-104").as_posix()
        'data/predictions/S1-104.nii.gz'
    """
    return PREDICTIONS / f"{case}.nii.gz"


def checkpoints(project: Path) -> Path:
    """Folder for the checkpoints of trainings of a project.

    An experiment runs in a copy of the project under ``.dvc/tmp/exps``, which is deleted when the
    experiment ends or fails. Its checkpoints are kept in the project that was copied.

    Example:
        >>> checkpoints(Path("/home/ann/study/.dvc/tmp/exps/tmp1a2b")).as_posix()
        '/home/ann/study/models/checkpoints'
    """
    return _lasting(project) / "models/checkpoints"


def logs(project: Path) -> Path:
    """Folder for the local files of loggers, kept like `checkpoints`.

    Example:
        >>> logs(Path("/home/ann/study/.dvc/tmp/exps/tmp1a2b")).as_posix()
        '/home/ann/study/reports'
    """
    return _lasting(project) / REPORTS


def _lasting(project: Path) -> Path:
    for parent in project.parents:
        if parent.parts[-3:] == (".dvc", "tmp", "exps"):
            project = parent.parents[2]
    return project
