"""The file by which GStreamer's Python loader finds the element: what it says, where it goes, whether it works."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from vsr.errors import OutputError, UsageError
from vsr.live.gstreamer import ADVICE, NAME

MARK = "# Written by `vsr-plugin install`; `vsr-plugin uninstall` removes it."
INSPECT, SECONDS = "gst-inspect-1.0", 120  # the first look at all plugins takes a while
TEXT = """{mark}
import site
import sys

VERSION, SITES = {version}, {sites}


def element():
    if sys.version_info[:2] != VERSION:
        have, want = ("%d.%d" % version for version in (VERSION, sys.version_info[:2]))
        raise ImportError("vsr is installed for Python %s, GStreamer runs Python %s; install it there" % (have, want))
    before = list(sys.path)
    for folder in SITES:
        site.addsitedir(folder)
    sys.path[:] = [path for path in sys.path if path not in before] + before  # vsr's numpy, not the system's
    from vsr.live.gstreamer.element import Upscale

    return Upscale


try:
    __gstelementfactory__ = ("{name}", 0, element())
except (ImportError, ValueError) as error:
    print("{name}:", error, file=sys.stderr)
"""


def text() -> str:
    """The file's, for the environment this runs in."""
    folders = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    sites = [folder for folder in folders if Path(folder).is_dir()]
    return TEXT.format(mark=MARK, name=NAME, version=tuple(sys.version_info[:2]), sites=sites)


def file_in(folder: Path | None, environment: Mapping[str, str] = os.environ) -> Path:
    """Where the file goes: `folder`, a plugin folder of GStreamer's, or the user's own."""
    home = Path(environment.get("HOME") or Path.home())
    return (folder or home / ".gstreamer-1.0" / "plugins").absolute() / "python" / f"{NAME}.py"


def scanned(file: Path, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether GStreamer's Python loader looks at `file` without being told: its source names these variables."""
    places = environment.get("GST_PLUGIN_PATH_1_0", environment.get("GST_PLUGIN_PATH", "")).split(":")
    system = environment.get("GST_PLUGIN_SYSTEM_PATH_1_0", environment.get("GST_PLUGIN_SYSTEM_PATH"))
    if system is not None:
        places += system.split(":")
    elif file == file_in(None, environment):
        return True
    return str(file.parent.parent) in places


def install(file: Path) -> None:
    """Writes it. Raises UsageError where GStreamer can't load it, OutputError where something else has its place."""
    if inspect("python") is None:
        raise UsageError(f"GStreamer has no loader for Python here, nothing was written; {ADVICE}")
    _check_ours(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text())
    except OSError as error:
        raise OutputError(f"{file}: {error.strerror}; --folder names another place") from error


def uninstall(file: Path) -> bool:
    """Removes it; whether it was there. Raises OutputError when it isn't ours or can't be removed."""
    _check_ours(file)
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise OutputError(f"{file}: {error.strerror}") from error
    return True


def inspect(what: str, folder: Path | None = None) -> str | None:
    """What GStreamer says of a plugin or element, also looking into `folder`; None when it doesn't know it.

    Raises:
        UsageError: there is no GStreamer, or the element's file gave a reason not to load.
    """
    if shutil.which(INSPECT) is None:
        raise UsageError(f"no {INSPECT} here; {ADVICE}")
    more = {} if folder is None else {"GST_PLUGIN_PATH": f"{folder}:{os.environ.get('GST_PLUGIN_PATH', '')}"}
    with tempfile.TemporaryDirectory() as fresh:  # from its cache GStreamer tells no reasons
        environment = os.environ | more | {"GST_REGISTRY": f"{fresh}/registry"}
        command = [INSPECT, what]
        told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    reasons = [line for line in told.stderr.splitlines() if line.startswith(f"{NAME}: ")]
    if told.returncode and reasons:
        raise UsageError(reasons[0])
    return None if told.returncode else told.stdout


def _check_ours(file: Path) -> None:
    try:
        ours = not file.exists() or file.read_text(errors="replace").startswith(MARK)
    except OSError as error:
        raise OutputError(f"{file}: {error.strerror}") from error
    if not ours:
        raise OutputError(f"{file} wasn't written by vsr-plugin; move it away or give --folder")
