"""One encoded chunk on disk: the payloads of its packets one after the other, and their table."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from av.packet import Packet

from vsr.beside import beside, put_beside
from vsr.encode import DecodeTimes


@dataclass(frozen=True)
class Row:
    """One packet: ticks of the job's time base, from `source.origin` on; `dts` as the chunk's own encoder gave it."""

    pts: int
    dts: int
    duration: int
    key: bool
    size: int
    shown: str = ""  # signature of the frame, in hexadecimal, where it has one
    beside: int = 0  # bytes that follow the payload and go beside it: VP9's alpha


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """One encoded chunk on disk."""

    index: int
    frames: int
    bytes: int
    table: Path

    @property
    def payloads(self) -> Path:
        return self.table.with_suffix(".packets")

    def rows(self) -> list[Row]:
        return [Row(*row) for row in json.loads(self.table.read_text())["packets"]]

    def damage(self) -> list[str]:
        """What was known of the input's damage when the chunk was written."""
        return [str(line) for line in json.loads(self.table.read_text())["damage"]]


def write(folder: Path, index: int, packets: Iterable[Packet[Any]], damage: list[str]) -> Encoded:
    """Writes a chunk's packets as they come, then their table under the name of one that isn't finished."""
    rows, digest, table = [], hashlib.sha256(), folder / f"{index:05d}.cut"
    with table.with_suffix(".packets").open("wb") as file:
        for packet in packets:
            alpha = beside(packet)
            for part in (bytes(packet), alpha):
                file.write(part)
                digest.update(part)
            assert packet.pts is not None
            dts = packet.pts if packet.dts is None else packet.dts
            shown = packet.opaque.hex() if isinstance(packet.opaque, bytes) else ""
            rows.append((packet.pts, dts, packet.duration or 0, packet.is_keyframe, packet.size, shown, len(alpha)))
        _sync(file)
    write_whole(table, json.dumps({"sha256": digest.hexdigest(), "damage": damage, "packets": rows}))
    return Encoded(index=index, frames=len(rows), bytes=sum(row[4] + row[6] for row in rows), table=table)


def read(chunks: Sequence[Encoded], time_base: Fraction) -> Iterator[Packet[Any]]:
    """Packets of a track's chunks in decoding order, with the decoding times of the whole track."""
    times = DecodeTimes()
    for chunk in chunks:
        rows = chunk.rows()
        for row in sorted(rows, key=lambda row: row.pts):
            times.fed(row.pts, row.duration)
        with chunk.payloads.open("rb") as file:
            for row in rows:
                packet: Packet[Any] = Packet(file.read(row.size))
                put_beside(packet, file.read(row.beside))
                packet.pts, packet.dts = row.pts, times.next(row.pts, row.dts)
                packet.duration, packet.is_keyframe = row.duration, row.key
                packet.time_base, packet.opaque = time_base, bytes.fromhex(row.shown) or None
                yield packet


def whole(table: Path, index: int) -> Encoded | None:
    """The chunk of this table, if all of it is there as it was written."""
    try:
        content = json.loads(table.read_text())
        sizes = [row[4] + row[6] for row in content["packets"]]
        with table.with_suffix(".packets").open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != content["sha256"]:
                return None
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return Encoded(index=index, frames=len(sizes), bytes=sum(sizes), table=table)


def write_whole(path: Path, text: str) -> None:
    """The file appears complete or not at all, also after a power cut."""
    fresh = path.with_suffix(".new")
    with fresh.open("w") as file:
        file.write(text)
        _sync(file)
    fresh.replace(path)
    sync_folder(path.parent)


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Makes renames inside last; not every system can open a folder."""
    if sys.platform != "win32":
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
