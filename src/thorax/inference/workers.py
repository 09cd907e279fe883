"""Segment scans in several processes, each with its own copy of the model."""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial

from thorax.common.machine import cores, limit_cores
from thorax.common.parallel import worker_pool
from thorax.inference.batch import PredictOptions, Report, predict_all, started_row
from thorax.inference.inputs import ScanTask
from thorax.inference.manifest.row import FAILED, ManifestRow
from thorax.inference.segmenter import Segmenter

_Started = tuple[ScanTask, Future[ManifestRow]]
"""A scan in a process, and its result to come."""


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

    If a process is killed, for instance for lack of memory, the scans that were being segmented are
    tried once more, one at a time; the one that has its process killed again fails.

    Ctrl-C waits for the scans that are being segmented, reports them and starts no other one. After
    a second Ctrl-C they are not reported.

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
    started: dict[ScanTask, ManifestRow] = {}
    finished: list[ManifestRow] = []

    def start(task: ScanTask) -> None:
        if task not in started:  # not again for a scan that lost its process
            started[task] = started_row(segmenter, task, options)
            report(started[task])

    def finish(task: ScanTask, future: Future[ManifestRow]) -> None:
        finished.append(_result(future, started[task]))
        report(finished[-1])

    prepare = partial(_prepare, load, max(1, cores() // workers))
    processes = _Processes(partial(worker_pool, prepare=prepare), options, start, finish)
    waiting = deque(tasks)
    while waiting:
        for task, _ in processes.run(waiting, workers):
            for _, broken in processes.run(deque([task]), 1):
                finish(task, broken)
    return finished


class _Processes:
    """Segments scans in pools of processes; a new pool replaces one that has lost a process.

    Args:
        open_pool: Opens a pool of a number of processes.
        options: Options for all scans.
        start: Called with each scan that is started.
        finish: Called with each scan that has a result or an error.
    """

    def __init__(
        self,
        open_pool: Callable[[int], ProcessPoolExecutor],
        options: PredictOptions,
        start: Callable[[ScanTask], None],
        finish: Callable[[ScanTask, Future[ManifestRow]], None],
    ) -> None:
        self._open_pool, self._options = open_pool, options
        self._start, self._finish = start, finish
        self._stopped: KeyboardInterrupt | None = None

    def run(self, waiting: deque[ScanTask], count: int) -> list[_Started]:
        """Segment scans until all are finished or a process is killed.

        Args:
            waiting: The scans; those that are started are removed.
            count: Number of processes.

        Returns:
            The scans that were started when a process was killed, with their errors.

        Raises:
            KeyboardInterrupt: After Ctrl-C, once the scans that were started have ended.
        """
        running: dict[Future[ManifestRow], ScanTask] = {}
        killed: list[_Started] = []
        with self._open_pool(count) as pool:
            while running or (waiting and not killed):
                while waiting and len(running) < count and not killed:
                    task = waiting.popleft()
                    self._start(task)
                    running[self._submit(pool, task)] = task
                for future in self._ended(running, waiting):
                    task = running.pop(future)
                    if isinstance(future.exception(), BrokenProcessPool):
                        killed.append((task, future))
                    else:
                        self._finish(task, future)
        if self._stopped:
            raise self._stopped
        return killed

    def _ended(
        self, running: Collection[Future[ManifestRow]], waiting: deque[ScanTask]
    ) -> Collection[Future[ManifestRow]]:
        """Wait for scans to end; Ctrl-C empties the list of waiting ones."""
        try:
            return wait(running, return_when=FIRST_COMPLETED).done
        except KeyboardInterrupt as interrupt:
            if self._stopped:
                raise
            self._stopped = interrupt
            waiting.clear()
            return ()

    def _submit(self, pool: ProcessPoolExecutor, task: ScanTask) -> Future[ManifestRow]:
        try:
            return pool.submit(_segment, task, self._options)
        except BrokenProcessPool as error:  # a process was killed since the last scan ended
            future: Future[ManifestRow] = Future()
            future.set_exception(error)
            return future


def _result(future: Future[ManifestRow], started: ManifestRow) -> ManifestRow:
    """Return the row of a scan, also if its process was killed or could not load the model."""
    error = future.exception()
    if error is None:
        return future.result()
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, BrokenProcessPool):
        text = "its process was killed, also when it was the only one; it may need more memory"
    return replace(started, status=FAILED, error=text)


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
