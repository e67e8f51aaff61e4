"""What changes in the middle of a track: size, samples, range, matrix, pixel aspect; each change is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import TYPE_CHECKING

from vsr.colour import aspect
from vsr.convert import full_range
from vsr.report import Report

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

SAID = 8  # changes that are told one by one; the number of the rest is


@dataclass(frozen=True)
class Look:
    """What a picture is like, in words where it is said."""

    size: str
    format: str
    range: str
    matrix: str
    aspect: Fraction

    @classmethod
    def of(cls, picture: VideoFrame, aspect: Fraction) -> Look:
        return cls(
            size=f"{picture.width}x{picture.height}",
            format=(picture.sw_format or picture.format).name.replace("yuvj", "yuv"),
            range="full range" if full_range(picture) else "limited range",
            matrix=f"matrix {int(picture.colorspace)}",
            aspect=aspect,
        )


class Changes:
    """Watches the pictures of a track.

    Args:
        aspect: sample aspect ratio of the picture decoded last.
    """

    def __init__(self, report: Report, aspect: Callable[[], Fraction]) -> None:
        self._report, self._aspect = report, aspect
        self._last: Look | None = None
        self._count = 0

    def seen(self, picture: VideoFrame, index: int, seconds: float) -> Fraction:
        """To be called with every picture; its sample aspect ratio."""
        look, last = Look.of(picture, self._aspect()), self._last
        if last is not None and look != last:
            self._count += 1
            if self._count <= SAID:
                self._report.note(f"the input changes at frame {index} ({seconds:.3f} s): {_difference(last, look)}; "
                                  "fitted to the first size and samples")  # fmt: skip
        self._last = look
        return look.aspect

    def close(self) -> None:
        if self._count > SAID:
            self._report.note(f"the input changes {self._count} times; all is fitted to the first size and samples")


def _difference(one: Look, other: Look) -> str:
    pairs = [(field.name, getattr(one, field.name), getattr(other, field.name)) for field in fields(Look)]
    return ", ".join(
        f"pixels {float(after / before):.3f} times as wide" if name == "aspect" else f"{before} to {after}"
        for name, before, after in pairs
        if before != after
    )


def present_aspect(stream: VideoStream) -> Callable[[], Fraction]:
    """Sample aspect ratio of the picture decoded last. To be called before the first one is.

    The container's rules, or what FFmpeg found ahead while opening the file; a decoder that finds another than it was
    opened with changes it by as much.
    """
    context, stated = stream.codec_context, aspect(stream)
    first = context.sample_aspect_ratio

    def now() -> Fraction:
        present = context.sample_aspect_ratio
        return stated * Fraction(present / first) if present and first else stated

    return now
