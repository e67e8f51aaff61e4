"""Frames to packets: one encoder a chunk, so that a chunk's bits never depend on what came before it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error
from av.codec.context import Flags

from vsr import fit
from vsr.colour import UNSPECIFIED, write_tags
from vsr.encoders import handed
from vsr.errors import UsageError
from vsr.frame import ChromaLocation, Frame
from vsr.job import Job, Source
from vsr.messages import frame_messages, speaking
from vsr.report import Report
from vsr.sei import Message
from vsr.sidedata import dropped
from vsr.signature import shown_signature

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext

ASPECT_TERM = 4096  # FFmpeg's libx264 rounds to terms no larger
EBU_3213 = 22  # primaries of European colour cameras
MACROBLOCK = 16  # samples a side, H.264


def repeatable(options: Mapping[str, str], codec: str, width: int) -> dict[str, str]:
    """Options with which the encoder gives the same bits again.

    x264's AVX-512 code for its macroblock tree reads memory nobody wrote where a row isn't a multiple of 8 macroblocks
    (seen in x264 165: what comes out differs with MALLOC_PERTURB_; with asm=avx2 it doesn't).
    """
    given = options.get("x264-params", "")
    if codec != "libx264" or -(-width // MACROBLOCK) % 8 == 0 or "asm=" in given or not _has_avx512():
        return dict(options)
    return {**options, "x264-params": f"{given}:asm=avx2".lstrip(":")}


def _has_avx512() -> bool:
    try:
        return "avx512f" in Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        return False


def encoder_threads() -> int:
    """Fixed for a job: x264's bits depend on it. 1.5 per core is x264's own choice."""
    return max(1, (os.cpu_count() or 1) * 3 // 2)


def configure(context: VideoCodecContext, job: Job, *, global_header: bool, threads: int) -> None:
    """Puts all that the job says about the encoder on a context that isn't open yet."""
    encoder = job.encoder
    assert encoder is not None
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 says otherwise how it is set up, 20 lines to standard error
    context.width, context.height = encoder.width, encoder.height
    context.pix_fmt = handed(encoder.codec, encoder.pix_fmt)
    context.time_base, context.framerate = job.source.time_base, job.source.rate
    context.sample_aspect_ratio = encoder.aspect
    context.thread_count, context.thread_type = threads, "AUTO"  # PyAV's own is slices: x264 is a fifth slower by them
    context.options = dict(encoder.options) | _location(job)
    if global_header:
        context.flags |= int(Flags.global_header)
    colour = job.source.facts.colour
    told = keeps_primaries(colour.primaries, encoder.codec)
    write_tags(context, colour if told else replace(colour, primaries=UNSPECIFIED))


def _location(job: Job) -> dict[str, str]:
    location = stored_location(job.source, job.encoder.pix_fmt) if job.encoder else "unspecified"
    return {} if location == "unspecified" else {"chroma_sample_location": location}


def keeps_aspect(codec: str, muxer: str) -> bool:
    """Whether the sample aspect ratio survives: MP4 and MOV state it; elsewhere H.264's and HEVC's own headers do."""
    return muxer in ("mp4", "mov") or codec.startswith(("libx26", "h264", "hevc"))


def keeps_range(codec: str, muxer: str) -> bool:
    """Whether the file can say that samples are of full range: ProRes doesn't, and of containers MOV neither."""
    return codec != "prores_ks" or muxer != "mov"


def stored_location(source: Source, pix_fmt: str) -> ChromaLocation:
    """Where the chroma samples of the output sit: where the source's do, or where swscale puts those it subsamples."""
    if "420" not in pix_fmt:
        return "unspecified"
    made: dict[str, ChromaLocation] = {"444": "center", "422": "left"}
    return made.get(source.format.chroma, source.facts.colour.chroma_location)


def keeps_location(location: ChromaLocation, codec: str, muxer: str) -> bool:
    """Whether reading the file back tells where the chroma samples sit; what nobody states counts as left.

    x264 and x265 state any in their headers, SVT-AV1 left and topleft. Matroska's ChromaSiting states four, of which
    center reads like silence (see `siting.measured`).
    """
    stated = codec in ("libx264", "libx265") or codec == "libsvtav1" and location == "topleft"
    sited = muxer in ("matroska", "webm") and location in ("topleft", "top")
    return location in ("unspecified", "left") or stated or sited


def keeps_matrix(matrix: int, codec: str) -> bool:
    """Whether what the encoder writes tells the matrix: VP9's headers know BT.709, BT.601, SMPTE 240M and BT.2020."""
    return codec != "libvpx-vp9" or matrix in (1, 2, 5, 6, 7, 9)


def keeps_primaries(primaries: int, codec: str) -> bool:
    """Whether the encoder takes these primaries: x264 and x265 don't know EBU 3213 (H.273 table 2, 22)."""
    return primaries != EBU_3213 or codec not in ("libx264", "libx265")


def open_encoder(job: Job, *, global_header: bool) -> VideoCodecContext:
    """A fresh encoder. Raises UsageError when it refuses its options."""
    encoder = job.encoder
    assert encoder is not None
    context = av.CodecContext.create(encoder.codec, "w")
    configure(context, job, global_header=global_header, threads=encoder.threads)  # type: ignore[arg-type]
    try:
        context.open()
    except (av.error.FFmpegError, ValueError) as error:
        given = " ".join(f"{key}={value}" for key, value in encoder.options.items())
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{encoder.codec} refuses {encoder.width}x{encoder.height} {given} ({reason})") from error
    return context  # type: ignore[return-value]


class DecodeTimes:
    """Decoding times of a whole track, from its presentation times in order and the encoder's reorder depth.

    Packet number i of depth d is decoded when frame number i - d is shown; the first d earlier still. Encoders do the
    same within one chunk, but know nothing of the chunk before, so at a seam of variable frame rate theirs could fall.
    """

    def __init__(self) -> None:
        self._shown: deque[int] = deque()
        self._step = 1
        self._started = False

    def fed(self, pts: int, duration: int) -> None:
        """The next frame shown; all of a chunk's before its first packet."""
        if not self._shown and not self._started:
            self._step = max(1, duration)
        self._shown.append(pts)

    def next(self, pts: int, dts: int) -> int:
        """The decoding time of the next packet; the encoder's own times of the first tell its depth."""
        if not self._started:
            self._started = True
            depth = sum(shown - pts < pts - dts for shown in self._shown)
            self._shown.extendleft([pts - self._step * behind for behind in range(1, depth + 1)])
        return self._shown.popleft()


def encode_chunk(job: Job, frames: Iterable[Frame], report: Report, *, global_header: bool) -> Iterator[Packet[Any]]:
    """Packets of one chunk in decoding order, in ticks of the job's time base from `source.origin` on.

    Decoding times are the encoder's own, which knows nothing of the chunks before: see `DecodeTimes`. Each frame is
    released as soon as the encoder has it; its signature is the packet's `opaque`.
    """
    context, encoder = open_encoder(job, global_header=global_header), job.encoder
    assert encoder is not None
    origin = round(job.source.origin / job.source.time_base)
    given: dict[int, tuple[int, bytes | None]] = {}  # durations and signatures by pts; not every encoder hands them on
    said: dict[int, list[Message]] = {}
    for frame in frames:
        with report.stage("encode"):
            picture = fit.picture(frame, job)
            picture.pts, picture.time_base = frame.pts - origin, frame.time_base
            given[picture.pts] = frame.duration, shown_signature(picture)
            said[picture.pts] = frame_messages(encoder.side_data, frame.side_data)
            for line in dropped(frame.side_data, encoder.side_data):
                report.note(line)
            report.media_seconds += float(frame.duration * frame.time_base)
            frame.release()
            coded = context.encode(picture)
        yield from _marked(speaking(coded, encoder, job.source.facts, said), given)
    with report.stage("encode"):
        coded = context.encode(None)
    yield from _marked(speaking(coded, encoder, job.source.facts, said), given)


def _marked(coded: Iterable[Packet[Any]], given: dict[int, tuple[int, bytes | None]]) -> Iterator[Packet[Any]]:
    for packet in coded:
        packet.duration, packet.opaque = given.pop(packet.pts or 0)
        yield packet


def output_aspect(aspect: Fraction, upscaled: tuple[int, int], size: tuple[int, int]) -> Fraction:
    """Sample aspect ratio that keeps the picture's shape when `upscaled` is resized to `size`, in terms x264 keeps."""
    exact = aspect * Fraction(upscaled[0] * size[1], upscaled[1] * size[0])
    exact = min(max(exact, Fraction(1, ASPECT_TERM)), Fraction(ASPECT_TERM))
    return exact.limit_denominator(ASPECT_TERM) if exact < 1 else 1 / (1 / exact).limit_denominator(ASPECT_TERM)
