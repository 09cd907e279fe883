"""Segment scans on the workers of a Dask cluster, one scan at a time on each."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from threading import Lock

from thorax.common.cluster.dispatch import OnePerWorker
from thorax.common.cluster.on_worker import worker_cores
from thorax.common.cluster.opening import Cluster, Note
from thorax.common.cluster.outcome import Ended
from thorax.common.errors import InputError
from thorax.common.machine import THREADS, cores, limit_cores
from thorax.inference.batch import PredictOptions, Report, predict_all, started_row
from thorax.inference.inputs import ScanTask
from thorax.inference.manifest.row import FAILED, ManifestRow
from thorax.inference.segmenter import Segmenter

Queue = OnePerWorker[ScanTask, ManifestRow]


@dataclass(frozen=True)
class WorkingFolder:
    """Paths that are valid in any working directory, and can be turned back as they were.

    Args:
        path: The working directory.
    """

    path: Path

    @cached_property
    def prefix(self) -> Path:
        """The folder in a spelling that no other path has, so that it is recognised in messages."""
        return self.path / ".." / self.path.name

    def absolute(self, path: Path) -> Path:
        """Return a path that is valid in any working directory."""
        return path if path.is_absolute() else self.prefix / path

    def relative(self, text: str) -> str:
        """Turn absolute paths in a text back.

        Example:
            >>> folder = WorkingFolder(Path("/home/anna"))
            >>> print(folder.absolute(Path("scans/a.nii")))
            /home/anna/../anna/scans/a.nii
            >>> folder.relative("/home/anna/../anna/scans/a.nii is not a scan; see /home/anna/b")
            'scans/a.nii is not a scan; see /home/anna/b'
        """
        return text.replace(f"{self.prefix}/", "")

    def row(self, row: ManifestRow) -> ManifestRow:
        """Turn the paths in the messages of a row back."""
        return replace(
            row,
            error=self.relative(row.error),
            warnings=tuple(map(self.relative, row.warnings)),
            quality_warnings=tuple(map(self.relative, row.quality_warnings)),
        )


@dataclass(frozen=True)
class Expected:
    """The model that each worker must load.

    Args:
        digest: `Segmenter.digest`.
        settings: `Segmenter.settings`.
    """

    digest: str
    settings: str


def predict_on_cluster(
    segmenter: Segmenter,
    tasks: Sequence[ScanTask],
    options: PredictOptions,
    *,
    cluster: Cluster,
    load: Callable[[], Segmenter],
    report: Report,
) -> list[ManifestRow]:
    """Segment all scans; a scan that fails is reported and does not stop the others.

    Workers may join and leave at any time. A scan whose worker is killed is tried once more, on
    another one. Ctrl-C waits for the scans that are being segmented and starts no other one; a
    second Ctrl-C does not wait.

    Args:
        segmenter: The model or ensemble.
        tasks: The scans.
        options: Options for all scans.
        cluster: The cluster.
        load: Loads the same model or ensemble in each worker process; can be pickled, and has no
            relative paths.
        report: Called with the row of each scan, when it is started and when it is finished.

    Returns:
        One row per scan, in the order in which they were finished.

    Raises:
        InputError: The scheduler has gone, or no worker can load the model.
    """
    folder = WorkingFolder(Path.cwd())
    expected = Expected(segmenter.digest, segmenter.settings)
    rows: dict[ScanTask, ManifestRow] = {}

    def start(task: ScanTask, worker: str) -> None:
        if task not in rows:  # not again for a scan that lost its worker
            rows[task] = started_row(segmenter, task, options)
            report(rows[task])

    queue: Queue = OnePerWorker(
        cluster,
        partial(_segment, options=options, folder=folder, load=load, expected=expected),
        name=lambda task: task.case,
        started=start,
    )
    for task in tasks:
        queue.add(task)
    finished = []
    with _close_after(queue):
        for ended in _all_ended(queue, cluster.note):
            finished.append(_row(ended, rows.pop(ended.item)))
            report(finished[-1])
            if finished[-1].status == FAILED:
                cluster.note(f"{ended.item.case} failed on the worker {ended.worker}")
    return finished


@contextmanager
def _close_after(queue: Queue) -> Iterator[None]:
    try:
        yield
    finally:
        queue.close()


def _all_ended(queue: Queue, note: Note) -> Iterator[Ended[ScanTask, ManifestRow]]:
    """Yield the scans as they end; after Ctrl-C, those that are running."""
    stopped: KeyboardInterrupt | None = None
    while len(queue):
        try:
            ended = queue.wait()
        except KeyboardInterrupt as interrupt:
            if stopped:
                raise
            stopped = interrupt
            queue.forget()
            note(
                f"stopping: {len(queue)} scans are finished first; a second Ctrl-C does not wait "
                "for them"
            )
            continue
        yield from ended
    if stopped:
        raise stopped


def _row(ended: Ended[ScanTask, ManifestRow], started: ManifestRow) -> ManifestRow:
    """Return the row of a scan, also if its worker was killed."""
    if ended.result is None:
        return replace(started, status=FAILED, error=ended.error)
    return replace(ended.result, scan=started.scan, mask=started.mask, settings=started.settings)


_loaded: dict[Expected, Segmenter] = {}
"""The model of a worker process."""

_busy = Lock()
"""Two batches may share a worker process, but not its cores and memory."""


def _segment(
    task: ScanTask,
    *,
    options: PredictOptions,
    folder: WorkingFolder,
    load: Callable[[], Segmenter],
    expected: Expected,
) -> ManifestRow:
    """Segment a scan on a worker.

    Raises:
        InputError: This worker cannot load the model.
    """
    with _busy:
        segmenter = _load(load, expected)
        there = replace(task, scan=folder.absolute(task.scan), mask=folder.absolute(task.mask))
        (row,) = predict_all(segmenter, [there], options, report=_ignore)
        return folder.row(row)


def _load(load: Callable[[], Segmenter], expected: Expected) -> Segmenter:
    if expected not in _loaded:
        limit_cores(min(worker_cores(), cores()))
        os.environ.setdefault(THREADS, str(cores()))  # before TensorFlow is imported
        segmenter = load()
        if Expected(segmenter.digest, segmenter.settings) != expected:
            raise InputError(
                f"the model must be that of the command ({expected.digest}), but this worker has "
                f"{segmenter.digest}; check the files and the version of thorax there"
            )
        _loaded.clear()
        _loaded[expected] = segmenter
    return _loaded[expected]


def _ignore(row: ManifestRow) -> None:
    """Ignore a row: the process of the command reports it."""
