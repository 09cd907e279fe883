"""Processes and threads for many cases, which stop at Ctrl-C."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from contextlib import suppress
from typing import ParamSpec, TypeVar

from threadpoolctl import threadpool_limits
from tqdm import tqdm

from thorax.common.machine import cores

Item = TypeVar("Item")

Result = TypeVar("Result")

Given = ParamSpec("Given")


def one_blas_thread(work: Callable[Given, Result]) -> Callable[Given, Result]:
    """Decorate a function that multiplies small matrices, to use one BLAS thread.

    For the matrices of planes, several threads are hardly faster, need half as much processor time
    again, and wait for each other while other programs run. The limit is valid for the whole
    process, so use this in the programs of this package, not in its Python interface.

    Example:
        >>> one_blas_thread(abs)(-1)
        1
    """
    limited: Callable[Given, Result] = threadpool_limits.wrap(limits=1, user_api="blas")(work)
    return limited


def worker_pool(
    size: int | None = None, *, prepare: Callable[[], None] | None = None
) -> ProcessPoolExecutor:
    """Start a pool of processes with one BLAS thread each.

    Several BLAS threads on one core waste ten times the time that they save. Ctrl-C in a terminal
    reaches every process. Workers ignore it, so that they finish their case and print no
    traceback; the parent process handles it.

    Args:
        size: Largest number of processes; the number of usable cores by default.
        prepare: Called once in each process; can be pickled.
    """
    has_forkserver = "forkserver" in multiprocessing.get_all_start_methods()
    if has_forkserver:
        _start_forkserver_ignoring_sigint()
    context = multiprocessing.get_context("forkserver" if has_forkserver else "spawn")
    return ProcessPoolExecutor(size or cores(), context, _prepare, (prepare,))


def in_processes(
    calls: Sequence[Callable[[], Result]],
    *,
    title: str,
    unit: str = "case",
    size: int | None = None,
) -> list[Result]:
    """Run calls in a pool of processes; see `worker_pool`.

    Ctrl-C or an error cancels the calls that have not started.

    Args:
        calls: Functions without arguments that can be pickled.
        title: Title of the progress bar on stderr.
        unit: Unit of the progress bar.
        size: Largest number of processes; the number of usable cores by default.

    Returns:
        Their results, in the order of the calls.
    """
    if not calls:
        return []
    with worker_pool(min(size or cores(), len(calls))) as pool:
        futures = [pool.submit(call) for call in calls]
        try:
            for future in tqdm(as_completed(futures), title, len(futures), unit=unit):
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [future.result() for future in futures]


def in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], *, title: str, size: int | None = None
) -> list[Result]:
    """Process items in a thread pool, for work that releases the GIL (gzip, NumPy).

    Ctrl-C or an error cancels the items that have not started.

    Args:
        work: Processes one item.
        items: The items; the results have their order.
        title: Title of the progress bar on stderr.
        size: Number of threads; the number of usable cores by default.

    Example:
        >>> in_threads(abs, [-1, 2], title="example")
        [1, 2]
    """
    with ThreadPoolExecutor(size or cores()) as pool:
        try:
            return list(tqdm(pool.map(work, items), title, len(items), unit="case"))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def ordered(
    work: Callable[[Item], Result], items: Iterable[Item], *, threads: int
) -> Iterator[Result]:
    """Process items in threads and yield the results in the order of the items.

    At most ``threads + 1`` items are taken before their results are fetched, so that an iterator
    of slabs needs little memory. The first error is raised in its turn.

    Args:
        work: Processes one item; should release the GIL, as NumPy does for large arrays.
        items: The items, taken in the thread of the caller.
        threads: Number of threads; 1: no thread but that of the caller.

    Example:
        >>> list(ordered(abs, [-1, 2, -3], threads=2))
        [1, 2, 3]
    """
    if threads == 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        pending: deque[Future[Result]] = deque()
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _prepare(prepare: Callable[[], None] | None) -> None:
    _limit_threads()
    if prepare:
        prepare()


def _limit_threads() -> None:
    # The limit applies to loaded libraries only. Sums over several threads differ in the last bits,
    # so without these imports records would depend on the imports of the parent program.
    import numpy as np  # noqa: F401
    import scipy.linalg  # noqa: F401

    threadpool_limits(1)


def _start_forkserver_ignoring_sigint() -> None:
    from multiprocessing import forkserver  # not on Windows

    # Workers inherit their signal handlers from the fork server. Only a main thread may set them;
    # in other threads, Ctrl-C prints tracebacks of the workers.
    with suppress(ValueError):
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            forkserver.ensure_running()
        finally:
            signal.signal(signal.SIGINT, previous)


def prefetch(
    items: Iterable[Item], *, ahead: Callable[[Item], int] | None = None
) -> Generator[Item, None, None]:
    """Iterate with items read ahead in a separate thread.

    Exceptions of the iterator are raised in order. Closing this generator waits for the item that
    is being read, and then closes the iterator if it is a generator.

    Args:
        items: The items.
        ahead: Function from an item to the number of items to read ahead after it; one by default.

    Example:
        >>> list(prefetch(range(3)))
        [0, 1, 2]
    """
    iterator = iter(items)
    end = object()
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:
            try:
                waiting = deque([pool.submit(next, iterator, end)])
                while (item := waiting.popleft().result()) is not end:
                    while len(waiting) < (ahead(item) if ahead else 1):  # type: ignore[arg-type]
                        waiting.append(pool.submit(next, iterator, end))
                    yield item  # type: ignore[misc]
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
    finally:
        if isinstance(iterator, Generator):
            iterator.close()
