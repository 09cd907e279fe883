"""Execute runs as processes on the workers of a Dask cluster with a shared file system.

A run is the same command as on this machine. Its worker watches the process: it stops when the run
is cancelled, when the command that asked for it has gone, and when the worker itself ends. A run
that lost its worker is started again on another one, where the training resumes from its
checkpoint.
"""

import asyncio
import os
import subprocess
import time
from contextlib import suppress

from thorax.common.cluster.dispatch import OnePerWorker
from thorax.common.cluster.on_worker import is_cancelled, worker_cores
from thorax.common.cluster.opening import Cluster
from thorax.experiments.tasks import THREAD_VARIABLES, Task

_ATTEMPTS = 10
"""Number of workers that a run may lose without notice, for instance by preemption."""

_PAUSE_S = 0.5

_NOTICE_S = 3
"""Seconds in which a worker learns that its job ends."""

_STOP_S = 60
"""Seconds in which a stopped run must end; a training gets half of them."""

_FAILED = 1


class ClusterProcesses:
    """Executes each task as a process on a worker.

    Args:
        cluster: The cluster.
        jobs: Largest number of tasks at a time; the number of workers is a limit as well.
    """

    def __init__(self, cluster: Cluster, jobs: int) -> None:
        self._cluster = cluster
        self._statuses: dict[str, int] = {}
        self._queue: OnePerWorker[Task, int] = OnePerWorker(
            cluster,
            _execute,
            attempts=_ATTEMPTS,
            name=lambda task: task.name,
            started=lambda task, worker: cluster.note(f"{task.name} runs on {worker}"),
            limit=jobs,
        )

    def start(self, task: Task) -> None:
        """Start a task as soon as a worker is idle."""
        # An error before the first line of output must not leave an older log.
        task.folder.mkdir(parents=True, exist_ok=True)
        self._queue.add(task)

    def poll(self, task: Task) -> int | None:
        """Return the exit status of a task; None while it waits or runs.

        Raises:
            InputError: The scheduler has gone, or no worker can execute a task.
        """
        if task.name not in self._statuses:
            for ended in self._queue.wait(0.05):
                if ended.result is None:
                    self._cluster.note(f"{ended.item.name} failed: {ended.error}")
                self._statuses[ended.item.name] = _FAILED if ended.result is None else ended.result
        return self._statuses.get(task.name)

    def stop(self) -> None:
        """Stop all tasks on all workers, and wait for their end."""
        running = self._queue.running
        self._queue.close()
        if running:
            # A worker that has gone has stopped its task itself.
            with suppress(Exception):
                self._cluster.client.run(
                    _wait_for_end,
                    [task.name for task in running],
                    workers=sorted(set(running.values())),
                    on_error="ignore",
                )


_processes: dict[str, "subprocess.Popen[bytes]"] = {}
"""The processes of a worker, by the name of the task."""


def _execute(task: Task) -> int:
    """Run the command of a task on a worker, and return its exit status."""
    task.folder.mkdir(parents=True, exist_ok=True)
    # A worker of Dask has one OpenMP thread by default, whatever its number of cores.
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(worker_cores()))}
    with task.log.open("ab") as log:
        process = subprocess.Popen(
            task.command(),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _processes[task.name] = process
    try:
        return _watch(process)
    finally:
        if _processes.get(task.name) is process:
            del _processes[task.name]


def _watch(process: "subprocess.Popen[bytes]") -> int:
    """Wait for a process, and stop it if its task is cancelled.

    Raises:
        InterruptedError: The task is cancelled, or its worker ends.
    """
    while not is_cancelled():
        with suppress(subprocess.TimeoutExpired):
            if process.wait(_PAUSE_S) == 0:
                return 0
            # A batch system that ends a job may stop the process before the worker knows it.
            time.sleep(_NOTICE_S)
            if not is_cancelled():
                return process.returncode
    process.terminate()
    process.wait()
    raise InterruptedError("the run was stopped")


async def _wait_for_end(names: list[str]) -> None:
    """Stop tasks on a worker; without blocking it, because their threads must notice the end."""
    for name in names:
        if process := _processes.get(name):
            process.terminate()
    for _ in range(int(_STOP_S / _PAUSE_S)):
        if not _processes.keys() & set(names):
            return
        await asyncio.sleep(_PAUSE_S)
