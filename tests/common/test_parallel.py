"""Worker processes return results and ignore Ctrl-C; threads of BLAS; prefetching."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest
from threadpoolctl import threadpool_info

from thorax.common.parallel import (
    in_processes,
    one_blas_thread,
    ordered,
    prefetch,
    worker_pool,
)

from ..threads import prefetch_threads, wait_until

PROGRAM = """
from thorax.pipeline import run
from thorax.common.parallel import worker_pool

WORK = "import time; print('started', flush=True); time.sleep({})"

def main():
    with worker_pool(2) as pool:
        short, long = (pool.submit(exec, WORK.format(seconds)) for seconds in (0.2, 2))
        short.result()
        print("first finished", flush=True)
        long.result()

run(main)
"""


def test_workers_return_results() -> None:
    with worker_pool(2) as pool:
        assert list(pool.map(abs, [-1, 2, -3])) == [1, 2, 3]


def test_results_of_processes_have_the_order_of_the_calls() -> None:
    slow = partial(eval, "__import__('time').sleep(0.2) or 1")
    assert in_processes([slow, partial(abs, -2)], title="example", size=2) == [1, 2]
    assert in_processes([], title="example") == []


def test_an_error_in_a_process_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        in_processes([partial(divmod, 1, 0), partial(abs, -1)], title="example", size=1)


def test_the_handler_of_ctrl_c_is_restored() -> None:
    before = signal.getsignal(signal.SIGINT)
    worker_pool(1).shutdown()
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_stops_all_processes_without_a_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as program:
        assert program.stdout
        assert "first finished\n" in program.stdout
        os.killpg(program.pid, signal.SIGINT)
        assert program.communicate()[1] == ""
    assert program.returncode == 130


def test_blas_has_one_thread_during_the_work() -> None:
    before = _blas_threads()
    assert set(one_blas_thread(_blas_threads)()) == {1}
    assert _blas_threads() == before


def _blas_threads() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


# Prefetching


class RecordedItems:
    """A generator that records its items, and the thread in which it was closed."""

    def __init__(self, count: int) -> None:
        self.read: list[int] = []
        self.closed_in: list[str] = []
        self.items = self._items(count)

    def _items(self, count: int) -> Iterator[int]:
        try:
            for number in range(count):
                self.read.append(number)
                yield number
        finally:
            self.closed_in.append(threading.current_thread().name)


def test_exactly_one_item_is_read_ahead() -> None:
    recorded = RecordedItems(5)
    items = prefetch(recorded.items)
    assert recorded.read == []
    for number in range(3):
        assert next(items) == number
        wait_until(lambda expected=number + 2: len(recorded.read) == expected)
    time.sleep(0.05)
    assert recorded.read == [0, 1, 2, 3]
    items.close()


def test_more_items_are_read_ahead_if_the_first_says_so() -> None:
    recorded = RecordedItems(9)
    items = prefetch(recorded.items, ahead=lambda item: 4)
    assert next(items) == 0
    wait_until(lambda: len(recorded.read) == 5)
    time.sleep(0.05)
    assert recorded.read == [0, 1, 2, 3, 4]
    items.close()
    assert len(recorded.closed_in) == 1
    assert prefetch_threads() == []


def test_items_are_read_in_another_thread() -> None:
    names = list(prefetch(threading.current_thread().name for _ in range(2)))
    assert threading.current_thread().name not in names


def test_closing_prefetch_closes_its_generator() -> None:
    recorded = RecordedItems(5)
    items = prefetch(recorded.items)
    next(items)
    items.close()
    assert len(recorded.closed_in) == 1
    # The next item may or may not have been begun.
    assert recorded.read in ([0], [0, 1])
    assert prefetch_threads() == []


def test_closing_waits_for_the_item_that_is_being_read() -> None:
    entered, resume = threading.Event(), threading.Event()
    closed = []

    def slow() -> Iterator[int]:
        try:
            yield 0
            entered.set()
            assert resume.wait(5)
            yield 1
        finally:
            closed.append(True)

    items = prefetch(slow())
    assert next(items) == 0
    assert entered.wait(5)
    threading.Timer(0.05, resume.set).start()
    items.close()
    assert closed == [True]


def test_none_is_an_ordinary_item() -> None:
    assert list(prefetch([None, 0, None])) == [None, 0, None]
    assert list(prefetch([])) == []


def test_an_error_is_raised_after_the_items_before_it() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise KeyError("the third lung")

    items = prefetch(failing())
    assert next(items) == 1
    with pytest.raises(KeyError, match="the third lung"):
        next(items)
    assert prefetch_threads() == []


# Threads in order


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_of_threads_have_the_order_of_the_items(threads: int) -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.02 if item == 0 else 0.0)
        return item * item

    assert list(ordered(slow_first, range(7), threads=threads)) == [0, 1, 4, 9, 16, 25, 36]


def test_few_items_are_taken_ahead() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(10):
            taken.append(item)
            yield item

    results = ordered(abs, items(), threads=2)
    assert next(results) == 0
    assert taken == [0, 1, 2]


def test_an_error_in_a_thread_is_raised_in_its_turn() -> None:
    results = ordered(lambda item: 6 // item, [3, 0, 2], threads=2)
    assert next(results) == 2
    with pytest.raises(ZeroDivisionError):
        next(results)
