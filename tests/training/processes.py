"""Starts trainings with the JAX backend on simulated devices, in one process or several."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parents[2]
TRAININGS = f"{Path(__file__).parents[1].name}.parallel_training"
LIMIT_S = 900
COMPILED = TemporaryDirectory()
"""Compiled functions for the next processes, which otherwise spend most of their time on them."""


@dataclass(frozen=True)
class Running:
    """Processes of a training, in order."""

    processes: Sequence[subprocess.Popen[str]]

    def ended(self) -> list[tuple[int, str]]:
        """Wait; return exit status and stderr of each process."""
        ended = []
        for process in self.processes:
            _, errors = process.communicate(timeout=LIMIT_S)
            ended.append((process.returncode, errors))
        return ended

    def finish(self) -> list[dict[str, Any]]:
        """Wait until all succeed; return the lines of JSON that process 0 printed."""
        printed = [process.communicate(timeout=LIMIT_S) for process in self.processes]
        statuses = [process.returncode for process in self.processes]
        assert statuses == [0] * len(statuses), [errors for _, errors in printed]
        assert not any(output for output, _ in printed[1:])
        return [json.loads(line) for line in printed[0][0].splitlines()]


def start(
    arguments: Sequence[str],
    *,
    folder: Path = ROOT,
    processes: int = 1,
    devices: int = 1,
) -> Running:
    """Start Python in several processes that are connected over loopback.

    Args:
        arguments: Arguments of Python.
        folder: Working directory.
        processes: Number of processes.
        devices: Simulated devices of each process.
    """
    port = free_port()
    inherited = {name: text for name, text in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    common = {
        "KERAS_BACKEND": "jax",
        "PYTHONPATH": str(ROOT / "src"),
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{port}",
        "KERAS_DISTRIBUTION_NUM_PROCESSES": str(processes),
        "JAX_COMPILATION_CACHE_DIR": COMPILED.name,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    return Running(
        [
            subprocess.Popen(
                [sys.executable, *arguments],
                cwd=folder,
                env=inherited | common | {"KERAS_DISTRIBUTION_PROCESS_ID": str(rank)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(processes)
        ]
    )


def run_trainings(folder: Path, trainings: Sequence[Any], **settings: int) -> Running:
    """Start trainings of `tests.parallel_training`, one after the other."""
    texts = [json.dumps(training) for training in trainings]
    return start(["-m", TRAININGS, str(folder), *texts], **settings)


def free_port() -> int:
    """Return a TCP port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
