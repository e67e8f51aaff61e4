"""A folder in, a folder out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from vsr.errors import Interrupted, OutputError, UsageError, VsrError
from vsr.pictures import STILLS
from vsr.settings import RunSettings
from vsr.stills import is_still, without_video
from vsr.tracks import CONTAINERS

EXPORTS = frozenset({".gif", ".y4m"})  # stay what they are too
VIDEOS = frozenset(
    {*CONTAINERS, *EXPORTS, ".avi", ".flv", ".3gp", ".mpg", ".mpeg", ".m2ts", ".mts", ".wmv", ".ogv", ".264", ".265"}
)
FALLBACK = ".mkv"  # for containers that are read but not written; it holds nearly every track


def run_folder(
    settings: RunSettings,
    one: Callable[[RunSettings], int],
    say: Callable[[str], None],
    complain: Callable[[str], None],
) -> int:
    """Upscales every video and picture directly inside a folder.

    A file whose output exists is skipped unless `settings.overwrite`; one that fails doesn't stop the rest.

    Args:
        one: upscales a file; returns its exit code, 0 or 5.
        say, complain: take a line for the user, how it goes and what failed.

    Returns:
        0 when all are done; otherwise the exit code of the first that failed, or 5 when some input was damaged.

    Raises:
        UsageError: a sink, or nothing to do. OutputError: the output folder can't be made or is the input folder.
    """
    if settings.sink is not None:
        raise UsageError("a folder goes to a folder: name one as output")
    source, target = Path(settings.input), Path(settings.output)
    files = sorted(p for p in source.iterdir() if p.is_file() and p.suffix.lower() in VIDEOS | STILLS.keys())
    files = [path for path in files if not path.name.startswith(".")]
    if not files:
        raise UsageError(f"{source}: no videos or pictures inside")
    _make(source, target)
    done, skipped, codes = 0, 0, []
    for number, path in enumerate(files, start=1):
        output = target / _name(path)
        if output.exists() and not settings.overwrite:
            skipped += 1
            continue
        say(f"[{number}/{len(files)}] {path.name} -> {output}")
        try:
            fitting = without_video(settings) if is_still(str(path)) else settings
            codes.append(one(replace(fitting, input=str(path), output=str(output))))
            done += 1
        except Interrupted:
            raise
        except VsrError as error:
            complain(f"failed: {error}")
            codes.append(error.exit_code)
    failed = [code for code in codes if code not in (0, 5)]
    say(f"{done} done, {skipped} there already, {len(failed)} failed")
    return failed[0] if failed else max(codes, default=0)


def _make(source: Path, target: Path) -> None:
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "it is a file; a folder goes to a folder" if target.is_file() else error.strerror
        raise OutputError(f"{target}: can't make this folder ({reason})") from error
    if target.samefile(source):
        raise OutputError(f"{target}: is the input folder; choose another")


def _name(path: Path) -> str:
    suffix = path.suffix.lower()
    return path.name if suffix in CONTAINERS or suffix in EXPORTS or suffix in STILLS else f"{path.name}{FALLBACK}"
