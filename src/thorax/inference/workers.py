"""Segment scans in several processes, each with its own copy of the model."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from functools import partial

from thorax.common.machine import cores, limit_cores
from thorax.common.parallel import worker_pool
from thorax.inference.batch import PredictOptions, Report, predict_all, started_row
from thorax.inference.inputs import ScanTask
from thorax.inference.manifest.row import FAILED, ManifestRow
from thorax.inference.segmenter import Segmenter


def predict_in_processes(
    segmenter: Segmenter,
    tasks: Sequence[ScanTask],
    options: PredictOptions,
    *,
    workers: int,
    load: Callable[[], Segmenter],
    report: Report,
) -> list[ManifestRow]:
    """Segment all scans; a scan that fails is reported and does not stop the others.

    Ctrl-C or an error of this process waits for the scans that are being segmented and starts no
    other one.

    Args:
        segmenter: The model or ensemble.
        tasks: The scans.
        options: Options for all scans.
        workers: Number of processes, among which the usable cores are shared.
        load: Loads the same model or ensemble in each process; can be pickled.
        report: Called with the row of each scan, when it is started and when it is finished.

    Returns:
        One row per scan, in the order in which they were finished.
    """
    rows = []
    prepare = partial(_prepare, load, max(1, cores() // workers))
    with worker_pool(workers, prepare=prepare) as pool:
        waiting = iter(tasks)
        running: dict[Future[ManifestRow], ManifestRow] = {}

        def start(count: int) -> None:
            for _, task in zip(range(count), waiting, strict=False):
                row = started_row(segmenter, task, options)
                report(row)
                running[pool.submit(_segment, task, options)] = row

        start(workers)
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                rows.append(_result(future, running.pop(future)))
                report(rows[-1])
            start(len(done))
    return rows


def _result(future: Future[ManifestRow], started: ManifestRow) -> ManifestRow:
    """Return the row of a scan, also if its process was killed, for instance for lack of memory."""
    error = future.exception()
    if error is None:
        return future.result()
    return replace(started, status=FAILED, error=f"{type(error).__name__}: {error}")


def _prepare(load: Callable[[], Segmenter], share: int) -> None:
    limit_cores(share)
    _loaded.append(load())


_loaded: list[Segmenter] = []
"""The model of a worker process."""


def _segment(task: ScanTask, options: PredictOptions) -> ManifestRow:
    (row,) = predict_all(_loaded[0], [task], options, report=_ignore)
    return row


def _ignore(row: ManifestRow) -> None:
    """Ignore a row: the parent process reports it."""
