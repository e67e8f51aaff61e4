"""What the element says it takes and gives: the other side's caps with width and height times or over the scale."""

from __future__ import annotations

from collections.abc import Callable
from math import lcm
from typing import Any

from vsr.frame import PlanarFormat
from vsr.live.gstreamer.binding import Gst, GstVideo

FORMATS = {
    "I420": PlanarFormat(),
    "YV12": PlanarFormat(),
    "NV12": PlanarFormat(),
    "NV21": PlanarFormat(),
    "GRAY8": PlanarFormat(chroma="grey"),
    "Y42B": PlanarFormat(chroma="422"),
    "Y444": PlanarFormat(chroma="444"),
    "I420_10LE": PlanarFormat(depth=10),
    "I422_10LE": PlanarFormat(chroma="422", depth=10),
    "Y444_10LE": PlanarFormat(chroma="444", depth=10),
    "I420_12LE": PlanarFormat(depth=12),
    "GRAY16_LE": PlanarFormat(chroma="grey", depth=16),
}
TEMPLATE = (
    f"video/x-raw, format = (string) {{ {', '.join(FORMATS)} }}, width = (int) [ 1, max ], height = (int) [ 1, max ], "
    "framerate = (fraction) [ 0, max ]"
)
MAXIMUM = 2**31 - 1  # of an integer in caps

Sizes = int | range | list[Any]  # a length; a range whose stop counts, as GStreamer's does; or several of both


def upscaled(caps: Any, scale: int) -> Any:
    """Caps of the source pad for `caps` of the sink pad.

    A fixed picture also gets the chroma site and colorimetry that GStreamer supposes where caps don't tell: it supposes
    by the height (BT.601 up to 576 lines), so the larger picture would be read with other colours.
    """
    return _mapped(caps, lambda structure: _colour(structure) and _sizes(structure, multiplied, scale))


def downscaled(caps: Any, scale: int) -> Any:
    """Caps of the sink pad for `caps` of the source pad; sizes that aren't a multiple of `scale` are dropped."""
    return _mapped(caps, lambda structure: _sizes(structure, divided, scale))


def info(caps: Any) -> Any:
    """The GstVideoInfo of fixed caps; made directly it would forget a chroma site that comes without colorimetry."""
    return GstVideo.VideoInfo.new_from_caps(_mapped(caps, _colour))


def multiplied(sizes: Sizes, scale: int) -> Sizes | None:
    """Every size times `scale`; None when none of them fits an integer."""
    if isinstance(sizes, int):
        return sizes * scale if sizes * scale <= MAXIMUM else None
    if isinstance(sizes, range):
        last = min(sizes.stop, MAXIMUM // scale // sizes.step * sizes.step)
        return _range(sizes.start * scale, last * scale, sizes.step * scale)
    return _list([multiplied(each, scale) for each in sizes])


def divided(sizes: Sizes, scale: int) -> Sizes | None:
    """Every size that is a multiple of `scale`, over `scale`; None when there is none."""
    if isinstance(sizes, int):
        return sizes // scale if sizes % scale == 0 else None
    if isinstance(sizes, range):
        unit = lcm(sizes.step, scale)
        first, last = max(1, -(-sizes.start // unit)), sizes.stop // unit
        return _range(first * unit // scale, last * unit // scale, unit // scale)
    return _list([divided(each, scale) for each in sizes])


def _range(first: int, last: int, step: int) -> Sizes | None:
    return range(first, last, step) if first < last else first if first == last else None


def _list(sizes: list[Sizes | None]) -> Sizes | None:
    there = [each for each in sizes if each is not None]
    return there if len(there) > 1 else there[0] if there else None


def _mapped(caps: Any, change: Callable[[Any], bool]) -> Any:
    """`caps` with each structure changed; those that `change` answers False for are left out."""
    if caps.is_any():
        return caps
    result = Gst.Caps.new_empty()
    for index in range(caps.get_size()):
        structure = caps.get_structure(index).copy()
        if change(structure):
            result.append_structure_full(structure, caps.get_features(index).copy())
    return result


def _sizes(structure: Any, change: Callable[[Sizes, int], Sizes | None], scale: int) -> bool:
    for side in ("width", "height"):
        if structure.has_field(side):
            sizes = change(_from_caps(structure.get_value(side)), scale)
            if sizes is None:
                return False
            structure.set_value(side, _to_caps(sizes))
    return True


def _from_caps(value: Any) -> Sizes:
    if isinstance(value, Gst.IntRange):
        return value.range  # type: ignore[no-any-return]
    return value if isinstance(value, int) else [_from_caps(each) for each in value]


def _to_caps(sizes: Sizes) -> Any:
    if isinstance(sizes, range):
        return Gst.IntRange(sizes)
    return sizes if isinstance(sizes, int) else Gst.ValueList([_to_caps(each) for each in sizes])


def _colour(structure: Any) -> bool:
    """Writes out what is supposed, where all it depends on is fixed."""
    caps = Gst.Caps.new_empty()
    caps.append_structure(structure.copy())
    if caps.is_fixed() and structure.get_value("format") in FORMATS:
        info = GstVideo.VideoInfo.new_from_caps(caps)
        _suppose(structure, "colorimetry", info.colorimetry.to_string())
        if info.finfo.n_components > 1:
            _suppose(structure, "chroma-site", GstVideo.video_chroma_site_to_string(info.chroma_site))
    return True


def _suppose(structure: Any, field: str, value: str | None) -> None:
    if value is not None and not structure.has_field(field):
        structure.set_value(field, value)
