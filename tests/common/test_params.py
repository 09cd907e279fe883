"""`params.yaml`: the shipped file loads, wrong values are rejected by their key."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from thorax.common.errors import InputError
from thorax.common.params import PATH, check_params, load_params

SHIPPED = Path(__file__).parents[2] / PATH


@pytest.fixture
def content() -> dict[str, Any]:
    """The shipped parameters, read without thorax."""
    return yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))


def change(content: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(content)
    *sections, last = key.split(".")
    inner = changed
    for section in sections:
        inner = inner[section]
    inner[last] = value
    return changed


def test_the_shipped_params_load_with_the_values_of_the_file(content: dict[str, Any]) -> None:
    params = load_params(SHIPPED)
    assert params.dataset == content["dataset"]
    assert params.prepare.canvas == content["prepare"]["canvas"]
    assert params.split.test == content["split"]["test"]
    assert params.train.window == tuple(content["train"]["window"])
    assert params.predict.threshold == content["predict"]["threshold"]


def test_the_recipe_of_the_packaged_model_has_all_parameters() -> None:
    assert load_params(SHIPPED.parent / "models" / "lungs" / PATH).synthetic.chests == 600


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 0),
        ("prepare.canvas", 8),
        ("prepare.canvas", 1024),
        ("split.validation", 0),
        ("split.test", ["S1-101", "S1-102"]),
        ("train.context", 0),
        ("train.validate_every", 1),
        ("train.loggers", ["tensorboard", "mlflow", "wandb"]),
        ("losses.focal_gamma", 0),
        ("augmentation.rotate_degrees", 180),
        ("dataset", "my-study"),
    ],
)
def test_the_ends_of_each_range_are_allowed(content: dict[str, Any], key: str, value: Any) -> None:
    check_params(change(content, key, value), source="params.yaml")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("loss", "x", "'lovasz' or 'generalised_dice', got 'x'"),
        ("network.name", "vnet", "'resunet18' or 'resunet34', got 'vnet'"),
        ("prepare.crop", "lung", "'body' or 'none', got 'lung'"),
        ("train.precision", "half", "'auto', 'float32', 'bfloat16' or 'float16', got 'half'"),
        ("seed", "5", "valid integer, got '5'"),
        ("seed", -1, "greater than or equal to 0, got -1"),
        ("seed", True, "valid integer, got True"),
        ("train.epochs", 2.5, "valid integer, got 2.5"),
        ("train.epochs", 0, "greater than or equal to 1, got 0"),
        ("train.learning_rate", "1e-3", "valid number, got '1e-3'"),
        ("train.learning_rate", 0, "greater than 0, got 0"),
        ("train.learning_rate", float("inf"), "finite number, got inf"),
        ("train.weight_decay", float("nan"), "finite number, got nan"),
        ("train.window", [400, -1000], "must run from low to high HU, got [400, -1000]"),
        ("train.window", [0, 0], "must run from low to high HU"),
        ("train.window", [-1000, 0, 400], "at most 2 items"),
        ("train.context", -1, "greater than or equal to 0, got -1"),
        ("prepare.canvas", 7, "greater than or equal to 8, got 7"),
        ("prepare.canvas", 2048, "less than or equal to 1024, got 2048"),
        ("split.folds", 1, "greater than or equal to 2, got 1"),
        ("split.validation", 1, "less than 1, got 1"),
        ("split.test", "S1-101", "valid array, got 'S1-101'"),
        ("losses.focal_alpha", 1, "less than 1, got 1"),
        ("predict.threshold", 0, "greater than 0, got 0"),
        ("predict.threshold", 1, "less than 1, got 1"),
        ("augmentation.zoom", 1, "less than 1, got 1"),
        ("train.loggers", "mlflow", "valid array, got 'mlflow'"),
        ("train.validate_every", 0, "greater than or equal to 1, got 0"),
        ("train.batch", 0, "greater than or equal to 1 or 'auto', got 0"),
        ("train.batch", "big", "a valid integer or 'auto', got 'big'"),
        ("split.fold", -1, "greater than or equal to 0 or 'none', got -1"),
        ("dataset", 5, "valid string, got 5"),
        ("prepare", None, "got None"),
    ],
)
def test_a_wrong_value_is_rejected_by_its_key_with_the_rule(
    content: dict[str, Any], key: str, value: Any, message: str
) -> None:
    pattern = rf"^params\.yaml: `{re.escape(key)}`: .*{re.escape(message)}"
    with pytest.raises(InputError, match=pattern):
        check_params(change(content, key, value), source="params.yaml")


def test_an_unknown_logger_is_rejected(content: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="'tensorboard', 'mlflow' or 'wandb', got 'comet'"):
        check_params(change(content, "train.loggers", ["comet"]), source="params.yaml")


@pytest.mark.parametrize("key", ["epochs", "train.epoch"])
def test_an_unknown_key_is_rejected(content: dict[str, Any], key: str) -> None:
    with pytest.raises(InputError, match=rf"^params\.yaml: unknown key `{re.escape(key)}`$"):
        check_params(change(content, key, 1), source="params.yaml")


@pytest.mark.parametrize("key", ["loss", "train", "split.folds"])
def test_a_missing_key_is_rejected_because_there_are_no_other_defaults(
    content: dict[str, Any], key: str
) -> None:
    inner = content
    *sections, last = key.split(".")
    for section in sections:
        inner = inner[section]
    del inner[last]
    with pytest.raises(InputError, match=rf"^params\.yaml: key `{re.escape(key)}` is missing$"):
        check_params(content, source="params.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(b"", "got None", id="empty"),
        pytest.param(b"- 1\n- 2\n", r"got \[1, 2\]", id="a list"),
        pytest.param(b"train: {epochs: [", "is not valid YAML", id="cut short"),
        pytest.param(b"a: 1\n\tb: 2\n", "is not valid YAML", id="tabs"),
        pytest.param(b"\xff\xfe\xff", "is not valid YAML", id="not text"),
    ],
)
def test_a_file_without_a_mapping_is_rejected_in_one_line(
    tmp_path: Path, text: bytes, message: str
) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(text)
    with pytest.raises(InputError, match=rf"^{path}:? .*{message}") as caught:
        load_params(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"params\.yaml cannot be read: No such file"):
        load_params(tmp_path / "params.yaml")


def test_a_folder_with_the_name_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{tmp_path} cannot be read: Is a directory"):
        load_params(tmp_path)


@pytest.mark.parametrize(
    ("section", "old", "new"),
    [
        ("split", "watch", "validation_cases"),
        ("network", "start", "initial_weights"),
        ("augmentation", "border", "field_of_view"),
        ("train", "average", "ema_momentum"),
        ("train", "rare_share", "rare_region_share"),
        ("train", "plateau", "plateau_patience"),
        ("train", "patience", "early_stopping_patience"),
        ("train", "pictures", "picture_interval"),
    ],
)
def test_a_renamed_key_is_rejected_with_its_new_name(section: str, old: str, new: str) -> None:
    content = yaml.safe_load(SHIPPED.read_text())
    content[section][old] = content[section].pop(new)
    expected = f"p.yaml: `{section}.{old}` was renamed to `{section}.{new}`; rename it"
    with pytest.raises(InputError, match=f"^{re.escape(expected)}$"):
        check_params(content, source="p.yaml")


def test_a_renamed_value_is_rejected_with_its_new_name() -> None:
    content = yaml.safe_load(SHIPPED.read_text())
    content["network"]["initial_weights"] = "fresh"
    with pytest.raises(
        InputError, match=r"`network.initial_weights: fresh` was renamed to `random`"
    ):
        check_params(content, source="p.yaml")
