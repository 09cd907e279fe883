"""Precision: set by the user or chosen by the hardware."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import pytest
import tensorflow as tf

from thorax.training.precision import PrecisionChoice, choose_precision


@pytest.fixture
def cpuinfo(tmp_path: Path) -> Path:
    """Return the feature flags of an old processor."""
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nflags\t\t: fpu sse4_2 avx2 avx512f avx512_vnni\n")
    return path


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that sets the compute capabilities of the GPUs of the machine."""

    def put(*capabilities: tuple[int, int] | None) -> None:
        details = {
            f"gpu:{number}": {"compute_capability": capability} if capability else {}
            for number, capability in enumerate(capabilities)
        }
        monkeypatch.setattr(
            tf.config, "list_physical_devices", lambda kind: list(details) if kind == "GPU" else []
        )
        monkeypatch.setattr(tf.config.experimental, "get_device_details", details.__getitem__)

    put()
    return put


@pytest.mark.parametrize(
    ("requested", "policy"),
    [("float32", "float32"), ("bfloat16", "mixed_bfloat16"), ("float16", "mixed_float16")],
)
def test_a_set_precision_is_used(requested: Any, policy: str, tmp_path: Path) -> None:
    choice = choose_precision(requested, cpuinfo=tmp_path / "none")
    assert choice == PrecisionChoice(policy, "set in params.yaml")


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize("flag", ["avx512_bf16", "amx_bf16"])
def test_auto_is_bfloat16_if_the_cpu_supports_it(cpuinfo: Path, flag: str) -> None:
    cpuinfo.write_text(cpuinfo.read_text().replace("avx2", f"avx2 {flag}"))
    assert choose_precision("auto", cpuinfo=cpuinfo) == PrecisionChoice(
        "mixed_bfloat16", f"the CPU supports {flag}"
    )


@pytest.mark.usefixtures("gpus")
def test_auto_is_float32_on_another_cpu(cpuinfo: Path) -> None:
    plain = PrecisionChoice("float32", "there is no GPU, and the CPU does not support bfloat16")
    assert choose_precision("auto", cpuinfo=cpuinfo) == plain


@pytest.mark.usefixtures("gpus")
def test_a_flag_is_a_whole_word(cpuinfo: Path) -> None:
    cpuinfo.write_text("flags\t: not_avx512_bf16 avx512_bf16x\n")
    assert choose_precision("auto", cpuinfo=cpuinfo).policy == "float32"


@pytest.mark.usefixtures("gpus")
def test_auto_is_float32_without_feature_flags(tmp_path: Path) -> None:
    assert choose_precision("auto", cpuinfo=tmp_path / "none").policy == "float32"


@pytest.mark.parametrize(
    ("capabilities", "policy", "reason"),
    [
        pytest.param([(9, 0)], "mixed_bfloat16", "the GPU supports bfloat16", id="H100"),
        pytest.param([(8, 0)], "mixed_bfloat16", "the GPU supports bfloat16", id="A100, the first"),
        pytest.param(
            [(7, 5)], "mixed_float16", "the GPU supports float16, but not bfloat16", id="T4"
        ),
        pytest.param(
            [(9, 0), (7, 5)],
            "mixed_float16",
            "the GPU supports float16, but not bfloat16",
            id="the least of several",
        ),
        pytest.param(
            [None],
            "mixed_float16",
            "the GPU supports float16, but not bfloat16",
            id="unknown capability",
        ),
    ],
)
def test_a_gpu_has_priority_over_the_cpu(
    gpus: Any, cpuinfo: Path, capabilities: list[Any], policy: str, reason: str
) -> None:
    cpuinfo.write_text("flags\t: avx512_bf16\n")
    gpus(*capabilities)
    assert choose_precision("auto", cpuinfo=cpuinfo) == PrecisionChoice(policy, reason)


@pytest.mark.parametrize(
    ("devices", "policy"),
    [
        pytest.param([("gpu", "9.0"), ("gpu", "8.6")], "mixed_bfloat16", id="two new GPUs"),
        pytest.param([("gpu", "7.0")], "mixed_float16", id="an older GPU"),
        pytest.param([("gpu", "12.0")], "mixed_bfloat16", id="12 is more than 8"),
        pytest.param([("cpu", None)], "float32", id="no GPU"),
    ],
)
def test_the_gpus_of_jax_count_if_keras_uses_it(
    monkeypatch: pytest.MonkeyPatch, cpuinfo: Path, devices: list[Any], policy: str
) -> None:
    fakes = [SimpleNamespace(platform=kind, compute_capability=text) for kind, text in devices]
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setitem(sys.modules, "jax", SimpleNamespace(devices=lambda: fakes))
    assert choose_precision("auto", cpuinfo=cpuinfo).policy == policy


@pytest.mark.parametrize(
    ("policy", "scales"),
    [
        pytest.param("float32", False, id="float32"),
        pytest.param("mixed_bfloat16", False, id="bfloat16 has the exponents of float32"),
        pytest.param("mixed_float16", True, id="float16 loses gradients below 6e-8"),
    ],
)
def test_the_loss_is_scaled_in_float16_only(policy: str, scales: bool) -> None:
    assert PrecisionChoice(policy, "").scales_loss is scales
