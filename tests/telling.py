"""Clips whose frames say something: HDR metadata and captions, their messages written by hand."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import av
from av.sidedata.sidedata import Type

from clips import Clip
from tampering import replaced
from vsr.frame import Colour

PQ = Colour(range=1, primaries=9, transfer=16, matrix=9)
# x, y of green, blue, red, white in 0.00002; most and least light in 0.0001 cd/m2
DISPLAY = (8500, 39850, 6550, 2300, 35400, 14600, 15635, 16450, 10_000_000, 50)
LIGHT = (1000, 400)
X26X = "G(8500,39850)B(6550,2300)R(35400,14600)WP(15635,16450)L(10000000,50)"
SVT = "G(0.17,0.797)B(0.131,0.046)R(0.708,0.292)WP(0.3127,0.329)L(1000.0,0.005)"
HDR10: Mapping[str, Mapping[str, str]] = {
    "libx264": {"x264-params": f"mastering-display={X26X}:cll=1000,400"},
    "libx265": {"x265-params": f"log-level=error:master-display={X26X}:max-cll=1000,400"},
    "libsvtav1": {"preset": "12", "svtav1-params": f"mastering-display={SVT}:content-light=1000,400"},
}
SIZE = (64, 64)  # x265 takes nothing smaller
SLICE = b"\0\0\1\1"  # the first of an MPEG-2 picture


def clip(codec: str = "libx264", **more: Any) -> Clip:
    deep = {} if codec in ("libx264", "mpeg2video") else {"pix_fmt": "yuv420p10le"}
    return Clip(**{"codec": codec, "size": SIZE, "bframes": 2, "pts": range(8), **deep, **more})


def nal(payload: bytes, codec: str) -> bytes:
    """A T.35 SEI as H.264 and H.265 write it, by hand; payloads here have no two zeros in a row but in captions."""
    size = b"\xff" * (len(payload) // 255) + bytes([len(payload) % 255])
    body = b"\x04" + size + payload + b"\x80"
    escaped = bytearray()
    for byte in body:
        escaped += b"\3" if escaped[-2:] == b"\0\0" and byte < 4 else b""
        escaped.append(byte)
    return (b"\x06" if codec == "libx264" else b"\x4e\x01") + bytes(escaped)


def telling(path: Path, source: Clip, says: Callable[[int], list[bytes]]) -> Path:
    """The clip with T.35 payloads in front of each frame, by the frame's number in order of presentation."""
    plain = source.write(path.with_name(f"plain{path.suffix}"))
    with av.open(str(plain)) as one, av.open(str(path), "w") as two:
        track = two.add_stream_from_template(one.streams[0], opaque=True)
        coded = [p for p in one.demux(one.streams[0]) if p.size]
        first = min(packet.pts or 0 for packet in coded)
        for packet in coded:
            number = round(((packet.pts or 0) - first) * packet.time_base / source.time_base)
            new = replaced(packet, told(bytes(packet), says(number), source.codec))
            new.stream = track
            two.mux_one(new)
    return path


def told(packet: bytes, payloads: list[bytes], codec: str) -> bytes:
    if codec == "mpeg2video":  # user data without T.35's country and provider
        place = packet.index(SLICE)
        return packet[:place] + b"".join(b"\0\0\1\xb2" + payload[3:] for payload in payloads) + packet[place:]
    units = [nal(payload, codec) for payload in payloads]
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units) + packet


def cc(*pairs: int) -> bytes:
    """CEA-608 byte pairs of field 1."""
    return b"".join(b"\xfc" + pair.to_bytes(2, "big") for pair in pairs)


def caption(triplets: bytes) -> bytes:
    """ATSC A/53's message."""
    return b"\xb5\x00\x31GA94\x03" + bytes([0xC0 | len(triplets) // 3, 0xFF]) + triplets + b"\xff"


def hdr10_plus(scene: int, *, windows: int = 1, curve: int = 0, peaks: int = 0) -> bytes:
    """A message of CTA-861-H annex S whose numbers depend on the scene."""
    bits = f"{1:08b}{windows:02b}"
    for _ in range(1, windows):
        bits += "".join(f"{n:016b}" for n in (10, 20, 500, 300, 250, 150)) + f"{45:08b}"
        bits += "".join(f"{n:016b}" for n in (7, 9, 8)) + "1"
    table = f"1{peaks:05b}{peaks:05b}" + "".join(f"{n % 16:04b}" for n in range(peaks * peaks)) if peaks else "0"
    bits += f"{400 + scene:027b}" + table
    for window in range(windows):
        bits += "".join(f"{n + scene + window:017b}" for n in (60000, 70000, 100000, 12345)) + f"{2:04b}"
        bits += f"{1:07b}{17:017b}{99:07b}{99998:017b}{321:010b}"
    bits += table
    for _ in range(windows):
        bits += f"1{1000:012b}{2000:012b}{curve:04b}" + "".join(f"{n * 60 % 1024:010b}" for n in range(curve))
        bits += f"1{33:06b}" if curve else "0"
    bits += "0" * (-len(bits) % 8)
    return bytes.fromhex("b5003c000104") + int(bits, 2).to_bytes(len(bits) // 8, "big")


def carried(path: Path, kind: Type) -> dict[int, bytes]:
    """A kind of side data by the frame's number in order of presentation, as FFmpeg's decoder gives it."""
    with av.open(str(path)) as source:
        shown: Any = enumerate(source.decode(source.streams.video[0]))
        return {number: bytes(frame.side_data[kind]) for number, frame in shown if kind in frame.side_data}


def boxed(path: Path, entry: bytes, boxes: bytes) -> Path:
    """The MP4 with boxes added to its sample entry; the index is behind the media, so no offset changes."""
    data, begin, end = bytearray(path.read_bytes()), 0, path.stat().st_size
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", entry):
        while data[begin + 4 : begin + 8] != kind:
            begin += int.from_bytes(data[begin : begin + 4], "big")
        end = begin + int.from_bytes(data[begin : begin + 4], "big")
        data[begin : begin + 4] = (end - begin + len(boxes)).to_bytes(4, "big")
        begin += 16 if kind == b"stsd" else 8
    path.write_bytes(data[:end] + boxes + data[end:])
    return path


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def words(number: int) -> list[bytes]:
    """Captions of one frame: none in each third, more than one message holds in frame 4, zeros in between."""
    if number == 4:
        return [caption(cc(*range(31))), caption(cc(0, 0, 0x4142))]
    return [caption(cc(0x9420 + number, 0))] if number % 3 else []


def rewritten(path: Path, target: Path, change: Callable[[int, bytes], bytes]) -> Path:
    with av.open(str(path)) as one, av.open(str(target), "w") as two:
        track = two.add_stream_from_template(one.streams[0], opaque=True)
        for number, packet in enumerate([p for p in one.demux(one.streams[0]) if p.size]):
            new = replaced(packet, change(number, bytes(packet)))
            new.stream = track
            two.mux_one(new)
    return target


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as source:
        return [bytes(packet) for packet in source.demux(source.streams[0]) if packet.size]
