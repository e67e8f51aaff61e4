"""Pictures that stay on the GPU: on a fake one whose decoder is as quick to reuse a buffer as FFmpeg's may be."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av", reason="needs av, which decodes", exc_type=ImportError)

import av

import vsr
from clips import Clip
from slots import Repeating, repeated
from strong import assert_close, frame, planes, spec
from test_gpu_engines import OneDevice, engines_on
from vsr.backends.cuda import SlotEngine
from vsr.decode import FrameSource, Timeline
from vsr.device import dlpack
from vsr.device.fake import POISON, FakeDevice
from vsr.device.fake_objects import FakeBuffer
from vsr.device.protocol import Device, DeviceError, NoDeviceError
from vsr.errors import InputError, SurfaceError
from vsr.frame import Frame, Planes, TrackFacts
from vsr.graph import FrameSpec
from vsr.hardware import Bring, Shown, first_frames
from vsr.job import Source
from vsr.models import Runner
from vsr.pipeline import decoded, first_spec, upscaling
from vsr.probe import STAYS, probe
from vsr.report import Report
from vsr.resident import Surfaces, obstacle, surfaces_of
from vsr.settings import Backend, EngineSettings, Reuse, RunSettings
from vsr.surface import Rows
from vsr.upscaler import LANDED, UpscaleStage

SPECS = [spec("420", depth, size) for depth in (8, 10) for size in ((46, 30), (2, 2), (128, 6))]
GPU = Runner("tensorrt", 0)
NEW_CAPSULE = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)


class Plane:
    """What PyAV's planes say of themselves."""

    def __init__(self, rows: Rows, itemsize: int, device: tuple[int, int], *, pairs: bool) -> None:
        shape = [rows.count, rows.nbytes // itemsize // (2 if pairs else 1)] + [2] * pairs
        strides = [rows.pitch // itemsize] + [2] * pairs + [1]
        self._arrays = [(ctypes.c_int64 * len(values))(*values) for values in (shape, strides)]
        self._tensor = dlpack._Tensor(rows.address, *device, len(shape), 1, 8 * itemsize, 1, *self._arrays, 0)

    def __dlpack__(self) -> object:
        capsule: object = NEW_CAPSULE(("PyCapsule_New", ctypes.pythonapi))(
            ctypes.addressof(self._tensor), b"dltensor", None
        )
        return capsule


class Picture:
    """A VideoFrame on the GPU; its buffer is the decoder's again, and overwritten, when nobody refers to it."""

    def __init__(self, decoder: Decoder, index: int, buffer: FakeBuffer) -> None:
        what, self._decoder, self._buffer = decoder.what, decoder, buffer
        self._other = av.VideoFrame(what.width, what.height, "nv12")
        self._other.pts, self._other.time_base = 1001 * index, Fraction(1, 1000)
        self.format = av.VideoFormat("cuda", what.width, what.height)
        self.sw_format = av.VideoFormat("nv12" if what.format.depth == 8 else "p010le", what.width, what.height)
        rows = decoder.rows(buffer)
        self.planes = [Plane(r, what.format.dtype.itemsize, (2, 0), pairs=n == 1) for n, r in enumerate(rows)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._other, name)

    def __del__(self) -> None:
        self._decoder.take_back(self._buffer)


class Decoder:
    """Decodes into buffers with a pitch, in the default stream; as few of them as there can be."""

    def __init__(self, device: FakeDevice, what: FrameSpec) -> None:
        self.device, self.what, self.free = device, what, list[FakeBuffer]()
        self.made, self.done = list[FakeBuffer](), False
        self.pitch = what.width * what.format.dtype.itemsize + 32

    def rows(self, buffer: FakeBuffer) -> tuple[Rows, Rows]:
        height, nbytes = self.what.height, self.pitch - 32
        chroma = buffer.address + self.pitch * height
        return Rows(buffer.address, self.pitch, nbytes, height), Rows(chroma, self.pitch, nbytes, height // 2)

    def pictures(self, count: int) -> Iterator[Any]:
        for index in range(count):
            with self.device.current():
                yield self.picture(index)

    def picture(self, index: int) -> Picture:
        if not self.free:
            self.made.append(self.device.allocate(self.pitch * self.what.height * 3 // 2))
            self.free.append(self.made[-1])
        buffer = self.free.pop(0)
        self.device.compute(self.device.default, lambda: self.write(buffer, index))
        return Picture(self, index, buffer)

    def write(self, buffer: FakeBuffer, index: int) -> None:
        y, u, v = planes(self.what, index)
        for rows, given in zip(self.rows(buffer), (y, np.stack((u, v), -1).reshape(u.shape[0], -1)), strict=True):
            into = self.device.bytes(rows.address, rows.pitch * rows.count).reshape(rows.count, -1)
            into[:, : rows.nbytes] = (given << self.what.format.shift).astype(given.dtype).view(np.uint8)

    def take_back(self, buffer: FakeBuffer) -> None:
        if not self.done:
            self.device.bytes(buffer.address, buffer.nbytes)[:] = POISON
            self.free.append(buffer)

    def close(self) -> None:
        self.done = True
        with self.device.current():
            for buffer in self.made:
                buffer.close()


def frames_of(decoder: Decoder, surfaces: Surfaces, count: int) -> tuple[FrameSource, Iterator[Frame]]:
    facts = TrackFacts(colour=replace(TrackFacts().colour, chroma_location=decoder.what.location))
    source = FrameSource(
        Timeline(Fraction(1, 1000), None, 1001), facts, Report(), decoder.what.format, surface_of=surfaces.of
    )
    return source, source.frames(surfaces.to_the_end(decoder.pictures(count)))


def paired(what: FrameSpec) -> int:
    return what.format.nbytes(what.width, what.height, paired=True)


def run(
    device: OneDevice,
    what: FrameSpec,
    *,
    resident: bool = True,
    backend: Backend = "auto",
    kind: type[Surfaces] = Surfaces,
) -> tuple[UpscaleStage, list[int]]:
    """Ten pictures through a stage on the same GPU; every result is right. The frames that came out."""
    decoder, surfaces, seen = Decoder(device, what), kind(device, paired(what)), list[int]()
    engines = engines_on(device, backend=backend, reuse="off")
    try:
        with UpscaleStage(engines.settings, engines) as stage:
            stage.prepare(replace(what, surfaces=resident))
            source, frames = frames_of(decoder, surfaces, 10)
            for result in stage.frames(frames):
                assert_close(result.planes, repeated(what, planes(what, result.index)))
                seen.append(result.index)
                result.release()
            stage.close()
            source.close()
        assert len(decoder.made) <= 6, "surfaces are kept longer than their frames"
    finally:
        decoder.close()
        surfaces.close()
    return stage, seen


@pytest.mark.parametrize("what", SPECS, ids=str)
def test_pictures_go_from_the_decoder_to_the_network(what: FrameSpec) -> None:
    for seed in range(40):
        device = OneDevice(seed)
        stage, seen = run(device, what)
        assert seen == list(range(10))
        assert stage.label == "m4c16 repeating, 3 slots, fake, chroma in pairs"
        assert LANDED not in stage.notes
        device.end()
        assert not +device.open
        assert not device.misuses


def test_an_engine_that_takes_none_gets_them_in_memory() -> None:
    for seed, what in enumerate(SPECS):
        for resident, backend, label in (
            (False, "auto", "m4c16 repeating, 3 slots, fake"),
            (True, "openvino", "m4c16 on the CPU"),
        ):
            device = OneDevice(seed)
            stage, seen = run(device, what, resident=resident, backend=backend)
            assert seen == list(range(10))
            assert stage.label == label
            assert (LANDED in stage.notes) == resident
            device.end()
            assert not device.misuses


def test_nothing_is_uploaded() -> None:
    class Watched(OneDevice):
        def upload(self, *arguments: Any) -> None:
            raise AssertionError("a surface was uploaded")

    device = Watched(3)
    assert run(device, SPECS[0])[1] == list(range(10))
    device.end()


class Hasty(Surfaces):
    """Wrong: doesn't wait for the decoder."""

    def wait(self) -> None:
        pass


class Careless(Surfaces):
    """Wrong: gives the picture back when its copies are enqueued, and not when they are done."""

    def of(self, *arguments: Any) -> Any:
        surface = super().of(*arguments)

        class Early:
            @property
            def rows(self) -> tuple[Rows, Rows]:
                rows = surface.rows
                surface.close()
                return rows

            def close(self) -> None: ...

        return surface and Early()


@pytest.mark.parametrize("wrong", [Hasty, Careless])
def test_what_is_wrong_is_found(wrong: type[Surfaces]) -> None:
    failures = 0
    for seed in range(30):
        try:
            run(OneDevice(seed), SPECS[0], kind=wrong)
        except (AssertionError, DeviceError):
            failures += 1
    assert failures > 5


def test_wherever_the_gpu_fails_no_frame_is_lost_or_the_run_ends() -> None:
    """What was on a GPU that died can't be brought back: that is an error, never a frame less."""
    what, healthy = SPECS[0], OneDevice(1)
    run(healthy, what)
    ended, fallen = 0, 0
    for step in range(0, healthy.steps, 3):
        device = OneDevice(step, fail_at=step)
        try:
            stage, seen = run(device, what)
        except (DeviceError, SurfaceError):
            ended += 1
        else:
            assert seen == list(range(10)), f"step {step}"
            fallen += any("its frames go through the next engine" in note for note in stage.notes)
            assert device.dead is None
            assert not device.misuses
    assert ended > 10
    assert fallen > 3


class ReleasesInputs(SlotEngine):
    """Wrong: the surface goes back when its copies are enqueued."""

    def _start(self, frame: Frame, out: Planes | None) -> Any:
        running = super()._start(frame, out)
        frame.release()
        return replace(running, direct=False)


@pytest.mark.parametrize("kind", [SlotEngine, ReleasesInputs])
def test_an_engine_keeps_a_surface_until_its_result_is_there(kind: type[SlotEngine]) -> None:
    failures = 0
    for seed in range(30):
        what, device = replace(SPECS[seed % len(SPECS)], surfaces=True), OneDevice(seed)
        decoder, surfaces = Decoder(device, what), Surfaces(device, paired(what))
        engine = kind(device, Repeating(device, what), what, 2)
        source, frames = frames_of(decoder, surfaces, 7)
        try:
            for given in frames:
                engine.submit(given)
                for result in engine.ready() if given.index % 3 < 2 else engine.drain():
                    assert_close(result.planes, repeated(what, planes(what, result.index)))
                    result.release()
            for result in engine.drain():
                assert_close(result.planes, repeated(what, planes(what, result.index)))
                result.release()
        except (AssertionError, RuntimeError):
            failures += 1
            continue
        engine.close()
        source.close()
        decoder.close()
        surfaces.close()
        device.end()
        assert not device.misuses
    assert failures == 0 if kind is SlotEngine else failures > 5


def test_frames_from_memory_go_through_the_same_engine() -> None:
    """When FFmpeg's own decoder takes over, or what the input says of itself changes."""
    for what in SPECS:
        device = OneDevice(5)
        engines = engines_on(device, reuse="off")
        with UpscaleStage(engines.settings, engines) as stage:
            stage.prepare(replace(what, surfaces=True))
            assert stage.takes_surfaces
            for result in stage.frames(frame(what, index) for index in range(5)):
                assert_close(result.planes, repeated(what, planes(what, result.index)))
                result.release()
        device.end()
        assert not device.misuses


@contextmanager
def surfaces_on(device: Device, what: FrameSpec) -> Iterator[Surfaces]:
    surfaces = Surfaces(device, paired(what))
    try:
        yield surfaces
    finally:
        surfaces.close()


def test_only_what_fits_stays() -> None:
    what, device = spec("420", 10, (46, 30)), OneDevice(1)
    decoder = Decoder(device, what)
    with surfaces_on(device, what) as surfaces:
        picture = next(decoder.pictures(1))
        colour = replace(TrackFacts().colour, range=1, matrix=1)
        surface = surfaces.of(picture, what.format, colour)
        assert surface is not None
        assert surface.rows == decoder.rows(picture._buffer)
        assert surfaces.of(picture, spec("420", 8).format, colour) is None
        assert surfaces.of(av.VideoFrame(46, 30, "yuv420p10le"), what.format, colour) is None  # type: ignore[arg-type]
        picture.color_range = picture._other.color_range = 2  # full, and limited is wanted
        assert surfaces.of(picture, what.format, colour) is None
    with surfaces_on(device, spec("420", 10, (20, 30))) as smaller:
        assert smaller.of(picture, what.format, None) is None
    surface.close()
    with pytest.raises(RuntimeError, match="after its frame's release"):
        assert surface.rows
    decoder.close()
    device.end()


def test_bits_below_the_samples_are_an_error() -> None:
    what, device = spec("420", 10, (46, 30)), OneDevice(1)
    decoder = Decoder(device, what)
    with surfaces_on(device, what) as surfaces:
        picture = next(decoder.pictures(1))
        surface = surfaces.of(picture, what.format, None)
        assert surface is not None
        device.bytes(surface.rows[1].address, 1)[:] |= 1
        with pytest.raises(SurfaceError, match="below its samples"):
            surface.land(tuple(np.empty_like(plane) for plane in planes(what)))
    decoder.close()


@pytest.mark.parametrize("layout", ["nv12", "p010le"])
def test_dlpack_says_where_planes_are(layout: str) -> None:
    """PyAV's own, in ordinary memory."""
    picture = av.VideoFrame(50, 38, layout)
    for plane in picture.planes:
        device, rows = dlpack.where(plane)
        assert device == (dlpack.CPU, 0)
        width = 50 if layout == "nv12" else 100
        assert rows == Rows(plane.buffer_ptr, plane.line_size, width, plane.height)
    assert rows.pitch > rows.nbytes
    with pytest.raises(ValueError, match="gaps in its rows"):
        dlpack.where(np.zeros((4, 6), np.uint8)[:, ::2])


@pytest.fixture
def source(tmp_path: Path) -> Source:
    path = Clip(bframes=2, size=(50, 38)).write(tmp_path / "in.mp4")
    return replace(probe(RunSettings(input=str(path), output="", sink="null")).source, hwaccel="cuda")


def on_fake(spoil: Callable[[Planes], Any] = lambda given: None) -> tuple[FakeDevice, Any]:
    """A fake GPU, and a decoder on it that leaves there what software decodes."""
    device = OneDevice(2)

    class Software(Decoder):
        def write(self, buffer: FakeBuffer, index: int) -> None:
            y, u, v = self.shown[index]
            for rows, given in zip(self.rows(buffer), (y, np.stack((u, v), -1).reshape(u.shape[0], -1)), strict=True):
                into = self.device.bytes(rows.address, rows.pitch * rows.count).reshape(rows.count, -1)
                into[:, : rows.nbytes] = given.view(np.uint8)

        shown: list[Planes]

    def first(source: Source, accelerator: Any, bring: Bring) -> Shown:
        found = first_frames(source, None)
        if accelerator is None:
            return found
        assert accelerator.is_hw_owned
        assert bring is not None
        decoder = Software(device, first_spec(source))
        decoder.shown = [shown for _, shown in found]
        brought: Shown = []
        for picture in decoder.pictures(len(found)):
            into = tuple(np.empty_like(plane) for plane in found[0][1])
            bring(picture, source.format, into, source.facts.colour)
            spoil(into)
            brought.append(("cuda", into))
        del picture
        decoder.close()
        return brought

    return device, first


def test_they_stay_where_they_come_back_as_they_were(source: Source) -> None:
    device, first = on_fake()
    assert obstacle(source, EngineSettings(), GPU, open_gpu=lambda index: device, first=first) == ""
    assert not device.misuses
    assert not +device.open

    def spoil(given: Planes) -> None:
        given[2][-1, -1] ^= 1

    device, first = on_fake(spoil)
    assert "don't come back" in obstacle(source, EngineSettings(), GPU, open_gpu=lambda index: device, first=first)


@pytest.mark.parametrize(
    ("engine", "runner", "why"),
    [
        ({}, Runner("openvino"), "the network runs on the CPU"),
        ({"devices": (0, 1)}, GPU, "several GPUs share the run"),
        ({"reuse": "tiles"}, GPU, "--reuse tiles compares frames in memory"),
        ({}, GPU, "no NVIDIA driver"),
    ],
)
def test_why_they_dont(source: Source, engine: dict[str, Any], runner: Runner, why: str) -> None:
    def none(index: int) -> Device:
        raise NoDeviceError("no NVIDIA driver")

    assert obstacle(source, EngineSettings(**engine), runner, open_gpu=none) == why


@pytest.mark.parametrize("change", [{"width": 51}, {"height": 37}, {"fields": "flagged"}])
def test_which_dont(source: Source, change: dict[str, Any]) -> None:
    other = replace(source, **change)
    assert obstacle(other, EngineSettings(), GPU).startswith("only progressive 4:2:0")
    for format in (spec("422").format, spec("420", 12).format):
        assert obstacle(replace(source, format=format), EngineSettings(), GPU).startswith("only progressive 4:2:0")


def test_what_goes_wrong_is_the_reason(source: Source) -> None:
    for error in (
        InputError("in.mp4: can't be read"),
        DeviceError("cuMemcpy2DAsync: refused"),
        NotImplementedError("x"),
    ):

        def first(source: Source, accelerator: Any, bring: Bring) -> Shown:
            raise error  # noqa: B023

        device = OneDevice(1)
        found = obstacle(source, EngineSettings(), GPU, open_gpu=lambda index: device, first=first)  # noqa: B023
        assert found == str(error)
        assert not +device.open


def test_a_gpu_that_is_gone_at_the_run_is_said(source: Source) -> None:
    def gone(index: int) -> Device:
        raise DeviceError("cuInit: gone")

    report = Report()
    with surfaces_of(source, 0, report, gone) as surfaces:
        assert surfaces is None
    assert report.notes == ["decoded pictures go through memory (cuInit: gone)"]
    device = OneDevice(1)
    with surfaces_of(source, 0, report, lambda index: device) as surfaces:
        assert surfaces is not None
    assert not +device.open
    for step in range(4):
        device = OneDevice(step, fail_at=step)
        with surfaces_of(source, 0, Report(), lambda index: device) as surfaces:  # noqa: B023
            assert surfaces is None
        assert device.dead or not +device.open


def test_a_run_without_such_a_gpu_goes_through_memory(tmp_path: Path) -> None:
    """Where NVDEC isn't what decodes, nothing stays there, on a machine with or without a GPU."""
    path = Clip(bframes=2, size=(50, 38)).write(tmp_path / "in.mp4")
    job, found = probe(RunSettings(input=str(path), output="", sink="null")), []
    assert not job.source.resident
    for stay in (False, True):
        with decoded(job, Report(), stay=stay) as frames:
            found.append([copied(given) for given in frames])
    assert len(found[0]) > 8
    for one, other in zip(*found, strict=True):
        assert_close(one, other)


def test_a_job_for_a_gpu_that_isnt_there_at_the_run(tmp_path: Path, repeat: dict[int, Path]) -> None:
    """Its frames, which are all the same, go through memory to the CPU, none is reused, and it is said."""
    path, picture = tmp_path / "in.mkv", av.VideoFrame(50, 38, "yuv420p")
    for plane in picture.planes:
        plane.update(bytes(plane.buffer_size))
    with av.open(str(path), "w") as container:
        track = container.add_stream("ffv1", rate=25, width=50, height=38)
        for pts in range(6):
            picture.pts, picture.time_base = pts, Fraction(1, 25)
            container.mux(track.encode(picture))
        container.mux(track.encode(None))
    options: dict[str, Any] = {"model": repeat[2], "precision": "float32", "backend": "openvino", "reuse": "frames"}
    settings = RunSettings.of(input=str(path), output="", sink="null", **options)
    job, found = probe(settings), []
    for source in (job.source, replace(job.source, resident=True)):
        report = Report()
        with upscaling(replace(job, source=source), settings.engine, report) as frames:
            found.append([copied(given) for given in frames])
        assert (LANDED in report.notes) == source.resident
        assert bool(report.frames_spared) == (not source.resident)
    for one, other in zip(*found, strict=True):
        assert_close(one, other)


def copied(given: Frame) -> Planes:
    samples = tuple(plane.copy() for plane in given.planes)
    given.release()
    return samples


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("codec", "pix_fmt"), [("libx264", "yuv420p"), ("libx265", "yuv420p"), ("libx265", "yuv420p10le")]
)
@pytest.mark.parametrize("reuse", ["auto", "frames"])
def test_a_run_gives_the_same_frames_as_through_memory(
    gpu: str, tmp_path: Path, codec: str, pix_fmt: str, reuse: Reuse
) -> None:
    """The whole of it on a real card: decoded by software, and by NVDEC with and without memory in between."""
    clip = Clip(codec=codec, pix_fmt=pix_fmt, size=(322, 242), bframes=2, pts=range(48), time_base=Fraction(1, 25))
    path, sums = clip.write(tmp_path / "in.mkv"), []
    for hwaccel in ("none", "cuda"):
        target = tmp_path / f"{hwaccel}.mkv"
        report = vsr.upscale(path, target, 2, backend="auto", hwaccel=hwaccel, reuse=reuse, codec="ffv1", devices=(0,))
        assert (STAYS in report.notes) == (hwaccel == "cuda" and reuse == "auto")
        assert ("chroma in pairs" in report.engine) == (hwaccel == "cuda" and reuse == "auto")
        with av.open(str(target)) as container:
            sums.append([frame.to_ndarray().tobytes() for frame in container.decode(video=0)])
    assert len(sums[0]) == 48
    assert sums[0] == sums[1]
