"""Damage that no decoder reports: what a file says it has and doesn't, and sound that no output can hold as it is."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from clips import Clip, Sound, video
from tampering import replaced
from vsr.boxes import cut_short
from vsr.limits import LIMITS
from vsr.pipeline import upscale
from vsr.verify.damage import is_damaged


def shortened(source: Path, share: float) -> Path:
    data = source.read_bytes()
    target = source.with_stem("cut")
    target.write_bytes(data[: int(share * len(data))])
    return target


@pytest.mark.parametrize("share", [0.9, 0.75, 0.5])
@pytest.mark.parametrize(
    ("name", "muxing"),
    [
        ("a.mkv", {}),
        ("a.webm", {}),
        ("a.mp4", {"movflags": "faststart"}),
        ("a.mp4", {"movflags": "frag_keyframe+empty_moov"}),
    ],
)
def test_a_cut_file_is_damage_however_quiet_its_reader(
    tmp_path: Path, repeat: dict[int, Path], name: str, muxing: dict[str, str], share: float
) -> None:
    codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
    whole = Clip(codec=codec, pts=range(60), gop=6, muxing=muxing).write(tmp_path / name)
    cut = shortened(whole, share)
    report = upscale(cut, tmp_path / "out.mkv", model=repeat[2], precision="float32")
    assert report.exit_code == 5
    told = int(report.damage[0].removeprefix(f"the file is cut short: {cut.stat().st_size} of ").removesuffix(" bytes"))
    assert told <= whole.stat().st_size
    assert told == whole.stat().st_size or "frag" in str(muxing)  # there only the fragment that was cut tells
    assert 60 * share - 14 < len(video(tmp_path / "out.mkv").times) < 60


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov", "webm", "ts", "avi", "flv"])
def test_a_whole_file_is_not_called_cut(tmp_path: Path, suffix: str) -> None:
    codec = {"webm": "libvpx-vp9", "avi": "mpeg4"}.get(suffix, "libx264")
    assert cut_short(str(Clip(codec=codec).write(tmp_path / f"a.{suffix}"))) == ""


def test_a_live_recording_of_unknown_length_is_not_called_cut(tmp_path: Path) -> None:
    path = Clip(muxing={"live": "1"}).write(tmp_path / "a.mkv")
    assert cut_short(str(path)) == ""


def test_real_files_are_not_called_cut(data: Path) -> None:
    assert [name for name in sorted((data / "video/media").iterdir()) if cut_short(str(name))] == []


def test_fewer_pictures_than_listed_are_damage(tmp_path: Path, repeat: dict[int, Path]) -> None:
    """The picture's last chunk is where the file has nothing; ISO/IEC 14496-12 8.7.5: version, count, offsets."""
    path = Clip(pts=range(50), gop=6, sounds=[Sound(seconds=Fraction(2))]).write(tmp_path / "a.mp4")
    data = bytearray(path.read_bytes())
    table = data.index(b"stco") + 8
    last = table + 4 * int.from_bytes(data[table : table + 4])
    data[last : last + 4] = (1 << 30).to_bytes(4)
    path.write_bytes(data)
    report = upscale(path, tmp_path / "out.mp4", model=repeat[2], precision="float32")
    assert report.exit_code == 5
    written = len(video(tmp_path / "out.mp4").times)
    assert f"50 pictures are listed, {written} can be read" in report.damage


@pytest.mark.parametrize("codec", ["aac", "mp2", "libmp3lame", "ac3", "eac3", "flac", "pcm_s16le", "pcm_s24le"])
@pytest.mark.parametrize("suffix", ["mkv", "mov"])
def test_sound_sound_is_not_called_damaged(tmp_path: Path, codec: str, suffix: str) -> None:
    if (codec, suffix) == ("flac", "mov"):
        pytest.skip("MOV has no place for it")
    path = Clip(sounds=[Sound(codec=codec, rate=48000)]).write(tmp_path / f"a.{suffix}")
    assert not is_damaged(str(path), 1, LIMITS)


def test_samples_of_three_bytes(tmp_path: Path) -> None:
    """FFmpeg decodes them to four: a packet of whole samples needn't be a multiple of that."""
    whole = Clip(sounds=[Sound(codec="pcm_s24le", rate=48000)]).write(tmp_path / "a.mkv")
    shorter = respelt(whole, tmp_path / "b.mkv", lambda payload: payload[:-6])
    assert not is_damaged(str(shorter), 1, LIMITS)
    assert is_damaged(str(respelt(whole, tmp_path / "c.mkv", lambda payload: payload[:-1])), 1, LIMITS)


def respelt(source: Path, target: Path, change: Any) -> Path:
    """Copies both tracks, sound packet 5 changed."""
    with av.open(str(source)) as given, av.open(str(target), "w", format="matroska") as made:
        tracks: dict[int, Any] = {s.index: made.add_stream_from_template(s, opaque=True) for s in given.streams}
        number = 0
        for packet in given.demux():
            if not packet.size:
                continue
            payload = bytes(packet)
            if packet.stream.type == "audio":
                number += 1
                payload = change(payload) if number == 5 else payload
            again = replaced(packet, payload)
            again.stream = tracks[packet.stream.index]
            made.mux(again)
    return target


@pytest.mark.parametrize(
    ("codec", "change"),
    [
        ("pcm_s16le", lambda payload: payload[:-1]),
        ("mp2", lambda payload: payload[:200] + payload),
        ("ac3", lambda payload: payload[: len(payload) // 2]),
        ("aac", lambda payload: b"\xff" * 50),
    ],
)
@pytest.mark.parametrize("target", ["mp4", "mov", "mkv", "ts"])
def test_damaged_sound_is_said_and_the_picture_is_kept(
    tmp_path: Path, repeat: dict[int, Path], codec: str, change: Any, target: str
) -> None:
    whole = Clip(pts=range(25), sounds=[Sound(codec=codec, rate=48000)]).write(tmp_path / "a.mkv")
    path = respelt(whole, tmp_path / "spoilt.mkv", change)
    assert is_damaged(str(path), 1, LIMITS)
    report = upscale(path, tmp_path / f"out.{target}", model=repeat[2], precision="float32")
    assert report.frames_written == len(video(tmp_path / f"out.{target}").times) == 25
    if report.exit_code == 5:
        assert any("audio" in line or "track 1" in line for line in report.damage)
