"""Worker processes return results and ignore Ctrl-C; threads of BLAS."""

import os
import signal
import subprocess
import sys

from threadpoolctl import threadpool_info

from thorax.common.parallel import one_blas_thread, worker_pool

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
