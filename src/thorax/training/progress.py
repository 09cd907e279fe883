"""Telling people how a training goes: a line an epoch, live plots, pictures of watched cases."""

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
from thorax.training.snapshots import snapshot
from thorax.training.trainer import Row
from thorax.training.validation import CaseDice
from thorax.visualization.drawing import save_png


@dataclass(frozen=True)
class ProgressPaths:
    """Where a watched training leaves what it shows.

    Args:
        live: Folder of DVCLive.
        pictures: Folder of the pictures.
        kept: Folder of the same pictures, where DVC does not reach: it clears what a stage leaves
            before it starts the stage again.
    """

    live: Path
    pictures: Path
    kept: Path


class ProgressReporter:
    """Watches one training; see `thorax.training.trainer.TrainingCallback`.

    Args:
        epochs: Of the whole training.
        every: Epochs between pictures; 0: none.
        regions: Their names.
        window: What the network sees of the HU.
        places: Where to leave plots and pictures.
        log: Says a line to whoever looks on.
    """

    def __init__(
        self,
        *,
        epochs: int,
        every: int,
        regions: Sequence[str],
        window: Window,
        places: ProgressPaths,
        log: Callable[[str], None],
    ) -> None:
        self._epochs, self._every = epochs, every
        self._regions, self._window = regions, window
        self._places, self._log = places, log
        self._live: Any = None
        self._started, self._told = time.monotonic(), 0

    def on_resume(self, history: Sequence[Row]) -> None:
        """Begin plots and pictures anew with what is known of this training."""
        self._live = _live_plots(self._places.live)
        empty_folder(self._places.pictures)
        for row in history:
            self._plot(row)
        if history:
            self._log(f"going on after epoch {len(history)}")
            for picture in sorted(self._places.kept.glob("epoch_*.png")):
                self._show(picture)
        else:
            empty_folder(self._places.kept)
        self._started = time.monotonic()

    def on_epoch_end(self, row: Row, *, stacks_per_s: float) -> None:
        """Tell the figures of an epoch, how fast it was, and how long the rest will take."""
        self._plot(row)
        self._told += 1
        each = (time.monotonic() - self._started) / self._told
        left = round(each * (self._epochs - row["epoch"]))
        figures = "  ".join(f"{name} {row[name]:.4f}" for name in row if _shown(name))
        self._log(
            f"epoch {row['epoch']:.0f}/{self._epochs}  {figures}  {stacks_per_s:.0f} stacks/s  "
            f"{left // 60}:{left % 60:02d} left"
        )

    def on_validation_end(
        self, epoch: int, network: Any, cases: Sequence[CaseDice], *, last: bool
    ) -> None:
        """Draw the best and the worst case every so often, and after the last epoch."""
        if not self._every or (epoch % self._every and not last):
            return
        ranked = sorted(cases, key=lambda case: -1.0 if math.isnan(case.mean) else case.mean)
        self._picture(epoch, network, ranked[0], "worst")
        if len(ranked) > 1:
            self._picture(epoch, network, ranked[-1], "best")

    def _plot(self, row: Row) -> None:
        for name, value in row.items():
            if name != "epoch" and not math.isnan(value):
                self._live.log_metric(name, value)
        self._live.next_step()

    def _picture(self, epoch: int, network: Any, case: CaseDice, rank: str) -> None:
        record = read_record(case.path)
        found = probabilities(network, record.planes, 0, len(record.planes), window=self._window)
        dice = ", ".join(
            f"{region} {value:.3f}" for region, value in zip(self._regions, case.dice, strict=True)
        )
        title = f"{case.path.stem}, the {rank} after epoch {epoch}: Dice on the canvas {dice}"
        figure = snapshot(record, found, self._regions, title=title)
        picture = self._places.kept / f"epoch_{epoch:03d}_{rank}.png"
        save_png(figure, picture)
        self._show(picture)

    def _show(self, picture: Path) -> None:
        with whole_file(self._places.pictures / picture.name) as temporary:
            shutil.copyfile(picture, temporary)


def _live_plots(folder: Path) -> Any:
    from dvclive import Live
    from scmrepo.exceptions import SCMError

    try:
        live = Live(str(folder), dvcyaml=False, save_dvc_exp=False)
    except SCMError as error:
        raise InputError(
            f"live plots are kept beside a git commit, but git says: {error}; commit once first"
        ) from None
    except sqlite3.OperationalError as error:  # of DVC's notes on files
        raise InputError(f"cannot write {folder}: {error}; make room there") from error
    # It opens the repository around it, packs and all, and never closes it.
    if live._dvc_repo is not None:
        live._dvc_repo.close()
    return live


def _shown(name: str) -> bool:
    return name == "loss" or name.startswith("dice_")
