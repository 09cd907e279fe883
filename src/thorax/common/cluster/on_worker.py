"""The part that runs on the workers of a cluster."""

import pickle
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Worker, WorkerPlugin

KEY, RESULT, LEAVING = "key", "result", "leaving"
"""Keys of the events that workers send."""


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


def notice_of_leaving(topic: str) -> "WorkerPlugin":
    """Make a plugin that sends an event when a worker ends in order, as at the end of its job.

    The class is local, so that it is sent with its code: a worker without this package can refuse
    work with a reason only if it starts.
    """
    from distributed import WorkerPlugin

    class NoticeOfLeaving(WorkerPlugin):  # type: ignore[misc]
        name = f"{topic}-leaving"

        def setup(self, worker: "Worker") -> None:
            self.worker = worker

        def teardown(self, worker: "Worker") -> None:
            worker.log_event(topic, {LEAVING: worker.address})

    return NoticeOfLeaving()
