"""Pictures: every depth and kind that comes in comes out, at the new size."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from clips import Clip, png_chunk, with_profile
from vsr import stills
from vsr.errors import InputError, OutputError, UsageError
from vsr.report import Report
from vsr.settings import RunSettings


def picture(shape: tuple[int, ...], dtype: Any = np.uint8) -> Any:
    """Smooth colours from dark to light, another ramp in each channel."""
    rows, columns = shape[:2]
    y, x = np.mgrid[:rows, :columns]
    ramps = [
        0.1 + 0.8 * (x / columns * (1 - k / 5) + y / rows * k / 5) for k in range(shape[2] if len(shape) == 3 else 1)
    ]
    white = 255 if dtype == np.uint8 else 65535
    result = (np.dstack(ramps) * white).astype(dtype)
    return result if len(shape) == 3 else result[..., 0]


def run(source: Path, target: Path, repeat: dict[int, Path], scale: int = 2, **options: Any) -> Report:
    more = {"model": repeat[scale], "precision": "float32", "scale": scale} | options
    return stills.run(RunSettings.of(input=str(source), output=str(target), **more))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".jpg", ".jpeg", ".bmp", ".tiff", ".PNG"])
@pytest.mark.parametrize("shape", [(33, 47), (33, 47, 3)])
def test_every_kind_of_file(tmp_path: Path, repeat: dict[int, Path], suffix: str, shape: tuple[int, ...]) -> None:
    given = picture(shape)
    source, target = tmp_path / "in.png", tmp_path / f"out{suffix}"
    cv2.imwrite(str(source), given)
    report = run(source, target, repeat)
    got = cv2.imread(str(target), cv2.IMREAD_COLOR if len(shape) == 3 else cv2.IMREAD_GRAYSCALE)
    assert got is not None
    assert got.shape[:2] == (66, 94)
    wanted = given.repeat(2, 0).repeat(2, 1).astype(int)
    assert abs(got.astype(int) - wanted).mean() < 3
    assert (report.frames_written, report.verified) == (1, ["94x66"])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["in.png", target.name])


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 3), (9, 7, 4)])
def test_depth_and_alpha_are_kept(
    tmp_path: Path, repeat: dict[int, Path], dtype: Any, shape: tuple[int, ...], scale: int
) -> None:
    given, source, target = picture(shape, dtype), tmp_path / "in.png", tmp_path / "out.png"
    cv2.imwrite(str(source), given)
    run(source, target, repeat, scale)
    got = cv2.imread(str(target), cv2.IMREAD_UNCHANGED)
    assert got is not None
    assert (got.dtype, got.shape) == (given.dtype, (9 * scale, 7 * scale, *shape[2:]))
    wanted = given.repeat(scale, 0).repeat(scale, 1).astype(int)
    exact = got if len(shape) == 2 else got[..., 3:]
    assert np.array_equal(exact, wanted if len(shape) == 2 else wanted[..., 3:])
    assert abs(got.astype(int) - wanted).mean() < 0.03 * (255 if dtype == np.uint8 else 65535)


@pytest.mark.parametrize("suffix", [".jpg", ".bmp", ".webp"])
def test_16_bits_where_only_8_fit(tmp_path: Path, repeat: dict[int, Path], suffix: str) -> None:
    given, source, target = picture((16, 16, 3), np.uint16), tmp_path / "in.png", tmp_path / f"out{suffix}"
    cv2.imwrite(str(source), given)
    report = run(source, target, repeat)
    got = cv2.imread(str(target), cv2.IMREAD_UNCHANGED)
    assert got is not None
    wanted = given.repeat(2, 0).repeat(2, 1) / 257
    assert abs(got[..., :3] - wanted).mean() < 4
    assert report.notes == [f"stored in 8 bits ({suffix} has no more)"]


@pytest.mark.parametrize("suffix", [".jpg", ".bmp"])
def test_alpha_where_there_is_no_place(tmp_path: Path, repeat: dict[int, Path], suffix: str) -> None:
    source, target = tmp_path / "in.png", tmp_path / f"out{suffix}"
    cv2.imwrite(str(source), picture((8, 8, 4)))
    report = run(source, target, repeat)
    assert report.notes == [f"dropped: the alpha channel ({suffix} has none)"]


@pytest.mark.parametrize(
    ("source", "target", "options", "kind", "reason"),
    [
        ("missing.png", "out.png", {}, InputError, "no such file"),
        ("text.png", "out.png", {}, InputError, "can't be read as a picture"),
        ("float.tif", "out.png", {}, InputError, "samples that aren't 8 or 16 bits"),
        ("in.png", "out.mp4", {}, UsageError, "a picture goes to a picture"),
        ("in.png", "out", {}, UsageError, "a picture goes to a picture"),
        ("in.png", "in.png", {"overwrite": True}, OutputError, "is the input itself"),
        ("in.png", "there.png", {}, OutputError, "exists already"),
        ("in.png", "none/out.png", {}, OutputError, "no such folder"),
        ("in.png", "/proc/out.png", {}, OutputError, "can't"),
        ("in.png", "out.png", {"height": 50}, UsageError, "are for videos"),
        ("in.png", "out.png", {"deinterlace": True}, UsageError, "are for videos"),
        ("in.png", "out.png", {"start": 1.0}, UsageError, "are for videos"),
        ("in.png", "out.png", {"codec": "libx264"}, UsageError, "are for videos"),
        ("in.png", "out.png", {"stream": 1}, UsageError, "are for videos"),
    ],
)
def test_what_is_refused(
    tmp_path: Path,
    repeat: dict[int, Path],
    source: str,
    target: str,
    options: dict[str, Any],
    kind: type[Exception],
    reason: str,
) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), picture((8, 8)))
    cv2.imwrite(str(tmp_path / "there.png"), picture((8, 8)))
    cv2.imwrite(str(tmp_path / "float.tif"), picture((8, 8)).astype(np.float32))
    (tmp_path / "text.png").write_bytes(b"words")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(kind, match=reason) as caught:
        run(tmp_path / source, tmp_path / target, repeat, **options)
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_overwrite(tmp_path: Path, repeat: dict[int, Path]) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), picture((8, 8)))
    (tmp_path / "out.png").write_bytes(b"old")
    run(tmp_path / "in.png", tmp_path / "out.png", repeat, overwrite=True)
    got = cv2.imread(str(tmp_path / "out.png"))
    assert got is not None
    assert got.shape[:2] == (16, 16)


@pytest.mark.parametrize(
    ("name", "still"), [("a.png", True), ("b.JPG", True), ("c.gif", False), ("-", False), ("d", False)]
)
def test_by_its_name(name: str, still: bool) -> None:
    assert stills.is_still(name) is still


def test_what_is_clear_or_opaque_stays_exactly_so(tmp_path: Path) -> None:
    """By the network that ships."""
    y, x = np.mgrid[:48, :64]
    alpha = np.where(np.hypot(x - 32, y - 24) < 16, 255, 0).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "in.png"), np.dstack([*[np.full_like(alpha, 90)] * 3, alpha]))
    stills.run(RunSettings.of(input=str(tmp_path / "in.png"), output=str(tmp_path / "out.png")))
    got = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)
    assert got is not None
    assert (got[:12, :, 3] == 0).all()
    assert (got[36:60, 52:76, 3] == 255).all()


def with_exif(path: Path, orientation: int) -> None:
    """Puts an orientation into a JPEG or PNG."""
    exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([orientation]) + bytes(6)
    data = path.read_bytes()
    if path.suffix == ".png":
        path.write_bytes(data[:33] + png_chunk(b"eXIf", exif) + data[33:])
    else:
        path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 8) + b"Exif\0\0" + exif + data[2:])


# Where the top left corner and the one right of it go, as (bottom, right).
CORNERS = {
    1: ((0, 0), (0, 1)), 2: ((0, 1), (0, 0)), 3: ((1, 1), (1, 0)), 4: ((1, 0), (1, 1)),
    5: ((0, 0), (1, 0)), 6: ((0, 1), (1, 1)), 7: ((1, 1), (0, 1)), 8: ((1, 0), (0, 0)),
}  # fmt: skip


@pytest.mark.parametrize("orientation", CORNERS)
@pytest.mark.parametrize(("name", "alpha"), [("in.jpg", False), ("in.png", False), ("in.png", True)])
def test_photos_are_turned_upright_once(
    tmp_path: Path, repeat: dict[int, Path], orientation: int, name: str, *, alpha: bool
) -> None:
    given = np.full((16, 32, 4 if alpha else 3), 255, np.uint8)
    given[:8, :16, :3], given[:8, 16:, :3] = (0, 0, 255), (0, 255, 0)  # red, green
    cv2.imwrite(str(tmp_path / name), given)
    with_exif(tmp_path / name, orientation)
    run(tmp_path / name, tmp_path / "out.png", repeat)
    got = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)
    assert got is not None
    assert got.shape == ((64, 32) if orientation > 4 else (32, 64)) + given.shape[2:]
    for (bottom, right), colour in zip(CORNERS[orientation], ((0, 0, 255), (0, 255, 0)), strict=True):
        corner = got[-6 if bottom else 5, -6 if right else 5, :3]
        assert abs(corner.astype(int) - colour).max() < 12


def tiff(pixels: Any, orientation: int, order: str) -> bytes:
    """A TIFF 6.0 file, least or most significant byte first; a fourth channel is opacity apart from colour."""
    rows, columns, channels = pixels.shape
    samples, depth = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes(), 8 * pixels.itemsize
    tags = {256: columns, 257: rows, 258: depth, 259: 1, 262: 2 if channels > 2 else 1, 273: 0, 274: orientation,
            277: channels, 278: rows, 279: len(samples), **({338: 2} if channels == 4 else {})}  # fmt: skip
    bits = struct.pack(f"{order}{channels}I", *[depth] * channels)
    end = 8 + 2 + 12 * len(tags) + 4
    tags |= {273: end + len(bits), 258: end if channels > 1 else depth}
    entries = [struct.pack(f"{order}HHII", tag, 4, channels if tag == 258 else 1, tags[tag]) for tag in tags]
    entries[6] = struct.pack(f"{order}HHIHH", 274, 3, 1, orientation, 0)  # elsewhere readers take either size
    begin = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    return begin + b"".join(entries) + bytes(4) + bits + samples


@pytest.mark.parametrize("orientation", CORNERS)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("order", "kind"), [("<", np.uint8), (">", np.uint16)])
def test_every_tiff_is_read_as_it_is(
    tmp_path: Path, repeat: dict[int, Path], orientation: int, order: str, kind: type[np.generic], channels: int
) -> None:
    white = int(np.iinfo(kind).max)
    given = np.full((8, 16, channels), white // 3, kind)
    given[:4, :8], given[:4, 8:] = white // 4, white // 2
    (tmp_path / "in.tif").write_bytes(tiff(given, orientation, order))
    run(tmp_path / "in.tif", tmp_path / "out.png", repeat)
    got = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)
    assert got is not None
    size = (32, 16) if orientation > 4 else (16, 32)
    assert (got.dtype, got.shape) == (kind, size if channels == 1 else (*size, channels))
    for (bottom, right), level in zip(CORNERS[orientation], (4, 2), strict=True):
        corner = got[-4 if bottom else 3, -4 if right else 3].astype(int)
        assert abs(corner - white // level).max() <= white / 100


def test_further_pictures_of_a_tiff_are_said(tmp_path: Path, repeat: dict[int, Path]) -> None:
    cv2.imwritemulti(str(tmp_path / "in.tif"), [picture((8, 8, 3))] * 2)
    report = run(tmp_path / "in.tif", tmp_path / "out.png", repeat)
    assert report.notes == ["dropped: all but the first picture of the TIFF"]


def test_a_profile_is_said(tmp_path: Path, repeat: dict[int, Path]) -> None:
    source = tmp_path / "in.png"
    cv2.imwrite(str(source), picture((8, 8, 3)))
    with_profile(source)
    report = run(source, tmp_path / "out.png", repeat)
    assert report.notes == ["dropped: the ICC profile; the picture's colours will be taken for sRGB"]


def test_a_jpeg_cut_short_is_damage(tmp_path: Path, repeat: dict[int, Path]) -> None:
    source = tmp_path / "in.jpg"
    cv2.imwrite(str(source), np.random.default_rng(1).integers(0, 255, (64, 64, 3)).astype(np.uint8))
    assert run(source, tmp_path / "a.png", repeat).exit_code == 0
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 2 // 3])
    report = run(source, tmp_path / "b.png", repeat)
    assert (report.exit_code, report.damage) == (5, ["the JPEG ends early; its last lines are grey or missing"])


def test_opencv_says_nothing_itself(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source, level = tmp_path / "in.bmp", cv2.utils.logging.getLogLevel()
    cv2.imwrite(str(source), np.zeros((64, 64, 3), np.uint8))
    source.write_bytes(source.read_bytes()[:1000])
    with pytest.raises(InputError, match="can't be read as a picture"):
        stills._imread(str(source))
    assert capfd.readouterr().err == ""
    assert cv2.utils.logging.getLogLevel() == level


@pytest.mark.parametrize("kept", [20, 60, 200])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp"])
def test_files_cut_short_end_in_one_line(
    tmp_path: Path, repeat: dict[int, Path], capfd: pytest.CaptureFixture[str], suffix: str, kept: int
) -> None:
    source = tmp_path / f"in{suffix}"
    cv2.imwrite(str(source), np.random.default_rng(1).integers(0, 255, (64, 64, 3)).astype(np.uint8))
    source.write_bytes(source.read_bytes()[:kept])
    with pytest.raises(InputError) as caught:
        run(source, tmp_path / "out.png", repeat)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def most_memory(*, reset: bool = False) -> int:
    """KiB that this process took at most, since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    side, packed = 9000, zlib.compressobj(1)
    rows = b"".join(packed.compress(bytes(3 * side + 1)) for _ in range(side)) + packed.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    (tmp_path / "in.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")
    )
    before = most_memory(reset=True)
    with pytest.raises(InputError, match="over the limit of"):
        stills.run(RunSettings.of(input=str(tmp_path / "in.png"), output=str(tmp_path / "out.png")))
    assert most_memory() - before < 100 << 10


@pytest.mark.parametrize(("pix_fmt", "shape"), [("rgb24", (32, 48, 3)), ("monob", (32, 48)), ("gray16be", (32, 48))])
def test_rarer_kinds_of_png(tmp_path: Path, repeat: dict[int, Path], pix_fmt: str, shape: tuple[int, ...]) -> None:
    source = Clip(codec="png", pix_fmt=pix_fmt, pts=range(1), size=(48, 32))
    with av.open(str(source.write(tmp_path / "in.mov"))) as clip:
        (tmp_path / "in.png").write_bytes(bytes(next(clip.demux(clip.streams.video[0]))))
    run(tmp_path / "in.png", tmp_path / "out.png", repeat)
    got = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)
    assert got is not None
    assert got.shape == (shape[0] * 2, shape[1] * 2, *shape[2:])
