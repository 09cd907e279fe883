"""Description of the machine and of the installed versions, as provenance of metrics.

Some modules are imported where they are used, because they would delay each command.
"""

import ctypes
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

CPU_INFO = Path("/proc/cpuinfo")

GIB = 2**30

THREADS = "TF_NUM_INTRAOP_THREADS"
"""Environment variable that limits the cores of one operation of TensorFlow."""

JOB_CORES = ("SLURM_CPUS_PER_TASK", "NSLOTS")
"""Variables with the cores of a job: SLURM, Grid Engine."""

INSTRUCTIONS = ("avx", "avx2", "avx512f", "avx512_bf16", "amx_bf16")
"""Vector instructions by the names of the kernel, oldest first."""


_ARENA_MAX = -8
"""`M_ARENA_MAX` of malloc.h."""

_TOP_PAD = -2
"""`M_TOP_PAD` of malloc.h."""

_KEPT_BYTES = 64 * 2**20
"""Bytes that a heap keeps: a few batches of 16 stacks; with 16 MiB pages were still returned."""

_limits: list[int] = []


def limit_cores(count: int) -> None:
    """Limit the cores that `cores` returns, for a process that shares them with others."""
    _limits[:] = [count]


def cores() -> int:
    """Count the cores that this process may use; the machine may have more.

    A job of SLURM or Grid Engine uses those that it was given, also where the batch system does not
    bind it to them.

    Example:
        >>> cores() >= 1
        True
    """
    # Other systems do not restrict a process to some cores, or not in a way that Python can read.
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    given = (os.environ.get(name, "") for name in JOB_CORES)
    limits = [int(count) for count in given if count.isdecimal() and int(count) > 0]
    return min([len(usable or ()) or os.cpu_count() or 1, *limits, *_limits])


def free_memory_bytes(
    *, group: Path = Path("/proc/self/cgroup"), groups: Path = Path("/sys/fs/cgroup")
) -> int:
    """Return the memory that this process can still take, in bytes.

    That is the free memory of the machine, or less under a limit of a batch system or container
    (control groups, version 2). A limit holds for all groups below; SLURM limits a job and its
    steps, not the group of a process.

    Args:
        group: File with the control groups of the process.
        groups: Folder of all control groups.
    """
    import psutil

    free = [int(psutil.virtual_memory().available)]
    for line in group.read_text().splitlines() if group.exists() else ():
        folder = groups / line.removeprefix("0::").strip("/")
        if line.startswith("0::"):
            free += [left for path in (folder, *folder.parents) for left in _unused_bytes(path)]
    return max(0, min(free))


def _unused_bytes(group: Path) -> list[int]:
    """Return the rest of the memory limit of a control group; an empty list without a limit.

    The cache of files that were read counts as used there, but is freed when memory is needed.
    """
    limit, used, stat = (group / f"memory.{name}" for name in ("max", "current", "stat"))
    if not limit.exists() or not limit.read_text().strip().isdecimal():
        return []
    parts = dict(line.split() for line in stat.read_text().splitlines()) if stat.exists() else {}
    cache = sum(int(parts.get(name, 0)) for name in ("active_file", "inactive_file"))
    return [int(limit.read_text()) - int(used.read_text()) + cache]


def return_freed_memory() -> None:
    """Return memory that was freed to the system.

    The C library of most Linux systems (glibc) keeps it, in pieces too small for the next array.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim:
        trim(0)


def share_freed_memory() -> None:
    """Let all threads use the memory that any of them freed; call it before any thread starts.

    By default, each thread has its own heap (in glibc), which takes a tenth more memory in all.
    """
    _set_malloc(_ARENA_MAX, 1)


def keep_freed_memory() -> None:
    """Keep freed memory for the next arrays of the same sizes, in heaps of threads too (glibc).

    Otherwise these heaps return it to the system at once: in the threads of TensorFlow, preparing a
    stack took 1,100 page faults and twice the time.
    """
    _set_malloc(_TOP_PAD, _KEPT_BYTES)


def _set_malloc(option: int, value: int) -> None:
    """Set an option of the C library's memory, where it has such options."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt:
        mallopt(option, value)


def describe_machine() -> dict[str, Any]:
    """Describe processor, cores and memory, without any name of machine or user.

    Returns:
        ``processor``, ``cores`` (those that this process may use), ``memory_gib``, ``system`` and
        ``python``.
    """
    import psutil

    return {
        "processor": _processor(CPU_INFO),
        "cores": cores(),
        "memory_gib": round(psutil.virtual_memory().total / GIB, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def kind_of_machine() -> dict[str, Any]:
    """Describe the properties of the machine that the last digits of metrics depend on.

    They determine the order of sums.

    Returns:
        ``system``, ``instructions`` (the widest vector instructions of the processor) and
        ``cores`` that the network uses.
    """
    machine = describe_machine()
    return {
        "system": machine["system"],
        "instructions": _instructions(CPU_INFO),
        "cores": min(machine["cores"], _threads() or machine["cores"]),
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Look up the versions of installed packages, by name."""
    from importlib import metadata

    return {name: metadata.version(name) for name in packages}


def _threads() -> int:
    """Read the limit of threads of TensorFlow; 0 without a limit."""
    limit = os.environ.get(THREADS, "")
    return int(limit) if limit.isdecimal() else 0


def _instructions(cpu_info: Path) -> str:
    """Find the newest instruction set that the kernel lists; empty if it lists none."""
    flags = set(cpu_info.read_text(encoding="utf-8").split()) if cpu_info.exists() else set()
    return next((name for name in reversed(INSTRUCTIONS) if name in flags), "")


def _processor(cpu_info: Path) -> str:
    """Name of the processor as the kernel reports it, or its architecture."""
    try:
        lines = cpu_info.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
