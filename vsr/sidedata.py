"""What decoded frames carry besides samples: HDR metadata, captions; which of it an output holds, and as which message.

FFmpeg hands side data over as C structures, read here by their published layout.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, Any

from av.filter import Graph

from vsr.errors import InputError
from vsr.sei import Family, family_of

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from vsr.frame import TrackFacts

MASTERING, LIGHT, AMBIENT = "MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL", "AMBIENT_VIEWING_ENVIRONMENT"
STEREO, PROFILE = "STEREO3D", "ICC_PROFILE"
CAPTIONS, HDR10_PLUS, ACTIVE_FORMAT = "A53_CC", "DYNAMIC_HDR_PLUS", "AFD"
DOLBY_VISION, DOLBY_VISION_BITS = "DOVI_METADATA", "DOVI_RPU_BUFFER"
NAMES: Mapping[str, str] = {
    MASTERING: "HDR10 mastering display",
    LIGHT: "HDR10 content light level",
    AMBIENT: "ambient viewing environment",
    CAPTIONS: "closed captions (CEA-608/708)",
    HDR10_PLUS: "HDR10+ metadata",
    ACTIVE_FORMAT: "active format description",
    "DYNAMIC_HDR_VIVID": "HDR Vivid metadata",
    PROFILE: "ICC profile",
    STEREO: "stereoscopic layout",
    "SPHERICAL": "360° projection",
    "S12M_TIMECODE": "time codes of the frames",
}
UNNAMED = range(28, 36)  # types that PyAV (18.1) has no name for; EXIF is 31, its orientation comes as a matrix too
ICC = 15  # AV_FRAME_DATA_ICC_PROFILE
CHANGING = (CAPTIONS, HDR10_PLUS, ACTIVE_FORMAT)  # from frame to frame
# What decoders read back from a stream of this kind.
HELD: Mapping[Family | None, tuple[str, ...]] = {
    "h264": (MASTERING, LIGHT, AMBIENT, STEREO, CAPTIONS, ACTIVE_FORMAT),
    "hevc": (MASTERING, LIGHT, AMBIENT, STEREO, CAPTIONS, HDR10_PLUS),
    "av1": (MASTERING, LIGHT, CAPTIONS, HDR10_PLUS),
}
# Parts of encoder options by which a user sets the static ones himself.
OWN_OPTIONS: Mapping[str, tuple[str, ...]] = {
    MASTERING: ("master-display", "mastering-display"),
    LIGHT: ("max-cll", "cll=", "content-light"),
    STEREO: ("frame-packing",),
}
CHROMATICITY, LUMINANCE = 50000, 10000  # units of H.265 D.2.28 in one
X, Y = range(5, 37001), range(5, 42001)  # H.265 D.3.28; decoders take what is beyond for unknown
BRIGHTEST, DARKEST = range(50_000, 100_000_001), range(50_001)
IPT_C2 = 15  # matrix coefficients of Dolby Vision profile 5, H.273 table 4


def raw(frame: VideoFrame) -> dict[str, bytes]:
    """A frame's side data by type name, but for types that PyAV doesn't know and a profile from PNG.

    PyAV frees the dictionary of a side data that has one a second time: that of an ICC profile from PNG, whose samples
    are packed. `profiled` tells it.
    """
    on_gpu = frame.sw_format  # filters don't take such frames
    if on_gpu is None and not frame.format.is_planar:
        frame = _without(frame, ICC, *UNNAMED)
    try:
        every: Any = frame.side_data  # its stub has another type
    except ValueError:
        every = _without(frame.reformat(format=on_gpu.name) if on_gpu else frame, *UNNAMED).side_data
    return {data.type.name: bytes(data) for data in every}


def profiled(png: bytes) -> bool:
    """Whether a PNG has an ICC profile, W3C PNG 11.3.2.3: it stands before the samples."""
    return png.startswith(b"\x89PNG") and 0 < png.find(b"iCCP") < png.find(b"IDAT")


def _without(frame: VideoFrame, *kinds: int) -> VideoFrame:
    graph = Graph()
    filters = [graph.add("sidedata", f"mode=delete:type={kind}") for kind in kinds]
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1))
    graph.link_nodes(source, *filters, graph.add("buffersink")).configure()
    graph.vpush(frame)
    return graph.vpull()


def changing(frame: VideoFrame) -> dict[str, bytes]:
    """What may differ from frame to frame and is carried with each."""
    return {name: data for name, data in raw(frame).items() if name in CHANGING}


def mastering(data: bytes | None) -> tuple[int, ...] | None:
    """SMPTE ST 2086 from FFmpeg's AVMasteringDisplayMetadata, in order and units of H.265 D.2.28.

    Returns:
        x, y of green, blue, red, white in 0.00002; maximum and minimum in 0.0001 candelas a square metre. Zeros for a
        half that isn't known or beyond H.265's ranges, which Matroska and MP4 don't know; None for both halves.
    """
    if data is None or len(data) < 88:
        return None
    numbers = struct.unpack("=22i", data[:88])
    red, green, blue, white = (numbers[index : index + 4] for index in range(0, 16, 4))
    has_primaries, has_luminance = numbers[20:]
    x, y = ([_units(point[at : at + 2], CHROMATICITY) for point in (green, blue, red, white)] for at in (0, 2))
    least, most = _units(numbers[16:18], LUMINANCE), _units(numbers[18:20], LUMINANCE)
    coloured = has_primaries and all(each in X for each in x) and all(each in Y for each in y)
    lit = has_luminance and most in BRIGHTEST and least in DARKEST and least < most
    colours = tuple(chain.from_iterable(zip(x, y, strict=True))) if coloured else (0,) * 8
    return colours + ((most, least) if lit else (0, 0)) if coloured or lit else None


def light(data: bytes | None) -> tuple[int, ...] | None:
    """MaxCLL and MaxFALL, CTA-861.3, 65535 at most, from FFmpeg's AVContentLightMetadata; None when both are zero."""
    found = struct.unpack("=2I", data[:8]) if data is not None and len(data) >= 8 else (0, 0)
    return tuple(min(level, 0xFFFF) for level in found) if any(found) else None


def ambient(data: bytes | None) -> tuple[int, ...] | None:
    """Illuminance in 0.0001 lux and x, y in 0.00002, H.274 8.7, from FFmpeg's AVAmbientViewingEnvironment."""
    if data is None or len(data) < 24:
        return None
    numbers = struct.unpack("=6i", data[:24])
    x, y = (min(0xFFFF, _units(pair, CHROMATICITY)) for pair in (numbers[2:4], numbers[4:]))
    return min(0xFFFFFFFF, _units(numbers[:2], LUMINANCE)), x, y


def stereo(data: bytes | None) -> tuple[int, ...] | None:
    """Arrangement and interpretation, H.264 D.2.26, from FFmpeg's AVStereo3D; None but for two whole views."""
    kind, flags = struct.unpack("=2i", data[:8]) if data is not None and len(data) >= 8 else (0, 0)
    arrangement = {1: 3, 2: 4}.get(kind)
    return None if arrangement is None else (arrangement, 2 if flags & 1 else 1)


def _units(ratio: tuple[int, ...], units: int) -> int:
    return max(0, round(Fraction(ratio[0], ratio[1]) * units)) if ratio[1] else 0


def dolby_vision_profile(data: bytes | None) -> int | None:
    """The profile, from FFmpeg's AVDOVIMetadata: 5 has no picture that other decoders show right, 8 stands for those
    that have one in a single layer. None when there is none.

    The bitstream's own header says as much as the container's record: profile 0 with full range is 5, profile 1 with
    an enhancement layer 4 or 7, ETSI GS CCM 001.
    """
    start = int.from_bytes((data or b"")[:8], "little")
    header = (data or b"")[start : start + 17]
    if len(header) < 17:
        return None
    profile, full_range, depth, enhanced, no_residual = (header[index] for index in (4, 10, 13, 15, 16))
    if profile == 0 and full_range:
        return 5
    if profile == 1 and enhanced and not no_residual:
        return 7 if depth == 12 else 4
    return 8


def keeping(found: Iterable[str], encoders: Iterable[str]) -> tuple[str, ...]:
    """The encoders, first those that hold the most of the kinds found, otherwise in their order."""
    return tuple(sorted(encoders, key=lambda codec: len(dropped(found, HELD.get(family_of(codec), ())))))


def held(family: Family | None, options: Mapping[str, str], facts: TrackFacts) -> tuple[str, ...]:
    """Kinds that are written into the packets of an encoder: what it can hold, less what the user's options set."""
    given = " ".join(options.values())
    stated = {MASTERING: facts.mastering, LIGHT: facts.light, AMBIENT: facts.ambient, STEREO: facts.stereo}
    return tuple(
        name for name in HELD.get(family, ())
        if stated.get(name, ()) is not None and not any(option in given for option in OWN_OPTIONS.get(name, ()))
    )  # fmt: skip


def refuse_unwatchable(first: VideoFrame, name: str) -> None:
    """Raises InputError for Dolby Vision without a picture that means the same to every decoder."""
    if first.colorspace == IPT_C2 or dolby_vision_profile(raw(first).get(DOLBY_VISION)) == 5:
        raise InputError(
            f"{name}: Dolby Vision profile 5 has no picture that others show right; give a version with an HDR10, HLG "
            f"or SDR base (profile 8), or convert it first (ffmpeg -vf libplacebo=apply_dolbyvision=1)"
        )


def dropped(found: Iterable[str], written: Iterable[str]) -> list[str]:
    """A line for each kind that the input carries and the output won't.

    Args:
        found: kinds in the input.
        written: kinds that the encoder's packets carry.
    """
    lines = [f"dropped: the {NAMES[kind]}" for kind in sorted(found) if kind in NAMES and kind not in written]
    if {DOLBY_VISION, DOLBY_VISION_BITS} & set(found):
        lines.append("dropped: the Dolby Vision metadata; the base picture is upscaled and keeps its colour tags")
    return lines
