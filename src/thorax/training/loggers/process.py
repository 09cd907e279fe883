"""Process of a logger as seen by the training: it is never waited for, except at the end."""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from thorax.training.loggers import worker

FINISH_SECONDS = 30.0
"""Longest wait for a logger at the end of the training, while it uploads the model."""

ABORT_SECONDS = 5.0
"""Longest wait for a logger when a training is interrupted."""

SOURCE = Path(__file__).parents[3]
"""Folder that contains the package."""

Message = Mapping[str, Any]


class LoggerProcess:
    """One logger in a process of its own; after its first error it is off, with one warning.

    Messages that the process does not read yet are kept, so `send` takes no time. No method
    raises an error of the logger.

    Args:
        name: Name of the service.
        log: Prints one line for the user.
        command: Command of the process; default: `thorax.training.loggers.worker`.
    """

    def __init__(
        self, name: str, log: Callable[[str], None], *, command: list[str] | None = None
    ) -> None:
        self._name, self._log = name, log
        self._unsent, self._unread = bytearray(), bytearray()
        self._is_done = False
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = _start(command or worker_command(name))
        except OSError as error:
            self._switch_off(error.strerror or str(error))

    @property
    def is_on(self) -> bool:
        """False after an error and after the end."""
        return self._process is not None

    def send(self, message: Message) -> None:
        """Queue a message, send what the process accepts at once, and report its answers."""
        if self._process is None:
            return
        self._unsent += json.dumps(message).encode() + b"\n"
        self._exchange(seconds=0.0)

    def finish(self, message: Message, *, seconds: float = FINISH_SECONDS) -> None:
        """Send the last message and wait for the end of the process."""
        self.send(message)
        self._exchange(seconds=seconds)
        if self._process is not None and not self._is_done:
            self._switch_off(f"it did not finish within {seconds:g} s")
        self._end()

    def abort(self, *, seconds: float = ABORT_SECONDS) -> None:
        """End the process of an interrupted training, which then has no last message."""
        self._exchange(seconds=0.0)
        if self._process is not None:
            _input(self._process).close()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        self._end()

    def _exchange(self, *, seconds: float) -> None:
        """Write and read until nothing is ready, or for some seconds until the process ends."""
        if self._process is None:
            return
        try:
            self._transfer(self._process, deadline=time.monotonic() + seconds)
        except (OSError, ValueError) as error:
            self._switch_off(str(error))

    def _transfer(self, process: subprocess.Popen[bytes], *, deadline: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(_output(process), selectors.EVENT_READ)
            if self._unsent:
                selector.register(_input(process), selectors.EVENT_WRITE)
            while self._process is not None and not self._is_done:
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    return
                for key, _ in ready:
                    self._handle(key, selector)

    def _handle(self, key: selectors.SelectorKey, selector: selectors.BaseSelector) -> None:
        if self._process is None:
            return
        if key.events == selectors.EVENT_READ:
            self._read(os.read(key.fd, 2**16))
            return
        try:
            del self._unsent[: os.write(key.fd, self._unsent)]
        except BrokenPipeError:
            self._unsent.clear()  # the reason follows on the other pipe
        if not self._unsent:
            selector.unregister(key.fileobj)

    def _read(self, content: bytes) -> None:
        self._unread += content
        *lines, rest = self._unread.split(b"\n")
        self._unread = bytearray(rest)
        for answer in map(json.loads, lines):
            if "error" in answer:
                self._switch_off(answer["error"])
                return
            if "place" in answer:
                self._log(f"logging to {self._name}: {answer['place']}")
            self._is_done = self._is_done or "done" in answer
        if not content and not self._is_done:
            self._switch_off("its process ended early")

    def _switch_off(self, reason: str) -> None:
        self._log(
            f"warning: the logger {self._name} is off for the rest of this training, which is not "
            f"affected: {reason}"
        )
        self._end()

    def _end(self) -> None:
        """Kill the process if it still runs, and close the pipes."""
        process, self._process = self._process, None
        if process is None:
            return
        # It leads its own group, so this includes processes that a service started.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        for stream in (process.stdin, process.stdout):
            if stream:
                stream.close()
        process.wait()


def worker_command(name: str) -> list[str]:
    """Return the command of the process of a service."""
    code = f"from {worker.__name__} import main; main()"
    return [sys.executable, "-c", code, name]


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    paths = [str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        # Ctrl-C in a terminal does not reach it: it ends the run of the service first.
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "CUDA_VISIBLE_DEVICES": ""},
    )
    os.set_blocking(_input(process).fileno(), False)
    return process


def _input(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdin
    return process.stdin


def _output(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdout
    return process.stdout
