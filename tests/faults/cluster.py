"""Faults of a Dask cluster, tried with real processes: `python tests/faults/cluster.py [NAME…]`.

A scheduler and workers run on this machine. Each worker notes when it starts and ends a scan, so
that the table shows scans that are lost or segmented twice.
"""

import csv
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import nibabel
import numpy as np

from thorax.models.export import export_model
from thorax.models.keras_file import save_trained
from thorax.models.spec import ModelSpec

ROOT = Path(__file__).parents[2]
SCANS = 8
HOOK = """
import os, signal, time
from pathlib import Path
import thorax.inference.cluster as cluster

# Dask may load this file twice.
from thorax.inference.batch import predict_all as segment

folder = Path(os.environ["TRIAL"])

def note(event, case):
    with (folder / "events").open("a") as stream:
        stream.write(f"{event} {case} {os.getpid()}\\n")

def predict_all(segmenter, tasks, options, *, report):
    case = tasks[0].case
    note("start", case)
    if (folder / f"kill-{case}").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    once = folder / f"kill-once-{case}"
    if once.exists():
        once.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(float(os.environ.get("TRIAL_SLEEP", "0.3")))
    rows = segment(segmenter, tasks, options, report=report)
    note("end", case)
    return rows

cluster.predict_all = predict_all
"""
WITHOUT_MODEL = """
import thorax.models.onnx_file as files
from thorax.common.errors import InputError

def read_model(path):
    raise InputError(f"there is no model {path} on this node")

files.read_model = read_model
"""


@dataclass
class Trial:
    """A scheduler, workers, and a command in a folder of its own."""

    folder: Path
    port: int = 0
    processes: list["subprocess.Popen[str]"] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def start(
        self, *command: str, cwd: Path | None = None, **environment: str
    ) -> "subprocess.Popen[str]":
        dask = any("distributed" in word for word in command)
        process = subprocess.Popen(
            command,
            cwd=cwd or self.folder,
            env={**os.environ, "TRIAL": str(self.folder), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=(self.folder / "log").open("a") if dask else subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def scheduler(self) -> "subprocess.Popen[str]":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = self.port or free.getsockname()[1]
        options = ("--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard")
        return self.start(sys.executable, "-m", "distributed.cli.dask_scheduler", *options)

    def worker(self, *, unshare: str = "", **environment: str) -> "subprocess.Popen[str]":
        (self.folder / "elsewhere").mkdir(exist_ok=True)
        options = ("--nthreads", "1", "--preload", str(self.folder / "hook.py"), "--no-dashboard")
        before = ("unshare", "--mount", "bash", "-c", unshare, "bash") if unshare else ()
        return self.start(
            *before,
            sys.executable,
            "-m",
            "distributed.cli.dask_worker",
            self.address,
            *options,
            cwd=self.folder / "elsewhere",
            **environment,
        )

    def start_all(self, *, sleep_s: float = 0.3) -> None:
        """Start a scheduler and two workers that sleep before each scan."""
        self.scheduler()
        for _ in range(2):
            self.worker(TRIAL_SLEEP=str(sleep_s))

    def wait_for_workers(self, count: int) -> None:
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(count, timeout=120)

    def predict(self) -> "subprocess.Popen[str]":
        options = ("--model", "model.onnx", "--intensity", "hu", "--cluster", self.address)
        return self.start(sys.executable, "-m", "thorax.cli", "predict", "scans", "masks", *options)

    def events(self) -> list[tuple[str, str]]:
        path = self.folder / "events"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(line.split()[0], line.split()[1]) for line in lines]

    def count(self, event: str) -> int:
        return sum(name == event for name, _ in self.events())

    def wait_for(self, event: str, count: int) -> None:
        for _ in range(1200):
            if self.count(event) >= count:
                return
            time.sleep(0.1)
        raise AssertionError(f"{event} did not happen {count} times: {self.events()}")

    def rows(self) -> list[dict[str, str]]:
        with (self.folder / "masks" / "manifest.csv").open(newline="") as stream:
            return list(csv.DictReader(stream))

    def statuses(self) -> Counter[str]:
        return Counter(row["status"] for row in self.rows())

    def errors(self) -> list[str]:
        return [f"{row['case']}: {row['error']}" for row in self.rows() if row["error"]]

    def twice(self) -> list[str]:
        """Return the scans that were segmented to their end more than once."""
        ends = Counter(case for event, case in self.events() if event == "end")
        return [case for case, count in ends.items() if count > 1]

    def worker_pid(self) -> int:
        """Return the process of the last scan that was started."""
        lines = (self.folder / "events").read_text().splitlines()
        return int([line for line in lines if line.startswith("start")][-1].split()[2])


@contextmanager
def trial(model: Path) -> Iterator[Trial]:
    with tempfile.TemporaryDirectory() as folder:
        made = Trial(Path(folder))
        (made.folder / "hook.py").write_text(HOOK)
        shutil.copy(model, made.folder / "model.onnx")
        (made.folder / "scans").mkdir()
        for number in range(SCANS):
            voxels = np.full((8, 8, 4), -1000, np.int16)
            voxels[1 + number % 4 : 6, 2:6] = 500
            affine = np.diag([0.8, 0.8, 2.5, 1.0])
            nibabel.save(
                nibabel.Nifti1Image(voxels, affine), made.folder / f"scans/{number}.nii.gz"
            )
        try:
            yield made
        finally:
            for process in made.processes:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@dataclass(frozen=True)
class Answer:
    """What happened: status and standard error of the last command."""

    status: int
    stderr: str


def finish(process: "subprocess.Popen[str]", *, timeout: float = 240) -> Answer:
    _, stderr = process.communicate(timeout=timeout)
    return Answer(process.returncode, stderr)


def no_fault(there: Trial) -> Answer:
    there.start_all()
    return finish(there.predict())


def worker_killed(there: Trial) -> Answer:
    there.start_all(sleep_s=2)
    command = there.predict()
    there.wait_for("start", 1)
    os.kill(there.worker_pid(), signal.SIGKILL)
    return finish(command)


def killed_once_by_a_scan(there: Trial) -> Answer:
    (there.folder / "kill-once-3").touch()
    there.start_all()
    return finish(there.predict())


def killed_twice_by_a_scan(there: Trial) -> Answer:
    (there.folder / "kill-3").touch()
    there.start_all()
    return finish(there.predict())


def worker_leaves(there: Trial) -> Answer:
    """SIGTERM to a worker in the middle of a scan, as at the end of its batch job."""
    there.scheduler()
    first = there.worker(TRIAL_SLEEP="3")
    command = there.predict()
    there.wait_for("start", 1)
    there.worker()
    first.send_signal(signal.SIGTERM)
    return finish(command)


def worker_joins_late(there: Trial) -> Answer:
    there.scheduler()
    command = there.predict()
    time.sleep(40)
    there.worker()
    return finish(command)


def scheduler_gone(there: Trial) -> Answer:
    """Kill the scheduler in the middle, then run the same command with a new one."""
    first = there.scheduler()
    there.worker(TRIAL_SLEEP="1")
    there.worker(TRIAL_SLEEP="1")
    command = there.predict()
    there.wait_for("end", 3)
    first.kill()
    report_first(there, finish(command))
    time.sleep(5)
    there.scheduler()
    there.worker()
    return finish(there.predict())


def interrupted(there: Trial) -> Answer:
    """Ctrl-C in the middle, then run the same command again."""
    there.start_all(sleep_s=2)
    command = there.predict()
    there.wait_for("end", 2)
    command.send_signal(signal.SIGINT)
    report_first(there, finish(command))
    return finish(there.predict())


def command_killed(there: Trial) -> Answer:
    """SIGKILL of the command in the middle, then run it again."""
    there.start_all(sleep_s=1)
    command = there.predict()
    there.wait_for("end", 3)
    command.kill()
    command.wait()
    return finish(there.predict())


def two_runs(there: Trial) -> Answer:
    """Start the same command while it runs."""
    there.start_all(sleep_s=8)
    first = there.predict()
    there.wait_for("start", 1)
    second = finish(there.predict())
    report(f"    second: status {second.status}, {last_line(second)}")
    return finish(first)


def full_disk(there: Trial) -> Answer:
    """The folder of masks is a full disk for one of two workers; then the command without it."""
    masks = there.folder / "masks"
    masks.mkdir()
    there.scheduler()
    there.worker(TRIAL_SLEEP="1")
    fill = f"mount -t tmpfs -o size=4k none {masks}; head -c 9999 /dev/zero >{masks}/fill;"
    bad = there.worker(unshare=f'{fill} exec "$@"', TRIAL_SLEEP="1")
    there.wait_for_workers(2)
    report_first(there, finish(there.predict()))
    for line in there.errors():
        report(f"    {line}")
    bad.terminate()
    return finish(there.predict())


def without_model(there: Trial) -> Answer:
    """One worker sees another folder in the place of the model, and the others segment all."""
    there.scheduler()
    hidden = there.folder / "hidden"
    hidden.mkdir()
    (hidden / "hook.py").write_text(WITHOUT_MODEL)
    there.worker(PYTHONPATH=os.environ.get("PYTHONPATH", ""))
    bad = ("--nthreads", "1", "--preload", str(hidden / "hook.py"), "--no-dashboard")
    there.start(sys.executable, "-m", "distributed.cli.dask_worker", there.address, *bad)
    there.wait_for_workers(2)
    return finish(there.predict())


def model_missing_everywhere(there: Trial) -> Answer:
    there.scheduler()
    hook = there.folder / "hook.py"
    hook.write_text(HOOK + WITHOUT_MODEL)
    there.worker()
    there.worker()
    there.wait_for_workers(2)
    return finish(there.predict())


FAULTS: dict[str, Callable[[Trial], Answer]] = {
    function.__name__: function
    for function in (
        no_fault,
        worker_killed,
        killed_once_by_a_scan,
        killed_twice_by_a_scan,
        worker_leaves,
        worker_joins_late,
        scheduler_gone,
        interrupted,
        command_killed,
        two_runs,
        full_disk,
        without_model,
        model_missing_everywhere,
    )
}


def last_line(answer: Answer) -> str:
    lines = [line for line in answer.stderr.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def report_first(there: Trial, answer: Answer) -> None:
    """Report the first of two commands."""
    report(f"    first: status {answer.status}, {dict(there.statuses())}, {last_line(answer)}")


def report(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def main() -> None:
    from thorax.models.backend import import_keras

    names = sys.argv[1:] or list(FAULTS)
    with tempfile.TemporaryDirectory() as folder:
        model = (
            Path(os.environ.get("TRIAL_MODEL", ""))
            if "TRIAL_MODEL" in os.environ
            else make_model(Path(folder))
        )
        import_keras()
        for name in names:
            with trial(model) as there:
                started = time.monotonic()
                answer = FAULTS[name](there)
                report(
                    f"{name}: status {answer.status}, {dict(there.statuses())}, segmented twice "
                    f"{there.twice()}, {time.monotonic() - started:.0f} s"
                )
                for line in (*there.errors(), *notes(answer)):
                    report(f"    {line.replace(str(there.folder), '…')}")


def notes(answer: Answer) -> list[str]:
    kept = ("Note: worker", "Note: there is no worker", "Error", "Traceback")
    return [line for line in answer.stderr.splitlines() if line.startswith(kept)]


def make_model(folder: Path) -> Path:
    """Make a model that segments the voxels above 250 HU."""
    sys.path.insert(0, str(ROOT / "tests"))
    from learning import pointwise  # type: ignore[import-not-found]

    spec = ModelSpec(8, "none", 0, (0, 1000), {"lung": (1,)})
    save_trained(folder / "trained", pointwise([[80]], [-20], canvas=8), spec)
    export_model(folder / "trained", folder / "model.onnx")
    return folder / "model.onnx"


if __name__ == "__main__":
    main()
