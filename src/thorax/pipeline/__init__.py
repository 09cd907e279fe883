"""The stages of the pipeline: one module each, wiring only, run from the root of the project."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from thorax.common.errors import InputError, in_one_line, printable_lines


def run(main: Callable[[], None]) -> None:
    """Run a stage; print what the user can mend as one line, and exit with status 1."""
    try:
        with in_one_line():
            main()
    except InputError as error:
        sys.exit(f"thorax: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


@contextmanager
def with_rerun_hint(stage: str, *places: Path) -> Iterator[None]:
    """Say of a damaged output of an earlier stage how it is made again.

    The stage is run alone: with ``--force`` by itself DVC would run all before it, too.

    Args:
        stage: Makes what is read here.
        places: The files and folders that it makes.

    Raises:
        InputError: As the body raised it, with other advice where it names such a file.

    Example:
        >>> with with_rerun_hint("predict", PREDICTIONS):
        ...     raise InputError("data/predictions/a.nii.gz is cut short; copy it again")
        Traceback (most recent call last):
        thorax.common.errors.InputError: data/predictions/a.nii.gz is cut short; make it again \
with `dvc repro -sf predict`
    """
    try:
        yield
    except InputError as error:
        text = str(error)
        if "dvc repro" in text or not any(place.as_posix() in text for place in places):
            raise
        reason = text.partition("; ")[0]
        raise InputError(f"{reason}; make it again with `dvc repro -sf {stage}`") from error


def log(text: str) -> None:
    """Say something to whoever watches the stage; results go to files."""
    print(printable_lines(text), file=sys.stderr, flush=True)  # noqa: T201
