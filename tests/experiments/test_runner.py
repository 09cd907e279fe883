"""Runs are skipped, started in order and monitored; failures are collected."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from thorax.common.errors import InputError
from thorax.experiments.project import Snapshot
from thorax.experiments.runner import describe_failures, run_all
from thorax.experiments.runs import RunPlan
from thorax.experiments.tasks import Task

PLANS = [RunPlan(name, (f"loss={name}",), {"loss": name}) for name in ("bce", "dice")]
SNAPSHOT = Snapshot(commit="c0", tree="t0", state="s0")


@dataclass
class FakeProject:
    """A project in memory."""

    root: Path
    results: set[str] = field(default_factory=set)
    prepared: str = ""

    def finished(self) -> dict[str, str]:
        return {name: f"refs/exps/{name}" for name in self.results}

    def locked(self, stage: str) -> dict[str, str]:
        return {"dataset": self.prepared} if stage == "prepare" and self.prepared else {}

    def files(self, tree: str) -> list[str]:
        return []

    def check_data(self, datasets: Collection[str]) -> None:
        pass


@dataclass
class FakeRunner:
    """A task runner in memory; each pause of the scheduler plays the next step of a script."""

    project: FakeProject
    steps: list[Callable[["FakeRunner"], None]] = field(default_factory=list)
    plans: Sequence[RunPlan] = tuple(PLANS)
    jobs: int = 1
    tasks: dict[str, Task] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    output: list[str] = field(default_factory=list)

    def __call__(self, jobs: int) -> "FakeRunner":
        self.calls.append(f"jobs {jobs}")
        return self

    def start(self, task: Task) -> None:
        self.calls.append(f"start {task.name}")
        self.tasks[task.name] = task

    def poll(self, task: Task) -> int | None:
        return self.ended.get(task.name)

    def stop(self) -> None:
        self.calls.append("stop")

    def finish(self, name: str) -> None:
        self.project.results.add(name)
        self.ended[name] = 0

    def write_log(self, name: str, text: str) -> None:
        self.tasks[name].folder.mkdir(parents=True, exist_ok=True)
        self.tasks[name].log.write_text(text)

    def run(self) -> dict[Task, list[str]]:
        steps = iter(self.steps)
        return run_all(
            self.plans,
            self.project,  # type: ignore[arg-type]
            SNAPSHOT,
            runner=self,
            jobs=self.jobs,
            report=self.output.append,
            pause=lambda: next(steps)(self),
        )


@pytest.fixture
def project(tmp_path: Path) -> FakeProject:
    return FakeProject(tmp_path)


def nothing(_: FakeRunner) -> None:
    pass


def finishing(*names: str) -> Callable[[FakeRunner], None]:
    return lambda runner: [runner.finish(name) for name in names] and None


def ending(name: str, status: int, log: str = "") -> Callable[[FakeRunner], None]:
    def step(runner: FakeRunner) -> None:
        runner.write_log(name, log)
        runner.ended[name] = status

    return step


def test_runs_are_started_in_order_and_awaited(project: FakeProject) -> None:
    runner = FakeRunner(project, [nothing, finishing("bce"), finishing("dice")])
    assert runner.run() == {}
    assert runner.calls == ["jobs 1", "start bce", "start dice", "stop"]
    assert runner.output == [
        "2 runs, 0 of them finished already",
        "bce: started",
        "bce: finished, 1 to go",
        "dice: started",
        "dice: finished, 0 to go",
    ]


def test_a_task_has_the_content_of_the_snapshot(project: FakeProject) -> None:
    runner = FakeRunner(project, [finishing("bce"), finishing("dice")])
    runner.run()
    assert runner.tasks["dice"] == Task("dice", ("loss=dice",), str(project.root), "c0", "t0")


def test_two_runs_at_a_time_are_started_together(project: FakeProject) -> None:
    focal = RunPlan("focal", ("loss=focal",), {})
    steps = [nothing, finishing("dice"), finishing("bce", "focal")]
    runner = FakeRunner(project, steps, plans=[*PLANS, focal], jobs=2)
    assert runner.run() == {}
    assert runner.calls == ["jobs 2", "start bce", "start dice", "start focal", "stop"]
    assert runner.output[3:5] == ["dice: finished, 2 to go", "focal: started"]


def test_cores_are_shared_among_the_unfinished_runs(project: FakeProject) -> None:
    runner = FakeRunner(project, [finishing("bce", "dice")], jobs=8)
    runner.run()
    assert runner.calls[0] == "jobs 2"


def test_finished_runs_are_skipped(project: FakeProject) -> None:
    project.results = {"bce", "dice"}
    runner = FakeRunner(project)
    assert runner.run() == {}
    assert runner.calls == []
    assert runner.output == ["2 runs, 2 of them finished already"]


def test_only_unfinished_runs_are_started(project: FakeProject) -> None:
    project.results = {"bce"}
    runner = FakeRunner(project, [finishing("dice")])
    assert runner.run() == {}
    assert runner.calls == ["jobs 1", "start dice", "stop"]
    assert runner.output[0] == "2 runs, 1 of them finished already"


def test_a_failure_is_reported_with_the_end_of_its_log_and_the_others_continue(
    project: FakeProject,
) -> None:
    log = "first\nsecond\nthird\nfourth\n\rERROR: out of memory\n"
    runner = FakeRunner(project, [ending("bce", 255, log), finishing("dice")])
    failures = runner.run()
    assert {task.name: lines for task, lines in failures.items()} == {
        "bce": ["second", "third", "fourth", "ERROR: out of memory"]
    }
    assert runner.output[2:] == [
        "bce: failed, 1 to go",
        "dice: started",
        "dice: finished, 0 to go",
    ]
    folder = project.root / ".dvc/tmp/exps/thorax/bce"
    assert describe_failures(failures, 2).splitlines()[:3] == [
        "1 of 2 runs failed; the same command runs it again:",
        f"  bce (log: {folder}/log)",
        "    second",
    ]


def test_several_failures_are_run_again_together(project: FakeProject) -> None:
    runner = FakeRunner(project, [ending("bce", 1, "no"), ending("dice", 1, "no")])
    assert describe_failures(runner.run(), 2).startswith(
        "2 of 2 runs failed; the same command runs them again:\n"
    )


@pytest.mark.parametrize("status", [0, -9])
def test_an_end_without_result_and_log_is_a_failure(project: FakeProject, status: int) -> None:
    runner = FakeRunner(project, [ending("bce", status), finishing("dice")])
    assert list(runner.run().values()) == [[f"exit status {status}, the log is empty"]]


def test_a_result_counts_whatever_the_exit_status(project: FakeProject) -> None:
    def fail_after_the_result(runner: FakeRunner) -> None:
        runner.finish("bce")
        runner.ended["bce"] = 1

    assert FakeRunner(project, [fail_after_the_result, finishing("dice")]).run() == {}


def test_each_epoch_is_reported_once(project: FakeProject) -> None:
    def train(epoch: int) -> Callable[[FakeRunner], None]:
        text = f"Running stage\nepoch {epoch}/2  loss 0.5\n\rpredict: 10%\rpredict: 20%"
        return lambda runner: runner.write_log("bce", text)

    runner = FakeRunner(
        project, [train(1), train(1), train(2), finishing("bce"), finishing("dice")]
    )
    runner.run()
    epochs = [line for line in runner.output if "epoch" in line]
    assert epochs == ["bce: epoch 1/2  loss 0.5", "bce: epoch 2/2  loss 0.5"]


def test_records_that_each_run_would_prepare_are_reported(project: FakeProject) -> None:
    project.prepared = "phantom"
    plans = [replace(plan, prepared={"dataset": "study"}) for plan in PLANS]
    runner = FakeRunner(project, [finishing("bce"), finishing("dice")], plans=plans)
    runner.run()
    assert runner.output[1] == "Note: each run would prepare study; run `dvc repro prepare` once"


def test_nothing_is_started_if_an_input_is_missing(
    project: FakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(runs: Sequence[RunPlan], *_: object) -> None:
        raise InputError(f"{runs[0].name} lacks its data")

    monkeypatch.setattr("thorax.experiments.runner.check_inputs", refuse)
    project.results = {"bce"}
    runner = FakeRunner(project)
    with pytest.raises(InputError, match="dice lacks its data"):
        runner.run()
    assert runner.calls == []


def interrupt(_: FakeRunner) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_stops_running_tasks_and_starts_no_others(project: FakeProject) -> None:
    runner = FakeRunner(project, [interrupt])
    with pytest.raises(KeyboardInterrupt):
        runner.run()
    assert runner.calls == ["jobs 1", "start bce", "stop"]
    assert runner.output[-1] == "stopping; this takes some seconds"


def test_an_error_stops_running_tasks(project: FakeProject) -> None:
    def lose_the_disk(_: FakeRunner) -> None:
        raise OSError("no space")

    runner = FakeRunner(project, [lose_the_disk])
    with pytest.raises(OSError, match="no space"):
        runner.run()
    assert runner.calls[-1] == "stop"
