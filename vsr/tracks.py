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

from vsr.errors import OutputError, UsageError

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.stream import AttachmentStream, Stream

    from vsr.job import Source

Action = Literal["copy", "drop"]
ADTS_HEADER = 7  # bytes; 9 with a checksum


@dataclass(frozen=True, kw_only=True)
class Container:
    """What a kind of output file can hold.

    Args:
        muxer: FFmpeg's name.
        encoders: video encoders to try, best first.
        further: those that `--codec` may name too.
        alpha: of both, those whose alpha it keeps, best first.
        exact: pts survive to the tick; otherwise to half a tick of `tick` seconds' denominator.
        copies: codecs it takes as they are; None: ask the muxer.
        rotation: keeps a display matrix.
        options: muxer options.
    """

    muxer: str
    encoders: tuple[str, ...]
    further: tuple[str, ...] = ()
    alpha: tuple[str, ...] = ()
    exact: bool = False
    copies: frozenset[str] | None = None
    rotation: bool = True
    options: Mapping[str, str] = field(default_factory=dict)


_H26X, _NVENC = ("libx264", "libx265"), ("h264_nvenc", "hevc_nvenc")
_IN_MP4 = ("libsvtav1", "libvpx-vp9", "ffv1", *_NVENC, "av1_nvenc")
_FASTSTART = {"movflags": "+faststart"}
_TS_CODECS = frozenset({"aac", "mp3", "mp3float", "mp2", "mp2float", "ac3", "eac3", "dts", "dca", "opus", "dvbsub"})
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
    ".ts": Container(muxer="mpegts", encoders=_H26X, further=_NVENC, copies=_TS_CODECS, rotation=False),
}


# ISO 639-2 codes that FFmpeg finds among QuickTime's own, and those it only finds under another name.
_QUICKTIME = (
    "eng fra ger ita dut sve spa dan por nor heb jpn ara fin gre ice mlt tur chi urd hin tha kor lit pol hun est lav "
    "rus iri per alb ron ces slk slv yid mac bul ukr bel uzb kaz aze arm geo mol kir tgk tuk mon pus kur kas snd tib "
    "nep san mar ben asm guj ori mal kan tam tel bur khm lao vie ind tgl may amh tir orm som swa run mlg epo wel baq "
    "cat lat que grn aym tat uig dzo jav"
)
_QUICKTIME_NAMES = {
    "deu": "ger", "nld": "dut", "swe": "sve", "ell": "gre", "isl": "ice", "zho": "chi", "fas": "per", "sqi": "alb",
    "mkd": "mac", "hye": "arm", "kat": "geo", "bod": "tib", "mya": "bur", "msa": "may", "cym": "wel", "eus": "baq",
    "fre": "fra", "rum": "ron", "cze": "ces", "slo": "slk",
}  # fmt: skip


def stored_language(language: str, container: Container) -> str:
    """The code that keeps a track's language in the file, "" where none does: MOV knows a hundred, by one name each."""
    if container.muxer != "mov":
        return language
    name = _QUICKTIME_NAMES.get(language, language)
    return name if name in _QUICKTIME.split() else ""


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
    with av.open(os.devnull, "w", format=container.muxer) as target:
        return tuple(_decide(stream, container, target) for stream in source.streams if stream.index != video_index)


def _decide(stream: Stream, container: Container, target: OutputContainer) -> Track:
    codec = stream.codec_context.name if stream.codec_context is not None else ""
    why = _obstacle(stream, codec, container, target)
    if why and stream.type == "audio" and _known(stream) and container.muxer != "matroska":
        raise OutputError(f"sound of codec {codec or 'unknown'} (track {stream.index}) {why}; choose .mkv")
    return Track(
        index=stream.index,
        kind=stream.type,
        codec=codec,
        action="drop" if why else "copy",
        why=why,
        language=stream.language or "",
        time_base=stream.time_base or Fraction(0),
    )


def _known(stream: Stream) -> bool:
    """Whether it is a sound track that has packets; one that has none doesn't know its rate."""
    context: Any = stream.codec_context
    return context is not None and bool(context.sample_rate)


def _obstacle(stream: Stream, codec: str, container: Container, target: OutputContainer) -> str:
    """Why the track can't be copied; empty when it can."""
    if stream.type == "attachment":
        return "" if container.muxer == "matroska" else f"has no place in {container.muxer}"
    if stream.type == "video":
        return "is a further picture track; only one is upscaled"
    if stream.type not in ("audio", "subtitle"):
        return "is data without a known form"
    known = target.supported_codecs if container.copies is None else container.copies
    taken = codec in known and _header_taken(stream, container)
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


def add_copies(
    source: InputContainer, target: OutputContainer, tracks: Iterable[Track], container: Container
) -> dict[int, Stream]:
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
        if track.language:
            copy.metadata["language"] = stored_language(track.language, container)
        copy.disposition = stream.disposition
        streams[track.index] = copy
    return streams


def has_adts(payload: bytes) -> bool:
    """Whether an AAC packet begins with the header of transport streams: ISO/IEC 13818-7 6.2, its sync word."""
    return len(payload) > ADTS_HEADER and int.from_bytes(payload[:2], "big") >> 4 == 0xFFF


def kept_chapters(container: InputContainer, source: Source) -> list[Any]:
    """Chapters moved by the common origin and cut to the job's range; those outside it are left out."""
    begin = source.start * source.time_base if source.trimmed else None
    end = source.end * source.time_base if source.trimmed and source.end is not None else None
    kept = []
    for chapter in container.chapters():
        base = chapter["time_base"] or Fraction(1, 1000)
        first, last = chapter["start"] * base, chapter["end"] * base
        if begin is not None and last <= begin or end is not None and first >= end:
            continue
        first, last = max(first, begin or first), min(last, end or last)
        ticks = (max(0, round((time - source.origin) / base)) for time in (first, last))
        kept.append({**chapter, "start": next(ticks), "end": next(ticks)})
    return kept


def _attach(stream: AttachmentStream, target: OutputContainer) -> None:
    name = stream.metadata.get("filename", f"attachment-{stream.index}")
    target.add_attachment(name, stream.mimetype or "application/octet-stream", stream.data)
