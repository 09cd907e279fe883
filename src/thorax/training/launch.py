"""Start of a training in several processes: their number, and a message if one is stopped.

This module imports neither Keras nor JAX, so that it can fork before they start threads.
"""

import atexit
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from thorax.common.errors import InputError

ADDRESSES = "KERAS_DISTRIBUTION_JOB_ADDRESSES"

_LAUNCHERS = {
    "Keras": ("KERAS_DISTRIBUTION_NUM_PROCESSES", "KERAS_DISTRIBUTION_PROCESS_ID"),
    "SLURM": ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
    "Open MPI": ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
}
"""Variables with the number of processes and the number of this process, from 0."""

VARIABLES = ADDRESSES, *(name for names in _LAUNCHERS.values() for name in names)
"""All variables that make several processes of a training."""

_watcher_pipes: list[int] = []


@dataclass(frozen=True)
class Launch:
    """Processes of a training.

    Args:
        count: Number of processes.
        rank: Number of this process, from 0.
        coordinator: ``host:port`` of process 0; None: JAX asks SLURM or Open MPI.
    """

    count: int = 1
    rank: int = 0
    coordinator: str | None = None


def read_launch(environment: Mapping[str, str] = os.environ) -> Launch:
    """Read the number of processes from the variables of Keras, SLURM or Open MPI.

    Those of Keras come first, so that they can replace those of a cluster.

    Raises:
        InputError: A number is missing or wrong, or process 0 has no address.

    Example:
        >>> read_launch({"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "2"})
        Launch(count=4, rank=2, coordinator=None)
        >>> read_launch({})
        Launch(count=1, rank=0, coordinator=None)
    """
    for launcher, (count_name, rank_name) in _LAUNCHERS.items():
        if count_name in environment:
            count = _number(environment, count_name, low=1, high=2**16)
            if count == 1:
                return Launch()
            rank = _number(environment, rank_name, low=0, high=count - 1)
            return Launch(count, rank, _coordinator(environment, needed=launcher == "Keras"))
    return Launch()


def _number(environment: Mapping[str, str], name: str, *, low: int, high: int) -> int:
    text = environment.get(name, "")
    if not (text.isdecimal() and low <= int(text) <= high):
        raise InputError(
            f"{name} must be a number from {low} to {high}, got {text or 'nothing'}; set it in the "
            "environment of this process"
        )
    return int(text)


def _coordinator(environment: Mapping[str, str], *, needed: bool) -> str | None:
    first = environment.get(ADDRESSES, "").partition(",")[0].strip()
    if not first and not needed:
        return None
    if not first.rpartition(":")[2].isdecimal() or first.startswith(":"):
        raise InputError(
            f"{ADDRESSES} must start with the address of process 0, as in node1:12345, got "
            f"{first or 'nothing'}; set it to the same value in all processes"
        )
    return first


def watch_process() -> None:
    """Fork a process that prints one line if this one is stopped without a message.

    JAX ends a process at once, from a thread of its own, if it loses the connection to another
    one; Python cannot intercept that. Messages of native libraries are hidden, unless
    TF_CPP_MIN_LOG_LEVEL is set. Nothing happens in a training in one process.

    Raises:
        InputError: As `read_launch`.
    """
    launch = read_launch()
    if launch.count == 1:
        return
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork() == 0:
        os.close(writing)
        _report_end(reading, launch.rank)
    os.close(reading)
    _watcher_pipes.append(writing)
    atexit.register(_announce_end)
    if "TF_CPP_MIN_LOG_LEVEL" not in os.environ:
        _hide_native_messages()


def end_process(status: int) -> NoReturn:
    """End this process after its own message, without waiting for the other processes."""
    _announce_end()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _announce_end() -> None:
    while _watcher_pipes:
        os.write(_watcher_pipes.pop(), b".")


def _report_end(reading: int, rank: int) -> NoReturn:
    """Wait until the parent process has ended."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if not os.read(reading, 1):
        line = (
            f"thorax: process {rank} was stopped, usually because another process of the training "
            "ended; see the messages of the others, and start all again to resume after the last "
            "finished epoch\n"
        )
        os.write(2, line.encode())
    os._exit(0)


def _hide_native_messages() -> None:
    """Keep output of Python only; libraries print about each connection."""
    sys.stdout = os.fdopen(os.dup(1), "w", buffering=1)
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
    null = os.open(os.devnull, os.O_WRONLY)
    for standard in (1, 2):
        os.dup2(null, standard)
    os.close(null)
