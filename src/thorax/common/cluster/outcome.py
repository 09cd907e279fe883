"""The end of an item, the workers that it lost, and the time without any result."""

import time
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")

Result = TypeVar("Result")

_UNFIT = 2
"""Number of workers on which an item is tried that cannot begin there."""

_LEFT = 10
"""Number of workers that may leave during an item before it ends with an error."""


@dataclass(frozen=True)
class Ended(Generic[Item, Result]):
    """The end of an item.

    Args:
        item: The item.
        result: Its result; None if there is an error.
        error: Reason for which there is no result.
        worker: Address of the last worker.
    """

    item: Item
    result: Result | None
    error: str
    worker: str


@dataclass
class LostWorkers:
    """Addresses of the workers that an item lost.

    Args:
        killed: Workers that ended without notice.
        left: Workers that left with notice.
        unfit: Workers on which the work could not begin.
    """

    killed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    unfit: list[str] = field(default_factory=list)

    def error(self, attempts: int) -> str:
        """Return the reason not to try the item again; empty if it is tried again.

        Args:
            attempts: Number of workers that the item may kill.

        Example:
            >>> LostWorkers(["tcp://a:1"]).error(2)
            ''
            >>> LostWorkers(["tcp://a:1", "tcp://b:1"]).error(2).partition(",")[0]
            'its worker was killed twice (tcp://a:1'
        """
        if len(self.killed) >= attempts:
            times = {1: "once", 2: "twice"}.get(attempts, f"{attempts} times")
            return (
                f"its worker was killed {times} ({', '.join(self.killed)}), usually because memory "
                "ran out; give each worker more memory, and run this again"
            )
        if len(self.left) >= _LEFT:
            return (
                f"{_LEFT} workers left the cluster before it had ended; give the jobs of the "
                "workers more time, and run this again"
            )
        return ""

    @property
    def is_unfit(self) -> bool:
        """True if the item could not begin on too many workers."""
        return len(self.unfit) >= _UNFIT


class Silence:
    """Time since the last result, with notes after 1, 2, 4, … times the patience.

    Args:
        patience_s: Seconds before the first note.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self.end()

    def end(self) -> None:
        """Start again, because there was a result."""
        self._since, self._next_s = time.monotonic(), self._patience_s

    @property
    def seconds(self) -> float:
        """Seconds since the last result."""
        return time.monotonic() - self._since

    def note_is_due(self) -> bool:
        """Return whether a note is due, which is then taken as printed."""
        due = self.seconds >= self._next_s
        if due:
            self._next_s = max(2 * self._next_s, 1.0)
        return due
