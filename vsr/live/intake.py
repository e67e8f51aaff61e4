"""What comes in as planar frames, in buffers that go round."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from vsr.convert import copy_in, planar_format
from vsr.frame import LIMITED, Chroma, Colour, Frame, FramePools, PlanarFormat, TrackFacts

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

BT709, SRGB = 1, 13  # matrix and primaries; transfer: H.273 tables 2 to 4
SCREEN = Colour(range=LIMITED, primaries=BT709, transfer=SRGB, matrix=BT709)
SCREEN_420 = Colour(range=LIMITED, primaries=BT709, transfer=SRGB, matrix=BT709, chroma_location="center")


def screen_facts(chroma: Chroma) -> TrackFacts:
    """What swscale makes of a screen's B, G, R: of each two by two pixels the mean where `chroma` is "420"."""
    return TrackFacts(colour=SCREEN_420 if chroma == "420" else SCREEN)


class Intake:
    """Copies pictures in.

    Args:
        chroma: of pictures that are R, G, B; others keep theirs.
    """

    def __init__(self, chroma: Chroma = "444") -> None:
        self._chroma: Chroma = chroma
        self._pools = FramePools()
        self._count = 0

    @property
    def leased(self) -> int:
        """Frames nobody has released yet."""
        return self._pools.leased

    def frame(self, picture: VideoFrame, facts: TrackFacts, pts: int, time_base: Fraction, duration: int = 0) -> Frame:
        """The picture's samples in a buffer of its own; whoever takes it releases it."""
        rgb = picture.format.is_rgb
        format = PlanarFormat(chroma=self._chroma) if rgb else planar_format(picture.format)
        planes, lease = self._pools.take(format, picture.width, picture.height)
        copy_in(picture, format, planes)
        index, self._count = self._count, self._count + 1
        return Frame(
            format=format,
            width=picture.width,
            height=picture.height,
            planes=planes,
            pts=pts,
            duration=duration,
            time_base=time_base,
            index=index,
            facts=facts,
            lease=lease,
        )
