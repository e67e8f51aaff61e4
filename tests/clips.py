"""Makes the tests' clips, of any codec, layout, timing and tracks, and reads files back."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.codec.context import CodecContext, Flags
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from vsr.colour import write_tags
from vsr.frame import Colour, PlanarFormat

Order = Literal["mixed", "sound first", "picture first"]
# x265 without its own assembly, which corrupts memory with pictures less than 64 samples wide
QUIET = {"libx265": {"x265-params": "log-level=error:asm=no"}}
FAST = {"libx264": {"preset": "ultrafast"}, "libx265": {"preset": "ultrafast"}, "libvpx-vp9": {"cpu-used": "8"}}


@dataclass(frozen=True, kw_only=True)
class Sound:
    """A sound track: a rising tone.

    Args:
        codec: FFmpeg encoder name.
        rate: samples per second.
        layout: of channels, the first the loudest, the last the most quiet.
        start: seconds; where its first sample is heard.
        seconds: its length.
        language: three letters, or "".
    """

    codec: str = "aac"
    rate: int = 44100
    layout: str = "mono"
    start: Fraction = Fraction(0)
    seconds: Fraction = Fraction(1)
    language: str = ""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One file; times of the picture in ticks of `time_base`.

    Args:
        size: width, height.
        pts: when each frame is shown, rising.
        last: how long the last frame is shown.
        bframes: most B-frames in a row, with a pyramid where there are several.
        gop: frames from key frame to key frame.
        matrix: display matrix.
        options: of the encoder.
        subtitles: language of each SubRip track.
        script: what each of them says.
        chapters: (start, end) in seconds.
        attachments: file names.
        order: of the packets in the file.
    """

    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    size: tuple[int, int] = (48, 32)
    pts: Sequence[int] = range(12)
    time_base: Fraction = Fraction(1, 25)
    last: int = 1
    bframes: int = 0
    gop: int = 250
    aspect: Fraction = Fraction(1)
    colour: Colour = field(default_factory=Colour)
    matrix: tuple[int, ...] | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    language: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    sounds: Sequence[Sound] = ()
    subtitles: Sequence[str] = ()
    script: str = "1\n00:00:00,100 --> 00:00:00,300\nHello\n\n2\n00:00:00,300 --> 00:00:00,450\nagain\n"
    chapters: Sequence[tuple[float, float]] = ()
    attachments: Sequence[str] = ()
    order: Order = "mixed"
    muxing: Mapping[str, str] = field(default_factory=dict)

    @property
    def times(self) -> list[Fraction]:
        """Seconds of each frame."""
        return [pts * self.time_base for pts in self.pts]

    @property
    def durations(self) -> list[int]:
        return [b - a for a, b in pairwise(self.pts)] + [self.last]

    def write(self, path: Path) -> Path:
        """Makes the file; its container is chosen by its name."""
        # as large as this, the muxer keeps the order in which packets come
        delay = {} if self.order == "mixed" else {"max_interleave_delta": "1"}
        with av.open(str(path), "w", container_options={**self.muxing, **delay}) as target:
            target.metadata.update(self.metadata)
            if self.chapters:
                target.set_chapters([_chapter(number, *times) for number, times in enumerate(self.chapters)])
            pictures = _add_picture(target, self)
            tracks = [_encoded_sound(target, sound) for sound in self.sounds]
            tracks += [_copied_subtitle(target, name, path, self.script) for name in self.subtitles]
            for name in self.attachments:
                target.add_attachment(name, "application/x-truetype-font", f"font {name}".encode() * 9)
            target.start_encoding()
            rest = [packet for track in tracks for packet in track()]
            for packet in _ordered(self, pictures(), rest):
                target.mux_one(packet)
        return path


def _ordered(clip: Clip, pictures: list[Any], rest: list[Any]) -> list[Any]:
    if clip.order == "mixed":
        return sorted([*pictures, *rest], key=lambda packet: packet.dts * packet.time_base)
    return [*rest, *pictures] if clip.order == "sound first" else [*pictures, *rest]


def _chapter(number: int, start: float, end: float) -> Any:
    base = Fraction(1, 1000)
    return {
        "id": number,
        "start": round(start * 1000),
        "end": round(end * 1000),
        "time_base": base,
        "metadata": {"title": f"part {number}"},
    }


def _add_picture(target: Any, clip: Clip) -> Any:
    """Adds the picture track; returns what gives its packets once the header can be written."""
    options = FAST.get(clip.codec, {}) | QUIET.get(clip.codec, {}) | dict(clip.options)
    span = (clip.pts[-1] - clip.pts[0] + clip.last) * clip.time_base
    stream = target.add_stream(clip.codec, rate=(len(clip.pts) / span).limit_denominator(1001), options=options)
    context = stream.codec_context
    context.width, context.height, context.pix_fmt = *clip.size, clip.pix_fmt
    context.time_base = stream.time_base = clip.time_base
    context.sample_aspect_ratio = clip.aspect
    context.gop_size, context.thread_count = clip.gop, 1
    if clip.codec in ("libx264", "mpeg4", "mpeg2video"):
        context.max_b_frames = clip.bframes
    context.flags |= int(Flags.frame_duration)
    write_tags(context, clip.colour)
    stream.set_display_matrix(clip.matrix)
    if "yuva" in clip.pix_fmt and clip.codec.startswith("libvpx"):
        stream.metadata["alpha_mode"] = "1"
    if clip.language:
        stream.metadata["language"] = clip.language

    def packets() -> list[Any]:
        coded = []
        for number, (pts, duration) in enumerate(zip(clip.pts, clip.durations, strict=True)):
            frame = picture(clip.pix_fmt, clip.size, number)
            frame.pts, frame.time_base, frame.duration = pts, clip.time_base, duration
            frame.color_range = clip.colour.range
            coded += context.encode(frame)
        coded += context.encode(None)
        for packet in coded:
            packet.stream, packet.time_base = stream, clip.time_base
        end = clip.pts[-1] + clip.last - clip.pts[0] + (coded[0].dts or 0)
        coded[-1].duration = max(1, end - coded[-1].dts)  # a muxer ends the track with the packet decoded last
        return coded

    return packets


def _encoded_sound(target: Any, sound: Sound) -> Any:
    stream = target.add_stream(sound.codec, rate=sound.rate, layout=sound.layout)
    if sound.language:
        stream.metadata["language"] = sound.language
    context = stream.codec_context

    def packets() -> list[Any]:
        size, total = context.frame_size or 1024, round(sound.seconds * sound.rate)
        coded = []
        for begin in range(0, total, size):
            moments = np.arange(begin, min(begin + size, total)) / sound.rate
            wave = 0.5 * np.sin(2 * np.pi * (220 + 40 * moments) * moments)
            coded += context.encode(_samples(context.format.name, wave, sound, begin))
        return coded + context.encode(None)

    def placed() -> list[Any]:
        coded = packets()
        for packet in coded:
            packet.stream = stream
        return coded

    return placed


def _samples(format: str, wave: Any, sound: Sound, begin: int) -> AudioFrame:
    kind, white = {"f": (np.float32, 1), "s32": (np.int32, 2**31 - 1), "s16": (np.int16, 2**15 - 1)}[
        "f" if format.startswith("fl") else format.removesuffix("p")
    ]
    channels = av.AudioLayout(sound.layout).nb_channels
    data = (np.outer(wave, np.linspace(1, 1 / channels, channels)) * white).astype(kind)
    data = np.ascontiguousarray(data.T) if format.endswith("p") else data.reshape(1, -1)
    frame = AudioFrame.from_ndarray(data, format=format, layout=sound.layout)
    frame.sample_rate, frame.time_base = sound.rate, Fraction(1, sound.rate)
    frame.pts = begin + round(sound.start * sound.rate)
    return frame


def _copied_subtitle(target: Any, language: str, path: Path, script: str) -> Any:
    text = path.with_suffix(f".{language}.srt")
    text.write_text(script)
    with av.open(str(text)) as source:
        coded = [packet for packet in source.demux() if packet.size]
        stream = target.add_stream_from_template(source.streams[0], opaque=True)
    stream.metadata["language"] = language

    def packets() -> list[Any]:
        for packet in coded:
            packet.stream = stream
        return coded

    return packets


def picture(pix_fmt: str, size: tuple[int, int], number: int) -> VideoFrame:
    """Frame `number` of every clip: two gradients that move, and in the middle a block of noise of its own."""
    format = PlanarFormat.of(pix_fmt)
    if pix_fmt.startswith("ya"):
        return VideoReformatter().reformat(picture("yuva444p", size, number), format=pix_fmt)
    if format is None:
        return VideoReformatter().reformat(picture("yuv444p", size, number), format=pix_fmt)
    frame = VideoFrame(*size, pix_fmt)
    noise = np.random.default_rng(number)
    for plane, (rows, columns) in zip(frame.planes, format.shapes(*size), strict=True):
        y, x = np.mgrid[:rows, :columns]
        part = (0.2 + 0.5 * x / columns + 0.2 * y / rows + 0.02 * number) % 0.8 + 0.1
        part[rows // 3 : rows // 2, columns // 3 : columns // 2] = noise.random(
            (rows // 2 - rows // 3, columns // 2 - columns // 3)
        )
        lines = np.zeros((plane.height, plane.line_size // format.dtype.itemsize), format.dtype)
        lines[:rows, :columns] = part * format.white
        plane.update(lines.tobytes())
    return frame


def uneven(count: int, *, step: int = 100, start: int = 0, seed: int = 1) -> list[int]:
    """Times of a variable frame rate: distances from `step` to three times that, none the same for long."""
    return (start + np.cumsum(np.random.default_rng(seed).integers(step, 3 * step, count)) - step).tolist()


@dataclass
class Track:
    """What a file holds of one track, in file order."""

    kind: str
    codec: str
    language: str
    times: list[Fraction]  # presentation, seconds
    decode_times: list[Fraction]
    durations: list[Fraction]
    payloads: list[bytes]
    keys: list[bool]


def tracks(path: Path | str) -> list[Track]:
    """Every packet of every track but attachments, cover art and data."""
    with av.open(str(path)) as source:
        chosen = [s for s in source.streams if s.type in ("video", "audio", "subtitle")]
        found = {
            s.index: Track(
                s.type, s.codec_context.codec.canonical_name, (s.language or "").replace("und", ""), [], [], [], [], []
            )
            for s in chosen
        }
        for packet in source.demux(chosen):
            if packet.size:
                track, base = found[packet.stream.index], packet.time_base
                track.times.append((packet.pts if packet.pts is not None else packet.dts or 0) * base)
                track.decode_times.append((packet.dts if packet.dts is not None else packet.pts or 0) * base)
                track.durations.append((packet.duration or 0) * base)
                track.payloads.append(bytes(packet))
                track.keys.append(packet.is_keyframe)
    return list(found.values())


def video(path: Path | str) -> Track:
    """The first video track."""
    return next(track for track in tracks(path) if track.kind == "video")


@dataclass(frozen=True)
class Shown:
    """A decoded frame."""

    time: Fraction
    duration: Fraction
    size: tuple[int, int]
    pix_fmt: str
    planes: tuple[Any, ...]
    colour: Colour


def frames(path: Path | str) -> list[Shown]:
    """Every frame of the first video track as one decoder thread gives it; also alpha that VP8 and VP9 keep apart."""
    with av.open(str(path)) as source:
        stream = source.streams.video[0]
        stream.thread_count = 1
        if "1" not in (stream.metadata.get(key) for key in ("alpha_mode", "ALPHA_MODE")):
            return [_shown(frame, stream) for frame in source.decode(stream)]
        decoder: Any = CodecContext.create({"vp8": "libvpx", "vp9": "libvpx-vp9"}[stream.codec_context.name], "r")
        coded = [packet if packet.size else None for packet in source.demux(stream)]
        return [_shown(frame, stream) for packet in coded for frame in decoder.decode(packet)]


def _shown(frame: Any, stream: Any) -> Shown:
    format = PlanarFormat.of(frame.format.name)
    planes = []
    for plane, (rows, columns) in zip(
        frame.planes, format.shapes(frame.width, frame.height) if format else (), strict=False
    ):
        assert format is not None
        samples = np.frombuffer(bytes(plane), format.dtype).reshape(-1, plane.line_size // format.dtype.itemsize)
        planes.append(samples[:rows, :columns])
    base = frame.time_base or stream.time_base
    return Shown(
        time=frame.pts * base,
        duration=(frame.duration or 0) * base,
        size=(frame.width, frame.height),
        pix_fmt=frame.format.name,
        planes=tuple(planes),
        colour=Colour(
            range=int(frame.color_range),
            primaries=int(frame.color_primaries),
            transfer=int(frame.color_trc),
            matrix=int(frame.colorspace),
        ),
    )


def end_of_picture(path: Path | str) -> Fraction:
    """Seconds at which the container says the first video track ends."""
    with av.open(str(path)) as source:
        stream = source.streams.video[0]
        return ((stream.start_time or 0) + (stream.duration or 0)) * stream.time_base


def crc(payloads: Sequence[bytes]) -> list[int]:
    """Short forms of payloads, so that a failed comparison can be read."""
    return [zlib.crc32(payload) for payload in payloads]


def damaged(source: Path, target: Path, *, flips: int, seed: int = 0, keep: int = 0) -> Path:
    """A copy with bytes flipped at random places of the media data; the first `keep` bytes of it stay."""
    data, noise = bytearray(source.read_bytes()), np.random.default_rng(seed)
    begin = data.find(b"mdat") + 4 + keep if b"mdat" in data else keep
    end = data.find(b"moov") if data.find(b"moov") > begin else len(data)
    for place in noise.integers(begin, end, flips):
        data[int(place)] ^= int(noise.integers(1, 256))
    target.write_bytes(data)
    return target


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def with_profile(png: Path) -> None:
    """Puts an ICC profile that says nothing into a PNG."""
    data, profile = png.read_bytes(), struct.pack(">I", 132) + bytes(32) + b"acsp" + bytes(96)
    png.write_bytes(data[:33] + png_chunk(b"iCCP", b"p\0\0" + zlib.compress(profile)) + data[33:])
