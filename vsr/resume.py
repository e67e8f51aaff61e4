"""The work folder: encoded chunks on disk until the output is whole, so that an interrupted run can be gone on with.

It stands beside the output as `.NAME.vsr` and holds

    lock             held by the process at work
    job.json         the job, and its hash
    00000.packets    payloads of chunk 0's packets, one after the other, each with the alpha that goes beside it
    00000.json       their table: written last, by temporary name and rename, so a chunk that has one is finished
    part             the output while it is written

A chunk's packets don't depend on those before it, and a job with the same hash gives the same packets: a run that goes
on writes the file that an unbroken one would have written.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from vsr import chunkfile
from vsr.chunkfile import Encoded, sync_folder, whole, write_whole
from vsr.chunks import Chunk
from vsr.errors import InputError, Interrupted, OutputError, VerificationError
from vsr.job import Job
from vsr.mux import writing
from vsr.report import Report
from vsr.settings import Resume

if TYPE_CHECKING:
    from av.packet import Packet

VERSION = 1  # of the files in the folder
LONGEST_NAME = 255  # bytes of a file name on Linux


class WorkFolder:
    """Chunks of one job, stored and read back. To be had from `work_folder`.

    Attributes:
        encoded: by index, the chunks that are finished.
    """

    def __init__(self, path: Path, job: Job) -> None:
        self.path, self._job = path, job
        self.encoded: dict[int, Encoded] = {}

    @property
    def _repeatable(self) -> bool:
        """Whether the input can be told from another: a pipe can't."""
        return self._job.source.bytes > 0

    @property
    def part(self) -> Path:
        """Where the output grows until it is verified."""
        return self.path / "part"

    def missing(self) -> list[tuple[Chunk, ...]]:
        """What is still to be done: runs of neighbouring chunks."""
        todo = groupby(self._job.chunks, key=lambda chunk: chunk.index in self.encoded)
        return [tuple(chunks) for done, chunks in todo if not done]

    def store(self, chunk: Chunk, packets: Iterable[Packet[Any]], report: Report) -> Encoded:
        """Writes a chunk's packets as they come. It counts as finished only once `finish` was called."""
        return chunkfile.write(self.path, chunk.index, packets, report.damage)

    def finish(self, stored: Encoded) -> None:
        """Marks a stored chunk as complete; from now on it outlives the process."""
        table = stored.table.replace(stored.table.with_suffix(".json"))
        sync_folder(self.path)
        self.encoded[stored.index] = replace(stored, table=table)

    def finished(self, before: int | None = None) -> list[Encoded]:
        """Finished chunks in order, those with an index below `before`."""
        return [self.encoded[index] for index in sorted(self.encoded) if before is None or index < before]

    def begin(self, resume: Resume, report: Report) -> None:
        """Finds what an interrupted run of the same job has left; clears the folder of everything else."""
        why = self._find(resume)
        self._clear(self._files())
        write_whole(self.path / "job.json", json.dumps({"version": VERSION, **_identity(self._job)}))
        report.frames_resumed = sum(chunk.frames for chunk in self.encoded.values())
        report.frames_upscaled += report.frames_resumed
        for chunk in self.encoded.values():
            for line in chunk.damage():
                report.damaged(line)
            report.media_seconds += float(sum(row.duration for row in chunk.rows()) * self._job.source.time_base)
        if why:
            report.note(why)

    def _find(self, resume: Resume) -> str:
        """Fills `encoded`; what to say about it."""
        manifest = self.path / "job.json"
        if not manifest.exists() or not self._repeatable:
            return ""
        if resume == "never":
            return "what an interrupted run had left was deleted (--resume never)"
        try:
            before = json.loads(manifest.read_text())
        except ValueError:
            before = {}
        if before.get("version") != VERSION or before.get("hash") != self._job.hash():
            differs = _differences(before.get("job", {}), json.loads(self._job.to_json()))
            return f"started over: the interrupted run found was another job (it differs in {differs})"
        for chunk in self._job.chunks:
            finished = whole(self.path / f"{chunk.index:05d}.json", chunk.index)
            if finished:
                self.encoded[chunk.index] = finished
        count = f"{len(self.encoded)} of {len(self._job.chunks)} chunks"
        return f"went on from an interrupted run: {count} were done"

    def room(self) -> tuple[int, int]:
        """(bytes still needed, bytes free): the other chunks at the size of those that are done, and the output."""
        done = sum(chunk.frames for chunk in self.encoded.values())
        size = sum(chunk.bytes for chunk in self.encoded.values())
        whole = size * (self._job.source.frames or done) // max(1, done)
        return 2 * whole - size, shutil.disk_usage(self.path).free

    def told(self) -> str:
        """What is kept, for a run that ends early."""
        if not self.encoded or not self._repeatable:
            return "nothing was written"
        size = sum(chunk.bytes for chunk in self.encoded.values())
        done = f"{len(self.encoded)} of {len(self._job.chunks)} chunks are kept in {self.path} ({size / 1e6:.1f} MB)"
        return f"{done}; the same command goes on from there"

    def leave(self) -> None:
        """Ends early: finished chunks stay, a folder without any goes."""
        if self.encoded and self._repeatable:
            self._clear({self.path / "job.json", *self._files()})
        else:
            self.remove()

    def _files(self) -> set[Path]:
        return {path for done in self.encoded.values() for path in (done.table, done.payloads)}

    def _clear(self, kept: set[Path]) -> None:
        for path in self.path.iterdir():
            if path.name != "lock" and path not in kept:
                path.unlink()

    def remove(self) -> None:
        """The lock goes last: whoever makes a new one finds nothing of this run. What can't be removed stays."""
        with suppress(OSError):
            self._clear(set())
            (self.path / "lock").unlink()
            self.path.rmdir()


@contextmanager
def work_folder(job: Job, resume: Resume, report: Report) -> Iterator[WorkFolder]:
    """The work folder of a job's output, this process's alone. Removed when all went well, or nothing is worth keeping.

    Raises:
        OutputError: it can't be made, or another process works in it.
    """
    work = WorkFolder(folder_name(job.output), job)
    with writing(job.output):
        lock = _locked(work.path, job.output)
    with lock:
        try:
            with writing(job.output):
                work.begin(resume, report)
            yield work
        except (InputError, VerificationError):  # the same chunks would give the same file
            work.remove()
            raise
        except Interrupted as stop:
            work.leave()
            raise Interrupted(f"{stop}; {work.told()}", signum=stop.exit_code - 128) from stop
        except OutputError as error:
            work.leave()
            needed = f" (about {work.room()[0] / 1e6:.1f} MB more are needed)" if work.encoded else ""
            raise OutputError(f"{error}; {work.told()}{needed}") from error
        except BaseException:
            work.leave()
            raise
        work.remove()


def folder_name(output: str) -> Path:
    """Beside the output, hidden; named after it as far as the file system allows."""
    path = Path(output)
    name = f".{path.name}.vsr"
    if len(os.fsencode(name)) > LONGEST_NAME:
        name = f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()}.vsr"
    return path.with_name(name)


def _locked(path: Path, output: str) -> BinaryIO:
    """The lock of a folder, both made if need be. A run that ends removes both, so who locks what is gone tries again.

    Raises:
        OutputError: another process has it.
    """
    while True:
        path.mkdir(exist_ok=True)
        with suppress(FileNotFoundError), ExitStack() as stack:
            lock = stack.enter_context((path / "lock").open("wb"))
            _lock(lock, output)
            if os.path.samestat(os.fstat(lock.fileno()), (path / "lock").stat()):
                stack.pop_all()
                return lock


def _lock(lock: BinaryIO, output: str) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(f"{output}: another vsr-run is writing it") from error


def _identity(job: Job) -> dict[str, Any]:
    return {"hash": job.hash(), "job": json.loads(job.to_json())}


def _differences(before: Any, now: Any, path: str = "") -> str:
    """Names of the fields that differ, as "encoder.options"; "everything" where nothing can be compared."""
    if not isinstance(before, dict) or not isinstance(now, dict):
        return path or "everything"
    keys = [key for key in now if before.get(key) != now[key] and key not in ("output", "notes", "path")]
    return ", ".join(_differences(before.get(key), now[key], f"{path}.{key}".lstrip(".")) for key in keys)
