"""Numbered pictures as a video, in and out."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from clips import Clip, Sound, end_of_picture, frames, video, with_profile
from vsr import y4m
from vsr.cli.run import main
from vsr.colour import turn
from vsr.errors import InputError, OutputError, UsageError, VerificationError
from vsr.frame import Colour
from vsr.job import identity
from vsr.pictures import store, upright
from vsr.probe import probe
from vsr.sequences import files, pattern
from vsr.settings import RunSettings

Array = np.ndarray[Any, Any]


def picture(number: int, *, dtype: Any = np.uint8, size: tuple[int, int] = (48, 32)) -> Array:
    """A gradient in colour with a bright block that moves."""
    y, x = np.mgrid[: size[1], : size[0]]
    part = np.stack([x / size[0], y / size[1], 0.3 + 0 * x], axis=2) * 0.6
    part[8:20, 3 * number : 3 * number + 8] = 0.9
    return (part * np.iinfo(dtype).max).astype(dtype)


def numbered(folder: Path, numbers: Any = range(6), name: str = "f%04d.png", **more: Any) -> str:
    """Writes pictures; returns their pattern."""
    folder.mkdir(exist_ok=True)
    for place, number in enumerate(numbers):
        assert cv2.imwrite(str(folder / (name % number)), picture(place, **more))
    return str(folder / name)


def test_a_profile_is_said(tmp_path: Path, upscale: Any) -> None:
    source = numbered(tmp_path / "in", range(3))
    for path in (tmp_path / "in").iterdir():
        with_profile(path)
    assert "ICC profile" in str(upscale(source, tmp_path / "out.mp4").notes)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    ("rate", "first"), [(None, 0), (Fraction(24000, 1001), 1), (Fraction(30), 1001), (Fraction(1, 2), 9998)]
)
def test_pictures_become_a_video(tmp_path: Path, upscale: Any, rate: Fraction | None, first: int, suffix: str) -> None:
    source = numbered(tmp_path / "in", range(first, first + 6))
    target = tmp_path / f"out{suffix}"
    report = upscale(source, target, crf=1, **({} if rate is None else {"rate": rate}))
    assert (report.exit_code, report.frames_written) == (0, 6)
    pace = rate or Fraction(25)
    tolerance = 0 if suffix == ".mp4" else Fraction(1, 2000)
    times = sorted(video(target).times)
    assert all(abs(time - number / pace) <= tolerance for number, time in enumerate(times))
    if suffix == ".mp4":
        assert end_of_picture(target) == 6 / pace
    for number, shown in enumerate(frames(target)):
        wanted = cv2.cvtColor(picture(number), cv2.COLOR_BGR2GRAY).repeat(2, 0).repeat(2, 1)
        luma = (shown.planes[0].astype(float) - 16) * 255 / 219  # the weights differ, the shape doesn't
        assert np.corrcoef(luma.ravel(), wanted.ravel())[0, 1] > 0.98


@pytest.mark.parametrize("name", ["f%d.png", "%03d.jpg", "a b-%05d_x.tif", "f%04d.bmp", "f%d.webp"])
def test_every_name_and_kind(tmp_path: Path, upscale: Any, name: str) -> None:
    source = numbered(tmp_path / "in", range(8, 13), name)
    (tmp_path / "in" / "notes.txt").write_text("beside")
    assert upscale(source, tmp_path / "out.mkv").frames_written == 5


def test_a_part_of_the_row(tmp_path: Path, upscale: Any) -> None:
    source = numbered(tmp_path / "in", range(20))
    upscale(source, tmp_path / "out.mp4", rate=Fraction(10), start=0.5, duration=0.7)
    assert sorted(video(tmp_path / "out.mp4").times) == [Fraction(number, 10) for number in range(7)]


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ([1, 2, 4, 5], "missing f0003.png;"),
        ([1, 5, 7], "missing f0002.png to f0004.png, f0006.png;"),
        ([1, 3, 5, 7, 9, 11], "missing f0002.png, f0004.png, f0006.png and 2 more gaps;"),
        ([], "no such file, and none that it is a pattern of"),
    ],
)
def test_gaps_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], numbers: list[int], reason: str) -> None:
    source = numbered(tmp_path / "in", numbers)
    assert main([source, str(tmp_path / "out.mp4")]) == 3
    said = capsys.readouterr().err
    assert reason in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out.mp4").exists()


def test_an_empty_picture_is_refused(tmp_path: Path) -> None:
    source = numbered(tmp_path / "in")
    (tmp_path / "in" / "f0003.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"f0003\.png: empty"):
        probe(RunSettings(input=source, output="", sink="null"))


def test_a_damaged_picture_is_skipped_and_counted(tmp_path: Path, upscale: Any) -> None:
    source = numbered(tmp_path / "in")
    (tmp_path / "in" / "f0003.png").write_bytes(b"no picture at all")
    report = upscale(source, tmp_path / "out.mp4")
    assert (report.exit_code, report.frames_written) == (5, 5)


def test_names_are_literal_where_a_file_has_them(tmp_path: Path) -> None:
    literal = tmp_path / "100%d.png"
    assert pattern(str(literal)) is not None
    cv2.imwrite(str(literal), picture(0))
    assert pattern(str(literal)) is None
    assert files(str(literal)) == [literal]
    for name in ("a.png", "100%.png", "%d%d.png", "%%d.png", "%x.png", "a%4d.png"):
        assert pattern(name) is None


def test_numbers_are_filled_as_printf_does(tmp_path: Path) -> None:
    for name in ("f7.png", "f08.png", "f0009.png", "f12345.png", "f0010.png", "fx.png"):
        (tmp_path / name).write_bytes(b"x")
    for name, numbers in (("f%d.png", [7, 12345]), ("f%02d.png", [8, 12345]), ("f%04d.png", [9, 10, 12345])):
        found = pattern(str(tmp_path / name))
        assert found is not None
        assert found.numbers() == numbers


def test_a_rate_is_for_pictures(tmp_path: Path) -> None:
    source = numbered(tmp_path / "in")
    with pytest.raises(UsageError, match="above 0"):
        probe(RunSettings(input=source, output="", sink="null", rate=Fraction(0)))
    assert probe(RunSettings(input=source, output="", sink="null", rate=Fraction(50))).source.rate == 50


def test_one_changed_picture_is_another_input(tmp_path: Path) -> None:
    source = numbered(tmp_path / "in")
    before = identity(source)
    (tmp_path / "in" / "f0002.png").write_bytes(b"other")
    assert identity(source) != before


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, None),
        (2, (-65536, 0, 0, 65536)),
        (3, (-65536, 0, 0, -65536)),
        (6, (0, 65536, -65536, 0)),
        (8, (0, -65536, 65536, 0)),
    ],
)
def test_photos_are_shown_as_their_exif_says(
    tmp_path: Path, upscale: Any, orientation: int, turned: tuple[int, ...] | None
) -> None:
    source = numbered(tmp_path, range(3), "f%d.jpg")
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([orientation]) + bytes(6)
    for path in tmp_path.glob("*.jpg"):
        data = path.read_bytes()
        path.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    assert turn(probe(RunSettings(input=source, output="", sink="null")).source.facts.display_matrix) == turned
    assert upscale(source, tmp_path / "out.mp4").frames_written == 3


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp"])
def test_a_video_becomes_numbered_pictures(tmp_path: Path, upscale: Any, suffix: str) -> None:
    source = Clip(pix_fmt="yuv444p", options={"crf": "1"}).write(tmp_path / "in.mp4")
    report = upscale(source, tmp_path / f"p%03d{suffix}")
    assert (report.exit_code, report.frames_written) == (0, 12)
    assert report.verified == ["12 pictures read back"]
    assert "numbered pictures keep no times (--rate 25 reads them back)" in report.notes
    made = sorted(tmp_path.glob(f"*{suffix}"))
    assert [path.name for path in made] == [f"p{number:03d}{suffix}" for number in range(1, 13)]
    with av.open(str(source)) as clip:
        for frame, path in zip(clip.decode(video=0), made, strict=True):
            got, wanted = cv2.imread(str(path)), frame.to_ndarray(format="bgr24").repeat(2, 0).repeat(2, 1)
            assert got is not None
            assert abs(got.astype(int) - wanted).mean() < 6
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(("range", "darkest"), [(0, 60), (1, 51), (2, 60)])
def test_grey_becomes_pictures_of_full_range(tmp_path: Path, upscale: Any, range: int, darkest: int) -> None:
    """(60 - 16) * 255 / 219 is 51."""
    with av.open(str(tmp_path / "in.mkv"), "w") as target:
        stream: Any = target.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "gray"
        stream.codec_context.color_range = range
        frame = av.VideoFrame.from_ndarray(np.full((32, 32), 60, np.uint8), format="gray")
        frame.color_range = range
        target.mux([*stream.encode(frame), *stream.encode(None)])
    upscale(tmp_path / "in.mkv", tmp_path / "%d.png")
    assert set(np.unique(cv2.imread(str(next(tmp_path.glob("*.png")))))) == {darkest}


def test_deep_video_gives_deep_pictures(tmp_path: Path, upscale: Any) -> None:
    source = Clip(codec="libx265", pix_fmt="yuv444p10le", size=(64, 64)).write(tmp_path / "in.mkv")
    upscale(source, tmp_path / "p%d.png")
    report = upscale(source, tmp_path / "p%d.jpg")
    got = cv2.imread(str(tmp_path / "p1.png"), cv2.IMREAD_UNCHANGED)
    assert got is not None
    assert (got.dtype, len(np.unique(got)) > 256) == (np.uint16, True)
    assert "stored in 8 bits (.jpg has no more)" in report.notes


def test_pictures_keep_their_numbers(tmp_path: Path, upscale: Any) -> None:
    source = numbered(tmp_path / "in", range(1001, 1011))
    upscale(source, tmp_path / "f%d.png", start=0.08, duration=0.12)
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["f1003.png", "f1004.png", "f1005.png"]
    for number in (1003, 1005):
        got = cv2.imread(str(tmp_path / f"f{number}.png"))
        assert got is not None
        wanted = picture(number - 1001).repeat(2, 0).repeat(2, 1).astype(int)
        assert abs(got.astype(int) - wanted).mean() < 3


def test_pictures_there_are_not_lost(tmp_path: Path, upscale: Any) -> None:
    source = numbered(tmp_path / "in")
    (tmp_path / "f0004.png").write_bytes(b"old")
    with pytest.raises(OutputError, match=r"f0004\.png: exists already"):
        upscale(source, tmp_path / "f%04d.png")
    with pytest.raises(OutputError, match="is the input itself"):
        upscale(source, source, overwrite=True)
    with pytest.raises(OutputError, match="no such folder"):
        upscale(source, tmp_path / "none" / "f%04d.png")
    assert [path.name for path in tmp_path.glob("*.png")] == ["f0004.png"]
    assert (tmp_path / "f0004.png").read_bytes() == b"old"
    assert upscale(source, tmp_path / "f%04d.png", overwrite=True).frames_written == 6


def test_no_picture_of_the_input_is_replaced(tmp_path: Path, upscale: Any) -> None:
    source = numbered(tmp_path / "in", (9999, 10000), "f%d.png")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    for given, made in ((source, "link/f%05d.png"), (tmp_path / "in" / "f9999.png", "in/f%04d.png")):
        with pytest.raises(OutputError, match="is the input itself"):
            probe(RunSettings(input=str(given), output=str(tmp_path / made), overwrite=True))


@pytest.mark.parametrize("size", [None, (70, 50)])
def test_y4m_into_a_file(tmp_path: Path, upscale: Any, size: tuple[int, int] | None) -> None:
    source = Clip(sounds=[Sound()], aspect=Fraction(4, 3)).write(tmp_path / "in.mp4")
    report = upscale(source, tmp_path / "out.y4m", size=size)
    wide, high = size or (96, 64)
    assert report.verified == ["12 frames", f"{wide}x{high}"]
    assert "dropped: audio track 1, aac has no place in .y4m" in report.notes
    assert [shown.size for shown in frames(tmp_path / "out.y4m")] == [(wide, high)] * 12
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.y4m"]


@pytest.mark.parametrize(
    ("pix_fmt", "location", "told"),
    [
        ("yuv420p", "center", True),
        ("yuv420p10le", "center", False),
        ("yuv420p", "bottom", False),
        ("yuv420p10le", "left", True),
    ],
)
def test_what_y4m_cannot_tell_is_said(tmp_path: Path, pix_fmt: str, location: Any, told: bool) -> None:
    colour = Colour(matrix=1, primaries=1, transfer=1, chroma_location=location)
    options = {"chroma_sample_location": location}
    source = Clip(pix_fmt=pix_fmt, colour=colour, options=options).write(tmp_path / "in.mp4")
    notes = probe(RunSettings(input=str(source), output=str(tmp_path / "out.y4m"))).notes
    said = [] if told else [f"dropped: where chroma samples sit: {location} (y4m has no word for it)"]
    dropped = [note for note in notes if note.startswith("dropped")]
    assert dropped == ["dropped: primaries, transfer and matrix (y4m has no place for them)", *said]


def test_a_short_y4m_is_found(tmp_path: Path, upscale: Any) -> None:
    upscale(Clip().write(tmp_path / "in.mp4"), tmp_path / "out.y4m")
    data = (tmp_path / "out.y4m").read_bytes()
    assert y4m.check(tmp_path / "out.y4m", 12)
    for wrong in (data[:-1], data + b"x", data.replace(b"FRAME\n", b"FRAMX\n", 1)):
        (tmp_path / "bad.y4m").write_bytes(wrong)
        with pytest.raises(VerificationError):
            y4m.check(tmp_path / "bad.y4m", 12)


def test_a_broken_picture_is_found(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        store(tmp_path / "none" / "a.png", picture(0))
    store(tmp_path / "a.png", picture(0))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    "matrix",
    [
        (1, 0, 0, 1),
        (-1, 0, 0, 1),
        (-1, 0, 0, -1),
        (1, 0, 0, -1),
        (0, 1, 1, 0),
        (0, 1, -1, 0),
        (0, -1, -1, 0),
        (0, -1, 1, 0),
    ],
)
def test_upright(matrix: tuple[int, ...]) -> None:
    a, b, c, d = matrix
    given = np.arange(6).reshape(2, 3)
    made = upright(given, (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30))
    places = {(a * x + c * y, b * x + d * y): given[y, x] for y in range(2) for x in range(3)}
    left, top = (min(place[axis] for place in places) for axis in (0, 1))
    assert all(made[y - top, x - left] == value for (x, y), value in places.items())
