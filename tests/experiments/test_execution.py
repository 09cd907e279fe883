"""The real DVC and git, on a project whose one stage writes scores without training anything.

Each run takes about three seconds, most of it in DVC.
"""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from .projects import add_start_weights, commit, run, start_git

ROOT = Path(__file__).parents[2]
PIPELINE = """
stages:
  score:
    cmd: python score.py
    deps: [score.py]
    params: [loss, network, seed, split]
    outs: [reports/scores.csv: {cache: false}]
"""
# Notes its starts; fails, or takes five minutes, while a file requests it.
STAGE = """
import os, sys, time
from pathlib import Path
import yaml

params, notes = yaml.safe_load(Path("params.yaml").read_text()), Path({notes!r})
loss, fold = params["loss"], params["split"]["fold"]
with (notes / "starts").open("a") as starts:
    print(loss, params["seed"], file=starts)
(notes / "threads").write_text(os.environ.get("TF_NUM_INTRAOP_THREADS", "all"))
(notes / "processes").write_text(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
if Path("models/initial/spec.json").exists():
    (notes / "weights").touch()
print("epoch 1/1  loss 0.5", file=sys.stderr, flush=True)
if (notes / "slow").exists():
    try:
        time.sleep(300)
    except KeyboardInterrupt:
        (notes / "interrupted").touch()
        raise
if (notes / f"no {{loss}}").exists():
    sys.exit(f"thorax: no luck with {{loss}}")
time.sleep(1)
Path("reports").mkdir(exist_ok=True)
Path("reports/scores.csv").write_text(f'''\\
case,region,dice,iou,truth_ml,predicted_ml,ceiling_dice
case_{{fold}},lung,0.{{len(loss)}},0.25,10,9,0.99
''')
"""
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_dvc_settings")]

SWEEP = ("sweep", "-S", "loss=bce,dice")


@pytest.fixture
def project(tmp_path: Path, notes: Path) -> Path:
    return make_project(tmp_path / "repository", notes)


def make_project(root: Path, notes: Path) -> Path:
    """Make a project under git and DVC, and return it."""
    root.mkdir()
    start_git(root)
    fill(root, notes)
    return root


def fill(root: Path, notes: Path, *options: str) -> None:
    shutil.copy(ROOT / "params.yaml", root)
    (root / "score.py").write_text(STAGE.format(notes=str(notes)))
    (root / "dvc.yaml").write_text(PIPELINE)
    (root / "data/phantom").mkdir(parents=True)
    (root / "data/phantom/dataset.yaml").write_text("regions: {lung: [1]}\n")
    (root / "data/phantom/dvc.yaml").write_text("stages: {}\n")
    run(root, sys.executable, "-m", "dvc", "init", "--quiet", *options)
    commit(root)


def start(root: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "thorax.cli", *arguments],
        cwd=root,
        # DVC and Python must work without an activated environment.
        env={
            **os.environ,
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT / "src"),
            # As in a step of SLURM with three workers, each of which executes its own runs.
            "SLURM_STEP_NUM_TASKS": "3",
            "SLURM_PROCID": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], *, status: int = 0) -> tuple[str, str]:
    out, err = process.communicate(timeout=240)
    assert process.returncode == status, err
    return out, err


def wait_for_epochs(process: subprocess.Popen[str], count: int = 1) -> None:
    assert process.stderr
    epochs = (line for line in process.stderr if "epoch 1/1" in line)
    assert [bool(next(epochs, "")) for _ in range(count)] == [True] * count


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen within a minute")


def starts(notes: Path) -> list[str]:
    return sorted((notes / "starts").read_text().splitlines())


def processes_in(folder: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cwd"])
        if str(folder) in str(process.info["cwd"]) and process.status() != psutil.STATUS_ZOMBIE
    ]


def copies(project: Path) -> list[Path]:
    return list((project / ".dvc/tmp/exps/thorax").glob("*/project"))


# Four runs
def test_the_same_command_runs_only_what_failed_and_what_is_new(project: Path, notes: Path) -> None:
    (notes / "no dice").touch()
    add_start_weights(project)
    with (project / "score.py").open("a") as source:
        source.write("print('uncommitted')\n")
    before = run(project, "git", "status", "--porcelain")
    out, err = finish(start(project, *SWEEP, "--jobs", "2"), status=1)
    assert out == "mean Dice by region\nloss    lung\nbce   0.3000\ndice  failed\n"
    assert "1 of 2 runs failed; the same command runs it again:\n  sweep-" in err
    assert "    thorax: no luck with dice\n" in err
    assert (notes / "weights").exists()
    assert (notes / "threads").read_text() == str(max(1, len(os.sched_getaffinity(0)) // 2))
    assert (notes / "processes").read_text() == "1"
    (notes / "no dice").unlink()
    out, err = finish(start(project, *SWEEP, "-S", "seed=0", "--csv", "../sweep.csv"))
    assert out == "mean Dice by region\nloss    lung\nbce   0.3000\ndice  0.4000\n"
    assert err.startswith("2 runs, 1 of them finished already\n")
    rows = list(csv.DictReader((project.parent / "sweep.csv").read_text().splitlines()))
    assert [(row["loss"], row["dice_mean"], row["cases"]) for row in rows] == [
        ("bce", "0.3", "1"),
        ("dice", "0.4", "1"),
    ]
    out, err = finish(start(project, "sweep", "-S", "loss=bce", "-S", "seed=0,1"))
    assert err.startswith("2 runs, 1 of them finished already\n")
    assert starts(notes) == ["bce 0", "bce 1", "dice 0", "dice 0"]
    assert run(project, "git", "status", "--porcelain") == before
    assert copies(project) == []
    (log,) = project.glob(".dvc/tmp/exps/thorax/*-1/log")
    assert "uncommitted\n" in log.read_text()
    shown = run(project, sys.executable, "-m", "dvc", "exp", "list", "--name-only")
    assert sorted(name.rpartition("-")[2] for name in shown.split()) == ["1", "bce", "dice"]


# One run that starts
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_run_and_leaves_no_process(
    project: Path, notes: Path, number: signal.Signals
) -> None:
    (notes / "slow").touch()
    command = start(project, *SWEEP)
    wait_for_epochs(command)
    command.send_signal(number)
    out, err = finish(command, status=130)
    assert out == ""
    assert err.endswith("stopped; the same command resumes\n")
    assert (notes / "interrupted").exists()
    assert processes_in(project) == []
    assert copies(project) == []
    assert starts(notes) == ["bce 0"]


# Two runs that start, two that finish
def test_the_same_command_recovers_from_kills(project: Path, notes: Path) -> None:
    """A killed command stops its runs; what a killed run leaves is killed before it runs again."""
    (notes / "slow").touch()
    first = start(project, *SWEEP, "--jobs", "2")
    wait_for_epochs(first, 2)
    supervisors = psutil.Process(first.pid).children()
    (bce,) = [process for process in supervisors if "-bce" in str(process.cmdline())]
    (dice,) = [process for process in supervisors if "-dice" in str(process.cmdline())]
    orphans = bce.children(recursive=True)
    stopped = dice.children(recursive=True)
    assert len(orphans) >= 2
    bce.kill()
    first.kill()
    first.communicate()
    wait_until(lambda: not any(process.is_running() for process in [dice, *stopped]))
    assert any(process.is_running() for process in orphans)
    (notes / "slow").unlink()
    out, err = finish(start(project, *SWEEP, "--jobs", "2"))
    assert err.startswith("2 runs, 0 of them finished already\n")
    assert out == "mean Dice by region\nloss    lung\nbce   0.3000\ndice  0.4000\n"
    assert starts(notes) == ["bce 0", "bce 0", "dice 0", "dice 0"]
    assert not any(process.is_running() for process in orphans)
    assert copies(project) == []


# Two runs, in a project that is a subfolder of its repository
def test_two_commands_at_a_time_run_each_run_once(tmp_path: Path, notes: Path) -> None:
    project = tmp_path / "repository/chest"
    project.mkdir(parents=True)
    start_git(project.parent)
    fill(project, notes, "--subdir")
    commands = [start(project, *SWEEP), start(project, *SWEEP)]
    outputs = [finish(command)[0] for command in commands]
    assert outputs == ["mean Dice by region\nloss    lung\nbce   0.3000\ndice  0.4000\n"] * 2
    assert starts(notes) == ["bce 0", "dice 0"]
