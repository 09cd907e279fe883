"""Precision: what the hardware decides, and what the user does."""

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
    """Return what an old processor tells of itself."""
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nflags\t\t: fpu sse4_2 avx2 avx512f avx512_vnni\n")
    return path


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that puts GPUs of these compute capabilities into the machine."""

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
    ("asked", "policy"),
    [("float32", "float32"), ("bfloat16", "mixed_bfloat16"), ("float16", "mixed_float16")],
)
def test_what_is_asked_is_given(asked: Any, policy: str, tmp_path: Path) -> None:
    assert choose_precision(asked, cpuinfo=tmp_path / "none") == PrecisionChoice(policy, "as asked")


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize("flag", ["avx512_bf16", "amx_bf16"])
def test_auto_takes_bfloat16_where_the_cpu_has_it(cpuinfo: Path, flag: str) -> None:
    cpuinfo.write_text(cpuinfo.read_text().replace("avx2", f"avx2 {flag}"))
    assert choose_precision("auto", cpuinfo=cpuinfo) == PrecisionChoice(
        "mixed_bfloat16", f"the CPU has {flag}"
    )


@pytest.mark.usefixtures("gpus")
def test_auto_takes_float32_on_another_cpu(cpuinfo: Path) -> None:
    plain = PrecisionChoice("float32", "neither a GPU nor a CPU with bfloat16 was found")
    assert choose_precision("auto", cpuinfo=cpuinfo) == plain


@pytest.mark.usefixtures("gpus")
def test_a_flag_is_a_whole_word(cpuinfo: Path) -> None:
    cpuinfo.write_text("flags\t: not_avx512_bf16 avx512_bf16x\n")
    assert choose_precision("auto", cpuinfo=cpuinfo).policy == "float32"


@pytest.mark.usefixtures("gpus")
def test_auto_takes_float32_where_the_processor_tells_nothing(tmp_path: Path) -> None:
    assert choose_precision("auto", cpuinfo=tmp_path / "none").policy == "float32"


@pytest.mark.parametrize(
    ("capabilities", "policy", "reason"),
    [
        pytest.param([(9, 0)], "mixed_bfloat16", "the GPU has bfloat16", id="H100"),
        pytest.param([(8, 0)], "mixed_bfloat16", "the GPU has bfloat16", id="A100, the first"),
        pytest.param(
            [(7, 5)], "mixed_float16", "the GPU has half precision, but not bfloat16", id="T4"
        ),
        pytest.param(
            [(9, 0), (7, 5)],
            "mixed_float16",
            "the GPU has half precision, but not bfloat16",
            id="what all of several have",
        ),
        pytest.param(
            [None],
            "mixed_float16",
            "the GPU has half precision, but not bfloat16",
            id="one that tells nothing",
        ),
    ],
)
def test_a_gpu_goes_before_the_cpu(
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
def test_jax_is_asked_where_keras_runs_on_it(
    monkeypatch: pytest.MonkeyPatch, cpuinfo: Path, devices: list[Any], policy: str
) -> None:
    made = [SimpleNamespace(platform=kind, compute_capability=text) for kind, text in devices]
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setitem(sys.modules, "jax", SimpleNamespace(devices=lambda: made))
    assert choose_precision("auto", cpuinfo=cpuinfo).policy == policy


@pytest.mark.parametrize(
    ("policy", "scales"),
    [
        pytest.param("float32", False, id="float32 loses nothing"),
        pytest.param("mixed_bfloat16", False, id="bfloat16 has the exponents of float32"),
        pytest.param("mixed_float16", True, id="float16 loses gradients below 6e-8"),
    ],
)
def test_the_loss_is_scaled_in_float16_alone(policy: str, scales: bool) -> None:
    assert PrecisionChoice(policy, "").scales_loss is scales
