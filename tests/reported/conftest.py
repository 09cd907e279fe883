"""Fixtures for inputs that users of other tools reported."""

from tests.io.conftest import names_nobody, save_series, zip_folder

__all__ = ["names_nobody", "save_series", "zip_folder"]
