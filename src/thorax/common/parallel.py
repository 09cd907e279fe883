"""Processes and threads that work on many cases at once, and end when Ctrl-C says so."""

import multiprocessing
import signal
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import forkserver
from typing import ParamSpec, TypeVar

from threadpoolctl import threadpool_limits
from tqdm import tqdm

from thorax.common.machine import cores

Item = TypeVar("Item")

Result = TypeVar("Result")

Given = ParamSpec("Given")


def one_blas_thread(work: Callable[Given, Result]) -> Callable[Given, Result]:
    """Decorate what multiplies the small matrices of planes, to take one BLAS thread.

    Several gain next to nothing there, take half as much work again, and wait for each other where
    other programs run. The limit is of the whole process, so this is for programs of our own, not
    for what others call from theirs.

    Example:
        >>> one_blas_thread(abs)(-1)
        1
    """
    limited: Callable[Given, Result] = threadpool_limits.wrap(limits=1, user_api="blas")(work)
    return limited


def worker_pool(size: int | None = None) -> ProcessPoolExecutor:
    """Processes with one BLAS thread each: two on one core spin away ten times what they gain.

    Ctrl-C reaches every process of a terminal. Here only the one that waits for the others hears
    it, so that they finish their case and none of them prints a traceback.

    Args:
        size: How many at most; as many as there are cores to use unless given.
    """
    _start_forkserver_ignoring_sigint()
    context = multiprocessing.get_context("forkserver")
    return ProcessPoolExecutor(size or cores(), context, _limit_threads)


def in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], *, title: str, size: int | None = None
) -> list[Result]:
    """Work on many items at once, where most of the time goes into what lets other threads run.

    Unpacking gzip does, and so does numpy. After Ctrl-C or an error what has not begun is left.

    Args:
        work: Takes one item.
        items: The items; the results are in their order.
        title: What the progress bar says; it goes to stderr.
        size: How many threads; as many as there are cores unless given.

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


def _limit_threads() -> None:
    # Only libraries that are loaded are limited. Sums of several threads differ in the last bits,
    # and so would records made from a program that had not imported both before.
    import numpy as np  # noqa: F401
    import scipy.linalg  # noqa: F401

    threadpool_limits(1)


def _start_forkserver_ignoring_sigint() -> None:
    # Workers inherit what is done about a signal from the server that forks them. Only a main
    # thread may set it; without it all works, but for the tracebacks.
    with suppress(ValueError):
        heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            forkserver.ensure_running()
        finally:
            signal.signal(signal.SIGINT, heard)


def prefetch(items: Iterable[Item]) -> Generator[Item, None, None]:
    """Go through something, one item ahead in a thread of its own.

    What it raises is raised here, in its turn. A generator is closed with this one, once the item
    on its way is there.

    Example:
        >>> list(prefetch(range(3)))
        [0, 1, 2]
    """
    iterator = iter(items)
    end = object()
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
            coming = pool.submit(next, iterator, end)
            while (item := coming.result()) is not end:
                coming = pool.submit(next, iterator, end)
                yield item  # type: ignore[misc]
    finally:
        if isinstance(iterator, Generator):
            iterator.close()
