"""What is opened, what is refused and why, and which packets come out."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from clips import Clip, Sound, crc, tracks
from vsr.demux import open_input, packets, video_stream
from vsr.errors import InputError
from vsr.report import Report


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("missing.mp4", None, "no such file"),
        ("empty.mp4", b"", "the file is empty, not a video"),
        ("text.mp4", b"These are words and nothing else.\n" * 50, "can't be read as video"),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n", "can't be read as video"),
        (
            "words.srt",
            b"1\n00:00:00,100 --> 00:00:00,300\nHello\n",
            "a kind of file that vsr doesn't open; it takes MP4",
        ),
        ("concat.txt", b"ffconcat version 1.0\nfile /etc/passwd\n", "can't be read as video"),
    ],
)
def test_what_is_refused(tmp_path: Path, name: str, content: bytes | None, reason: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=reason) as caught:
        open_input(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder, not a video"):
        open_input(str(tmp_path))


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    clip = Clip().write(tmp_path / "clip.ts")
    playlist = tmp_path / "list.mp4"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{clip.name}\n#EXT-X-ENDLIST\n")
    with pytest.raises(InputError):
        open_input(str(playlist))


@pytest.mark.parametrize("name", ["a:b.mp4", "-x.mp4", "100%d.mp4", "ünï codé\n.mp4", "http:x.mp4"])
def test_odd_names_are_only_names(tmp_path: Path, name: str) -> None:
    path = Clip(pts=range(3)).write(tmp_path / "clip.mp4").rename(tmp_path / name)
    with open_input(str(path)) as container:
        assert video_stream(container, name).codec_context.width == 48


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.mka"
    import av

    with av.open(str(path), "w", format="matroska") as target:
        stream = target.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame(format="s16", layout="mono", samples=800)
        frame.sample_rate, frame.pts = 8000, 0
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        target.mux(stream.encode(frame))
    with open_input(str(path)) as container, pytest.raises(InputError, match=r"no video track \(found audio\)"):
        video_stream(container, "sound.mka")


@pytest.mark.parametrize("order", ["mixed", "sound first", "picture first"])
def test_every_packet_once_in_file_order(tmp_path: Path, order: str) -> None:
    path = Clip(sounds=[Sound()], order=order).write(tmp_path / "a.mkv")  # type: ignore[arg-type]
    with open_input(str(path)) as container:
        found = [(p.stream.type, bytes(p)) for p in packets(container, list(container.streams), Report())]
    for track in tracks(path):
        assert crc([data for kind, data in found if kind == track.kind]) == crc(track.payloads)
    kinds = "".join(kind[0] for kind, _ in found)
    first = {"sound first": "a" * 20, "picture first": "v" * 10, "mixed": kinds}[order]
    assert kinds.startswith(first)


def test_only_the_tracks_asked_for(tmp_path: Path) -> None:
    path = Clip(sounds=[Sound(language="deu"), Sound(codec="flac")], subtitles=["eng"]).write(tmp_path / "a.mkv")
    with open_input(str(path)) as container:
        chosen = [container.streams[2], container.streams[3]]
        assert {p.stream.index for p in packets(container, chosen, Report())} == {2, 3}


@pytest.mark.parametrize(("suffix", "share"), [(".ts", 0.5), (".mkv", 0.5), (".ts", 0.9), (".avi", 0.7)])
def test_a_truncated_file_gives_the_packets_it_has(tmp_path: Path, suffix: str, share: float) -> None:
    codec = "mpeg4" if suffix == ".avi" else "libx264"
    whole = Clip(codec=codec, pts=range(20), gop=5).write(tmp_path / f"whole{suffix}")
    data = whole.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(data[: int(share * len(data))])
    with open_input(str(cut)) as container:
        found = list(packets(container, [video_stream(container, "cut")], Report()))
    assert 0 < len(found) < 20
    assert all(packet.size for packet in found)


def test_an_mp4_without_its_index_is_unreadable(tmp_path: Path) -> None:
    data = Clip().write(tmp_path / "a.mp4").read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="can't be read as video"):
        open_input(str(cut))


def test_times_are_the_streams(tmp_path: Path) -> None:
    path = Clip(pts=[0, 7, 9, 30], time_base=Fraction(1001, 30000)).write(tmp_path / "a.mov")
    with open_input(str(path)) as container:
        stream = video_stream(container, "a.mov")
        times = [p.pts * p.time_base for p in packets(container, [stream], Report())]
    assert times == [n * Fraction(1001, 30000) for n in (0, 7, 9, 30)]


def test_avi_sound_that_its_header_makes_too_short_lasts_as_long_as_its_packets(tmp_path: Path) -> None:
    clip = Clip(codec="mpeg4", sounds=[Sound(codec="libmp3lame", rate=48000, seconds=Fraction(2))])
    right = clip.write(tmp_path / "right.avi")
    data = bytearray(right.read_bytes())
    rate = data.index(b"auds") + 24  # dwRate of the stream's header: packets in dwScale seconds
    faster = 100 * int.from_bytes(data[rate : rate + 4], "little")
    data[rate : rate + 4] = faster.to_bytes(4, "little")
    wrong = tmp_path / "wrong.avi"
    wrong.write_bytes(data)
    begins = []
    for path in (right, wrong):
        with open_input(str(path)) as container:
            found = packets(container, [container.streams.audio[0]], Report())
            begins.append([float((packet.pts or 0) * packet.time_base) for packet in found])
    assert len(begins[0]) > 80
    assert begins[1] == pytest.approx(begins[0], rel=0.02)


def test_a_bare_stream_of_h261_is_read(tmp_path: Path) -> None:
    path = Clip(codec="h261", size=(176, 144), time_base=Fraction(1001, 30000)).write(tmp_path / "in.h261")
    with open_input(str(path)) as container:
        stream = video_stream(container, str(path))
        assert len(list(packets(container, [stream], Report()))) == 12
