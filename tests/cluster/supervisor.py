"""Start programs, and end them with all their descendants: `python supervisor.py FOLDER`.

Each line of the standard input is the command of a program, as a JSON list; the end of the input
ends all programs, however the process at its other end has ended, and deletes FOLDER. Processes
that a program leaves behind become children of this process and end, too.
"""

import ctypes
import json
import os
import select
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

_PR_SET_CHILD_SUBREAPER = 36
_PAUSE_S = 0.1


def supervise(folder: Path) -> None:
    """Start the programs of the standard input; their output goes to a log in the folder."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    with (folder / "programs.log").open("ab") as log:
        lines = b""
        while (read := _read()) != b"":
            _reap()
            *commands, lines = (lines + (read or b"")).split(b"\n")
            for command in commands:
                subprocess.Popen(
                    json.loads(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
    while left := psutil.Process().children(recursive=True):
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        _reap()
    shutil.rmtree(folder)


def _read() -> bytes | None:
    """Return the next bytes of the standard input; none at its end, None if it pauses."""
    ready, _, _ = select.select([0], [], [], _PAUSE_S)
    return os.read(0, 65536) if ready else None


def _reap() -> None:
    """Remove ended children from the table of processes."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


if __name__ == "__main__":
    supervise(Path(sys.argv[1]))
