"""What becomes of every other track of the input: copied, or dropped and said, by the rules of each container."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import av

from vsr.errors import OutputError, UsageError

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.stream import AttachmentStream, Stream

Action = Literal["copy", "drop"]


@dataclass(frozen=True, kw_only=True)
class Container:
    """What a kind of output file can hold.

    Args:
        muxer: FFmpeg's name.
        encoders: video encoders to try, best first.
        exact: pts survive to the tick; otherwise to half a tick of `tick` seconds' denominator.
        copies: codecs it takes as they are; None: ask the muxer.
        rotation: keeps a display matrix.
        options: muxer options.
    """

    muxer: str
    encoders: tuple[str, ...]
    exact: bool = False
    copies: frozenset[str] | None = None
    rotation: bool = True
    options: Mapping[str, str] = field(default_factory=dict)


_H26X = ("libx264", "libx265")
_FASTSTART = {"movflags": "+faststart"}
_TS_CODECS = frozenset({"aac", "mp3", "mp3float", "mp2", "mp2float", "ac3", "eac3", "dts", "dca", "opus", "dvbsub"})
CONTAINERS = {
    ".mp4": Container(muxer="mp4", encoders=_H26X, exact=True, options=_FASTSTART),
    ".m4v": Container(muxer="mp4", encoders=_H26X, exact=True, options=_FASTSTART),
    ".mov": Container(muxer="mov", encoders=(*_H26X, "prores_ks"), exact=True, options=_FASTSTART),
    ".mkv": Container(muxer="matroska", encoders=(*_H26X, "ffv1")),
    ".webm": Container(muxer="webm", encoders=("libvpx-vp9", "libsvtav1")),
    ".ts": Container(muxer="mpegts", encoders=_H26X, copies=_TS_CODECS, rotation=False),
}


def container_for(output: str) -> Container:
    """The container an output's name asks for. Raises UsageError with the list of known ones."""
    suffix = Path(output).suffix.lower()
    if suffix not in CONTAINERS:
        raise UsageError(f"{output}: unknown container '{suffix}' (known: {', '.join(CONTAINERS)})")
    return CONTAINERS[suffix]


@dataclass(frozen=True, kw_only=True)
class Track:
    """The fate of one input track; `why` is said to the user when it is dropped."""

    index: int
    kind: str
    codec: str
    action: Action
    why: str = ""
    language: str = ""
    time_base: Fraction = Fraction(0)

    def __str__(self) -> str:
        language = f" ({self.language})" if self.language else ""
        return f"{self.kind} track {self.index}, {self.codec or 'unknown codec'}{language}"


def plan(source: InputContainer, video_index: int, container: Container) -> tuple[Track, ...]:
    """A decision for every track but the upscaled one.

    Raises:
        OutputError: sound that the container can't hold as it is.
    """
    with av.open("/dev/null", "w", format=container.muxer) as target:
        return tuple(_decide(stream, container, target) for stream in source.streams if stream.index != video_index)


def _decide(stream: Stream, container: Container, target: OutputContainer) -> Track:
    codec = stream.codec_context.name if stream.codec_context is not None else ""
    why = _obstacle(stream, codec, container, target)
    if why and stream.type == "audio":
        raise OutputError(f"sound of codec {codec or 'unknown'} (track {stream.index}) {why}; choose .mkv or .mov")
    return Track(
        index=stream.index,
        kind=stream.type,
        codec=codec,
        action="drop" if why else "copy",
        why=why,
        language=stream.language or "",
        time_base=stream.time_base or Fraction(0),
    )


def _obstacle(stream: Stream, codec: str, container: Container, target: OutputContainer) -> str:
    """Why the track can't be copied; empty when it can."""
    if stream.type == "attachment":
        return "" if container.muxer == "matroska" else f"has no place in {container.muxer}"
    if stream.type == "video":
        return "is a further picture track; only one is upscaled"
    if stream.type not in ("audio", "subtitle"):
        return "is data without a known form"
    known = target.supported_codecs if container.copies is None else container.copies
    return "" if codec in known else f"can't be stored in {container.muxer}"


def add_copies(source: InputContainer, target: OutputContainer, tracks: Iterable[Track]) -> dict[int, Stream]:
    """Adds the copied tracks to the output: input index to output stream, attachments written at once."""
    streams: dict[int, Stream] = {}
    for track in tracks:
        if track.action != "copy":
            continue
        stream = source.streams[track.index]
        if track.kind == "attachment":
            _attach(stream, target)  # type: ignore[arg-type]
            continue
        copy = target.add_stream_from_template(stream, opaque=True)
        copy.metadata.update(stream.metadata)
        copy.disposition = stream.disposition
        streams[track.index] = copy
    return streams


def _attach(stream: AttachmentStream, target: OutputContainer) -> None:
    name = stream.metadata.get("filename", f"attachment-{stream.index}")
    target.add_attachment(name, stream.mimetype or "application/octet-stream", stream.data)
