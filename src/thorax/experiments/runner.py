"""Schedule runs: skip those that have a result, execute the others, collect failures."""

import re
import time
from collections.abc import Callable, Mapping, Sequence

from thorax.experiments.inputs import check_inputs
from thorax.experiments.project import Project, Snapshot
from thorax.experiments.runs import RunPlan, advice_on_records
from thorax.experiments.tasks import Task, TaskRunner, log_tail

Report = Callable[[str], None]

_EPOCH = re.compile(r"epoch \d+/\d+\b")
_TAIL_LINES = 4


def run_all(
    plans: Sequence[RunPlan],
    project: Project,
    snapshot: Snapshot,
    *,
    runner: Callable[[int], TaskRunner],
    jobs: int,
    report: Report,
    started: str = "started",
    pause: Callable[[], None] = lambda: time.sleep(1),
) -> dict[Task, list[str]]:
    """Execute the runs that have no result yet, and wait for them.

    Ctrl-C, or any other exception, stops the runs; the same call resumes them.

    Args:
        plans: Runs to execute, in this order.
        project: Project that stores their results.
        snapshot: Content of the project that all of them run with.
        runner: Returns a task runner for a number of parallel tasks.
        jobs: Maximum number of runs at a time.
        report: Prints a line.
        started: Describes a run that was given to the task runner.
        pause: Waits between two checks of the runs.

    Returns:
        Failed tasks, each with the end of its log.

    Raises:
        InputError: As `check_inputs`; nothing was started.
    """
    finished = project.finished()
    waiting = [plan for plan in plans if plan.name not in finished]
    report(f"{len(plans)} runs, {len(plans) - len(waiting)} of them finished already")
    if not waiting:
        return {}
    check_inputs(waiting, project, snapshot)
    if advice := advice_on_records(waiting, project.locked("prepare")):
        report(f"Note: {advice}")
    root, commit, tree = str(project.root), snapshot.commit, snapshot.tree
    tasks = [Task(plan.name, plan.overrides, root, commit, tree) for plan in waiting]
    # Fewer runs than jobs share all cores.
    jobs = min(jobs, len(tasks))
    schedule = _Schedule(tasks, project, runner(jobs), report, started=started)
    try:
        while schedule.advance(jobs):
            pause()
    except KeyboardInterrupt:
        report("stopping; this takes some seconds")
        raise
    finally:
        schedule.runner.stop()
    return schedule.failures


def describe_failures(failures: Mapping[Task, Sequence[str]], total: int) -> str:
    """List failed runs with the paths and the ends of their logs.

    Example:
        >>> failed = Task("cv-1a2b-fold3-seed0", (), "", "", "")
        >>> print(describe_failures({failed: ["out of memory"]}, 5))
        1 of 5 runs failed; the same command runs it again:
          cv-1a2b-fold3-seed0 (log: .dvc/tmp/exps/thorax/cv-1a2b-fold3-seed0/log)
            out of memory
    """
    again = "it" if len(failures) == 1 else "them"
    text = [f"{len(failures)} of {total} runs failed; the same command runs {again} again:"]
    for task, lines in failures.items():
        text += [f"  {task.name} (log: {task.log})", *(f"    {line}" for line in lines)]
    return "\n".join(text)


class _Schedule:
    """Starts tasks in order and monitors them until they end."""

    def __init__(
        self,
        tasks: Sequence[Task],
        project: Project,
        runner: TaskRunner,
        report: Report,
        *,
        started: str,
    ) -> None:
        self.runner = runner
        self.failures: dict[Task, list[str]] = {}
        self._waiting, self._running = list(tasks), list[Task]()
        self._project, self._report, self._started = project, report, started
        self._epochs: dict[Task, str] = {}

    def advance(self, jobs: int) -> bool:
        """Collect ended tasks and start others; return whether any task is left."""
        for task in list(self._running):
            status = self.runner.poll(task)
            if status is None:
                self._report_epoch(task)
            else:
                self._running.remove(task)
                self._collect(task, status)
        while self._waiting and len(self._running) < jobs:
            self._running.append(self._waiting.pop(0))
            self.runner.start(self._running[-1])
            self._report(f"{self._running[-1].name}: {self._started}")
        return bool(self._running)

    def _collect(self, task: Task, status: int) -> None:
        # A stored result counts, whatever the exit status.
        result = "finished" if task.name in self._project.finished() else "failed"
        if result == "failed":
            lines = log_tail(task.log)[-_TAIL_LINES:]
            self.failures[task] = lines or [f"exit status {status}, the log is empty"]
        self._report(f"{task.name}: {result}, {len(self._waiting) + len(self._running)} to go")

    def _report_epoch(self, task: Task) -> None:
        """Report the last epoch of a training, once."""
        epochs = [line for line in log_tail(task.log) if _EPOCH.match(line)]
        if epochs and self._epochs.get(task) != epochs[-1]:
            self._epochs[task] = epochs[-1]
            self._report(f"{task.name}: {epochs[-1]}")
