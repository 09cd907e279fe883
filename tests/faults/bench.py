"""Projects to try faults on: copies of one that has run, in which one stage is undone."""

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
"""What tells of time, and so is never the same twice."""
TELLING = ("reports/report.html", "reports/report.md")
"""What repeats `training.json`."""
MEASURED = "data/audit/"
"""What is known of a dataset is kept, also of one that will not do."""
PATIENCE_S = 300.0
ENDED_BY_US = -1000


@dataclass(frozen=True)
class Answer:
    """What came of a command.

    Args:
        status: Its exit status; None if it hung.
        said: Both of its streams.
    """

    status: int | None
    said: str


@dataclass(frozen=True)
class Bench:
    """A project that has run, and what it made.

    Args:
        project: Is never changed.
        folder: Where copies go.
        seconds: What each stage took.
    """

    project: Project
    folder: Path
    seconds: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def digests(self) -> dict[str, str]:
        return digests(self.project.root)

    def trial(self, stage: str) -> "Trial":
        """Copy the project as it was before a stage ran."""
        root = self.folder / "trial" / "project"
        shutil.rmtree(root.parent, ignore_errors=True)
        shutil.copytree(self.project.root, root, symlinks=True)
        undo(root, stage)
        return Trial(self, Project(root), stage)


@dataclass(frozen=True)
class Trial:
    """One fault in one stage.

    Args:
        bench: Where the reference is.
        project: A copy that the fault may harm.
        stage: The stage that has yet to run.
        inside: What stands before each command, to run it where disks can be full.
        seen: The project's folder as it is seen from here, if that is another path.
    """

    bench: Bench
    project: Project
    stage: str
    inside: tuple[str, ...] = ()
    seen: Path | None = None

    @property
    def root(self) -> Path:
        return self.seen or self.project.root

    def begin(self, command: Sequence[str], env: Mapping[str, str | None]) -> "Running":
        """Start a command in a process group of its own."""
        merged = {**self.project._environment(), **env}
        there = {key: value for key, value in merged.items() if value is not None}
        log = self.bench.folder / "log.txt"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [*self.inside, *command],
                cwd=None if self.inside else self.project.root,
                env=there,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Running(process, log)

    def run(self, *command: str, env: Mapping[str, str | None] | None = None) -> Answer:
        return self.begin(command, env or {}).wait()

    def run_stage(self, prelude: str = "", env: Mapping[str, str | None] | None = None) -> Answer:
        """Run the stage, or the command, without dvc; the prelude is Python that comes first."""
        return self.run(*self.stage_command(prelude), env=env)

    def stage_command(self, prelude: str = "") -> list[str]:
        if self.stage == COMMAND:
            main = "from thorax.cli import main"
            arguments = ["predict", "data/phantom/scans", "masks", "--statistics"]
            return [sys.executable, "-c", f"{prelude}\n{main}\nmain()", *arguments]
        if prelude:
            name = f"thorax.pipeline.{self.stage}"
            main = f"from thorax.pipeline import run\nfrom {name} import main\nrun(main)"
            return [sys.executable, "-c", f"{prelude}\n{main}"]
        return [sys.executable, "-m", f"thorax.pipeline.{self.stage}"]

    def repro(self, env: Mapping[str, str | None] | None = None) -> Answer:
        """Run what is out of date with dvc, or the command again."""
        if self.stage == COMMAND:
            return self.run_stage(env=env)
        return self.run(*repro_command(), env=env)

    def differences(self, *, finished: bool = True) -> list[str]:
        """Return files that are not as in the reference.

        Args:
            finished: Whether all must be there; else only what is there must be right.
        """
        expected, found = self.bench.digests, digests(self.root)
        repeats = found.get(TIMED[0]) == expected[TIMED[0]]
        names = found.keys() | (expected.keys() if finished else set())
        if self.stage != COMMAND:
            names = {name for name in names if not name.startswith("masks/")}
        return sorted(
            name
            for name in names
            if not name.startswith(TIMED)
            and (finished or not (Path(name).name.startswith(".") or name.startswith(MEASURED)))
            and (repeats or name not in TELLING)
            and found.get(name) != expected.get(name)
        )


@dataclass(frozen=True)
class Running:
    """A command on its way."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait(self, patience_s: float = PATIENCE_S) -> Answer:
        try:
            return Answer(self.process.wait(patience_s), self.said())
        except subprocess.TimeoutExpired:
            self.kill()
            return Answer(None, self.said())

    def kill(self) -> Answer:
        """Kill the command and all that it started."""
        os.killpg(self.process.pid, signal.SIGKILL)
        return Answer(self.process.wait(), self.said())

    def wait_for(self, text: str) -> bool:
        """Wait until something was said; false if the command ended before."""
        while self.process.poll() is None:
            if text in self.said():
                return True
            time.sleep(0.02)
        return text in self.said()


def repro_command() -> tuple[str, ...]:
    return (sys.executable, "-m", "dvc", "repro")


def title_of(stage: str) -> str:
    """What dvc calls a stage."""
    return "data/phantom/dvc.yaml:phantom" if stage == "phantom" else stage


def make_bench(folder: Path) -> Bench:
    """Run a small project stage by stage, unless the folder holds one."""
    root, times = folder / "reference" / "project", folder / "seconds.yaml"
    if times.is_file():
        return Bench(Project(root), folder, yaml.safe_load(times.read_text()))
    shutil.rmtree(root.parent, ignore_errors=True)
    project = copy_of_the_working_tree(root)
    project.set(FAULTY)
    project.commit("Start small")
    seconds = {}
    for stage in STAGES:
        begun = time.monotonic()
        project.dvc("repro", title_of(stage))
        seconds[stage] = time.monotonic() - begun
    trial = Trial(Bench(project, folder), project, COMMAND)
    answer = trial.run_stage()
    assert answer.status == 0, answer.said
    times.write_text(yaml.safe_dump(seconds))
    return Bench(project, folder, seconds)


def undo(root: Path, stage: str) -> None:
    """Bring a project to where it was before a stage ran, with no way back through the cache."""
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
    """Outputs of a stage as `dvc.yaml` names them."""
    file = root / ("data/phantom/dvc.yaml" if stage == "phantom" else "dvc.yaml")
    described = yaml.safe_load(file.read_text())["stages"][stage]
    named = [*described.get("outs", ()), *described.get("metrics", ())]
    return [root / (each if isinstance(each, str) else next(iter(each))) for each in named]


def digests(root: Path) -> dict[str, str]:
    """Digest of each file that the stages made, hidden ones too."""
    tops = [path for stage in STAGES for path in outputs(root, stage)] + [root / "masks"]
    files = [path for top in tops for path in ([top] if top.is_file() else top.rglob("*"))]
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.is_file() and path.name != "manifest.json" and path.name != "manifest.csv"
    }
