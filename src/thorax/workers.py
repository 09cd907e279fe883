"""Processes that work on many cases at once and leave Ctrl-C to the one that started them."""

import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import forkserver

from threadpoolctl import threadpool_limits


def worker_pool(size: int | None = None) -> ProcessPoolExecutor:
    """Processes with one BLAS thread each: two on one core spin away ten times what they gain.

    Ctrl-C reaches every process of a terminal. Here only the one that waits for the others hears
    it, so that they finish their case and none of them prints a traceback.

    Args:
        size: How many at most; as many as there are cores unless given.
    """
    _start_deaf_server()
    context = multiprocessing.get_context("forkserver")
    return ProcessPoolExecutor(size, context, _limit_threads)


def _limit_threads() -> None:
    # Only libraries that are loaded are limited. Sums of several threads differ in the last bits,
    # and so would records made from a program that had not imported both before.
    import numpy as np  # noqa: F401
    import scipy.linalg  # noqa: F401

    threadpool_limits(1)


def _start_deaf_server() -> None:
    # Workers inherit what is done about a signal from the server that forks them. Only a main
    # thread may set it; without it all works, but for the tracebacks.
    with suppress(ValueError):
        heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            forkserver.ensure_running()
        finally:
            signal.signal(signal.SIGINT, heard)
