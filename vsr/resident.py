"""Pictures that NVDEC leaves on the GPU, from where the network reads them: used where they are those of software.

FFmpeg decodes into its own buffers in the device's primary context, by copies in the default stream, and uses a buffer
again once nobody refers to its picture. So a picture is waited for in that stream, which the slots' streams aren't in
order with, and kept until its frame is released.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from vsr.convert import recoding
from vsr.device import dlpack, open_device
from vsr.device.protocol import Closable, Device, DeviceError, run_all
from vsr.errors import InputError, SurfaceError
from vsr.frame import Colour, PlanarFormat, Planes
from vsr.hardware import Bring, Shown, alike, first_frames, nvdec
from vsr.job import Source
from vsr.models import Runner
from vsr.report import Report
from vsr.settings import EngineSettings
from vsr.surface import THROUGH_MEMORY, Rows, Surface

if TYPE_CHECKING:
    from av.codec.hwaccel import HWAccel
    from av.video.frame import VideoFrame

LAYOUTS = {8: "nv12", 10: "p010le"}  # by depth
Made = TypeVar("Made", bound=Closable)
First = Callable[[Source, "HWAccel | None", Bring], Shown]


class Surfaces:
    """A decoder's pictures as frames' surfaces. One thread asks for them, another may land them.

    Args:
        device: the decoder's; closed with this.
        nbytes: of the largest picture, with chroma in pairs; larger ones go through memory.

    Raises:
        DeviceError: nothing is left open then, the device neither.
    """

    def __init__(self, device: Device, nbytes: int) -> None:
        self._device, self._nbytes = device, nbytes
        self._made: list[Closable] = []
        try:
            with device.current():
                self._decoded, self._stream = self._own(device.event()), self._own(device.stream())
                self._buffer, self._pinned = self._own(device.allocate(nbytes)), self._own(device.pinned(nbytes))
        except BaseException:
            self.close()
            raise

    def _own(self, made: Made) -> Made:
        self._made.append(made)
        return made

    def of(self, picture: VideoFrame, format: PlanarFormat, colour: Colour | None) -> Surface | None:
        """The picture where it is, complete; None where it isn't on the GPU or isn't of `format` and `colour` there.

        Raises:
            DeviceError: the GPU failed.
        """
        layout, size = picture.sw_format, (picture.width, picture.height)
        if layout is None or layout.name != LAYOUTS.get(format.depth) or not stays(format, *size):
            return None
        if recoding(picture, format, colour) or format.nbytes(*size, paired=True) > self._nbytes:
            return None
        places = [dlpack.where(plane) for plane in picture.planes]
        luma, chroma = (rows for _, rows in places)
        expected = [(columns * format.dtype.itemsize, rows) for rows, columns in format.shapes(*size, paired=True)]
        here = {place for place, _ in places} == {(dlpack.CUDA, self._device.index)}
        if not here or [(rows.nbytes, rows.count) for rows in (luma, chroma)] != expected:
            return None
        self.wait()
        return _Surface(self, picture, format, (luma, chroma))

    def wait(self) -> None:
        """Until all that FFmpeg has begun is done. Raises DeviceError when the GPU failed."""
        with self._device.current():
            self._decoded.record(None)
            self._decoded.synchronize()

    def to_the_end(self, pictures: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
        """The pictures; DeviceError after them when the GPU died, which to the decoder looks like damage."""
        yield from pictures
        self.wait()

    def bring(self, picture: VideoFrame, format: PlanarFormat, planes: Planes, colour: Colour | None = None) -> None:
        """Copies the samples of a picture on the GPU into `planes`. Raises InputError for another, SurfaceError."""
        surface = self.of(picture, format, colour)
        if surface is None:
            raise InputError(f"pictures of {picture.format.name} and {picture.width}x{picture.height} don't stay there")
        surface.land(planes)
        surface.close()

    def land(self, rows: tuple[Rows, Rows], format: PlanarFormat, planes: Planes) -> None:
        """Copies samples to ordinary memory, by the copies that slots do. Raises DeviceError."""
        height, width = planes[0].shape
        with self._device.current():
            for each, offset in zip(rows, format.offsets(width, height, paired=True), strict=True):
                self._device.gather(self._buffer, offset, each, self._stream)
            self._device.download(self._pinned.array[: self._nbytes], self._buffer, self._stream)
            self._stream.synchronize()
        for target, plane in zip(planes, format.views(self._pinned.array, width, height, paired=True), strict=True):
            np.right_shift(plane, format.shift, out=target)
            if format.shift and not np.array_equal(target << format.shift, plane):
                raise SurfaceError("a decoded picture on the GPU has something in the bits below its samples")

    def close(self) -> None:
        """When nobody uses its surfaces any more."""
        made, self._made = self._made, []
        with suppress(DeviceError):
            with self._device.current():
                run_all(thing.close for thing in reversed(made))
            self._device.close()


class _Surface:
    def __init__(self, surfaces: Surfaces, picture: VideoFrame, format: PlanarFormat, rows: tuple[Rows, Rows]) -> None:
        self._surfaces, self._format, self._rows = surfaces, format, rows
        self._picture: VideoFrame | None = picture

    @property
    def rows(self) -> tuple[Rows, Rows]:
        if self._picture is None:
            raise RuntimeError("a surface is used after its frame's release")
        return self._rows

    def land(self, planes: Planes) -> None:
        try:
            self._surfaces.land(self.rows, self._format, planes)
        except DeviceError as error:
            why = f"a decoded picture can't be brought back from the GPU ({error})"
            raise SurfaceError(f"{why}; the same command goes on with what was finished") from error

    def close(self) -> None:
        self._picture = None


def stays(format: PlanarFormat, width: int, height: int) -> bool:
    """Whether pictures of this kind can."""
    known = format.chroma == "420" and format.depth in LAYOUTS and not format.alpha
    return known and width % 2 == 0 and height % 2 == 0


@contextmanager
def surfaces_of(
    source: Source, index: int, report: Report, open_gpu: Callable[[int], Device] = open_device
) -> Iterator[Surfaces | None]:
    """For the pictures of a source on the GPU of this number; None, which is said, where they can't stay after all."""
    try:
        surfaces = Surfaces(open_gpu(index), source.format.nbytes(source.width, source.height, paired=True))
    except DeviceError as error:
        report.note(f"{THROUGH_MEMORY} ({error})")
        yield None
        return
    try:
        yield surfaces
    finally:
        surfaces.close()


def obstacle(
    source: Source,
    engine: EngineSettings,
    runner: Runner,
    *,
    open_gpu: Callable[[int], Device] = open_device,
    first: First = first_frames,
) -> str:
    """Why pictures that NVDEC decodes don't stay on the GPU, in a few words; "" where they do.

    They do where the first ones, copied as the slots do it and brought back, are those of the software decoder.
    """
    if runner.device is None:
        return "the network runs on the CPU"
    if len(engine.devices) > 1:
        return "several GPUs share the run"
    if engine.reuse in ("frames", "tiles"):
        return f"--reuse {engine.reuse} compares frames in memory"
    if source.fields or not stays(source.format, source.width, source.height):
        return "only progressive 4:2:0 of 8 or 10 bits and even size stays on the GPU"
    try:
        size = source.width, source.height
        opened = Surfaces(open_gpu(runner.device), source.format.nbytes(*size, paired=True))
        with closing(opened) as surfaces:
            found = first(source, nvdec(runner.device, stays=True), surfaces.bring)
    except (DeviceError, InputError, SurfaceError, ValueError, TypeError, NotImplementedError) as error:
        return str(error)
    return "" if found and alike(found, first(source, None, None)) else "they don't come back from there as they should"
