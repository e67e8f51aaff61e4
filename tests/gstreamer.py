"""GStreamer for tests: PyGObject of this environment, or Debian's where this interpreter can load it."""

from __future__ import annotations

import importlib
import shutil
import sys
import warnings
from typing import Any

import pytest

from vsr.errors import UsageError

DEBIAN = "/usr/lib/python3/dist-packages"


def gstreamer() -> Any:
    """The module `vsr.live.gstreamer.binding`, the element registered; skips and says why where that can't be."""
    from vsr.live.gstreamer import register

    if "gi" not in sys.modules:
        sys.path.append(DEBIAN)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyGObject's importer is of an older form
            register()
            return importlib.import_module("vsr.live.gstreamer.binding")
    except UsageError as error:
        pytest.skip(str(error))
    finally:
        if DEBIAN in sys.path:  # its other packages are none of this environment's business
            sys.path.remove(DEBIAN)


def program(name: str) -> str:
    """The path of one of GStreamer's or the desktop's programs; skips where there is none."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here")
    return found
