"""Plans on disk: built once on this machine for this GPU, found again by everything that shaped them.

A plan is code that runs, so it is only ever taken from a folder that belongs to the user and that nobody else may
write to. A folder holds for every key

    KEY.plan   the plan          KEY.json   what shaped it, for people and for `vsr-plan list`
    KEY.lock   locked while a process builds it; the lock ends with the process, the empty file stays

and beside them timing caches, `*.timing`, which make later builds faster.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from vsr.errors import OutputError, VsrError

SCHEMA = 1  # of what is stored; a new one leaves the old plans behind for `clean`
Loaded = TypeVar("Loaded")


class PlanError(VsrError, RuntimeError):
    """A plan that can't be built, or that the library doesn't take."""


@dataclass(frozen=True)
class PlanKey:
    """What shaped a plan: plain JSON values, all of which count."""

    facts: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """The same for equal facts, whatever their order."""
        text = json.dumps({"schema": SCHEMA, **self.facts}, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class StoredPlan:
    """A plan on disk.

    Args:
        digest: of its key; the file's name.
        nbytes: of the plan.
        used: when it was last loaded or made, seconds since 1970.
        facts: its key's; empty where its description is gone.
        seconds: it took to build; 0 unknown.
    """

    path: Path
    digest: str
    nbytes: int
    used: float
    facts: Mapping[str, Any]
    seconds: float


class PlanCache:
    """The plans in one folder, made where it isn't there.

    Raises:
        OutputError: a folder that can't be used, or that others may write to.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = folder.stat()
        except OSError as error:
            raise OutputError(f"{folder}: {error.strerror}; plans need a folder (VSR_CACHE names another)") from error
        if status.st_uid != os.getuid() or status.st_mode & 0o022:
            raise OutputError(f"{folder} can be written by others, and plans are code; chmod 700 it, or set VSR_CACHE")
        self.folder = folder

    def obtain(
        self, key: PlanKey, build: Callable[[], bytes], load: Callable[[bytes], Loaded], *, said: Callable[[str], None]
    ) -> Loaded:
        """The plan of `key`, loaded: from disk, or built, which one of several processes does while the others wait.

        Args:
            load: raises PlanError for a plan that isn't what it should be; such a one is built anew, once.
            said: gets a line when another process is waited for or a stored plan was thrown away.
        """
        path = self.folder / f"{key.digest}.plan"
        with suppress(PlanError, FileNotFoundError):
            return self._loaded(path, load)
        with self._locked(key.digest, said):
            try:
                return self._loaded(path, load)
            except FileNotFoundError:
                pass
            except PlanError as error:
                said(f"the stored plan doesn't load and is built anew ({error})")
            self._remove(key.digest)
            begin = time.monotonic()
            plan = build()
            try:
                self._store(key, plan, time.monotonic() - begin)
            except OutputError as error:
                said(f"the plan isn't kept ({error})")
            return load(plan)

    def stored(self) -> list[StoredPlan]:
        """All of them, the last used first."""
        plans = []
        for path in self.folder.glob("*.plan"):
            with suppress(FileNotFoundError):
                plans.append(_described(path))
        return sorted(plans, key=lambda plan: plan.used, reverse=True)

    def clean(self, *, older: float = 0.0, larger: int = 0) -> list[StoredPlan]:
        """Deletes plans that weren't used for `older` seconds, and of the rest the oldest while all take over `larger`.

        With both 0 everything goes, timing caches too. Returns what was deleted; a plan that is being built stays.
        """
        now, plans, gone = time.time(), self.stored(), []
        total = sum(plan.nbytes for plan in plans)
        for plan in reversed(plans):
            if now - plan.used > older > 0 or total > larger > 0 or not (older or larger):
                total -= plan.nbytes
                gone.append(plan)
                self._remove(plan.digest)
                (self.folder / f"{plan.digest}.lock").unlink(missing_ok=True)
        if not (older or larger):
            for path in [*self.folder.glob("*.timing"), *self.folder.glob("*.tmp")]:
                path.unlink(missing_ok=True)
        return gone

    def read(self, name: str) -> bytes:
        """A file beside the plans; empty where there is none."""
        with suppress(FileNotFoundError):
            return (self.folder / name).read_bytes()
        return b""

    def write(self, name: str, data: bytes) -> None:
        """All of it or nothing, also when the machine stops. Raises OutputError."""
        temporary = self.folder / f"{name}.{os.getpid()}.tmp"
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.folder / name)
        except OSError as error:
            raise OutputError(f"{self.folder / name}: {error.strerror}") from error
        finally:
            temporary.unlink(missing_ok=True)

    def _loaded(self, path: Path, load: Callable[[bytes], Loaded]) -> Loaded:
        try:
            plan = path.read_bytes()
        except PermissionError as error:
            raise OutputError(f"{path}: {error.strerror}; `vsr-plan clean --all`, or set VSR_CACHE") from error
        loaded = load(plan)
        with suppress(OSError):
            os.utime(path)  # `clean` goes by it
        return loaded

    def _store(self, key: PlanKey, plan: bytes, seconds: float) -> None:
        described = {"schema": SCHEMA, "seconds": round(seconds, 1), "facts": dict(key.facts)}
        self.write(f"{key.digest}.json", json.dumps(described, indent=1).encode())
        self.write(f"{key.digest}.plan", plan)

    def _remove(self, digest: str) -> None:
        """The plan, and what builders that were killed left of it."""
        for path in self.folder.glob(f"{digest}.*"):
            if path.suffix != ".lock":
                path.unlink(missing_ok=True)

    @contextmanager
    def _locked(self, digest: str, said: Callable[[str], None]) -> Iterator[None]:
        try:
            file = (self.folder / f"{digest}.lock").open("wb")
        except OSError as error:
            raise OutputError(f"{self.folder}: {error.strerror}") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                said("another process builds this plan; waiting for it")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _described(path: Path) -> StoredPlan:
    status = path.stat()
    try:
        described = json.loads(path.with_suffix(".json").read_bytes())
        facts, seconds = dict(described["facts"]), float(described["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        facts, seconds = {}, 0.0
    return StoredPlan(
        path=path, digest=path.stem, nbytes=status.st_size, used=status.st_mtime, facts=facts, seconds=seconds
    )
