"""Connect to a running Dask scheduler, or start a cluster and stop it at the end."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from thorax.common.cluster import on_worker
from thorax.common.cluster.settings import LOCAL, SSH, ClusterSettings, read_cluster
from thorax.common.errors import InputError, require_packages

if TYPE_CHECKING:
    from distributed import Client

CONNECT_S = 10
"""Seconds in which a running scheduler must answer."""

Note = Callable[[str], None]


@dataclass
class Cluster:
    """An open cluster.

    Args:
        client: Connection to the scheduler.
        name: Address or class, for messages.
        note: Prints a line on stderr.
        demand: Returns the number of items that are left; an adaptive cluster has at most that many
            workers.
    """

    client: "Client"
    name: str
    note: Note
    demand: Callable[[], int] = field(default=lambda: 0)


@contextmanager
def open_cluster(text: str, *, note: Note) -> Iterator[Cluster]:
    """Open the cluster of ``--cluster`` while the body runs.

    Args:
        text: Address of a scheduler, or YAML file; see `read_cluster`.
        note: Prints a line on stderr.

    Raises:
        InputError: The value is wrong, a package is not installed, no scheduler answers, or the
            cluster cannot be started.
    """
    settings = check_cluster(text)
    with _quiet():
        opened = _connect(settings, note) if isinstance(settings, str) else _start(settings, note)
        with opened as cluster:
            if link := cluster.client.dashboard_link:
                note(f"dashboard of the cluster: {link}")
            yield cluster


def check_cluster(text: str) -> str | ClusterSettings:
    """Check the value of ``--cluster`` and the installation, without opening the cluster.

    Raises:
        InputError: As `read_cluster`, or a package is not installed.
    """
    settings = read_cluster(text)
    packages = ["dask", "distributed"]
    if isinstance(settings, ClusterSettings) and settings.cluster not in (LOCAL, SSH):
        packages.append("dask_jobqueue")
    if isinstance(settings, ClusterSettings) and settings.cluster == SSH:
        packages.append("asyncssh")
    require_packages("`--cluster`", *packages, extra="cluster")
    return settings


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Dask's own messages: those for the user are printed by this package."""
    import distributed

    names = (distributed.__name__, "distributed.client", "tornado.application", "asyncio")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def _connect(address: str, note: Note) -> Iterator[Cluster]:
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(
            f"no Dask scheduler answers at {address}; start one with `dask scheduler`, or correct "
            "the address"
        ) from error
    try:
        yield Cluster(client, address, note)
    finally:
        _close(client)


@contextmanager
def _start(settings: ClusterSettings, note: Note) -> Iterator[Cluster]:
    from distributed import Client

    cluster = _make(settings)
    try:
        client = Client(cluster, set_as_default=False)
        opened = Cluster(client, settings.cluster, note)
        if settings.cluster != SSH:
            _adapt(cluster, settings, opened)
        try:
            yield opened
        finally:
            _close(client)
    finally:
        # Workers that do not answer any more must not keep the program.
        with suppress(TimeoutError, asyncio.TimeoutError, OSError, RuntimeError):
            cluster.close(timeout=CONNECT_S)


def _close(client: "Client") -> None:
    with suppress(TimeoutError, asyncio.TimeoutError, OSError, RuntimeError):
        client.close(timeout=CONNECT_S)


def _make(settings: ClusterSettings) -> Any:
    module = "distributed" if settings.cluster in (LOCAL, SSH) else "dask_jobqueue"
    make = getattr(import_module(module), settings.cluster)
    options = dict(settings.options)
    # Any free port: others use the same login node.
    dashboard = {"dashboard_address": ":0"}
    if settings.cluster == LOCAL:
        options = {"threads_per_worker": 1} | dashboard | options
        options |= {"n_workers": settings.limits[0], "silence_logs": logging.CRITICAL}
        if options.get("processes", True):
            options.setdefault("preload", on_worker.__name__)
    else:
        options["scheduler_options"] = dashboard | options.get("scheduler_options", {})
    try:
        return make(**options)
    # The classes check their options in many ways, some by running a command of the batch system.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{settings.cluster} cannot be started with these options: {reason}; correct "
            "`options` in the YAML file"
        ) from error


def _adapt(cluster: Any, settings: ClusterSettings, opened: Cluster) -> None:
    """Keep the number of workers: start those that are needed, replace those that end.

    Dask's own estimate does not suit: it counts the tasks at the scheduler, and only as many scans
    are there as there are workers.
    """
    from distributed import Adaptive

    class ByDemand(Adaptive):  # type: ignore[misc]
        async def target(self) -> int:
            return opened.demand()

    minimum, maximum = settings.limits
    cluster.adapt(ByDemand, minimum=minimum, maximum=maximum, interval="1s")
