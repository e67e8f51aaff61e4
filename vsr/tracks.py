"""What becomes of every other track of the input: copied, or dropped and said, by the rules of each container."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import av
import av.error

from vsr import sound
from vsr.errors import UsageError
from vsr.settings import Audio
from vsr.sound import SoundCodec
from vsr.subtitles import TEXT
from vsr.tags import stored_language

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.stream import Stream

Action = Literal["copy", "convert", "drop"]


@dataclass(frozen=True, kw_only=True)
class Container:
    """What a kind of output file can hold.

    Args:
        muxer: FFmpeg's name.
        encoders: video encoders to try, best first.
        further: those that `--codec` may name too.
        alpha: of both, those whose alpha it keeps, best first.
        exact: pts survive to the tick; otherwise to half a tick of `tick` seconds' denominator.
        rotation: keeps a display matrix.
        options: muxer options.
    """

    muxer: str
    encoders: tuple[str, ...]
    further: tuple[str, ...] = ()
    alpha: tuple[str, ...] = ()
    exact: bool = False
    rotation: bool = True
    options: Mapping[str, str] = field(default_factory=dict)


_H26X, _NVENC = ("libx264", "libx265"), ("h264_nvenc", "hevc_nvenc")
_IN_MP4 = ("libsvtav1", "libvpx-vp9", *_NVENC, "av1_nvenc")
_FASTSTART = {"movflags": "+faststart"}
CONTAINERS = {
    ".mp4": Container(muxer="mp4", encoders=_H26X, further=_IN_MP4, exact=True, options=_FASTSTART),
    ".m4v": Container(muxer="mp4", encoders=_H26X, further=_IN_MP4, exact=True, options=_FASTSTART),
    ".mov": Container(
        muxer="mov",
        encoders=(*_H26X, "prores_ks"),
        further=_NVENC,
        alpha=("prores_ks",),
        exact=True,
        options=_FASTSTART,
    ),
    ".mkv": Container(
        muxer="matroska",
        encoders=(*_H26X, "ffv1"),
        further=("libsvtav1", "libvpx-vp9", "prores_ks", *_NVENC, "av1_nvenc"),
        alpha=("libvpx-vp9", "ffv1", "prores_ks"),
    ),
    ".webm": Container(
        muxer="webm", encoders=("libvpx-vp9", "libsvtav1"), further=("av1_nvenc",), alpha=("libvpx-vp9",)
    ),
    ".ts": Container(muxer="mpegts", encoders=_H26X, further=_NVENC, rotation=False),
}


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What becomes of the other tracks in a kind of output file.

    Args:
        copied: codecs it takes as they are; None: those its muxer says it takes.
        sound: encoder of sound that isn't among them.
        text: encoder of text subtitles that aren't; "": they are dropped.
        attachments: keeps files, such as fonts.
    """

    copied: frozenset[str] | None = None
    sound: str
    text: str = ""
    attachments: bool = False


_TS_SOUND = {"aac", "mp3", "mp3float", "mp2", "mp2float", "ac3", "eac3", "dts", "dca", "opus"}
RULES = {
    "mp4": Rules(sound="aac", text="mov_text"),
    "mov": Rules(sound="aac", text="mov_text"),
    "matroska": Rules(sound="libopus", text="subrip", attachments=True),
    "webm": Rules(sound="libopus", text="webvtt"),
    "mpegts": Rules(sound="aac", copied=frozenset({*_TS_SOUND, "dvbsub"})),
}


def container_for(output: str) -> Container:
    """The container an output's name asks for. Raises UsageError with the list of known ones."""
    suffix = Path(output).suffix.lower()
    if suffix not in CONTAINERS:
        raise UsageError(f"{output}: unknown container '{suffix}' (known: {', '.join(CONTAINERS)})")
    return CONTAINERS[suffix]


@dataclass(frozen=True, kw_only=True)
class Track:
    """The fate of one input track.

    Args:
        action: "copy" as it is, "convert" by `sound` or `text`, or "drop".
        why: it isn't copied; said to the user.
        sound: the encoder of sound that is converted.
        text: the encoder of subtitles that are.
    """

    index: int
    kind: str
    codec: str
    action: Action
    why: str = ""
    language: str = ""
    time_base: Fraction = Fraction(0)
    sound: SoundCodec | None = None
    text: str = ""

    def __str__(self) -> str:
        language = f" ({self.language})" if self.language not in ("", "und") else ""
        return f"{self.kind} track {self.index}, {self.codec or 'unknown codec'}{language}"


def plan(source: InputContainer, video_index: int, container: Container, audio: Audio = "copy") -> tuple[Track, ...]:
    """A decision for every track but the upscaled one."""
    with av.open(os.devnull, "w", format=container.muxer) as target:
        streams = [stream for stream in source.streams if stream.index != video_index]
        return tuple(_decide(stream, container, target, audio) for stream in streams)


def notes(tracks: Iterable[Track], container: Container) -> list[str]:
    """What the user should hear of before the first frame: every track or language that isn't kept as it was."""
    lines = []
    for track in tracks:
        if track.action == "drop":
            lines.append(f"dropped: {track} {track.why}")
            continue
        styles = ", without its styles" if track.codec in ("ass", "ssa") else ""
        if track.action == "convert":
            lines.append(f"converted: {track} {track.why}: to {track.sound or track.text + styles}")
        if track.language not in ("", "und") and not stored_language(track.language, container.muxer):
            lines.append(f"dropped: the language of {track}; .mov has no code for it")
    return lines


def _decide(stream: Stream, container: Container, target: OutputContainer, audio: Audio) -> Track:
    codec = stream.codec_context.name if stream.codec_context is not None else ""
    why = _obstacle(stream, codec, container, target)
    encoder, text = None, ""
    if stream.type == "audio" and audio == "none":
        why = "was not wanted (--audio none)"
    elif stream.type == "audio" and (why or audio == "transcode") and _heard(stream):
        encoder = sound.choose(stream, RULES[container.muxer].sound)
        why = why or "is to be encoded anew (--audio transcode)"
    elif why and codec in TEXT:
        text = RULES[container.muxer].text
    return Track(
        index=stream.index,
        kind=stream.type,
        codec=codec,
        action="convert" if encoder or text else "drop" if why else "copy",
        why=why,
        language=stream.language or "",
        time_base=stream.time_base or Fraction(0),
        sound=encoder,
        text=text,
    )


def _heard(stream: Stream) -> bool:
    """Whether it is sound that can be decoded; a track without packets doesn't know its rate."""
    context: Any = stream.codec_context
    return context is not None and bool(context.sample_rate)


def _obstacle(stream: Stream, codec: str, container: Container, target: OutputContainer) -> str:
    """Why the track can't be copied; empty when it can."""
    if stream.type == "attachment":
        return "" if RULES[container.muxer].attachments else f"has no place in {container.muxer}"
    if stream.type == "video":
        return "is a further picture track; only one is upscaled"
    if stream.type not in ("audio", "subtitle"):
        return "is data without a known form"
    copied = RULES[container.muxer].copied
    taken = codec in (target.supported_codecs if copied is None else copied) and _header_taken(stream, container)
    return "" if taken else f"can't be stored in {container.muxer}"


def _header_taken(stream: Stream, container: Container) -> bool:
    """Whether the muxer writes a header for this track: it may refuse what it says it supports (FLAC in MOV)."""
    try:
        with av.open(os.devnull, "w", format=container.muxer) as trial:
            trial.add_stream_from_template(stream, opaque=True)
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True
