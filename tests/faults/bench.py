"""Projects for fault tests: copies of a finished project without the outputs of one stage."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import yaml

from ..end_to_end.project import SMALL, Project, copy_of_the_working_tree

FAULTY = SMALL | {"train.epochs": 4, "train.pictures": 2}
STAGES = ("phantom", "prepare", "train", "export", "predict", "evaluate", "report")
COMMAND = "command"
"""`thorax predict` on the scans of the phantom."""
TIMED = ("reports/training.json", "reports/live/")
"""Files with times, which differ between runs."""
TIME_DEPENDENT = ("reports/report.html", "reports/report.md")
"""Files with the content of `training.json`."""
MEASURED = "data/audit/"
"""The audit is saved even if the dataset is rejected."""
PATIENCE_S = 300.0


@dataclass(frozen=True)
class Answer:
    """The result of a command.

    Args:
        status: Exit status; None if the command hung.
        output: Its stdout and stderr.
    """

    status: int | None
    output: str


@dataclass(frozen=True)
class Bench:
    """A finished project.

    Args:
        project: The project; it is never changed.
        folder: Folder for copies.
        seconds: Stage → duration.
    """

    project: Project
    folder: Path
    seconds: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def digests(self) -> dict[str, str]:
        return digests(self.project.root)

    def trial(self, stage: str) -> "Trial":
        """Copy the project in its state before a stage."""
        root = self.folder / "trial" / "project"
        shutil.rmtree(root.parent, ignore_errors=True)
        shutil.copytree(self.project.root, root, symlinks=True)
        undo(root, stage)
        return Trial(self, Project(root), stage)


@dataclass(frozen=True)
class Trial:
    """One fault in one stage.

    Args:
        bench: The finished project, as the reference.
        project: The copy that the fault damages.
        stage: Stage to run.
        prefix: Start of each command, to run it in a mount namespace.
        outside_path: Path of the project outside of that namespace, if it differs.
    """

    bench: Bench
    project: Project
    stage: str
    prefix: tuple[str, ...] = ()
    outside_path: Path | None = None

    @property
    def root(self) -> Path:
        return self.outside_path or self.project.root

    def start(self, command: Sequence[str], env: Mapping[str, str | None]) -> "Running":
        """Start a command in a new process group."""
        merged = {**self.project.environment(), **env}
        environment = {key: value for key, value in merged.items() if value is not None}
        log = self.bench.folder / "log.txt"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [*self.prefix, *command],
                cwd=None if self.prefix else self.project.root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Running(process, log)

    def run(self, *command: str, env: Mapping[str, str | None] | None = None) -> Answer:
        return self.start(command, env or {}).wait()

    def run_stage(self, prelude: str = "", env: Mapping[str, str | None] | None = None) -> Answer:
        """Run the stage, or the command, without DVC; the prelude is Python code to run first."""
        return self.run(*self.stage_command(prelude), env=env)

    def stage_command(self, prelude: str = "") -> list[str]:
        if self.stage == COMMAND:
            main = "from thorax.cli import main"
            arguments = ["predict", "data/phantom/scans", "masks", "--statistics"]
            arguments += ["--model", "models/segmenter.onnx"]
            return [sys.executable, "-c", f"{prelude}\n{main}\nmain()", *arguments]
        if prelude:
            name = f"thorax.pipeline.{self.stage}"
            main = f"from thorax.pipeline import run\nfrom {name} import main\nrun(main)"
            return [sys.executable, "-c", f"{prelude}\n{main}"]
        return [sys.executable, "-m", f"thorax.pipeline.{self.stage}"]

    def repro(self, env: Mapping[str, str | None] | None = None) -> Answer:
        """Run all changed stages with DVC, or the command again."""
        if self.stage == COMMAND:
            return self.run_stage(env=env)
        return self.run(*repro_command(), env=env)

    def differences(self, *, finished: bool = True) -> list[str]:
        """Return the files that differ from the reference.

        Args:
            finished: Count missing files as different.
        """
        expected, actual = self.bench.digests, digests(self.root)
        same_times = actual.get(TIMED[0]) == expected[TIMED[0]]
        names = actual.keys() | (expected.keys() if finished else set())
        if self.stage != COMMAND:
            names = {name for name in names if not name.startswith("masks/")}
        return sorted(
            name
            for name in names
            if not name.startswith(TIMED)
            and (finished or not (Path(name).name.startswith(".") or name.startswith(MEASURED)))
            and (same_times or name not in TIME_DEPENDENT)
            and actual.get(name) != expected.get(name)
        )


@dataclass(frozen=True)
class Running:
    """A running command."""

    process: subprocess.Popen[bytes]
    log: Path

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait(self, patience_s: float = PATIENCE_S) -> Answer:
        try:
            return Answer(self.process.wait(patience_s), self.output())
        except subprocess.TimeoutExpired:
            self.kill()
            return Answer(None, self.output())

    def kill(self) -> Answer:
        """Kill the command and its process group."""
        os.killpg(self.process.pid, signal.SIGKILL)
        return Answer(self.process.wait(), self.output())

    def wait_for(self, text: str) -> bool:
        """Wait until the output contains a text; return False if the command ends before."""
        while self.process.poll() is None:
            if text in self.output():
                return True
            time.sleep(0.02)
        return text in self.output()


def repro_command() -> tuple[str, ...]:
    return (sys.executable, "-m", "dvc", "repro")


def title_of(stage: str) -> str:
    """Return the name of a stage in DVC."""
    return "data/phantom/dvc.yaml:phantom" if stage == "phantom" else stage


def make_bench(folder: Path) -> Bench:
    """Run a small project stage by stage, unless the folder has one."""
    root, times = folder / "reference" / "project", folder / "seconds.yaml"
    if times.is_file():
        return Bench(Project(root), folder, yaml.safe_load(times.read_text()))
    shutil.rmtree(root.parent, ignore_errors=True)
    project = copy_of_the_working_tree(root)
    project.set(FAULTY)
    project.commit("Start small")
    seconds = {}
    for stage in STAGES:
        start = time.monotonic()
        project.dvc("repro", title_of(stage))
        seconds[stage] = time.monotonic() - start
    trial = Trial(Bench(project, folder), project, COMMAND)
    answer = trial.run_stage()
    assert answer.status == 0, answer.output
    times.write_text(yaml.safe_dump(seconds))
    return Bench(project, folder, seconds)


def undo(root: Path, stage: str) -> None:
    """Remove the outputs of a stage, its lock entry and the run cache."""
    shutil.rmtree(root / ".dvc/cache/runs", ignore_errors=True)
    shutil.rmtree(root / "masks")
    if stage == COMMAND:
        return
    for path in outputs(root, stage):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    lock = root / ("data/phantom" if stage == "phantom" else ".") / "dvc.lock"
    content = yaml.safe_load(lock.read_text())
    del content["stages"][stage]
    lock.write_text(yaml.safe_dump(content, sort_keys=False))


def outputs(root: Path, stage: str) -> list[Path]:
    """Return the outputs of a stage from `dvc.yaml`."""
    file = root / ("data/phantom/dvc.yaml" if stage == "phantom" else "dvc.yaml")
    entry = yaml.safe_load(file.read_text())["stages"][stage]
    outs = [*entry.get("outs", ()), *entry.get("metrics", ())]
    return [root / (out if isinstance(out, str) else next(iter(out))) for out in outs]


def digests(root: Path) -> dict[str, str]:
    """Return path → digest of all outputs, with hidden files."""
    tops = [path for stage in STAGES for path in outputs(root, stage)] + [root / "masks"]
    files = [path for top in tops for path in ([top] if top.is_file() else top.rglob("*"))]
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.is_file() and path.name not in ("manifest.json", "manifest.csv", "timings.csv")
    }
