"""The stages of the pipeline: one module each, wiring only, run from the root of the project."""

import sys
from collections.abc import Callable
from pathlib import Path

from thorax.errors import InputError, printable

DATA = Path("data")
RECORDS = DATA / "records"
PREDICTIONS = DATA / "predictions"
SEGMENTER = Path("models/segmenter")
MODEL_FILE = Path("models/segmenter.onnx")
START = Path("models/start")
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


def run(main: Callable[[], None]) -> None:
    """Run a stage; print what the user can mend as one line, and exit with status 1."""
    try:
        main()
    except InputError as error:
        sys.exit(f"thorax: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def tell(text: str) -> None:
    """Say something to whoever watches the stage; results go to files."""
    shown = "\n".join(map(printable, text.split("\n")))
    print(shown, file=sys.stderr, flush=True)  # noqa: T201
