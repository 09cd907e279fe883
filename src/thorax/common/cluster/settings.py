"""Settings of a cluster: the address of a scheduler, or a YAML file that names a cluster class."""

import json
import re
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from thorax.common.errors import InputError, first_problem
from thorax.common.params import read_yaml

LOCAL = "LocalCluster"

SSH = "SSHCluster"

ClusterName = Literal[
    "LocalCluster",
    "SLURMCluster",
    "PBSCluster",
    "SGECluster",
    "LSFCluster",
    "HTCondorCluster",
    "OARCluster",
    "MoabCluster",
    "SSHCluster",
]

_ADDRESS = re.compile(r"(tcp|tls|ws|wss)://(\[[^\]\s]+\]|[^\s:/\[\]]+):\d{1,5}")

_OWN_KEYS = {"n_workers": "`workers`", "asynchronous": "no key", "silence_logs": "no key"}
"""Options that `thorax` sets → what to write instead."""

_TEXTS = {"walltime": "'02:00:00'", "memory": "4GB"}
"""Options that YAML may read as a number → example of a valid text."""


def _check_options(options: dict[str, Any]) -> dict[str, Any]:
    for name, instead in _OWN_KEYS.items():
        if name in options:
            raise ValueError(f"must not have {name}, use {instead} instead")
    for name, example in _TEXTS.items():
        # YAML reads 12:00:00 without quotes as 43200, and Dask reads 4 as four bytes.
        if isinstance(options.get(name), int | float):
            raise ValueError(f"must have {name} as a text in quotes such as {example}")
    return options


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))
class ClusterSettings:
    """A cluster to start.

    Args:
        cluster: Name of the class.
        workers: Number of workers; those that end are replaced.
        minimum: Smallest number of workers of an adaptive cluster.
        maximum: Largest number of workers of an adaptive cluster.
        options: Arguments of the class.
    """

    cluster: ClusterName
    workers: Annotated[int, Field(ge=1)] | None = None
    minimum: Annotated[int, Field(ge=0)] | None = None
    maximum: Annotated[int, Field(ge=1)] | None = None
    options: Annotated[dict[str, Any], AfterValidator(_check_options)] = field(default_factory=dict)

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest number of workers."""
        most = self.workers or self.maximum or 1
        return self.workers or self.minimum or 0, most


def read_cluster(text: str) -> str | ClusterSettings:
    """Check the value of ``--cluster``.

    Args:
        text: Address of a scheduler, such as ``tcp://host:8786``, or path of a YAML file.

    Returns:
        The address, or the content of the file.

    Raises:
        InputError: It is neither, or the file has unknown or contradictory keys or values.

    Example:
        >>> read_cluster("tcp://node1:8786")
        'tcp://node1:8786'
    """
    if _ADDRESS.fullmatch(text):
        return text
    if "://" in text or not text.lower().endswith((".yaml", ".yml")):
        raise InputError(
            "--cluster must be the address of a scheduler such as tcp://host:8786, or a YAML file, "
            f"got {text}"
        )
    path = Path(text)
    try:
        content = json.dumps(read_yaml(path), default=str)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    try:
        settings = TypeAdapter(ClusterSettings).validate_json(content)
    except ValidationError as error:
        raise InputError(f"{path}: {first_problem(error)}") from None
    _check_numbers(settings, path)
    return settings


def _check_numbers(settings: ClusterSettings, path: Path) -> None:
    given = [
        name for name in ("workers", "minimum", "maximum") if getattr(settings, name) is not None
    ]
    if settings.cluster == SSH:
        if given:
            raise InputError(
                f"{path}: `{given[0]}` must be omitted for {SSH}, whose workers are its hosts; "
                "list these in `options.hosts`"
            )
        return
    if given not in (["workers"], ["maximum"], ["minimum", "maximum"]):
        raise InputError(
            f"{path}: the number of workers must be given by `workers`, or by `minimum` and "
            f"`maximum`, got {' and '.join(given) or 'neither'}"
        )
    if (settings.minimum or 0) > settings.limits[1]:
        raise InputError(
            f"{path}: `minimum` must be at most `maximum`, got {settings.minimum} and "
            f"{settings.maximum}"
        )
