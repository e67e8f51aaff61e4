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
from vsr.colour import is_rigid
from vsr.demux import first_packet, is_cover
from vsr.errors import UsageError
from vsr.report import counted
from vsr.settings import Audio
from vsr.sound import SoundCodec
from vsr.subtitles import TEXT
from vsr.tags import language, lost_file_tags, lost_tags, tag

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.container.core import Chapter
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
        rotation: keeps a display matrix: none, such that turn and mirror, any.
        options: muxer options.
    """

    muxer: str
    encoders: tuple[str, ...]
    further: tuple[str, ...] = ()
    alpha: tuple[str, ...] = ()
    exact: bool = False
    rotation: Literal["none", "rigid", "any"] = "any"
    options: Mapping[str, str] = field(default_factory=dict)

    def keeps_turn(self, matrix: tuple[int, ...] | None) -> bool:
        """Whether reading a file back tells this display matrix again, but for its shift."""
        return matrix is None or self.rotation == "any" or self.rotation == "rigid" and is_rigid(matrix)


_H26X, _NVENC = ("libx264", "libx265"), ("h264_nvenc", "hevc_nvenc")
_IN_MP4 = ("libsvtav1", "libvpx-vp9", *_NVENC, "av1_nvenc")
_FASTSTART = {"movflags": "+faststart"}
# Cover art's codec and what an attachment of it is called.
MIME = {
    "mjpeg": "image/jpeg",
    "png": "image/png",
    "bmp": "image/bmp",
    "gif": "image/gif",
    "tiff": "image/tiff",
    "webp": "image/webp",
}
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
        rotation="rigid",
    ),
    ".webm": Container(
        muxer="webm",
        encoders=("libvpx-vp9", "libsvtav1"),
        further=("av1_nvenc",),
        alpha=("libvpx-vp9",),
        rotation="rigid",
    ),
    ".ts": Container(muxer="mpegts", encoders=_H26X, further=_NVENC, rotation="none"),
}


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What becomes of the other tracks in a kind of output file. Whatever no rule keeps is dropped, and said.

    Args:
        copied: codecs of pictures, sound and subtitles it takes as they are; None: those its muxer says it takes.
        sound: encoder of sound that isn't among them.
        text: encoder of text subtitles that aren't; "": they are dropped.
        data: codecs of data tracks it takes.
        covers: codecs of cover art it takes.
        attachments: keeps files, such as fonts; cover art is one of them.
    """

    copied: frozenset[str] | None = None
    sound: str
    text: str = ""
    data: frozenset[str] = frozenset()
    covers: frozenset[str] = frozenset()
    attachments: bool = False


_TS_PICTURE = {"h264", "hevc", "mpeg1video", "mpeg2video"}
_TS_SOUND = {"aac", "mp3", "mp3float", "mp2", "mp2float", "ac3", "eac3", "dts", "dca", "opus"}
DECADES = 10**9  # seconds
RULES = {
    "mp4": Rules(sound="aac", text="mov_text", covers=frozenset({"mjpeg", "png", "bmp"})),
    "mov": Rules(sound="aac", text="mov_text"),
    "matroska": Rules(sound="libopus", text="subrip", covers=frozenset(MIME), attachments=True),
    "webm": Rules(sound="libopus", text="webvtt"),
    "mpegts": Rules(
        copied=frozenset({*_TS_PICTURE, *_TS_SOUND, "dvbsub"}), sound="aac", data=frozenset({"klv", "timed_id3"})
    ),
}


def container_for(output: str) -> Container:
    """The container an output's name asks for. Raises UsageError with the list of known ones."""
    suffix = Path(output).suffix.lower()
    if suffix not in CONTAINERS:
        known = ", ".join(CONTAINERS)
        raise UsageError(f"{output}: unknown container '{suffix}' (known: {known}, .gif, .y4m, pictures NAME%04d.png)")
    return CONTAINERS[suffix]


@dataclass(frozen=True, kw_only=True)
class Track:
    """The fate of one input track.

    Args:
        action: "copy" as it is, "convert" by `sound` or `text`, or "drop".
        why: it isn't copied; said to the user.
        sound: the encoder of sound that is converted.
        text: the encoder of subtitles that are.
        lost: what the output can't say of it.
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
    lost: tuple[str, ...] = ()

    def __str__(self) -> str:
        spoken = f" ({self.language})" if self.language else ""
        return f"{self.kind} track {self.index}, {self.codec or 'unknown codec'}{spoken}"


def plan(source: InputContainer, video_index: int, container: Container, audio: Audio = "copy") -> tuple[Track, ...]:
    """A decision for every track but the upscaled one."""
    with av.open(os.devnull, "w", format=container.muxer) as target:
        others = [stream for stream in source.streams if stream.index != video_index]
        return tuple(_decide(stream, container, target, audio) for stream in others if not _is_made(stream, container))


def _is_made(stream: Stream, container: Container) -> bool:
    """Whether it is a track of timecode: the muxers of MP4 and MOV make their own from the tag of the same name."""
    return container.exact and stream.type == "data" and "timecode" in stream.metadata


def left(source: InputContainer, video_index: int, why: str) -> tuple[Track, ...]:
    """No track but the upscaled one is kept."""
    streams = [stream for stream in source.streams if stream.index != video_index]
    return tuple(
        Track(index=s.index, kind=s.type, codec=s.codec_context.name if s.codec_context else "", action="drop", why=why)
        for s in streams
    )


def notes(
    source: InputContainer, picture: Stream, tracks: Iterable[Track], container: Container, *, later: bool
) -> list[str]:
    """What the user should hear of before the first frame: everything that isn't kept as it was.

    Args:
        later: the part asked for begins after the input does.
    """
    lines, muxer, fate = [], container.muxer, list(tracks)
    if any(track.kind == "video" for track in fate):
        lines.append(f"video track {picture.index} is upscaled (--stream chooses another)")
    for track in fate:
        lines += _said_of(track, muxer)
    covers = any(track.kind == "cover" and track.action == "copy" for track in fate)
    lost = lost_tags(picture, muxer), lost_file_tags(source.metadata, muxer, covers=covers)
    owners = "the picture track", "the file"
    lines += [f"dropped: of {owner}: {', '.join(tags)}" for owner, tags in zip(owners, lost, strict=True) if tags]
    if muxer == "mpegts" and source.chapters():
        lines.append(f"dropped: {counted(len(source.chapters()), 'chapter')} (mpegts has no place for them)")
    elif absurd := sum(is_absurd(chapter) for chapter in source.chapters()):
        lines.append(f"dropped: {counted(absurd, 'chapter')} (decades after the beginning)")
    if later and tag(picture.metadata, "timecode"):
        lines.append("dropped: the timecode, which is that of the input's first frame")
    return lines


def is_absurd(chapter: Chapter) -> bool:
    """Whether a chapter begins too late for muxers, which count nanoseconds in 64 bits; NUT spoils times below zero."""
    return chapter["start"] * (chapter["time_base"] or Fraction(1, 1000)) > DECADES


def _said_of(track: Track, muxer: str) -> list[str]:
    if track.action == "drop":
        return [f"dropped: {track} {track.why}"]
    lines = [f"dropped: of {track}: {', '.join(track.lost)} (has no place in {muxer})"] if track.lost else []
    if track.action == "convert":
        styles = ", without its styles" if track.codec in ("ass", "ssa") else ""
        lines.insert(0, f"converted: {track} {track.why}: to {track.sound or track.text + styles}")
    return lines


def _decide(stream: Stream, container: Container, target: OutputContainer, audio: Audio) -> Track:
    codec = stream.codec_context.name if stream.codec_context is not None else getattr(stream, "name", None) or ""
    why = _obstacle(stream, codec, container, target)
    encoder, text = None, ""
    if stream.type == "audio" and audio == "none":
        why = "was not wanted (--audio none)"
    elif stream.type == "audio" and (why or audio == "transcode") and _heard(stream):
        encoder = sound.choose(stream, RULES[container.muxer].sound)
        why = why or "is to be encoded anew (--audio transcode)"
    elif sound.is_pcm(codec) and container.exact and not why:
        encoder, why = sound.choose(stream, codec), f"is cut into other packets in {container.muxer}, sample for sample"
    elif why and codec in TEXT:
        text = RULES[container.muxer].text
    return Track(
        index=stream.index,
        kind="cover" if is_cover(stream) else stream.type,
        codec=codec,
        action="convert" if encoder or text else "drop" if why else "copy",
        why=why,
        language=language(stream),
        time_base=stream.time_base or Fraction(0),
        sound=encoder,
        text=text,
        lost=tuple(lost_tags(stream, container.muxer)),
    )


def _heard(stream: Stream) -> bool:
    """Whether it is sound that can be encoded anew; a track without packets doesn't know its rate."""
    context: Any = stream.codec_context
    return context is not None and bool(context.sample_rate >= sound.SLOWEST)


def _obstacle(stream: Stream, codec: str, container: Container, target: OutputContainer) -> str:
    """Why the track can't be copied; empty when it can."""
    rules = RULES[container.muxer]
    if stream.type == "attachment":
        return "" if rules.attachments else f"has no place in {container.muxer}"
    if is_cover(stream):
        return "" if codec in rules.covers else f"has no place in {container.muxer}"
    if stream.type == "data":
        taken = codec in rules.data
    else:
        taken = codec in (target.supported_codecs if rules.copied is None else rules.copied)
    # NUT has one name for both
    if codec == "ac3" and stream.container.format.name == "nut" and sound.is_eac3(first_packet(stream)):
        return "is E-AC-3 under the name of AC-3"
    if codec == "opus" and container.muxer == "mpegts":
        taken = taken and sound.splits_as_known(stream.codec_context.extradata)
    return "" if taken and _header_taken(stream, container) else f"can't be stored in {container.muxer}"


def _header_taken(stream: Stream, container: Container) -> bool:
    """Whether the muxer writes a header for this track: it may refuse what it says it supports (FLAC in MOV)."""
    try:
        with av.open(os.devnull, "w", format=container.muxer) as trial:
            trial.add_stream_from_template(stream, opaque=True)
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True
