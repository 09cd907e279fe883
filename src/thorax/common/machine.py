"""What a figure was measured on: the machine and the versions of what ran there."""

import os
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

CPU_INFO = Path("/proc/cpuinfo")

GIB = 2**30

THREADS = "TF_NUM_INTRAOP_THREADS"
"""The variable by which TensorFlow is told how many cores one operation may take."""

INSTRUCTIONS = ("avx", "avx2", "avx512f", "avx512_bf16", "amx_bf16")
"""From the oldest to the newest, as the kernel names them."""


def cores() -> int:
    """How many cores this process may use; the machine may have more.

    Example:
        >>> cores() >= 1
        True
    """
    return len(psutil.Process().cpu_affinity() or ())


def describe_machine() -> dict[str, Any]:
    """Name the processor, its cores and the memory; nothing that tells whose machine it is.

    Returns:
        ``processor``, ``cores`` (those that this process may use), ``memory_gib``, ``system`` and
        ``python``.
    """
    return {
        "processor": _processor(CPU_INFO),
        "cores": cores(),
        "memory_gib": round(psutil.virtual_memory().total / GIB, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def kind_of_machine() -> dict[str, Any]:
    """What figures depend on to the last digit, besides versions: sums are taken in its order.

    Returns:
        ``system``, ``instructions`` (the widest that the processor has for numbers) and ``cores``
        that the network uses.
    """
    told = describe_machine()
    return {
        "system": told["system"],
        "instructions": _instructions(CPU_INFO),
        "cores": min(told["cores"], _threads() or told["cores"]),
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of installed packages, by name."""
    return {name: metadata.version(name) for name in packages}


def _threads() -> int:
    """To how many threads TensorFlow was limited from outside; 0: it may use all cores."""
    asked = os.environ.get(THREADS, "")
    return int(asked) if asked.isdecimal() else 0


def _instructions(cpu_info: Path) -> str:
    """The last of the known sets that the kernel tells of; empty if it tells of none."""
    flags = set(cpu_info.read_text(encoding="utf-8").split()) if cpu_info.exists() else set()
    return next((name for name in reversed(INSTRUCTIONS) if name in flags), "")


def _processor(cpu_info: Path) -> str:
    """Name of the processor as the kernel tells it, or its architecture."""
    try:
        lines = cpu_info.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
