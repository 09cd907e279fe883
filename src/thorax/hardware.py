"""What a figure was measured on: the machine and the versions of what ran there."""

import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

CPU_INFO = Path("/proc/cpuinfo")
GIB = 2**30


def describe_machine() -> dict[str, Any]:
    """Name the processor, its cores and the memory; nothing that tells whose machine it is.

    Returns:
        ``processor``, ``cores`` (those that this process may use), ``memory_gib``, ``system`` and
        ``python``.
    """
    return {
        "processor": _processor(CPU_INFO),
        "cores": len(psutil.Process().cpu_affinity() or ()),
        "memory_gib": round(psutil.virtual_memory().total / GIB, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of installed packages, by name."""
    return {name: metadata.version(name) for name in packages}


def _processor(cpu_info: Path) -> str:
    """Name of the processor as the kernel tells it, or its architecture."""
    try:
        lines = cpu_info.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
