"""Progress of a training: one line per epoch, live plots, pictures of validation cases."""

import math
import shutil
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thorax.common.errors import InputError
from thorax.common.files import empty_folder, whole_file
from thorax.imaging.intensity import Window
from thorax.models.engines.keras_engine import probabilities
from thorax.preprocessing.records import read_record
from thorax.training.schedule import epochs_of
from thorax.training.snapshots import snapshot
from thorax.training.trainer import HistoryRow, TrainingCallback
from thorax.training.validation import CaseDice
from thorax.visualization.drawing import save_png


@dataclass(frozen=True)
class ProgressPaths:
    """Output folders of the progress reports.

    Args:
        live: Folder of DVCLive.
        pictures: Folder of the pictures.
        saved_pictures: Folder of the same pictures for a resumed training: DVC removes the outputs
            of a stage, ``live`` and ``pictures``, before it runs the stage again.
    """

    live: Path
    pictures: Path
    saved_pictures: Path


class Callbacks:
    """Callbacks that are called one after the other, as one `TrainingCallback`.

    Args:
        callbacks: The callbacks, in order; by default none, to report nothing.
    """

    def __init__(self, callbacks: Sequence[TrainingCallback] = ()) -> None:
        self._callbacks = callbacks

    def on_resume(self, history: Sequence[HistoryRow]) -> None:
        """Pass on the history at the start."""
        for callback in self._callbacks:
            callback.on_resume(history)

    def on_first_validation(self, row: HistoryRow) -> None:
        """Pass on the validation of the initial weights."""
        for callback in self._callbacks:
            callback.on_first_validation(row)

    def on_epoch_end(self, row: HistoryRow, *, stacks_per_s: float) -> None:
        """Pass on an epoch."""
        for callback in self._callbacks:
            callback.on_epoch_end(row, stacks_per_s=stacks_per_s)

    def on_validation_end(
        self, epoch: int, network: Any, cases: Sequence[CaseDice], *, last: bool
    ) -> None:
        """Pass on a validation."""
        for callback in self._callbacks:
            callback.on_validation_end(epoch, network, cases, last=last)


class ProgressReporter:
    """Reports the progress of a training; a `thorax.training.trainer.TrainingCallback`.

    Args:
        epochs: Epochs of the whole training.
        picture_interval: Epochs between pictures; 0: none.
        regions: Names of the regions.
        window: HU window of the network.
        paths: Output folders.
        log: Prints one line for the user.
    """

    def __init__(
        self,
        *,
        epochs: int,
        picture_interval: int,
        regions: Sequence[str],
        window: Window,
        paths: ProgressPaths,
        log: Callable[[str], None],
    ) -> None:
        self._epochs, self._picture_interval = epochs, picture_interval
        self._regions, self._window = regions, window
        self._paths, self._log = paths, log
        self._live: Any = None
        self._started, self._finished_epochs = time.monotonic(), 0

    def on_resume(self, history: Sequence[HistoryRow]) -> None:
        """Restart plots and pictures with the history and the pictures of this training."""
        self._live = _live_plots(self._paths.live)
        empty_folder(self._paths.pictures)
        for row in history:
            self._plot(row)
        if history:
            self._log(f"resuming after epoch {epochs_of(history)}")
            for picture in sorted(self._paths.saved_pictures.glob("epoch_*.png")):
                self._publish(picture)
        else:
            empty_folder(self._paths.saved_pictures)
        self._started = time.monotonic()

    def on_first_validation(self, row: HistoryRow) -> None:
        """Print the Dice of the initial weights."""
        self._plot(row)
        self._log(f"initial weights  {_metrics(row)}")
        self._started = time.monotonic()

    def on_epoch_end(self, row: HistoryRow, *, stacks_per_s: float) -> None:
        """Print loss and Dice of an epoch, its speed and the time left."""
        self._plot(row)
        self._finished_epochs += 1
        epoch_seconds = (time.monotonic() - self._started) / self._finished_epochs
        left = round(epoch_seconds * (self._epochs - row["epoch"]))
        self._log(
            f"epoch {row['epoch']:.0f}/{self._epochs}  {_metrics(row)}  {stacks_per_s:.0f} "
            f"stacks/s  {left // 60}:{left % 60:02d} min left"
        )

    def on_validation_end(
        self, epoch: int, network: Any, cases: Sequence[CaseDice], *, last: bool
    ) -> None:
        """Draw the best and the worst case at the interval and after the last epoch."""
        if not self._picture_interval or (epoch % self._picture_interval and not last):
            return
        ranked = sorted(cases, key=lambda case: -1.0 if math.isnan(case.mean) else case.mean)
        self._draw(epoch, network, ranked[0], "worst")
        if len(ranked) > 1:
            self._draw(epoch, network, ranked[-1], "best")

    def _plot(self, row: HistoryRow) -> None:
        for name, value in row.items():
            if name != "epoch" and not math.isnan(value):
                self._live.log_metric(name, value)
        self._live.next_step()

    def _draw(self, epoch: int, network: Any, case: CaseDice, rank: str) -> None:
        record = read_record(case.path)
        predicted = probabilities(
            network, record.planes, 0, len(record.planes), window=self._window
        )
        dice = ", ".join(
            f"{region} {value:.3f}" for region, value in zip(self._regions, case.dice, strict=True)
        )
        title = f"{case.path.stem}, {rank} case after epoch {epoch}: Dice on the canvas {dice}"
        figure = snapshot(record, predicted, self._regions, title=title)
        picture = self._paths.saved_pictures / f"epoch_{epoch:03d}_{rank}.png"
        save_png(figure, picture)
        self._publish(picture)

    def _publish(self, picture: Path) -> None:
        with whole_file(self._paths.pictures / picture.name) as temporary:
            shutil.copyfile(picture, temporary)


def _live_plots(folder: Path) -> Any:
    from dvclive import Live
    from scmrepo.exceptions import SCMError

    try:
        live = Live(str(folder), dvcyaml=False, save_dvc_exp=False)
    except SCMError as error:
        raise InputError(
            f"live plots need a git commit, but git reports: {error}; make a first commit"
        ) from None
    except sqlite3.OperationalError as error:  # from the file database of DVC
        raise InputError(f"cannot write {folder}: {error}; make room there") from error
    # DVCLive never closes the repository that it opens.
    if live._dvc_repo is not None:
        live._dvc_repo.close()
    return live


def _metrics(row: HistoryRow) -> str:
    return "  ".join(f"{name} {row[name]:.4f}" for name in row if _is_printed(name))


def _is_printed(name: str) -> bool:
    return name in ("loss", "train_dice") or name.startswith("dice_")
