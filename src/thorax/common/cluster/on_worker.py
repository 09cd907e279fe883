"""The part that runs on the workers of a cluster."""

import os
import pickle
import signal
import threading
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from distributed import Worker, WorkerPlugin

KEY, RESULT, LEAVING = "key", "result", "leaving"
"""Keys of the events that workers send."""

FULL = 0.8
"""Share of a worker's memory above which SIGTERM comes from its nanny, which ends it at 0.95."""


def work_and_send(call: bytes, topic: str) -> None:
    """Do the work of a task and send the result as an event of a topic.

    Args:
        call: Pickled function and item. The scheduler reads the arguments of a task; bytes spare it
            the imports of the function, during which it would answer nobody.
        topic: Topic of the event.
    """
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()
    work, item = pickle.loads(call)
    worker.log_event(topic, {KEY: key, RESULT: pickle.dumps(work(item))})


def is_cancelled() -> bool:
    """Return whether this task was cancelled, its client has gone, or its worker closes.

    Called in the thread of a task.
    """
    from distributed import Status, get_worker

    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    closing = worker.status not in (Status.running, Status.paused)
    return closing or task is None or task.state != "executing"


def worker_cores() -> int:
    """Return the number of threads of this worker, which is its share of the cores."""
    from distributed import get_worker

    return int(get_worker().state.nthreads)


def dask_setup(worker: "Worker") -> None:
    """Ignore Ctrl-C in a worker process of this machine, which the terminal sends to all of them.

    Dask calls a function of this name while a worker starts, if its option `preload` names this
    module.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def notice_of_leaving(topic: str) -> "WorkerPlugin":
    """Make a plugin that sends an event when a worker ends in order, as at the end of its job.

    A batch system sends SIGTERM to all processes of a job. Without a handler, a worker process ends
    at once and looks like one that was killed by its work.

    The class is local, so that it is sent with its code: workers without this package start, too.
    """
    from distributed import WorkerPlugin

    class NoticeOfLeaving(WorkerPlugin):  # type: ignore[misc]
        name = f"{topic}-leaving"

        def setup(self, worker: "Worker") -> None:
            self.worker = worker
            # Without a nanny, the program of the worker has a handler of its own.
            if worker.nanny and threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, self.end)

        def end(self, number: int, _: object) -> None:
            limit = self.worker.memory_manager.memory_limit
            if limit and psutil.Process().memory_info().rss > FULL * limit:
                # The nanny ends a worker whose memory is full; this is no end in order.
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            self.worker.loop.add_callback(self.worker.close, nanny=False)

        def teardown(self, worker: "Worker") -> None:
            worker.log_event(topic, {LEAVING: worker.address})

    return NoticeOfLeaving()
