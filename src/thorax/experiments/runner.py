"""Bringing runs to their end: what is there stays, what failed runs again, the rest is followed."""

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from thorax.experiments.queue import ExperimentQueue, Task, tail
from thorax.experiments.runs import Run, advice_on_records

Tell = Callable[[str], None]

Pause = Callable[[], None]

_EPOCH = re.compile(r"epoch \d+/\d+\b")

_LOOKS_A_CHECK = 10

_STRIKES = 3

_LOOKS_TO_STOP = 15


def _wait() -> None:
    time.sleep(2)


class Rest:
    """Waits between two looks at the queue, the longer the more a look takes from what runs.

    A look goes through all experiments, so it takes longer the more of them a project has.

    Args:
        clock: Seconds of CPU that this process has taken; what it took before counts for nothing.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.process_time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._seen = clock()

    def __call__(self) -> None:
        """Wait at least two seconds, at most thirty, else fifty times what was taken."""
        self._sleep(min(30.0, max(2.0, 50 * (self._clock() - self._seen))))
        self._seen = self._clock()


def run_all(
    runs: Sequence[Run],
    queue: ExperimentQueue,
    *,
    jobs: int,
    tell: Tell,
    pause: Pause | None = None,
) -> dict[str, list[str]]:
    """Run what has no result yet, and wait for it.

    A run that is done, queued or running already is left to itself, so that the command goes on
    where it was interrupted. Ctrl-C stops all runs of the command.

    Args:
        runs: What to run.
        queue: Where.
        jobs: How many at a time.
        tell: Says a line to whoever waits.
        pause: Waits between two looks at the queue; without one, as `Rest` does, but for two
            seconds once runs are to stop.

    Returns:
        The runs that failed, each with the end of its log.
    """
    try:
        watch = _Watch(_enqueue(runs, queue, tell), queue, tell)
        # The cores are shared among what runs, not among what might have.
        jobs = min(jobs, len(watch.open))
        if watch.open:
            queue.start(jobs)
        rest, looks = pause or Rest(), 0
        while watch.open:
            rest()
            watch.look()
            looks += 1
            if looks % _LOOKS_A_CHECK == 0:
                watch.check(jobs)
    except KeyboardInterrupt:
        _stop([run.name for run in runs], queue, tell=tell, pause=pause or _wait)
        raise
    # What was given up too early may have come to its end after all.
    done = queue.finished()
    return {name: words for name, words in watch.failures.items() if name not in done}


def describe_failures(failures: Mapping[str, Sequence[str]], total: int) -> str:
    """What to tell of failed runs: their names, the ends of their logs, where the rest is.

    Example:
        >>> print(describe_failures({"cv-1a2b-fold3-seed0": ["out of memory"]}, 5))
        1 of 5 runs failed; the same command runs it again:
          cv-1a2b-fold3-seed0 (all of its log: dvc queue logs cv-1a2b-fold3-seed0)
            out of memory
    """
    again = "it" if len(failures) == 1 else "them"
    lines = [f"{len(failures)} of {total} runs failed; the same command runs {again} again:"]
    for name, words in failures.items():
        lines.append(f"  {name} (all of its log: dvc queue logs {name})")
        lines += [f"    {word}" for word in words]
    return "\n".join(lines)


class _Watch:
    """Follows runs until each has a result or failed.

    Args:
        names: Of the runs.
        queue: Where they run.
        tell: Says a line to whoever waits.
    """

    def __init__(self, names: Sequence[str], queue: ExperimentQueue, tell: Tell) -> None:
        self.open = list(names)
        self.failures: dict[str, list[str]] = {}
        self._queue, self._tell = queue, tell
        self._told: dict[str, str] = {}
        self._strikes: Counter[str] = Counter()

    def look(self) -> None:
        """See what has come to its end, and tell how far the others are."""
        # In this order: what ends in between has its result by then.
        tasks, done = self._queue.tasks(), self._queue.finished()
        for name in list(self.open):
            task = tasks.get(name)
            if name in done:
                self.open.remove(name)
                self._tell(f"{name}: done, {len(self.open)} to go")
            elif task and task.status in ("Failed", "Success"):
                self._fail(name)
            elif task and task.log:
                self._tell_progress(name, tail(task.log))

    def check(self, jobs: int) -> None:
        """Give up runs that no worker is at; start workers if none lives.

        DVC has no word for a task whose worker was killed, and a worker may end just when a task
        is queued. One check may see a task between two folders, so it takes several.
        """
        tasks, at_work = self._queue.tasks(), self._queue.in_work()
        for name in list(self.open):
            alive = at_work is not None and _on_its_way(tasks.get(name), at_work)
            self._strikes[name] = 0 if alive else self._strikes[name] + 1
            if self._strikes[name] >= _STRIKES:
                self._fail(name, "no worker of DVC's queue is at it any more")
        if self.open and at_work is None:
            self._queue.start(jobs)

    def _fail(self, name: str, *reasons: str) -> None:
        self.open.remove(name)
        self.failures[name] = [*self._queue.last_words(name), *reasons]
        self._tell(f"{name}: failed, {len(self.open)} to go")

    def _tell_progress(self, name: str, lines: Sequence[str]) -> None:
        epochs = [line for line in lines if _EPOCH.match(line)]
        if epochs and self._told.get(name) != epochs[-1]:
            self._told[name] = epochs[-1]
            self._tell(f"{name}: {epochs[-1]}")


def _enqueue(runs: Sequence[Run], queue: ExperimentQueue, tell: Tell) -> list[str]:
    """Queue what is neither done nor on its way; names of all that is to be waited for."""
    tasks, done = queue.tasks(), queue.finished()
    waiting = [run for run in runs if run.name not in done]
    tell(f"{len(runs)} runs, {len(runs) - len(waiting)} of them done already")
    if not waiting:
        return []
    if advice := advice_on_records(waiting, queue.locked("prepare")):
        tell(f"Note: {advice}")
    if advice := _advice_on_others(tasks, runs):
        tell(f"Note: {advice}")
    at_work = queue.in_work() or set()
    fresh = [run for run in waiting if not _on_its_way(tasks.get(run.name), at_work)]
    queue.drop([run.name for run in fresh if run.name in tasks])
    for run in fresh:
        queue.add(run)
        tell(f"{run.name}: queued")
    return [run.name for run in waiting]


def _advice_on_others(tasks: Mapping[str, Task], runs: Sequence[Run]) -> str:
    """What to tell of runs that wait but are not of these, as of a command that was killed."""
    own = {run.name for run in runs}
    others = sum(task.status == "Queued" and name not in own for name, task in tasks.items())
    if not others:
        return ""
    return (
        f"{others} in DVC's queue {'is' if others == 1 else 'are'} of another command and will run "
        "too; `dvc queue remove --queued` takes what waits off"
    )


def _on_its_way(task: Task | None, at_work: set[str]) -> bool:
    if task is None:
        return False
    return task.status == "Queued" or (task.status == "Running" and task.revision in at_work)


def _stop(names: Sequence[str], queue: ExperimentQueue, *, tell: Tell, pause: Pause) -> None:
    tell("stopping; this takes some seconds")
    tasks = queue.tasks()
    queue.drop([name for name in names if name in tasks and tasks[name].status == "Queued"])
    reached: set[str] = set()
    for _ in range(_LOOKS_TO_STOP):
        tasks = queue.tasks()
        running = [name for name in names if name in tasks and tasks[name].status == "Running"]
        if not running:
            break
        # Once each: a second Ctrl-C would break off what a training saves.
        reached |= {name for name in running if name not in reached and queue.interrupt([name])}
        pause()
    else:
        tell(f"some did not stop yet: dvc queue kill --force {' '.join(running)}")
    tell("stopped; the same command goes on from here")
