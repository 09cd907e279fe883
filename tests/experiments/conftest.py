"""DVC's settings of its own for each test that asks for them."""

from pathlib import Path

import pytest


@pytest.fixture
def own_dvc_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings and the caches of the user out of a test, and send no usage data."""
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    for folder in ("GLOBAL_CONFIG", "SYSTEM_CONFIG", "SITE_CACHE"):
        monkeypatch.setenv(f"DVC_{folder}_DIR", str(tmp_path / "dvc" / folder))


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Return a folder in which runs note their events."""
    (tmp_path / "notes").mkdir()
    return tmp_path / "notes"
