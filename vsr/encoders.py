"""The video encoders: what each one stores, its quality when the user says nothing, and which one a file gets.

Every bit of depth and all chroma are kept, or the job is refused naming what would take them. Alpha outranks both:
where a container keeps alpha only in fewer bits or coarser chroma, it gets that, and the job says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

import av
import av.error

from vsr.errors import OutputError, UsageError
from vsr.frame import Chroma, PlanarFormat
from vsr.settings import EncodeSettings
from vsr.tracks import CONTAINERS, Container

FINENESS: tuple[Chroma, ...] = ("grey", "420", "422", "444")  # each holds all samples of those before it
HEVC = "libx265"
TRIAL_SIZE = 256  # of the picture an encoder of hardware is tried with; some take none smaller


@dataclass(frozen=True, kw_only=True)
class EncoderFacts:
    """One encoder, as the wheel has it.

    Args:
        stores: formats by FFmpeg's names.
        defaults: its options when the user says nothing; about the same look from every encoder.
        quality, effort: its options for --crf and --preset; empty: it has none, and `instead` says what it has.
        smallest: samples a side.
        even: takes only even sizes where chroma is subsampled.
        hardware: opens only where the machine has the device.
        handed: what it takes a stored format as, where that isn't the format itself.
    """

    stores: tuple[str, ...]
    defaults: Mapping[str, str] = field(default_factory=dict)
    quality: str = "crf"
    effort: str = "preset"
    instead: str = ""
    smallest: int = 1
    even: bool = True
    hardware: bool = False
    handed: Mapping[str, str] = field(default_factory=dict)


def _names(chromas: str, *depths: int, alpha: bool = False) -> tuple[str, ...]:
    formats = (PlanarFormat(chroma=c, depth=d, alpha=alpha) for d in depths for c in FINENESS if c in chromas.split())
    return tuple(format.pix_fmt for format in formats)


_DEEP = {"yuv420p10le": "p010le", "yuv444p10le": "yuv444p16le"}  # NVENC reads the high bits of 16
_NVENC = {"preset": "p5", "cq": "20", "rc": "vbr"}

# x265 writes 4:0:0 and 12 bits, x264 neither 12 bits nor alpha; VP9 here is built for 8 bits and keeps alpha in 4:2:0
# only, beside the picture; SVT-AV1 knows 4:2:0 alone; FFV1 stores all there is.
ENCODERS: Mapping[str, EncoderFacts] = {
    "libx264": EncoderFacts(
        stores=_names("grey 420 422 444", 8, 10),
        defaults={"preset": "veryfast", "crf": "18"},
    ),
    HEVC: EncoderFacts(
        stores=_names("grey 420 422 444", 8, 10, 12),
        defaults={"preset": "superfast", "crf": "19", "x265-params": "log-level=error"},
        smallest=64,  # narrower pictures corrupt its memory
    ),
    "libsvtav1": EncoderFacts(
        stores=_names("420", 8, 10),
        defaults={"preset": "9", "crf": "26"},
        smallest=32,  # below, wide pictures never end
    ),
    "libvpx-vp9": EncoderFacts(
        stores=_names("420 422 444", 8) + _names("420", 8, alpha=True),
        defaults={"cpu-used": "6", "crf": "24", "b": "0", "deadline": "good", "row-mt": "1"},
        effort="cpu-used",
        even=False,
    ),
    "ffv1": EncoderFacts(
        stores=_names("grey 420 422 444", 8, 9, 10, 12, 14, 16)
        + _names("grey", 8, alpha=True)
        + _names("420 422 444", 8, 9, 10, 16, alpha=True)
        + _names("422 444", 12, alpha=True),
        defaults={"level": "3", "slicecrc": "1"},
        quality="",
        effort="",
        instead="it is lossless",
        even=False,
    ),
    "prores_ks": EncoderFacts(
        stores=_names("422 444", 10) + _names("444", 10, alpha=True),
        defaults={"profile": "auto", "vendor": "apl0"},
        quality="",
        effort="",
        instead="-x profile=proxy|lt|standard|hq|4444|4444xq sets its quality",
        even=False,
    ),
    "h264_nvenc": EncoderFacts(stores=_names("420 444", 8), defaults=_NVENC, quality="cq", hardware=True),
    "hevc_nvenc": EncoderFacts(
        stores=_names("420 444", 8, 10), defaults=_NVENC, quality="cq", hardware=True, handed=_DEEP
    ),
    "av1_nvenc": EncoderFacts(stores=_names("420", 8, 10), defaults=_NVENC, quality="cq", hardware=True, handed=_DEEP),
}


def facts_of(codec: str) -> EncoderFacts:
    """What is known of an encoder; of one that isn't in the table, the formats the wheel names.

    Raises:
        UsageError: there is no such encoder of video here.
    """
    if codec in ENCODERS:
        return ENCODERS[codec]
    formats = getattr(_encoder(codec), "video_formats", None) or ()
    return EncoderFacts(stores=tuple(format.name for format in formats if PlanarFormat.of(format.name)))


def _encoder(codec: str) -> av.Codec:
    """The wheel's encoder; of a codec, FFmpeg's choice for it. Raises UsageError where there is none."""
    known = ", ".join(ENCODERS)
    if codec not in av.codecs_available:
        raise UsageError(f"no encoder named {codec} here (known: {known})")
    try:
        return av.Codec(codec, "w")
    except (av.error.FFmpegError, ValueError) as error:
        raise UsageError(f"{codec} only decodes; encoders: {known}") from error


def choose_encoder(
    format: PlanarFormat, container: Container, settings: EncodeSettings, name: str
) -> tuple[str, str, dict[str, str]]:
    """(encoder, pix_fmt, options) for samples of `format` in `container`; never loses depth or chroma unasked.

    Args:
        name: of the output file, for messages.

    Raises:
        OutputError: nothing here stores such samples.
        UsageError: an encoder that is unknown, doesn't open on this machine, or can't store `--pix-fmt` or go into
            this container, or an option it doesn't have.
    """
    if settings.codec:
        settings = replace(settings, codec=_encoder(settings.codec).name)
        assert settings.codec is not None
        _check_container(settings.codec, container, name)
        if facts_of(settings.codec).hardware:
            _check_opens(settings.codec, container)
    for codec, pix_fmt in _candidates(format, container, settings):
        options = _options(codec, settings)
        _check_names(codec, options)
        return codec, pix_fmt, options
    wanted = settings.pix_fmt or format.opaque.pix_fmt
    if settings.codec or settings.pix_fmt:
        codec = settings.codec or container.encoders[0]
        raise UsageError(f"{codec} can't store {wanted} (it takes {', '.join(facts_of(codec).stores) or 'no YUV'})")
    raise OutputError(f"{name}: no encoder for {wanted} in this container; .mkv takes it, or give --pix-fmt")


def _candidates(format: PlanarFormat, container: Container, settings: EncodeSettings) -> Iterable[tuple[str, str]]:
    """(encoder, pix_fmt), best first: alpha and all samples, alpha and the most of them, all samples without alpha."""
    codecs = (settings.codec,) if settings.codec else container.encoders
    clear = [codec for codec in container.alpha if not settings.codec or codec == settings.codec]
    if settings.pix_fmt is not None:
        asked = PlanarFormat.of(settings.pix_fmt)
        wanted = clear if asked and asked.alpha else codecs
        yield from ((codec, asked.pix_fmt) for codec in wanted if asked and asked.pix_fmt in facts_of(codec).stores)
        return
    if format.alpha:
        yield from _holding(format, clear)
        for codec in clear:
            stored = [f for f in _formats(codec) if f.alpha]
            yield codec, max(stored, key=lambda f: (f.depth, FINENESS.index(f.chroma))).pix_fmt
    yield from _holding(format.opaque, codecs)


def _holding(format: PlanarFormat, codecs: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Each encoder's format that holds all samples of `format` in the fewest of its own; the same chroma first."""
    found = []
    for codec in codecs:
        holds = [f for f in _formats(codec) if f.depth >= format.depth and f.alpha == format.alpha and finer(f, format)]
        if holds:
            least = min(holds, key=lambda f: (FINENESS.index(f.chroma), f.depth))
            found.append((least.chroma != format.chroma, codec, least.pix_fmt))
    return [(codec, pix_fmt) for _, codec, pix_fmt in sorted(found, key=lambda place: place[0])]


def hevc_first(encoders: Iterable[str]) -> tuple[str, ...]:
    """The encoders, HEVC in front: devices that show PQ and HLG decode it, and H.264 of 10 bits seldom."""
    return tuple(sorted(encoders, key=lambda codec: codec != HEVC))


def finer(one: PlanarFormat, other: PlanarFormat) -> bool:
    """Whether `one` has at least the chroma samples of `other`."""
    return FINENESS.index(one.chroma) >= FINENESS.index(other.chroma)


def _formats(codec: str) -> list[PlanarFormat]:
    return [format for name in facts_of(codec).stores if (format := PlanarFormat.of(name))]


def _check_container(codec: str, container: Container, name: str) -> None:
    """Raises UsageError where the container has no place for what the encoder writes."""
    known = (*container.encoders, *container.further)
    if codec in ENCODERS:
        taken = codec in known
    else:
        facts_of(codec)
        with av.open(os.devnull, "w", format=container.muxer) as target:
            taken = codec in target.supported_codecs
    if not taken:
        others = [suffix for suffix, other in CONTAINERS.items() if codec in (*other.encoders, *other.further)]
        hint = f"; {', '.join(others)} can hold it" if others else ""
        raise UsageError(f"{name}: no place for {codec} in {container.muxer} (it takes {', '.join(known)}){hint}")


def _check_opens(codec: str, container: Container) -> None:
    """Raises UsageError where this machine can't run the encoder: opening it is the only way to know."""
    facts = facts_of(codec)
    trial: av.VideoCodecContext = av.CodecContext.create(codec, "w")  # type: ignore[assignment]
    trial.width, trial.height, trial.pix_fmt = TRIAL_SIZE, TRIAL_SIZE, handed(codec, facts.stores[0])
    trial.time_base, trial.framerate = Fraction(1, 25), Fraction(25)
    try:
        trial.open()
    except (av.error.FFmpegError, ValueError) as error:
        raise UsageError(
            f"{codec} doesn't open on this machine, it needs an NVIDIA GPU with that encoder (H100 and H200 have none) "
            f"and its driver ({getattr(error, 'strerror', None) or error}); use {' or '.join(container.encoders)}"
        ) from error


def handed(codec: str, pix_fmt: str) -> str:
    """The pixel format an encoder is handed samples of `pix_fmt` in."""
    return facts_of(codec).handed.get(pix_fmt, pix_fmt)


def decoded_as(codec: str, pix_fmt: str) -> str:
    """The pixel format that FFmpeg's decoder gives for what an encoder stored as `pix_fmt`.

    Grey of H.264 comes as 4:2:0 with chroma in the middle, ProRes 4444 of any depth in 12 bits.
    """
    if codec == "libx264":
        return pix_fmt.replace("gray", "yuv420p")
    return pix_fmt.replace("444p10", "444p12") if codec == "prores_ks" else pix_fmt


def _options(codec: str, settings: EncodeSettings) -> dict[str, str]:
    facts = facts_of(codec)
    options = dict(facts.defaults)
    for option, value, own in (("--preset", settings.preset, facts.effort), ("--crf", settings.crf, facts.quality)):
        if value is not None and not own:
            raise UsageError(f"{codec} has no {option}: {facts.instead}")
        if value is not None:
            options[own] = value if isinstance(value, str) else f"{value:g}"
    for key, value in settings.options.items():
        joined = key.endswith("-params") and key in options  # lists of their own: the later word of a list counts
        options[key] = f"{options[key]}:{value}" if joined else value
    return options


def _check_names(codec: str, options: Mapping[str, str]) -> None:
    """Raises UsageError for options the encoder doesn't have: FFmpeg passes over them."""
    known = av.CodecContext.create(codec, "w").supported_options
    unknown = options.keys() - {option.name for option in (*known.generic, *known.private)}
    if unknown:
        raise UsageError(f"{codec} has no option {', '.join(sorted(unknown))} (see: ffmpeg -h encoder={codec})")


def even(size: tuple[int, int], codec: str, pix_fmt: str) -> tuple[int, int]:
    """Width and height rounded up to what the encoder takes."""
    layout = PlanarFormat.of(pix_fmt)
    if not facts_of(codec).even or layout is None or layout.chroma in ("444", "grey"):
        return size
    return size[0] + size[0] % 2, size[1] + (size[1] % 2 if layout.chroma == "420" else 0)
