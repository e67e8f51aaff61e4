"""What every test may rely on: the folder of real media, and an end for runs that hang."""

from __future__ import annotations

import faulthandler
import os
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SECONDS_TO_EXIT = 60


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real media: VSR_DATA, else ../shared/data beside the checkout; skips where there is none."""
    folder = Path(os.environ.get("VSR_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real media in {folder}; set VSR_DATA to try them")
    return folder


def pytest_unconfigure() -> None:
    """A library's thread that keeps Python from ending fails the run, as a hanging test does (see pyproject.toml)."""
    faulthandler.dump_traceback_later(SECONDS_TO_EXIT, exit=True, file=sys.__stderr__)
