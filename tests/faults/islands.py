"""Disks that are full or cannot be written, in a mount namespace of their own."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from .bench import Trial
from .fault import SkippedError

ROOMY = "2g"
BLOCK = 4096


@dataclass(frozen=True)
class Island(Trial):
    """A trial on a small disk in memory, which no other program sees.

    Args:
        disk: Where it is mounted there.
    """

    disk: Path = Path("/")

    def sh(self, script: str) -> str:
        command = [*self.inside, "sh", "-euc", script]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def leave(self, room_bytes: int) -> None:
        """Let the disk have so much room and no more."""
        used = int(self.sh(f"df --output=used -B1 '{self.disk}' | tail -n 1"))
        self.sh(f"mount -o remount,size={used + room_bytes} '{self.disk}'")

    def make_read_only(self) -> None:
        self.sh(f"mount -o remount,ro '{self.disk}'")

    def mend(self) -> None:
        self.sh(f"mount -o remount,rw,size={ROOMY} '{self.disk}'")


@contextmanager
def island(trial: Trial) -> Iterator[Island]:
    """Copy the project of a trial to a disk in memory."""
    disk = trial.bench.folder / "island"
    disk.mkdir(exist_ok=True)
    home = disk / "project"
    with lone_process(f"mount -t tmpfs -o size={ROOMY} tmpfs '{disk}'") as pid:
        enter = ("nsenter", f"--target={pid}", "--user", "--mount", "--preserve-credentials")
        here = (*enter, "sh", "-c", 'cd "$0" && exec "$@"')
        copy = ["cp", "-r", str(trial.project.root), str(home)]
        subprocess.run([*here, str(disk), *copy], check=True)
        yield Island(
            trial.bench,
            replace(trial.project, root=home),
            trial.stage,
            inside=(*here, str(home)),
            seen=Path(f"/proc/{pid}/root{home}"),
            disk=disk,
        )


@contextmanager
def lone_process(setup: str) -> Iterator[int]:
    """Keep a mount namespace alive; gives the process that holds it."""
    if not shutil.which("unshare") or not shutil.which("nsenter"):
        raise SkippedError("unshare and nsenter are needed")
    command = ["unshare", "-rm", "sh", "-euc", f"{setup}; echo ready; exec sleep infinity"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        if process.stdout.readline() != "ready\n":
            raise SkippedError("this machine allows no mount namespaces")
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def size_of(paths: list[Path]) -> int:
    """Bytes that files take up in whole blocks."""
    files = [path for top in paths for path in ([top] if top.is_file() else top.rglob("*"))]
    return sum(-(-os.path.getsize(path) // BLOCK) * BLOCK for path in files if path.is_file())  # noqa: PTH202
