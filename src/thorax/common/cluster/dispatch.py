"""Work with one item at a time on each worker of a Dask cluster.

Dask itself would give a worker several items in advance, blame all of them for the end of the
worker, and send those of a dead worker to the next one up to four times. Here each item is sent to
one idle worker. The scheduler never knows more items than there are workers, so its load does not
depend on the length of the list.

Results arrive as events, not as data that must be fetched: a worker that ends after it sent its
result takes nothing with it.
"""

import pickle
import uuid
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from thorax.common.cluster.on_worker import (
    KEY,
    LEAVING,
    RESULT,
    notice_of_leaving,
    work_and_send,
)
from thorax.common.cluster.opening import Cluster
from thorax.common.cluster.outcome import Ended, LostWorkers, Silence
from thorax.common.errors import InputError

if TYPE_CHECKING:
    from distributed import Future

Item = TypeVar("Item", bound=Hashable)

Result = TypeVar("Result")

PATIENCE_S = 30.0
"""Seconds without a worker, or without any result, before the first note."""


@dataclass
class _Run(Generic[Item]):
    item: Item
    worker: str
    future: "Future | None" = None


class OnePerWorker(Generic[Item, Result]):
    """Sends items to idle workers, one at a time each.

    Args:
        cluster: The cluster.
        work: Called with an item on a worker; both can be pickled. An exception means that the
            worker cannot do this work: it gets no more items, and the item goes to another one.
        attempts: Number of workers that an item may kill before it ends with an error. Workers
            that leave with notice do not count, unless there are very many.
        name: Name of an item, for messages.
        started: Called with an item and the address of its worker, each time it is sent.
        limit: Largest number of items at a time; None: the number of workers.
        patience_s: Seconds without a worker before the first note.
    """

    def __init__(
        self,
        cluster: Cluster,
        work: Callable[[Item], Result],
        *,
        attempts: int = 2,
        name: Callable[[Item], str] = str,
        started: Callable[[Item, str], None] = lambda item, worker: None,
        limit: int | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._cluster, self._client = cluster, cluster.client
        self._work, self._attempts, self._name = work, attempts, name
        self._started, self._limit = started, limit
        self._topic = f"thorax-{uuid.uuid4().hex[:12]}"
        self._waiting: deque[Item] = deque()
        self._running: dict[str, _Run[Item]] = {}
        self._results: dict[str, bytes] = {}
        self._lost: dict[Item, LostWorkers] = {}
        self._idle: dict[str, None] = {}
        self._leaving: set[str] = set()
        self._unfit: dict[str, str] = {}
        self._events: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._silence = Silence(patience_s)
        self._stopped = False
        cluster.demand = lambda: len(self)
        self._listen()

    def __len__(self) -> int:
        """Count the items that have not ended."""
        return len(self._waiting) + len(self._running)

    @property
    def running(self) -> dict[Item, str]:
        """Items that were sent to a worker → its address."""
        return {run.item: run.worker for run in self._running.values()}

    def add(self, item: Item) -> None:
        """Append an item to those that wait for a worker."""
        self._waiting.append(item)

    def wait(self, timeout_s: float = 1.0) -> list[Ended[Item, Result]]:
        """Send items to idle workers, and wait until some end.

        Returns:
            Items that ended; empty after the timeout.

        Raises:
            InputError: The scheduler has gone, or no worker can do the work.
        """
        self._send()
        ended = self._take(timeout_s)
        if ended:
            self._silence.end()
        else:
            self._check()
        # Also with an empty list: workers may have joined.
        self._send()
        return ended

    def forget(self) -> None:
        """Drop the items that have not been sent, and send no more."""
        self._stopped = True
        self._waiting.clear()

    def cancel(self) -> None:
        """Drop all items; work that runs already can notice this by `is_cancelled`."""
        self.forget()
        # The scheduler may have gone.
        with suppress(Exception):
            self._client.cancel([run.future for run in self._running.values() if run.future])
        self._running.clear()

    def close(self) -> None:
        """End the connection of this object with the cluster."""
        self.cancel()
        with suppress(Exception):
            for topic in ("all", self._topic):
                self._client.unsubscribe_topic(topic)

    def _listen(self) -> None:
        put = self._events.put
        self._client.subscribe_topic("all", lambda event: put(("all", event[1])))
        self._client.subscribe_topic(self._topic, lambda event: put(("own", event[1])))
        self._client.register_plugin(notice_of_leaving(self._topic))
        # After the subscription, so that no worker is missed between the two.
        for address in self._client.scheduler_info(n_workers=-1)["workers"]:
            self._idle[address] = None

    def _send(self) -> None:
        if self._stopped:
            self._waiting.clear()  # of items that lost their worker
        while self._waiting and self._idle:
            if self._limit is not None and len(self._running) >= self._limit:
                return
            # The worker that is idle for the longest time.
            worker = next(iter(self._idle))
            del self._idle[worker]
            self._submit(self._waiting.popleft(), worker)

    def _submit(self, item: Item, worker: str) -> None:
        key = f"thorax-{uuid.uuid4().hex}"
        self._started(item, worker)
        run = self._running[key] = _Run(item, worker)
        future = self._client.submit(
            work_and_send,
            pickle.dumps((self._work, item)),
            self._topic,
            key=key,
            workers=[worker],
            allow_other_workers=False,
            pure=False,
        )
        run.future = future
        future.add_done_callback(lambda done: self._events.put(("end", done)))

    def _take(self, timeout_s: float) -> list[Ended[Item, Result]]:
        """Handle all events that are there; wait for the first one."""
        ended: list[Ended[Item, Result]] = []
        try:
            kind, event = self._events.get(timeout=timeout_s)
            while True:
                ended += self._handle(kind, event)
                kind, event = self._events.get_nowait()
        except Empty:
            return ended

    def _handle(self, kind: str, event: Any) -> Sequence[Ended[Item, Result]]:
        if kind == "end":
            return self._on_end(event)
        if kind == "own":
            if LEAVING in event:
                self._leave(event[LEAVING])
            elif event[KEY] in self._running:
                self._results[event[KEY]] = event[RESULT]
        elif event.get("action") == "add-worker":
            self._join(event["worker"])
        elif event.get("action") == "remove-worker":
            return self._on_removal(event)
        return ()

    def _join(self, worker: str) -> None:
        busy = any(run.worker == worker for run in self._running.values())
        self._leaving.discard(worker)
        self._unfit.pop(worker, None)
        if not busy:
            self._idle[worker] = None

    def _leave(self, worker: str) -> None:
        self._leaving.add(worker)
        self._idle.pop(worker, None)

    def _on_removal(self, event: dict[str, Any]) -> Sequence[Ended[Item, Result]]:
        worker = event["worker"]
        expected = event["expected"] or worker in self._leaving
        self._leaving.discard(worker)
        self._unfit.pop(worker, None)
        self._idle.pop(worker, None)
        key = next((key for key, run in self._running.items() if run.worker == worker), "")
        if key in self._results:
            return self._finish(key)
        blamed = key in event["processing-tasks"] and not expected
        return self._lose(key, blamed=blamed) if key else ()

    def _on_end(self, future: "Future") -> Sequence[Ended[Item, Result]]:
        key = str(future.key)
        if key not in self._running:
            return ()
        worker = self._running[key].worker
        if key in self._results:
            ended = self._finish(key)
            self._release(worker)
            return ended
        if future.status != "error":
            raise self._gone()
        return self._on_error(key, future)

    def _on_error(self, key: str, future: "Future") -> Sequence[Ended[Item, Result]]:
        """Handle work that could not begin, or a worker that the scheduler gave up."""
        from distributed import KilledWorker

        error = future.exception(timeout=10)
        if isinstance(error, KilledWorker):
            return self._lose(key, blamed=True)
        if self._running[key].worker in self._leaving:
            return self._lose(key, blamed=False)
        run = self._running.pop(key)
        reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        self._unfit[run.worker] = reason
        self._cluster.note(f"worker {run.worker} is not used any more: {reason}")
        lost = self._lost.setdefault(run.item, LostWorkers())
        lost.unfit.append(run.worker)
        if lost.is_unfit or self._nobody_can:
            return [Ended(run.item, None, reason, run.worker)]
        self._waiting.appendleft(run.item)
        return ()

    @property
    def _nobody_can(self) -> bool:
        return bool(self._unfit) and not self._idle and not self._running

    def _finish(self, key: str) -> Sequence[Ended[Item, Result]]:
        run = self._running.pop(key)
        self._lost.pop(run.item, None)
        return [Ended(run.item, pickle.loads(self._results.pop(key)), "", run.worker)]

    def _lose(self, key: str, *, blamed: bool) -> Sequence[Ended[Item, Result]]:
        """Repeat an item whose worker ended, unless it killed too many."""
        run = self._running.pop(key)
        if run.future is not None:
            run.future.cancel()
        lost = self._lost.setdefault(run.item, LostWorkers())
        (lost.killed if blamed else lost.left).append(run.worker)
        if error := lost.error(self._attempts):
            return [Ended(run.item, None, error, run.worker)]
        cause = "ended unexpectedly" if blamed else "left the cluster"
        self._cluster.note(f"worker {run.worker} {cause}; {self._name(run.item)} is started again")
        self._waiting.appendleft(run.item)
        return ()

    def _release(self, worker: str) -> None:
        if worker not in self._leaving:
            self._idle[worker] = None

    def _check(self) -> None:
        """Look at the connection and at the workers after some time without a result."""
        if self._client.status != "running":
            raise self._gone()
        if self._waiting and self._nobody_can:
            reason = next(iter(self._unfit.values()))
            raise InputError(f"no worker of the cluster {self._cluster.name} can do this: {reason}")
        if len(self) and not self._idle and not self._running:
            if self._silence.note_is_due():
                self._cluster.note(
                    f"there is no worker in the cluster {self._cluster.name} since "
                    f"{self._silence.seconds:.0f} s; waiting. Look at the queue of the batch "
                    "system, or start workers; Ctrl-C ends this"
                )
        elif self._running and self._silence.note_is_due():
            self._note_paused()

    def _note_paused(self) -> None:
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        paused = [address for address, worker in workers.items() if worker["status"] == "paused"]
        if paused:
            self._cluster.note(
                f"{len(paused)} workers pause because their memory is full: {', '.join(paused)}; "
                "give each worker more memory"
            )

    def _gone(self) -> InputError:
        return InputError(
            f"the scheduler of the cluster {self._cluster.name} has gone; what has ended is kept: "
            "start the cluster, and the same command goes on"
        )
