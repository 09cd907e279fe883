"""The stages of the pipeline: one module each, wiring only, run from the root of the project."""

import sys
from collections.abc import Callable
from pathlib import Path

from thorax.errors import InputError

DATA = Path("data")
RECORDS = DATA / "records"
PREDICTIONS = DATA / "predictions"
SEGMENTER = Path("models/segmenter")
CHECKPOINTS = Path("models/checkpoints")
REPORTS = Path("reports")


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
    print(text, file=sys.stderr, flush=True)  # noqa: T201
