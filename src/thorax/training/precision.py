"""Which numbers the network is trained in."""

from dataclasses import dataclass
from pathlib import Path

import keras

from thorax.common.params import Precision

_CPU_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


@dataclass(frozen=True)
class PrecisionChoice:
    """A precision and why it was chosen.

    Args:
        policy: Name of the Keras dtype policy.
        reason: For people, half a line.
    """

    policy: str
    reason: str

    @property
    def scales_loss(self) -> bool:
        """Whether gradients would vanish in this precision unless the loss is scaled up."""
        return self.policy == "mixed_float16"


def choose_precision(asked: Precision, *, cpuinfo: Path = Path("/proc/cpuinfo")) -> PrecisionChoice:
    """Choose the precision; ``auto`` asks the hardware.

    Args:
        asked: As in `params.yaml`.
        cpuinfo: Where the processor tells what it can do.
    """
    if asked != "auto":
        return PrecisionChoice(_POLICIES[asked], "as asked")
    if gpus := _gpu_capabilities():
        if min(gpus) >= (8, 0):
            return PrecisionChoice("mixed_bfloat16", "the GPU has bfloat16")
        return PrecisionChoice("mixed_float16", "the GPU has half precision, but not bfloat16")
    flags = set(cpuinfo.read_text(encoding="utf-8").split()) if cpuinfo.exists() else set()
    if found := sorted(_CPU_FLAGS & flags):
        return PrecisionChoice("mixed_bfloat16", f"the CPU has {found[0]}")
    return PrecisionChoice("float32", "neither a GPU nor a CPU with bfloat16 was found")


def _gpu_capabilities() -> list[tuple[int, int]]:
    """CUDA compute capability of each GPU that the Keras backend sees."""
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
