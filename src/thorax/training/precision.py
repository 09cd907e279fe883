"""Numeric precision of the training."""

from dataclasses import dataclass
from pathlib import Path

import keras

from thorax.common.params import Precision

_CPU_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


@dataclass(frozen=True)
class PrecisionChoice:
    """Precision and the reason for it.

    Args:
        policy: Name of the Keras dtype policy.
        reason: A few words for the user.
    """

    policy: str
    reason: str

    @property
    def scales_loss(self) -> bool:
        """True if gradients vanish in this precision unless the loss is scaled up."""
        return self.policy == "mixed_float16"


def choose_precision(
    requested: Precision, *, cpuinfo: Path = Path("/proc/cpuinfo")
) -> PrecisionChoice:
    """Choose the precision; ``auto`` chooses by the hardware.

    Args:
        requested: As in `params.yaml`.
        cpuinfo: File with the feature flags of the processor.
    """
    if requested != "auto":
        return PrecisionChoice(_POLICIES[requested], "set in params.yaml")
    if gpus := _gpu_capabilities():
        if min(gpus) >= (8, 0):
            return PrecisionChoice("mixed_bfloat16", "the GPU supports bfloat16")
        return PrecisionChoice("mixed_float16", "the GPU supports float16, but not bfloat16")
    flags = set(cpuinfo.read_text(encoding="utf-8").split()) if cpuinfo.exists() else set()
    if supported := sorted(_CPU_FLAGS & flags):
        return PrecisionChoice("mixed_bfloat16", f"the CPU supports {supported[0]}")
    return PrecisionChoice("float32", "there is no GPU, and the CPU does not support bfloat16")


def _gpu_capabilities() -> list[tuple[int, int]]:
    """Return the CUDA compute capability of each GPU of the Keras backend."""
    if keras.backend.backend() == "jax":
        import jax

        gpus = [device for device in jax.devices() if device.platform == "gpu"]
        texts = [str(getattr(gpu, "compute_capability", "0.0")) for gpu in gpus]
        return [(int(major), int(minor)) for major, _, minor in (t.partition(".") for t in texts)]
    import tensorflow as tf

    details = (
        tf.config.experimental.get_device_details(gpu)
        for gpu in tf.config.list_physical_devices("GPU")
    )
    return [detail.get("compute_capability", (0, 0)) for detail in details]
