"""Which groups of pictures are decoded, and what of them is named."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import pytest

import vsr
from clips import Clip
from vsr.demux import open_input
from vsr.settings import Limits, Verification
from vsr.verify.decoding import check_decoding
from vsr.verify.recording import Recording, record

OPEN = "log-level=error:keyint=10:bframes=8"  # x265's groups are open unless told otherwise


def read(path: Path) -> Recording:
    with open_input(str(path)) as container:
        return record(container, [0])[0]


def decoded(path: Path, mode: Verification = "sample") -> tuple[str, list[str]]:
    wrong: list[str] = []
    found = read(path)
    frames = check_decoding(str(path), Limits(), found, mode, wrong).frames
    return f"{frames} of {len(found)} frames decoded", wrong


@pytest.mark.parametrize(
    ("frames", "sampled"), [(1, 1), (5, 5), (10, 10), (12, 12), (25, 15), (105, 15), (118, 28), (208, 28)]
)
def test_first_last_and_every_tenth(tmp_path: Path, frames: int, sampled: int) -> None:
    path = Clip(pts=range(frames), size=(16, 16), gop=10, bframes=2).write(tmp_path / "clip.mp4")
    assert read(path).keys == -(-frames // 10)
    assert decoded(path) == (f"{sampled} of {frames} frames decoded", [])
    assert decoded(path, "full") == (f"{frames} of {frames} frames decoded", [])


@pytest.mark.parametrize(
    ("codec", "suffix", "options"),
    [
        ("libx264", ".ts", {"g": "10", "bf": "3", "flags": "-cgop", "x264-params": "open-gop=1"}),
        ("libx265", ".mp4", {"x265-params": OPEN}),
        ("libx265", ".mkv", {"x265-params": OPEN}),
        ("libvpx-vp9", ".webm", {"g": "10", "lag-in-frames": "16", "auto-alt-ref": "1"}),
        ("libsvtav1", ".mp4", {"g": "10"}),
        ("ffv1", ".mkv", {}),
    ],
)
def test_leading_and_hidden_pictures_are_no_mistake(
    tmp_path: Path, repeat: dict[int, Path], codec: str, suffix: str, options: Mapping[str, str]
) -> None:
    source, target = Clip(pts=range(115), size=(32, 32)).write(tmp_path / "in.mp4"), tmp_path / f"out{suffix}"
    vsr.upscale(source, target, model=repeat[2], codec=codec, options=options)
    line, wrong = decoded(target)
    assert not wrong
    assert 0 < int(line.split()[0]) < 60
    assert decoded(target, "full") == ("115 of 115 frames decoded", [])


def broken(path: Path, *frames: int) -> Path:
    """The slice data of some frames, as they lie in the file, made nonsense."""
    import av

    with av.open(str(path)) as container:
        coded = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    data = path.read_bytes()
    for frame in frames:
        payload = coded[frame]
        data = data.replace(payload, payload[:5] + bytes(len(payload) - 5))
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("frame", "mode", "found"),
    [(3, "sample", True), (44, "sample", False), (44, "full", True), (102, "sample", True), (119, "sample", True)],
)
def test_what_cannot_be_decoded_is_named(tmp_path: Path, frame: int, mode: Verification, found: bool) -> None:
    clip = Clip(pts=range(120), size=(48, 32), gop=10)
    path = broken(clip.write(tmp_path / "clip.mp4"), frame)
    _, wrong = decoded(path, mode)
    assert bool(wrong) == found
    if found:
        start = 0 if mode == "full" else frame // 10 * 10
        assert wrong[0].startswith(f"picture from {float(Fraction(start, 25)):.3f} s can't be decoded as written: ")


def test_many_groups_are_counted(tmp_path: Path) -> None:
    path = Clip(pts=range(600), size=(48, 32), gop=10).write(tmp_path / "clip.mp4")
    _, wrong = decoded(broken(path, *range(600)))
    assert wrong[-1] == "4 more groups of pictures"
    assert len(wrong) == 4
