"""Runs are brought to their end, whatever the queue held before and whatever becomes of workers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from thorax.experiments.queue import Status, Task
from thorax.experiments.runner import Rest, run_all
from thorax.experiments.runs import Run

RUNS = [Run(name, (f"loss={name}",), {"loss": name}) for name in ("bce", "dice")]


@dataclass
class ScriptedQueue:
    """A queue in memory; each pause of the watcher plays the next step of a script."""

    steps: list[Callable[["ScriptedQueue"], None]] = field(default_factory=list)
    held: dict[str, Task] = field(default_factory=dict)
    results: set[str] = field(default_factory=set)
    workers: set[str] | None = field(default_factory=set)
    calls: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    jobs: int = 1
    prepared: str = ""

    def finished(self) -> dict[str, str]:
        return {name: f"refs/exps/{name}" for name in self.results}

    def locked(self, stage: str) -> dict[str, str]:
        return {"dataset": self.prepared} if stage == "prepare" and self.prepared else {}

    def tasks(self) -> dict[str, Task]:
        return dict(self.held)

    def in_work(self) -> set[str] | None:
        return self.workers

    def add(self, run: Run) -> None:
        self.calls.append(f"add {run.name}")
        self.put(run.name, "Queued")

    def start(self, jobs: int) -> None:
        self.calls.append(f"start {jobs}")

    def drop(self, names: Sequence[str]) -> None:
        self.calls += [f"drop {name}" for name in names]
        for name in names:
            del self.held[name]

    def interrupt(self, names: Sequence[str]) -> bool:
        self.calls += [f"interrupt {name}" for name in names]
        for name in names:
            self.put(name, "Failed")
        return True

    def last_words(self, name: str) -> list[str]:
        return [f"the end of {name}"]

    def put(self, name: str, status: Status, log: Path | None = None) -> None:
        self.held[name] = Task(status, f"stash-{name}", log)

    def finish(self, name: str) -> None:
        self.put(name, "Success")
        self.results.add(name)

    def finish_all(self) -> None:
        for name in list(self.held):
            self.finish(name)

    def run(self) -> dict[str, list[str]]:
        steps = iter(self.steps)

        def pause() -> None:
            next(steps)(self)

        return run_all(RUNS, self, jobs=self.jobs, tell=self.said.append, pause=pause)  # type: ignore[arg-type]


def nothing(_: ScriptedQueue) -> None:
    pass


def finishing(*names: str) -> Callable[[ScriptedQueue], None]:
    return lambda queue: [queue.finish(name) for name in names] and None


def putting(name: str, status: Status) -> Callable[[ScriptedQueue], None]:
    return lambda queue: queue.put(name, status)


def test_runs_are_queued_started_and_waited_for() -> None:
    queue = ScriptedQueue([nothing, finishing("bce"), finishing("dice")])
    assert queue.run() == {}
    assert queue.calls == ["add bce", "add dice", "start 1"]
    assert queue.said[-2:] == ["bce: done, 1 to go", "dice: done, 0 to go"]


def test_records_that_each_run_makes_anew_are_told_of() -> None:
    runs = [replace(run, prepared={"dataset": "study"}) for run in RUNS]
    queue = ScriptedQueue([ScriptedQueue.finish_all], prepared="phantom")
    run_all(runs, queue, jobs=1, tell=queue.said.append, pause=queue.finish_all)  # type: ignore[arg-type]
    assert queue.said[1] == "Note: each run prepares study anew; run `dvc repro prepare` once"


def test_looking_takes_a_fiftieth_of_the_time() -> None:
    """Looks of 0.01, 0.2 and 5 seconds of CPU."""
    taken, slept = iter([0.0, 0.01, 0.01, 0.21, 0.21, 5.21, 5.21]), list[float]()
    rest = Rest(lambda: next(taken), slept.append)
    for _ in range(3):
        rest()
    assert slept == pytest.approx([2.0, 10.0, 30.0])


def test_cores_are_shared_among_the_runs_that_there_are() -> None:
    queue = ScriptedQueue([ScriptedQueue.finish_all], jobs=8)
    queue.run()
    assert queue.calls == ["add bce", "add dice", "start 2"]


@pytest.mark.parametrize(
    ("others", "are"),
    [(("lovasz",), "1 in DVC's queue is"), (("lovasz", "focal"), "2 in DVC's queue are")],
)
def test_what_another_command_left_in_the_queue_is_told_of(others: Sequence[str], are: str) -> None:
    queue = ScriptedQueue([ScriptedQueue.finish_all])
    for name in others:
        queue.put(name, "Queued")
    queue.put("failed", "Failed")
    queue.run()
    assert queue.said[1] == (
        f"Note: {are} of another command and will run too; "
        "`dvc queue remove --queued` takes what waits off"
    )


def test_what_is_done_is_not_run_again() -> None:
    queue = ScriptedQueue(results={"bce", "dice"})
    assert queue.run() == {}
    assert queue.calls == []
    assert queue.said == ["2 runs, 2 of them done already"]


def test_what_is_on_its_way_is_only_waited_for() -> None:
    queue = ScriptedQueue([finishing("bce", "dice")], workers={"stash-bce"})
    queue.put("bce", "Running")
    queue.put("dice", "Queued")
    assert queue.run() == {}
    assert queue.calls == ["start 1"]


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ("Failed", "it failed before"),
        ("Running", "its worker was killed"),
        ("Success", "its experiment was removed, or never collected"),
    ],
)
def test_what_came_to_no_result_is_run_again(status: Status, why: str) -> None:
    queue = ScriptedQueue([finishing("bce", "dice")], workers=None)
    queue.put("bce", status)
    assert queue.run() == {}, why
    assert queue.calls == ["drop bce", "add bce", "add dice", "start 1"]


def test_a_failure_is_told_with_the_end_of_its_log_and_the_rest_goes_on() -> None:
    queue = ScriptedQueue([putting("bce", "Failed"), finishing("dice")])
    assert queue.run() == {"bce": ["the end of bce"]}
    assert queue.said[-2:] == ["bce: failed, 1 to go", "dice: done, 0 to go"]


def test_a_success_without_a_result_is_a_failure() -> None:
    queue = ScriptedQueue([putting("bce", "Success"), finishing("dice")])
    assert list(queue.run()) == ["bce"]


def test_a_result_counts_while_dvc_still_tidies_up() -> None:
    queue = ScriptedQueue([lambda one: one.results.update({"bce", "dice"})])
    queue.put("bce", "Running")
    assert queue.run() == {}


def test_a_worker_that_is_gone_is_started_again_and_then_given_up() -> None:
    queue = ScriptedQueue([nothing] * 30, workers=None)
    failures = queue.run()
    assert list(failures) == ["bce", "dice"]
    assert failures["bce"][-1] == "no worker of DVC's queue is at it any more"
    # One at first, and two after checks that found none.
    assert queue.calls.count("start 1") == 3


def test_a_run_that_waits_long_for_a_living_worker_is_not_given_up() -> None:
    queue = ScriptedQueue([nothing] * 100 + [finishing("bce", "dice")])
    assert queue.run() == {}


def test_each_epoch_is_told_once(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def train(epoch: int) -> Callable[[ScriptedQueue], None]:
        def step(queue: ScriptedQueue) -> None:
            log.write_text(
                f"Running stage\nepoch {epoch}/2  loss 0.5\n\rpredict: 10%\rpredict: 20%"
            )
            queue.put("bce", "Running", log)

        return step

    queue = ScriptedQueue([train(1), train(1), train(2), finishing("bce", "dice")])
    queue.run()
    epochs = [line for line in queue.said if "epoch" in line]
    assert epochs == ["bce: epoch 1/2  loss 0.5", "bce: epoch 2/2  loss 0.5"]


def interrupt(_: ScriptedQueue) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_takes_off_what_waits_and_stops_what_runs() -> None:
    queue = ScriptedQueue([putting("bce", "Running"), interrupt, nothing], workers={"stash-bce"})
    with pytest.raises(KeyboardInterrupt):
        queue.run()
    assert queue.calls == ["add bce", "add dice", "start 1", "drop dice", "interrupt bce"]
    assert queue.said[-1] == "stopped; the same command goes on from here"


def test_what_belongs_to_others_is_left_alone() -> None:
    queue = ScriptedQueue([interrupt])
    queue.put("mine", "Queued")
    with pytest.raises(KeyboardInterrupt):
        queue.run()
    assert list(queue.held) == ["mine"]


def test_what_does_not_stop_is_named() -> None:
    class Deaf(ScriptedQueue):
        def interrupt(self, names: Sequence[str]) -> bool:
            return False

    queue = Deaf([putting("bce", "Running"), interrupt, *[nothing] * 15])
    with pytest.raises(KeyboardInterrupt):
        queue.run()
    assert queue.said[-2] == "some did not stop yet: dvc queue kill --force bce"


def test_a_run_that_was_given_up_too_early_and_came_to_its_end_is_no_failure() -> None:
    """Its worker could not be asked, though it was at work; the other run takes longer."""
    running = putting("bce", "Running")
    queue = ScriptedQueue(
        [running, *[nothing] * 30, finishing("bce"), finishing("dice")], workers=set()
    )
    assert queue.run() == {}
    assert "bce: failed, 1 to go" in queue.said
