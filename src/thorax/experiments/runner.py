"""Schedule runs: skip those that have a result, execute the others, collect failures."""

import re
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from thorax.experiments.plan import RunPlan, advice_on_records
from thorax.experiments.project import Project, Snapshot
from thorax.experiments.tasks import Task, TaskRunner, log_tail

Report = Callable[[str], None]

_EPOCH = re.compile(r"epoch \d+/\d+\b")
_TAIL_LINES = 4


@dataclass(frozen=True)
class Failure:
    """A run without a result.

    Args:
        log: File with all that the run printed.
        lines: The end of it.
    """

    log: Path
    lines: tuple[str, ...]


def run_all(
    plans: Sequence[RunPlan],
    project: Project,
    snapshot: Snapshot,
    *,
    runner: Callable[[int], TaskRunner],
    jobs: int,
    report: Report,
    pause: Callable[[], None] = lambda: time.sleep(1),
) -> dict[str, Failure]:
    """Execute the runs that have no result yet, and wait for them.

    Ctrl-C, or any other exception, stops the runs; the same call resumes them.

    Args:
        plans: Runs to execute, in this order.
        project: Where their results are stored.
        snapshot: Content of the project that all of them run with.
        runner: Returns what executes so many tasks at a time.
        jobs: Number of runs at a time, at most.
        report: Prints a line.
        pause: Waits between two looks at the runs.

    Returns:
        Failures by the name of the run.

    Raises:
        InputError: Data were changed after `dvc add`.
    """
    finished = project.finished()
    waiting = [plan for plan in plans if plan.name not in finished]
    report(f"{len(plans)} runs, {len(plans) - len(waiting)} of them finished already")
    if not waiting:
        return {}
    project.check_data({str(plan.prepared["dataset"]) for plan in waiting if plan.prepared})
    if advice := advice_on_records(waiting, project.locked("prepare")):
        report(f"Note: {advice}")
    # The cores are shared among the runs that there are.
    jobs = min(jobs, len(waiting))
    tasks = [_task(plan, project, snapshot) for plan in waiting]
    schedule = _Schedule(tasks, project, runner(jobs), report=report)
    try:
        while schedule.advance(jobs):
            pause()
    except KeyboardInterrupt:
        report("stopping; this takes some seconds")
        raise
    finally:
        schedule.runner.stop()
    return schedule.failures


def describe_failures(failures: Mapping[str, Failure], total: int) -> str:
    """List failed runs with the paths and the ends of their logs.

    Example:
        >>> failure = Failure(Path("logs/1"), ("out of memory",))
        >>> print(describe_failures({"cv-1a2b-fold3-seed0": failure}, 5))
        1 of 5 runs failed; the same command runs it again:
          cv-1a2b-fold3-seed0 (log: logs/1)
            out of memory
    """
    again = "it" if len(failures) == 1 else "them"
    lines = [f"{len(failures)} of {total} runs failed; the same command runs {again} again:"]
    for name, failure in failures.items():
        lines.append(f"  {name} (log: {failure.log})")
        lines += [f"    {line}" for line in failure.lines]
    return "\n".join(lines)


class _Schedule:
    """Starts tasks in their order and follows them to their end."""

    def __init__(
        self, tasks: Sequence[Task], project: Project, runner: TaskRunner, *, report: Report
    ) -> None:
        self.runner = runner
        self.failures: dict[str, Failure] = {}
        self._waiting, self._running = deque(tasks), list[Task]()
        self._project, self._report = project, report
        self._epochs: dict[str, str] = {}

    def advance(self, jobs: int) -> int:
        """Collect what has ended, start what has room; return the number of runs to come."""
        for task in list(self._running):
            status = self.runner.poll(task)
            if status is None:
                self._report_epoch(task)
            else:
                self._running.remove(task)
                self._collect(task, status)
        while self._waiting and len(self._running) < jobs:
            task = self._waiting.popleft()
            self.runner.start(task)
            self._running.append(task)
            self._report(f"{task.name}: started")
        return self._remaining

    @property
    def _remaining(self) -> int:
        return len(self._waiting) + len(self._running)

    def _collect(self, task: Task, status: int) -> None:
        # The result counts, whatever a process ends with after it stored one.
        if task.name in self._project.finished():
            self._report(f"{task.name}: finished, {self._remaining} to go")
            return
        lines = log_tail(task.log)[-_TAIL_LINES:] or [f"exit status {status}, the log is empty"]
        self.failures[task.name] = Failure(task.log, tuple(lines))
        self._report(f"{task.name}: failed, {self._remaining} to go")

    def _report_epoch(self, task: Task) -> None:
        """Report the last epoch of a training, once."""
        epochs = [line for line in log_tail(task.log) if _EPOCH.match(line)]
        if epochs and self._epochs.get(task.name) != epochs[-1]:
            self._epochs[task.name] = epochs[-1]
            self._report(f"{task.name}: {epochs[-1]}")


def _task(plan: RunPlan, project: Project, snapshot: Snapshot) -> Task:
    return Task(
        plan.name, plan.overrides, str(project.root), commit=snapshot.commit, tree=snapshot.tree
    )
