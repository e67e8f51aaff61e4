"""Alpha: two engines make one, what is clear or opaque stays so, and every container keeps it or it is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import vsr
from clips import Clip, frames
from strong import assert_close, chosen, frame, luma_model
from vsr.backends import open_engine
from vsr.backends.opacity import OpacityEngine, hold, split
from vsr.convert import copy_in, copy_out
from vsr.convert import opacity as alpha_of
from vsr.errors import OutputError
from vsr.frame import Frame, FramePool, PlanarFormat
from vsr.graph import FrameSpec
from vsr.models import resolve
from vsr.pipeline import upscaling
from vsr.probe import probe
from vsr.report import Report
from vsr.settings import EngineSettings, RunSettings
from vsr.verify.opacity import check_opacity


def spec(chroma: str = "420", depth: int = 8, size: tuple[int, int] = (41, 27)) -> FrameSpec:
    format = PlanarFormat(chroma=chroma, depth=depth, alpha=True)  # type: ignore[arg-type]
    return FrameSpec(format=format, width=size[0], height=size[1], location="left")


@pytest.fixture
def settings(tmp_path: Path) -> EngineSettings:
    return EngineSettings(model=chosen(tmp_path, luma_model(2), "float32").path, precision="float32", threads=2)


def pooled(what: FrameSpec, count: int) -> tuple[FramePool, list[Frame]]:
    """Frames whose buffers are counted."""
    pool, made = FramePool(what.format, what.width, what.height), []
    for index in range(count):
        planes, lease = pool.take()
        original = frame(what, index)
        for target, source in zip(planes, original.planes, strict=True):
            target[:] = source
        made.append(original.like(format=what.format, width=what.width, height=what.height, planes=planes, lease=lease))
    return pool, made


@pytest.mark.parametrize("depth", [8, 10, 16])
@pytest.mark.parametrize("chroma", ["grey", "420", "444"])
def test_equals_two_engines_and_the_hold(settings: EngineSettings, chroma: str, depth: int) -> None:
    what = spec(chroma, depth)
    engine, choice = open_engine(settings, resolve(settings, depth), what), resolve(settings, depth)
    alone = [open_engine(settings, choice, part) for part in split(what)]
    pool, given = pooled(what, engine.capacity)
    tickets = [engine.submit(one) for one in given]
    for number, ticket in enumerate(tickets):
        result, original = engine.wait(ticket), frame(what, number)
        parts = (original.planes[:-1], original.planes[-1:])
        expected = []
        for one, part, planes in zip(alone, split(what), parts, strict=True):
            half = original.like(format=part.format, width=41, height=27, planes=planes, lease=None)
            done = one.wait(one.submit(half))
            expected += [plane.copy() for plane in done.planes]
            done.release()
        hold(original.planes[-1], expected[-1])
        assert_close(result.planes, tuple(expected))
        assert (result.index, result.pts, result.width) == (original.index, original.pts, 82)
        result.release()
    assert pool.leased == 0, "an input was not released"
    for opened in (engine, *alone):
        opened.close()


def test_writes_where_it_is_told_and_can_be_left(settings: EngineSettings) -> None:
    what = spec()
    engine = open_engine(settings, resolve(settings, 8), what)
    pool, given = pooled(what, engine.capacity)
    out, _ = FramePool(what.format, 82, 54).take()
    result = engine.wait(engine.submit(given[0], out))
    assert all(a is b for a, b in zip(result.planes, out, strict=True))
    for one in given[1:]:
        engine.submit(one)
    engine.close()
    assert pool.leased == 0


def test_without_alpha_there_is_one_engine(settings: EngineSettings) -> None:
    engine = open_engine(settings, resolve(settings, 8), split(spec())[0])
    assert not isinstance(engine, OpacityEngine)
    engine.close()


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_the_hold(scale: int, kind: type[np.generic]) -> None:
    """Against a loop over every sample."""
    random, white = np.random.default_rng(0), int(np.iinfo(kind).max)
    given = random.choice([0, white // 2, white], (7, 9)).astype(kind)
    upscaled = random.integers(0, white, (7 * scale, 9 * scale), kind, endpoint=True)
    expected = upscaled.copy()
    for y in range(7 * scale):
        for x in range(9 * scale):
            row, column = y // scale, x // scale
            around = given[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
            expected[y, x] = min(max(expected[y, x], around.min()), around.max())
    hold(given, upscaled)
    assert np.array_equal(upscaled, expected)


def disc(size: tuple[int, int], number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """RGBA: an opaque disc that moves, with a soft rim, on nothing."""
    y, x = np.mgrid[: size[1], : size[0]]
    distance = np.hypot(x - size[0] / 2 - number, y - size[1] / 2) - size[1] / 3
    alpha = np.clip(0.5 - distance / 3, 0, 1) * 255
    return np.dstack([120 + x * 2 % 100, 200 - y, np.full_like(x, 60), alpha]).astype(np.uint8)


def write(path: Path, codec: str, pix_fmt: str, size: tuple[int, int] = (96, 64), count: int = 4) -> Path:
    with av.open(str(path), "w") as target:
        options = {"auto-alt-ref": "0"} if codec == "libvpx" else {}
        stream: Any = target.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        if codec.startswith("libvpx"):
            stream.metadata["alpha_mode"], stream.bit_rate = "1", 2_000_000
        for number in range(count):
            picture = av.VideoFrame.from_ndarray(disc(size, number), "rgba").reformat(format=pix_fmt)
            picture.pts = number
            target.mux(stream.encode(picture))
        target.mux(stream.encode(None))
    return path


SOURCES = [
    ("libvpx-vp9", "yuva420p", ".webm"),
    ("libvpx", "yuva420p", ".webm"),
    ("ffv1", "yuva444p12le", ".mkv"),
    ("ffv1", "ya8", ".mkv"),
    ("ffv1", "gbrap10le", ".mkv"),
    ("prores_ks", "yuva444p10le", ".mov"),
    ("png", "rgba", ".mov"),
    ("png", "ya16be", ".mov"),
    ("qtrle", "argb", ".mov"),
]
KEPT = {  # what a source's alpha is stored in, by container, as a decoder gives it; all else drops it and says so
    ".mkv": {"yuva420p": "yuva420p", "ya8": "ya8", "yuva444p12le": "yuva444p12le", "gbrap10le": "yuva444p10le",
             "yuva444p10le": "yuva444p12le", "rgba": "yuva444p", "argb": "yuva444p", "ya16be": "yuva420p16le"},
    ".mov": dict.fromkeys((source[1] for source in SOURCES), "yuva444p12le"),
    ".webm": dict.fromkeys((source[1] for source in SOURCES), "yuva420p"),
}  # fmt: skip


def opacity(path: Path) -> list[Any]:
    """Alpha of every frame, 0 to 1."""
    found = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        vp = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(stream.codec_context.name)
        decoder: Any = av.CodecContext.create(vp, "r") if vp else stream.codec_context
        for packet in container.demux(stream):
            for shown in decoder.decode(packet if packet.size else None):
                found.append(alpha_of(shown, 16) / 65535)
    return found


@pytest.mark.parametrize("target", KEPT)
@pytest.mark.parametrize(("codec", "pix_fmt", "suffix"), SOURCES)
def test_alpha_is_kept(
    tmp_path: Path, repeat: dict[int, Path], codec: str, pix_fmt: str, suffix: str, target: str
) -> None:
    before, after = write(tmp_path / f"in{suffix}", codec, pix_fmt), tmp_path / f"out{target}"
    if pix_fmt in ("ya8", "ya16be") and target == ".mov":
        with pytest.raises(OutputError, match=r"can't say that samples are of full range; \.mkv can"):
            vsr.upscale(before, after, 2, model=repeat[2], precision="float32")
        return
    report = vsr.upscale(before, after, 2, model=repeat[2], precision="float32")
    dropped = [note for note in report.notes if "alpha" in note and note.startswith("dropped")]
    assert dropped == []
    assert [one.pix_fmt for one in frames(after)] == [KEPT[target][pix_fmt]] * 4
    for one, other in zip(opacity(before), opacity(after), strict=True):
        error = np.abs(other - one.repeat(2, 0).repeat(2, 1))
        if KEPT[target][pix_fmt] == "yuva420p":  # VP9, with loss
            assert error.mean() < 0.01
        else:
            assert error.max() < 1 / 500, "the network repeats samples and the codec keeps alpha exactly"


@pytest.mark.parametrize(
    ("target", "options", "why"),
    [
        (".mp4", {}, "mp4 has none; .mov, .mkv, .webm keep it"),
        (".ts", {}, "mpegts has none; .mov, .mkv, .webm keep it"),
        (
            ".mkv",
            {"codec": "libx264"},
            "libx264 in matroska has none; --codec libvpx-vp9 or ffv1 or prores_ks keeps it",
        ),
        (".webm", {"pix_fmt": "yuv420p"}, "yuv420p has none"),
    ],
)
def test_a_dropped_alpha_is_said_and_leaves_no_mark(
    tmp_path: Path, repeat: dict[int, Path], target: str, options: dict[str, str], why: str
) -> None:
    before, after = write(tmp_path / "in.webm", "libvpx-vp9", "yuva420p"), tmp_path / f"out{target}"
    report = vsr.upscale(before, after, 2, model=repeat[2], precision="float32", **options)
    assert [note for note in report.notes if "alpha" in note] == [f"dropped: the alpha channel ({why})"]
    with av.open(str(after)) as written:
        assert "alpha_mode" not in {key.lower() for key in written.streams.video[0].metadata}


@pytest.mark.parametrize("target", [".mp4", ".mkv", ".mov", ".webm"])
def test_alpha_that_is_announced_and_not_there(tmp_path: Path, repeat: dict[int, Path], target: str) -> None:
    before, after = write(tmp_path / "in.webm", "libvpx-vp9", "yuv420p"), tmp_path / f"out{target}"
    report = vsr.upscale(before, after, 2, model=repeat[2], precision="float32")
    assert not [note for note in report.notes if "alpha" in note]
    with av.open(str(after)) as written:
        track = written.streams.video[0]
        assert (track.pix_fmt, "alpha_mode" in {key.lower() for key in track.metadata}) == ("yuv420p", False)


def test_clear_and_opaque_stay_exactly_so(tmp_path: Path) -> None:
    """By the network that ships, in int8 where there is int8, and by lossless codecs."""
    before = write(tmp_path / "in.mov", "png", "rgba")
    for target in (".mkv", ".mov"):
        vsr.upscale(before, tmp_path / f"out{target}", 2)
        for one, other in zip(opacity(before), opacity(tmp_path / f"out{target}"), strict=True):
            rows, columns = one.shape
            for value in (0, 1):
                calm = np.pad(one == value, 1, "edge")
                calm = np.all([calm[y : y + rows, x : x + columns] for y in range(3) for x in range(3)], axis=0)
                assert calm.mean() > 0.1
                assert (other[calm.repeat(2, 0).repeat(2, 1)] == value).all()
            soft = (one > 0.1) & (one < 0.9)
            assert np.abs(other.reshape(rows, 2, columns, 2).mean((1, 3)) - one)[soft].mean() < 0.05


def test_frames_for_programs_have_it(tmp_path: Path, repeat: dict[int, Path]) -> None:
    before = write(tmp_path / "in.webm", "libvpx-vp9", "yuva420p")
    shown = vsr.upscaled_frames(before, 2, model=repeat[2], precision="float32")
    assert [(one.format.pix_fmt, len(one.planes), one.planes[3].max()) for one in shown] == [("yuva420p", 4, 255)] * 4


def test_threads_change_no_sample(tmp_path: Path, repeat: dict[int, Path]) -> None:
    before = write(tmp_path / "in.mkv", "ffv1", "yuva444p10le", count=12)
    settings = RunSettings.of(input=str(before), output="", sink="null", model=repeat[2], precision="float32")
    job, found = probe(settings), []
    for depth in (0, 4):
        with upscaling(job, settings.engine, Report(), depth) as results:
            kept = []
            for one in results:
                kept.append(tuple(plane.copy() for plane in one.planes))
                one.release()
            found.append(kept)
    assert len(found[0]) == 12
    for one, other in zip(*found, strict=True):
        assert_close(one, other)


def test_lost_alpha_is_found(tmp_path: Path, repeat: dict[int, Path]) -> None:
    before, after = write(tmp_path / "in.mkv", "ffv1", "yuva420p"), tmp_path / "out.mkv"
    job = probe(RunSettings.of(input=str(before), output=str(after), model=repeat[2], codec="ffv1"))
    vsr.upscale(before, after, 2, model=repeat[2], codec="ffv1")
    bare = write(tmp_path / "bare.mkv", "ffv1", "yuv420p", (192, 128))
    other = Clip(codec="ffv1", pix_fmt="yuva420p", size=(192, 128), pts=range(4)).write(tmp_path / "other.mkv")
    for file, said in ((after, []), (bare, ["alpha is missing"]), (other, ["of full opacity off"])):
        wrong: list[str] = []
        check_opacity(job, str(file), wrong)
        assert len(wrong) == len(said)
        assert all(words in line for words, line in zip(said, wrong, strict=True))


@pytest.mark.parametrize("pix_fmt", ["ya8", "ya16le", "yuva422p12le", "yuva420p"])
@pytest.mark.parametrize("size", [(47, 33), (1, 1)])
def test_in_and_out_again(pix_fmt: str, size: tuple[int, int]) -> None:
    format = PlanarFormat.of(pix_fmt)
    assert format is not None
    what = FrameSpec(format=format, width=size[0], height=size[1])
    planes, picture, bare = (
        frame(what).planes,
        av.VideoFrame(*size, pix_fmt),
        av.VideoFrame(*size, format.opaque.pix_fmt),
    )
    copy_out(planes, picture)
    again, _ = FramePool(format, *size).take()
    copy_in(picture, format, again)
    assert_close(again, planes)
    opaque, _ = FramePool(format.opaque, *size).take()
    copy_in(picture, format.opaque, opaque)
    assert_close(opaque, planes[:-1])
    copy_out(planes[:-1], bare)
    copy_in(bare, format, again)
    assert_close(again[:-1], planes[:-1])
    assert (again[-1] == format.white).all()


@pytest.mark.parametrize(
    ("pix_fmt", "depth"), [("rgba", 8), ("bgra", 8), ("gbrap", 8), ("gbrap12le", 12), ("rgba64le", 16)]
)
def test_rgb_keeps_its_opacity(pix_fmt: str, depth: int) -> None:
    random, format = np.random.default_rng(0), PlanarFormat(chroma="444", depth=depth, alpha=True)
    expected = random.integers(0, format.white, (64, 96), format.dtype, endpoint=True)
    planar = av.VideoFrame(96, 64, "gbrap" if depth == 8 else f"gbrap{depth}le")
    copy_out_rgb(planar, (*[np.full_like(expected, format.white // 3)] * 3, expected))
    given = planar.reformat(format=pix_fmt)
    planes, _ = FramePool(format, 96, 64).take()
    copy_in(given, format, planes)
    assert np.array_equal(planes[3], expected)


def copy_out_rgb(frame: av.VideoFrame, planes: tuple[Any, ...]) -> None:
    for plane, samples in zip(frame.planes, planes, strict=True):
        lines = np.zeros((plane.height, plane.line_size // samples.itemsize), samples.dtype)
        lines[:, : samples.shape[1]] = samples
        plane.update(lines.tobytes())
