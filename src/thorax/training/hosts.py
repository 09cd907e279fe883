"""Training in several processes, on one host or several, with the JAX backend.

All processes run the same steps on the same batches, each with its part of every batch. Process 0
alone validates and writes files, and sends the others what they need.
"""

import json
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from thorax.common.errors import InputError, in_one_line, printable_lines
from thorax.imaging.intensity import Window
from thorax.training.checkpoint import Checkpoint, load_checkpoint, parse_checkpoint
from thorax.training.launch import ADDRESSES, Launch, end_process, read_launch
from thorax.training.validation import CaseDice, validate

CONNECT_S = 300
"""Longest time that a process waits for the others at the start, in seconds."""

HEARTBEAT_S = 60
"""Time without a sign of life after which a process counts as dead, in seconds."""

_LOST = ("gloo", "nccl", "coordination service", "heartbeat")
"""Words of the errors of JAX if another process ended; their classes vary."""


@contextmanager
def joined_processes() -> Iterator[None]:
    """Connect the processes of a training, and let none wait for another one that failed.

    In one process this does nothing. In several, an error is printed here, and the process ends
    at once: an orderly end of JAX would wait for the others. They lose the connection and end,
    too.

    Raises:
        InputError: The variables of the environment are wrong, or this is the only process.
    """
    launch = read_launch()
    if launch.count == 1:
        yield
        return
    import jax

    try:
        with in_one_line():
            _connect(launch)
            yield
            jax.distributed.shutdown()
    except BaseException as error:
        end_process(_print_error(error))


def _connect(launch: Launch) -> None:
    if keras.backend.backend() != "jax":
        raise InputError(
            f"a training in {launch.count} processes needs the JAX backend, got "
            f"{keras.backend.backend()}; set KERAS_BACKEND=jax or start one process"
        )
    import jax

    if hasattr(jax.config, "jax_enable_preemption_service"):
        # Otherwise SIGTERM, with which clusters end jobs, would be ignored.
        jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            launch.coordinator,
            launch.count,
            launch.rank,
            initialization_timeout=CONNECT_S,
            heartbeat_timeout_seconds=HEARTBEAT_S,
        )
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"the {launch.count} processes of the training cannot connect: "
            f"{str(error).splitlines()[0]}; start all of them with the same {ADDRESSES}"
        ) from error


def _print_error(error: BaseException) -> int:
    """Print an error in one line, if it is one of the user; return the exit status."""
    if isinstance(error, KeyboardInterrupt):
        return 130
    if isinstance(error, InputError):
        line = f"thorax: {error}"
    elif _is_lost_connection(error):
        line = (
            "thorax: another process of the training ended; see its messages, and start all again "
            "to resume after the last finished epoch"
        )
    else:
        line = "".join(traceback.format_exception(error)).rstrip()
    print(printable_lines(line), file=sys.stderr, flush=True)  # noqa: T201
    return 1


def _is_lost_connection(error: BaseException) -> bool:
    return any(word in str(error).lower() for word in _LOST)


def process_count() -> int:
    """Return the number of processes of this training."""
    if keras.backend.backend() != "jax":
        return 1
    import jax

    return jax.process_count() if jax.distributed.is_initialized() else 1


def is_leader() -> bool:
    """Return True in process 0, which writes all files."""
    return process_rank() == 0


def process_rank() -> int:
    """Return the number of this process, from 0."""
    if process_count() == 1:
        return 0
    import jax

    return int(jax.process_index())


def share(content: bytes) -> bytes:
    """Return the bytes of process 0 in all processes, which must all call this."""
    if process_count() == 1:
        return content
    from jax.experimental.multihost_utils import broadcast_one_to_all

    size = int(broadcast_one_to_all(np.int32(len(content))))
    own = np.frombuffer(content, np.uint8) if is_leader() else np.zeros(size, np.uint8)
    return np.asarray(broadcast_one_to_all(own), np.uint8).tobytes()


def check_agreement(key: str) -> None:
    """Check that this process runs the same training as process 0.

    Args:
        key: Digest of settings, records, code and versions.

    Raises:
        InputError: The digest of process 0 is another one.
    """
    if share(key.encode()).decode() != key:
        raise InputError(
            f"process {process_rank()} must train the same as process 0, but differs in "
            "parameters, records, code, versions or kind of machine; copy the project of process 0"
        )


def load_shared_checkpoint(path: Path) -> Checkpoint | None:
    """Read a checkpoint in process 0, for all processes; None if it is missing or damaged."""
    if process_count() == 1:
        return load_checkpoint(path)
    content = path.read_bytes() if is_leader() and path.exists() else b""
    return parse_checkpoint(share(content))


@dataclass(frozen=True)
class Validator:
    """Validates a network in process 0.

    Args:
        network: The network that is trained.
        local: The network that is validated: the same, or in several processes a copy that needs
            no other process.
    """

    network: Any
    local: Any

    def __call__(self, paths: Sequence[Path], *, window: Window) -> list[CaseDice]:
        """Return the Dice of each case in all processes; see `thorax.training.validation`."""
        if self.local is self.network:
            return validate(self.network, paths, window=window)
        self.local.set_weights(self.network.get_weights())
        cases = validate(self.local, paths, window=window) if is_leader() else []
        dice = json.loads(share(json.dumps([case.dice for case in cases]).encode()))
        return [CaseDice(path, tuple(values)) for path, values in zip(paths, dice, strict=True)]


def make_validator(network: Any) -> Validator:
    """Return the validator of a network."""
    if process_count() == 1:
        return Validator(network, network)
    return Validator(network, keras.Model.from_config(network.get_config()))
