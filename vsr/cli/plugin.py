"""vsr-plugin: makes the GStreamer element known to gst-launch-1.0 and whatever else uses GStreamer."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vsr.cli.ending import ended
from vsr.errors import UsageError

ABOUT = """puts one small file where GStreamer's Python loader looks, so that gst-launch-1.0 and every program
that uses GStreamer know the element vsrupscale"""


def main(argv: list[str] | None = None) -> int:
    """Returns 0, or the exit code of the error said in one line; `where` returns 1 when the file isn't there."""
    arguments = _parser().parse_args(argv)
    return ended("vsr-plugin", lambda: _do(arguments.what, arguments.folder))


def _do(what: str, folder: Path | None) -> int:
    from vsr.live.gstreamer import loader

    file = loader.file_in(folder)
    if what == "uninstall":
        print(f"{file}: {'removed' if loader.uninstall(file) else 'was not there'}")
        return 0
    if what == "install":
        loader.install(file)
    there = file.exists()
    print(file if there else f"{file}: not there; vsr-plugin install writes it")
    if there:
        _try(file)
    return 0 if there else 1


def _try(file: Path) -> None:
    """Asks GStreamer for the element, and says what it needs to be told. Raises UsageError when it doesn't know it."""
    from vsr.live.gstreamer import NAME, loader

    told = loader.scanned(file)
    if loader.inspect(NAME, None if told else file.parent.parent) is None:
        raise UsageError(f"GStreamer doesn't list {NAME}; GST_DEBUG=pyplugin:6 gst-inspect-1.0 {NAME} shows why")
    print(
        f"GStreamer lists {NAME}" if told else f"GStreamer lists {NAME} where this is set, here and in ~/.profile, say:"
    )
    if not told:
        print(f'export GST_PLUGIN_PATH="{file.parent.parent}${{GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}}"')


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vsr-plugin", description=f"vsr-plugin {ABOUT}.")
    parser.add_argument("what", choices=("install", "where", "uninstall"), help="write the file, show it, remove it")
    parser.add_argument("--folder", type=Path, help="a plugin folder (default: ~/.gstreamer-1.0/plugins)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
