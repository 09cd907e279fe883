"""Event files of TensorBoard, written without TensorFlow."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thorax.training.loggers.run import RunDescription


class TensorBoard:
    """Writes one folder of event files per training to ``tensorboard``.

    TensorBoard has no models; the metrics, parameters and tags are logged.
    """

    def __init__(self) -> None:
        self._folder = Path()
        self._step = 0
        self._writer: Any = None

    def start(self, run: RunDescription, resumed: str) -> str:
        """Open a new event file; TensorBoard joins those of one folder."""
        # The writer below `SummaryWriter` raises errors of the disk where they occur; the latter
        # writes in a thread, and waits without end after an error.
        from tensorboardX.event_file_writer import EventsWriter

        identifier = resumed or f"{time.strftime('%Y-%m-%d-%H%M%S')}-{run.name}"
        self._folder = Path(run.folder, "tensorboard", identifier.replace("/", "-"))
        self._folder.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(self._folder / f"events-{time.time_ns()}"))
        if not resumed:
            self._log_text("parameters", run.parameters)
            self._log_text("tags", run.tags)
        return identifier

    def place(self) -> str:
        """Return the folder of the run."""
        return str(self._folder)

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Write one scalar per metric."""
        from tensorboardX.summary import scalar

        self._step = step
        for name, value in metrics.items():
            self._write(scalar(name, value))
        self._writer.flush()

    def finish(self, metrics: Mapping[str, float], model: Path) -> None:
        """Write the final metrics as scalars of the last epoch, below ``final``."""
        final = {f"final/{name}": value for name, value in metrics.items()}
        self.log_metrics(final, step=self._step)
        self._writer.close()

    def abort(self) -> None:
        """Close the event file."""
        self._writer.close()

    def _log_text(self, name: str, values: Mapping[str, str]) -> None:
        from tensorboardX.summary import text

        rows = [f"| {key} | {value.replace('|', chr(92) + '|')} |" for key, value in values.items()]
        self._write(text(name, "\n".join(["| name | value |", "|---|---|", *rows])))
        self._writer.flush()

    def _write(self, summary: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._writer.write_event(Event(wall_time=time.time(), step=self._step, summary=summary))
