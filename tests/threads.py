"""Threads in tests: those that read ahead, and waiting for what they do."""

import threading
import time
from collections.abc import Callable


def prefetch_threads() -> list[threading.Thread]:
    """Return the threads that read items ahead."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, for at most five seconds."""
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert condition()
