"""Markdown tables that are complete after each row, and samples of `nvidia-smi`."""

import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

BUSY_REAL, BUSY_ONE, BUSY_PREDICTION = "GPU busy, real", "GPU busy, one batch", "GPU busy"
BUSY_DEVICE = "GPU busy, on device"
MEMORY = "GPU MiB"
NOTE = "note"

COLUMNS = {
    "Machine": ("property", "value"),
    "Training": (
        *("framework", "network", "precision", "batch", "real input", "on device", "one batch"),
        *("input alone", "on device alone", "first step s", BUSY_REAL, BUSY_DEVICE, BUSY_ONE),
        *(MEMORY, NOTE),
    ),
    "Prediction": (
        *("network", "slices", "Keras on JAX s", BUSY_PREDICTION, MEMORY, "ONNX Runtime CPU s"),
        *("pixels that differ", "of pixels", "largest difference", NOTE),
    ),
    "Folds": (
        *("fold", "cases", "epochs", "batch", "precision", "seconds", "validation Dice, canvas"),
        *(BUSY_REAL, MEMORY, NOTE),
    ),
}
"""Columns of each section."""

CAPTIONS = {
    "Machine": "",
    "Training": "Stacks per second: with the input of a real training, with records and "
    "augmentation on the device, with one batch that stays there, and of both inputs without a "
    "network.",
    "Prediction": "The network alone, random weights, without reading the scan and restoring the "
    "mask.",
    "Folds": "Dice of the test cases of each fold on the canvas, as in validations during a "
    "training; not the Dice of the report.",
}

MISSING = "–"

Sample = tuple[float, float, float]
"""Time, utilisation in percent, used memory in MiB."""

Window = tuple[float, float]
"""First and last second of a measurement, since the epoch."""


class Table:
    """A Markdown file that is written anew with each row, so that a cut run leaves its results.

    Args:
        path: The file.
        title: First line.
    """

    def __init__(self, path: Path, title: str) -> None:
        self._path, self._title = path, title
        self._rows: dict[str, list[str]] = {}
        self._printed = ""

    def add(self, section: str, row: Mapping[str, Any]) -> None:
        """Add a row, and print it.

        Args:
            section: A key of `COLUMNS`.
            row: Values of some of its columns; the other cells are marked as missing.

        Raises:
            KeyError: There is no such column.
        """
        if unknown := set(row) - set(COLUMNS[section]):
            raise KeyError(f"{section} has no column {', '.join(sorted(unknown))}")
        line = as_row(cell(row.get(column)) for column in COLUMNS[section])
        self._rows.setdefault(section, []).append(line)
        write_whole(self._path, self.text())
        if section != self._printed:
            say("\n" + "\n".join(heading(section)))
            self._printed = section
        say(line)

    def text(self) -> str:
        """Return the whole file."""
        lines = [f"# {self._title}"]
        for section in COLUMNS:
            if section in self._rows:
                lines += ["", *heading(section), *self._rows[section]]
        return "\n".join(lines) + "\n"


def heading(section: str) -> list[str]:
    """Return title, caption and the first two lines of the table of a section."""
    columns = COLUMNS[section]
    caption = [CAPTIONS[section], ""] if CAPTIONS[section] else []
    return [f"## {section}", "", *caption, as_row(columns), "|---" * len(columns) + "|"]


def as_row(cells: Any) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def cell(value: Any) -> str:
    """Return a value as text: numbers with three digits or more, missing ones as a dash.

    Only floats are rounded; counts are whole.
    """
    if value is None or value == "":
        return MISSING
    if isinstance(value, float):
        return number(value)
    return " ".join(str(value).replace("|", "/").split())


def number(value: float) -> str:
    """Return a number with at least three significant digits."""
    if value and abs(value) < 0.01:
        return f"{value:.2g}"
    for least, digits in ((100, 0), (10, 1), (1, 2)):
        if abs(value) >= least:
            return f"{value:.{digits}f}"
    return f"{value:.3f}"


def write_whole(path: Path, text: str) -> None:
    """Replace a file, never by a part of the text."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


class GpuSampler:
    """Reads utilisation and memory of the GPU every 200 ms in the background.

    Args:
        command: Prints one line ``utilisation, memory`` per sample. Without the program there are
            no samples.
    """

    def __init__(self, command: Sequence[str] = ()) -> None:
        query = "--query-gpu=utilization.gpu,memory.used"
        default = ("nvidia-smi", query, "--format=csv,noheader,nounits", "-lms", "200")
        self.samples: list[Sample] = []
        try:
            self._process = subprocess.Popen(
                command or default, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        except OSError:
            return
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            if sample := parse_sample(line, time.time()):
                self.samples.append(sample)

    def wait(self) -> None:
        """Wait for the end of the program."""
        self._process.wait()
        self._thread.join()
        if self._process.stdout:
            self._process.stdout.close()

    def close(self) -> None:
        """End the program."""
        if hasattr(self, "_process"):
            self._process.terminate()
            self.wait()

    def fill(self, row: dict[str, Any], windows: Mapping[str, Window]) -> dict[str, Any]:
        """Return a row with the mean utilisation of each window, and the largest used memory."""
        samples, filled = list(self.samples), dict(row)
        for column, window in windows.items():
            filled[column] = mean_busy(samples, window)
        filled[MEMORY] = peak_memory(samples, windows.values())
        return filled


def parse_sample(line: str, seconds: float) -> Sample | None:
    """Parse a line ``utilisation, memory``; None if the driver cannot tell them."""
    try:
        busy, memory = (float(part) for part in line.split(","))
    except ValueError:
        return None
    return seconds, busy, memory


def within(samples: Sequence[Sample], window: Window) -> list[Sample]:
    """Return the samples of a window."""
    return [sample for sample in samples if window[0] <= sample[0] <= window[1]]


def mean_busy(samples: Sequence[Sample], window: Window) -> str | None:
    """Return the mean utilisation within a window; None without a sample."""
    found = within(samples, window)
    return f"{fmean(sample[1] for sample in found):.0f} %" if found else None


def peak_memory(samples: Sequence[Sample], windows: Any) -> int | None:
    """Return the largest used memory within windows, in MiB; None without a sample."""
    found = [sample[2] for window in windows for sample in within(samples, window)]
    return int(max(found)) if found else None


def say(text: str) -> None:
    """Print a line of the tables."""
    print(text, flush=True)  # noqa: T201


def note(text: str) -> None:
    """Print progress."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201
