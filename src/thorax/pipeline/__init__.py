"""Stages of the pipeline, one module each; they run in the top folder of the project."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from thorax.common.errors import InputError, in_one_line, printable_lines


def run(main: Callable[[], None]) -> None:
    """Run a stage; an `InputError` becomes one line on stderr and exit status 1."""
    try:
        with in_one_line():
            main()
    except InputError as error:
        sys.exit(f"thorax: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


@contextmanager
def with_rerun_hint(stage: str, *outputs: Path) -> Iterator[None]:
    """Add the command that reruns an earlier stage to errors about its damaged outputs.

    The command reruns that stage only; ``dvc repro --force`` would rerun all stages before it, too.

    Args:
        stage: Stage that writes the files which the body reads.
        outputs: Its files and folders.

    Raises:
        InputError: Raised by the body; the remedy is replaced if the message names an output.

    Example:
        >>> with with_rerun_hint("predict", Path("data/predictions")):
        ...     raise InputError("data/predictions/a.nii.gz is cut short; copy it again")
        Traceback (most recent call last):
        thorax.common.errors.InputError: data/predictions/a.nii.gz is cut short; make it again \
with `dvc repro -sf predict`
    """
    try:
        yield
    except InputError as error:
        text = str(error)
        if "dvc repro" in text or not any(path.as_posix() in text for path in outputs):
            raise
        reason = text.partition("; ")[0]
        raise InputError(f"{reason}; make it again with `dvc repro -sf {stage}`") from error


def log(text: str) -> None:
    """Print progress and notes of a stage to stderr; results go to files."""
    print(printable_lines(text), file=sys.stderr, flush=True)  # noqa: T201
