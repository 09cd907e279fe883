"""The real DVC and git, on a project whose one stage writes scores without training anything."""

import csv
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from thorax.common.errors import InputError
from thorax.experiments.queue import Task, open_queue, tail

ROOT = Path(__file__).parents[2]
PIPELINE = """
stages:
  score:
    cmd: python score.py
    deps: [score.py]
    params: [loss, network, seed, split]
    outs: [reports/scores.csv: {cache: false}]
"""
# Notes its starts; fails, or takes a minute, while a file says so.
STAGE = """
import os, sys, time
from pathlib import Path
import yaml

params, told = yaml.safe_load(Path("params.yaml").read_text()), Path({told!r})
loss, fold = params["loss"], params["split"]["fold"]
with (told / "starts").open("a") as starts:
    print(loss, file=starts)
(told / "threads").write_text(os.environ.get("TF_NUM_INTRAOP_THREADS", "all"))
if Path("models/initial/spec.json").exists():
    (told / "weights").touch()
print("epoch 1/1  loss 0.5", file=sys.stderr, flush=True)
if (told / "slow").exists():
    time.sleep(60)
if (told / f"no {{loss}}").exists():
    sys.exit(f"thorax: no luck with {{loss}}")
Path("reports").mkdir(exist_ok=True)
Path("reports/scores.csv").write_text(f'''\\
case,region,dice,iou,truth_ml,predicted_ml,ceiling_dice
case_{{fold}},lung,0.{{len(loss)}},0.25,10,9,0.99
''')
"""
SWEEP = ("sweep", "-S", "loss=bce,dice")


@pytest.fixture(autouse=True)
def _own_dvc_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    for folder in ("GLOBAL_CONFIG", "SYSTEM_CONFIG", "SITE_CACHE"):
        monkeypatch.setenv(f"DVC_{folder}_DIR", str(tmp_path / "dvc" / folder))


@pytest.fixture
def told(tmp_path: Path) -> Path:
    (tmp_path / "told").mkdir()
    return tmp_path / "told"


@pytest.fixture
def project(tmp_path: Path, told: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    shutil.copy(ROOT / "params.yaml", root)
    (root / "score.py").write_text(STAGE.format(told=str(told)))
    (root / "dvc.yaml").write_text(PIPELINE)
    run(root, "git", "init", "--quiet")
    run(root, "git", "config", "user.name", "thorax")
    run(root, "git", "config", "user.email", "thorax@example.org")
    run(root, sys.executable, "-m", "dvc", "init", "--quiet")
    commit(root)
    return root


def run(root: Path, *command: str) -> str:
    return subprocess.check_output(command, cwd=root, text=True)


def commit(root: Path) -> None:
    run(root, "git", "add", ".")
    run(root, "git", "commit", "--quiet", "--message", "Start")


def start(root: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "thorax.cli", *arguments],
        cwd=root,
        # DVC and Python are found without an activated environment.
        env={**os.environ, "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], *, status: int = 0) -> tuple[str, str]:
    out, err = process.communicate(timeout=240)
    assert process.returncode == status, err
    return out, err


def add_start_weights(root: Path) -> None:
    """As a person does: a folder that git knows, files in it that git does not know."""
    (root / "models/initial").mkdir(parents=True)
    (root / "models/initial/README.md").touch()
    commit(root)
    (root / "models/initial/spec.json").write_text("{}")


def wait_for_epoch(process: subprocess.Popen[str]) -> None:
    assert process.stderr
    assert any("epoch 1/1" in line for line in process.stderr)


def starts(told: Path) -> list[str]:
    return (told / "starts").read_text().split()


def processes_in(folder: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cwd"])
        if str(folder) in str(process.info["cwd"]) and process.status() != psutil.STATUS_ZOMBIE
    ]


def test_a_failure_is_told_and_the_same_command_runs_it_again_alone(
    project: Path, told: Path
) -> None:
    (told / "no dice").touch()
    add_start_weights(project)
    out, err = finish(start(project, *SWEEP), status=1)
    assert out == "mean Dice by region\nloss    lung\nbce   0.3000\ndice  failed\n"
    assert "1 of 2 runs failed; the same command runs it again:\n  sweep-" in err
    assert "    thorax: no luck with dice\n" in err
    (told / "no dice").unlink()
    out, err = finish(start(project, *SWEEP, "--csv", "sweep.csv"))
    assert out == "mean Dice by region\nloss    lung\nbce   0.3000\ndice  0.4000\n"
    assert err.startswith("2 runs, 1 of them done already\n")
    assert starts(told) == ["bce", "dice", "dice"]
    assert (told / "weights").exists()
    rows = list(csv.DictReader((project / "sweep.csv").read_text().splitlines()))
    assert [(row["loss"], row["dice_mean"], row["cases"]) for row in rows] == [
        ("bce", "0.3", "1"),
        ("dice", "0.4", "1"),
    ]


def test_what_another_sweep_ran_is_not_run_again(project: Path, told: Path) -> None:
    finish(start(project, *SWEEP))
    out, err = finish(start(project, *SWEEP, "-S", "seed=0,1"))
    assert err.startswith("4 runs, 2 of them done already\n")
    assert sorted(starts(told)) == ["bce", "bce", "dice", "dice"]
    assert out == "mean Dice of lung: loss by seed\nloss       0       1\n" + (
        "bce   0.3000  0.3000\ndice  0.4000  0.4000\n"
    )


def test_two_runs_at_a_time_share_the_cores(project: Path, told: Path) -> None:
    finish(start(project, *SWEEP, "--jobs", "2"))
    assert (told / "threads").read_text() == str(max(1, len(os.sched_getaffinity(0)) // 2))


def test_how_cores_are_shared_is_left_to_who_says_it(
    project: Path, told: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "7")
    finish(start(project, *SWEEP, "--jobs", "2"))
    assert (told / "threads").read_text() == "7"


def test_a_worker_that_is_killed_leaves_nothing_behind_and_its_run_is_run_again(
    project: Path, told: Path
) -> None:
    (told / "slow").touch()
    first = start(project, *SWEEP)
    wait_for_epoch(first)
    first.kill()
    worker = project / ".dvc/tmp/exps/celery/dvc-exp-worker-1.pid"
    os.kill(int(worker.read_text()), signal.SIGKILL)
    first.communicate()
    orphans = processes_in(project)
    assert orphans
    (told / "slow").unlink()
    out, err = finish(start(project, *SWEEP))
    assert err.startswith("2 runs, 0 of them done already\n")
    assert "failed" not in out
    assert sorted(starts(told)) == ["bce", "bce", "dice"]
    assert not set(orphans) & set(processes_in(project))
    assert list((project / ".dvc/tmp/exps").glob("tmp*")) == []


def test_ctrl_c_stops_the_run_and_empties_the_queue(project: Path, told: Path) -> None:
    (told / "slow").touch()
    training = start(project, *SWEEP)
    wait_for_epoch(training)
    training.send_signal(signal.SIGINT)
    out, err = finish(training, status=130)
    assert out == ""
    assert err.endswith("stopped; the same command goes on from here\n")
    with open_queue(project) as queue:
        assert [task.status for task in queue.tasks().values()] == ["Failed"]
    assert starts(told) == ["bce"]


# The state of the project


def state(root: Path) -> str:
    with open_queue(root) as queue:
        return queue.state()


def test_the_state_is_that_of_the_commit_and_of_the_source(project: Path) -> None:
    before = state(project)
    assert state(project) == before
    source = project / "score.py"
    source.write_text(f"{source.read_text()}# Changed.\n")
    changed = state(project)
    commit(project)
    assert len({before, changed, state(project)}) == 3


def test_the_parameters_of_the_last_preparation_are_read(project: Path) -> None:
    with open_queue(project) as queue:
        assert queue.locked("prepare") == {}
        (project / "dvc.lock").write_text(
            "schema: '2.0'\nstages:\n  prepare:\n    cmd: x\n    params:\n      params.yaml:\n"
            "        dataset: ward\n        prepare: {canvas: 64}\n"
        )
        assert queue.locked("prepare") == {"dataset": "ward", "prepare": {"canvas": 64}}
        (project / "dvc.lock").write_text("schema: [")
        assert queue.locked("prepare") == {}


def test_start_weights_that_git_does_not_know_change_the_state(project: Path) -> None:
    add_start_weights(project)
    before = state(project)
    (project / "models/initial/spec.json").write_text('{"canvas": 128}')
    assert state(project) != before


def test_what_the_pipeline_makes_does_not_change_the_state(project: Path) -> None:
    for name in ("reports/scores.csv", "dvc.lock"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text("schema: '2.0'\n")
    commit(project)
    before = state(project)
    for name in ("reports/scores.csv", "dvc.lock", "params.yaml"):
        (project / name).write_text("schema: '2.0'\nstages: {}\n")
    (project / "notes.txt").touch()
    assert state(project) == before


# Who is at work


REVISION, WAITING = "a" * 40, "b" * 40
SLEEP = "import time; time.sleep(60)"
WORKER = "import subprocess, sys; {child}; print(flush=True); " + SLEEP
AT_IT = f"subprocess.Popen([sys.executable, '-c', '{SLEEP}', '/run/{REVISION}.run'])"


@pytest.fixture
def start_worker(project: Path) -> Iterator[Callable[..., psutil.Popen]]:
    """Return a function that starts something which DVC would take for a worker of the queue."""
    started: list[psutil.Popen] = []

    def begin(child: str = "...", word: str = "queue-worker", at: Path = project) -> psutil.Popen:
        number = hashlib.sha256(str(at / ".dvc/tmp/exps/celery").encode()).hexdigest()[:6]
        words = [word, f"dvc-exp-{number}-1@localhost"]
        command = [sys.executable, "-c", WORKER.format(child=child), *words]
        process = psutil.Popen(command, stdout=subprocess.PIPE, text=True)
        process.stdout.readline()
        started.append(process)
        return process

    yield begin
    for process in started:
        with suppress(psutil.Error):
            for one in [*process.children(), process]:
                one.kill()
        process.wait()
        process.stdout.close()


def test_a_worker_is_at_what_it_has_a_process_for(
    project: Path, start_worker: Callable[..., psutil.Popen]
) -> None:
    with open_queue(project) as queue:
        assert queue.in_work() is None
        worker = start_worker(AT_IT)
        assert queue.in_work() == {REVISION}
        for process in [*worker.children(), worker]:
            process.kill()
        worker.wait()
        assert queue.in_work() is None


def test_a_worker_without_a_process_may_be_at_anything_that_runs(
    project: Path, start_worker: Callable[..., psutil.Popen], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sets up a run, or collects what one has left."""
    tasks = {
        "cv-0": Task("Running", REVISION, None),
        "cv-1": Task("Queued", WAITING, None),
    }
    with open_queue(project) as queue:
        monkeypatch.setattr(queue, "tasks", lambda: tasks)
        start_worker()
        assert queue.in_work() == {REVISION}


def test_workers_of_other_projects_and_other_processes_do_not_count(
    project: Path, start_worker: Callable[..., psutil.Popen]
) -> None:
    start_worker(at=project.parent)
    start_worker(word="something-else")
    with open_queue(project) as queue:
        assert queue.in_work() is None


# Where nothing can be queued


def refusal(root: Path) -> str:
    with pytest.raises(InputError) as refused, open_queue(root):
        pass
    return str(refused.value)


def test_a_folder_that_is_no_project_is_refused(tmp_path: Path) -> None:
    said = "runs are queued in the top folder of a project, one with .dvc and params.yaml, got "
    assert refusal(tmp_path) == f"{said}{tmp_path}"


def test_a_project_without_git_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "params.yaml").touch()
    assert refusal(tmp_path).startswith("DVC's experiments need a project under git, but git says")


def test_a_project_without_a_commit_is_refused(tmp_path: Path) -> None:
    run(tmp_path, "git", "init", "--quiet")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "params.yaml").touch()
    assert refusal(tmp_path).startswith("runs start from a commit; make a first one, but git says")


def test_what_dvc_refuses_is_told_in_its_words(project: Path) -> None:
    from thorax.experiments.runs import Run

    with open_queue(project) as queue, pytest.raises(InputError) as refused:
        queue.add(Run("one", ("nothing.like=that",), {}))
    assert "Could not override 'nothing.like'" in str(refused.value)


# Logs


def test_the_tail_of_a_log_has_the_last_state_of_progress_bars(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\n\n\r 10%\r 20%\r\ntwo \xff\n")
    assert tail(log) == ["one", "20%", "two \ufffd"]


def test_a_log_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    assert tail(tmp_path / "log") == []


def test_a_task_without_a_log_is_told_of_by_its_workers(project: Path) -> None:
    with open_queue(project) as queue:
        assert queue.last_words("one") == ["it left no log"]
        (project / ".dvc/tmp/exps/celery").mkdir(parents=True, exist_ok=True)
        (project / ".dvc/tmp/exps/celery/dvc-exp-worker-1.out").write_text("no memory\n")
        assert queue.last_words("one") == ["no memory"]
