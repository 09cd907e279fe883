"""Results of an earlier run are reused only if the same source code wrote them."""

from pathlib import Path

import pytest

import thorax
from thorax.pipeline.source import note_source, source_digest, written_by_this_source


@pytest.fixture
def index(tmp_path: Path) -> Path:
    (tmp_path / "records").mkdir()
    (tmp_path / "records/index.json").write_text("{}")
    return tmp_path / "records/index.json"


def test_results_of_the_same_code_are_reused(index: Path) -> None:
    assert not written_by_this_source(index)
    note_source(index)
    assert written_by_this_source(index)


def test_results_that_were_replaced_since_are_not_reused(index: Path) -> None:
    note_source(index)
    index.write_text("{ }")
    assert not written_by_this_source(index)


@pytest.mark.parametrize("name", ["imaging/grid.py", "io/nifti.py", "preprocessing/canvas.py"])
def test_a_change_of_one_module_changes_the_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: Path, name: str
) -> None:
    for module in ("imaging/grid.py", "io/nifti.py", "preprocessing/canvas.py"):
        (tmp_path / module).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / module).write_text("answer = 42\n")
    monkeypatch.setattr(thorax, "__file__", str(tmp_path / "__init__.py"))
    digest = source_digest()
    note_source(index)
    (tmp_path / name).write_text("answer = 43\n")
    assert source_digest() != digest
    assert not written_by_this_source(index)
    (tmp_path / name).write_text("answer = 42\n")
    assert source_digest() == digest


def test_a_damaged_digest_is_not_used(index: Path) -> None:
    (index.parent.parent / ".records-source").write_bytes(b"\xff\xfe")
    assert not written_by_this_source(index)
