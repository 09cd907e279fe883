"""Small disks in memory, in a separate mount namespace."""

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
    """A trial on a small disk in memory, invisible to other programs.

    Args:
        disk: Its mount point in the namespace.
    """

    disk: Path = Path("/")

    def sh(self, script: str) -> str:
        command = [*self.prefix, "sh", "-euc", script]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def leave(self, space_bytes: int) -> None:
        """Limit the free space of the disk."""
        used = int(self.sh(f"df --output=used -B1 '{self.disk}' | tail -n 1"))
        self.sh(f"mount -o remount,size={used + space_bytes} '{self.disk}'")

    def make_read_only(self) -> None:
        self.sh(f"mount -o remount,ro '{self.disk}'")

    def repair(self) -> None:
        self.sh(f"mount -o remount,rw,size={ROOMY} '{self.disk}'")


@contextmanager
def island(trial: Trial) -> Iterator[Island]:
    """Copy the project of a trial to a disk in memory."""
    disk = trial.bench.folder / "island"
    disk.mkdir(exist_ok=True)
    root = disk / "project"
    with namespace_process(f"mount -t tmpfs -o size={ROOMY} tmpfs '{disk}'") as pid:
        enter = ("nsenter", f"--target={pid}", "--user", "--mount", "--preserve-credentials")
        shell = (*enter, "sh", "-c", 'cd "$0" && exec "$@"')
        copy = ["cp", "-r", str(trial.project.root), str(root)]
        subprocess.run([*shell, str(disk), *copy], check=True)
        yield Island(
            trial.bench,
            replace(trial.project, root=root),
            trial.stage,
            prefix=(*shell, str(root)),
            outside_path=Path(f"/proc/{pid}/root{root}"),
            disk=disk,
        )


@contextmanager
def namespace_process(setup: str) -> Iterator[int]:
    """Start a process in a new mount namespace and yield its number."""
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
    """Return the size of files in whole blocks, in bytes."""
    files = [path for top in paths for path in ([top] if top.is_file() else top.rglob("*"))]
    return sum(-(-os.path.getsize(path) // BLOCK) * BLOCK for path in files if path.is_file())  # noqa: PTH202
