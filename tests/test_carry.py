"""Whole runs over files that carry more than picture and sound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from av.stream import Disposition

from clips import Clip, Sound, picture
from vsr.carry import attached
from vsr.demux import is_cover, open_input
from vsr.errors import UsageError, VerificationError
from vsr.probe import probe
from vsr.report import Report
from vsr.settings import RunSettings
from vsr.verify import verify

FOR_THE_DEAF = Disposition.hearing_impaired
COMMENTARY = Disposition.comment


def joined(target: Path, *sources: Path, change: Callable[[Any], None] = lambda target: None) -> Path:
    """All tracks of some files in one; `change` sees the output before its header is written."""
    containers = [av.open(str(source)) for source in sources]
    with av.open(str(target), "w") as output:
        streams = [[output.add_stream_from_template(s, opaque=True) for s in c.streams] for c in containers]
        for copies, container in zip(streams, containers, strict=True):
            for copy, stream in zip(copies, container.streams, strict=True):
                copy.metadata.update(stream.metadata)
        change(output)
        output.start_encoding()
        coded = [(p, copies) for copies, c in zip(streams, containers, strict=True) for p in c.demux() if p.size]
        for packet, copies in sorted(coded, key=lambda pair: (pair[0].dts or pair[0].pts or 0) * pair[0].time_base):
            packet.stream = copies[packet.stream.index]
            output.mux_one(packet)
    for container in containers:
        container.close()
    return target


def jpeg() -> bytes:
    encoder: Any = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 64, "yuvj420p", Fraction(1, 25)
    frame = picture("yuv420p", (64, 64), 0).reformat(format="yuvj420p")
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def covers(path: Path) -> list[bytes]:
    with open_input(str(path)) as container:
        return [attached(stream) for stream in container.streams if is_cover(stream)]


def with_cover(folder: Path) -> Path:
    clip = Clip(sounds=[Sound()]).write(folder / "clip.mkv")
    return joined(
        folder / "in.mkv", clip, change=lambda output: output.add_attachment("cover.jpg", "image/jpeg", jpeg())
    )


def test_cover_art_is_copied(tmp_path: Path, upscale: Callable[..., Report]) -> None:
    source = with_cover(tmp_path)
    for before, after in [("in.mkv", "a.mp4"), ("a.mp4", "b.mp4"), ("b.mp4", "c.mkv"), ("c.mkv", "d.mkv")]:
        report = upscale(tmp_path / before, tmp_path / after)
        assert not [note for note in report.notes if "cover" in note]
        assert covers(tmp_path / after) == covers(source) == [jpeg()]


@pytest.mark.parametrize(("name", "muxer"), [("out.mov", "mov"), ("out.webm", "webm"), ("out.ts", "mpegts")])
def test_cover_art_without_a_place_is_dropped(
    tmp_path: Path, upscale: Callable[..., Report], name: str, muxer: str
) -> None:
    notes = upscale(with_cover(tmp_path), tmp_path / name).notes
    assert f"dropped: cover track 2, mjpeg has no place in {muxer}" in notes
    assert covers(tmp_path / name) == []


def test_lost_cover_art_is_noticed(tmp_path: Path, upscale: Callable[..., Report], repeat: dict[int, Path]) -> None:
    source = with_cover(tmp_path)
    settings = RunSettings.of(input=str(source), output=str(tmp_path / "out.mkv"), model=repeat[2])
    job = probe(settings)
    upscale(tmp_path / "clip.mkv", tmp_path / "out.mkv")
    with pytest.raises(VerificationError, match="cover track 2, mjpeg is missing or changed"):
        verify(str(tmp_path / "out.mkv"), job)


def two_pictures(folder: Path, name: str = "in.mkv") -> Path:
    small = Clip(pts=range(50), size=(32, 32), gop=10, bframes=2).write(folder / "small.mp4")
    large = Clip(pts=range(50), size=(64, 48), gop=10, bframes=2).write(folder / "large.mp4")
    return joined(folder / name, small, large)


@pytest.mark.parametrize(("stream", "size"), [(None, 128), (0, 64), (1, 128)])
@pytest.mark.parametrize("name", ["out.mkv", "out.mp4", "out.ts"])
def test_one_picture_track_is_upscaled_the_others_copied(
    tmp_path: Path, upscale: Callable[..., Report], stream: int | None, size: int, name: str
) -> None:
    report = upscale(two_pictures(tmp_path), tmp_path / name, stream=stream)
    chosen = 1 if stream is None else stream
    assert report.notes[0] == f"video track {chosen} is upscaled (--stream chooses another)"
    assert f"video track {1 - chosen}, h264: 50 packets bit for bit, in time" in report.verified
    with av.open(str(tmp_path / name)) as written:
        assert [s.codec_context.width for s in written.streams.video] == [size, 64 if chosen == 0 else 32]


def test_a_copied_picture_track_begins_with_a_key_frame(tmp_path: Path, upscale: Callable[..., Report]) -> None:
    upscale(two_pictures(tmp_path), tmp_path / "out.mkv", start=0.5, duration=1.0)
    with av.open(str(tmp_path / "out.mkv")) as written:
        frames = [frame for frame in written.decode(written.streams[1]) if not frame.is_corrupt]
        packets = [p for p in written.demux(written.streams[1]) if p.size]
    assert not packets
    assert float(frames[0].pts * frames[0].time_base) == pytest.approx(0.3, abs=1e-3)  # the key at 0.8 s
    assert len(frames) >= 18


def test_streams_that_are_not_there_are_listed(tmp_path: Path, upscale: Callable[..., Report]) -> None:
    with pytest.raises(UsageError, match=r"--stream 2: .*in.mkv has 0: h264 32x32, 1: h264 64x48"):
        upscale(two_pictures(tmp_path), tmp_path / "out.mkv", stream=2)
    with pytest.raises(UsageError, match="from 0"):
        upscale(tmp_path / "in.mkv", tmp_path / "out.mkv", stream=-1)


def described(folder: Path) -> Path:
    clip = Clip(sounds=[Sound(language="eng"), Sound(language="eng")], subtitles=["fra"]).write(folder / "clip.mkv")

    def describe(output: Any) -> None:
        purposes = [Disposition.default, Disposition.default, COMMENTARY, FOR_THE_DEAF | Disposition.forced]
        for number, (stream, purpose) in enumerate(zip(output.streams, purposes, strict=True)):
            stream.disposition = purpose
            stream.metadata["title"] = f"Titel {number} äß"
            stream.metadata["BPS"] = "1234"

    return joined(folder / "in.mkv", clip, change=describe)


@pytest.mark.parametrize("name", ["out.mkv", "out.mp4"])
def test_titles_and_purposes_go_along(tmp_path: Path, upscale: Callable[..., Report], name: str) -> None:
    report = upscale(described(tmp_path), tmp_path / name)
    assert not [note for note in report.notes if note.startswith("dropped")]
    with av.open(str(tmp_path / name)) as written:
        titles = [s.metadata.get("title") or s.metadata.get("name") for s in written.streams]
        purposes = [s.disposition for s in written.streams]
        said = {key.lower() for s in written.streams for key in s.metadata}
    assert titles == [f"Titel {number} äß" for number in range(4)]
    assert Disposition.default in purposes[1]
    assert COMMENTARY in purposes[2]
    assert FOR_THE_DEAF | Disposition.forced in purposes[3]
    assert "bps" not in said


def test_titles_and_purposes_that_are_lost_are_said(tmp_path: Path, upscale: Callable[..., Report]) -> None:
    source = described(tmp_path)
    assert (
        "dropped: of audio track 2, aac (eng): comment (has no place in mov)"
        in upscale(source, tmp_path / "out.mov").notes
    )
    notes = upscale(source, tmp_path / "out.ts").notes
    assert "dropped: of the picture track: title" in notes
    assert "dropped: of audio track 2, aac (eng): comment, title (has no place in mpegts)" in notes


def test_another_purpose_is_noticed(tmp_path: Path, upscale: Callable[..., Report], repeat: dict[int, Path]) -> None:
    source = described(tmp_path)
    settings = RunSettings.of(input=str(source), output=str(tmp_path / "out.mkv"), model=repeat[2])
    job = probe(settings)
    upscale(source, tmp_path / "good.mkv", options={"bf": "0"})  # its packets have all decoding times

    def spoil(output: Any) -> None:
        output.streams[0].disposition = output.streams[1].disposition = Disposition.default
        output.streams[2].metadata["title"] = "other"
        output.streams[3].disposition = FOR_THE_DEAF

    spoilt = joined(tmp_path / "out.mkv", tmp_path / "good.mkv", change=spoil)
    with pytest.raises(VerificationError) as caught:
        verify(str(spoilt), job)
    for line in ["comment is False", "title is 'other' instead of 'Titel 2 äß'", "forced is False"]:
        assert line in str(caught.value)


def timecodes(path: Path) -> list[str]:
    with av.open(str(path)) as container:
        return [stream.metadata["timecode"] for stream in container.streams if "timecode" in stream.metadata]


@pytest.mark.parametrize("name", ["out.mov", "out.mp4"])
def test_timecode_goes_along_but_for_a_later_part(tmp_path: Path, upscale: Callable[..., Report], name: str) -> None:
    source = Clip(pts=range(50), metadata={"timecode": "01:02:03:04"}).write(tmp_path / "in.mov")
    assert timecodes(source) == ["01:02:03:04"] * 2  # the picture's and that of a track of its own
    assert not [note for note in upscale(source, tmp_path / name).notes if note.startswith("dropped")]
    assert timecodes(tmp_path / name) == timecodes(source)
    report = upscale(source, tmp_path / f"part-{name}", start=1.0)
    assert "dropped: the timecode, which is that of the input's first frame" in report.notes
    assert timecodes(tmp_path / f"part-{name}") == []


def with_data(path: Path, codecs: Sequence[str]) -> Path:
    clip = Clip(pts=range(20)).write(path.with_suffix(".mp4"))

    def fill(output: Any) -> None:
        streams = [output.add_data_stream(codec) for codec in codecs]
        output.start_encoding()
        for number in range(20):
            for stream in streams:
                packet = av.Packet(b"\x06\x0e\x2b\x34 payload %d" % number)
                packet.pts = packet.dts = number * 3600
                packet.time_base, packet.stream = Fraction(1, 90000), stream
                output.mux_one(packet)

    return joined(path, clip, change=fill)


def test_data_is_copied_where_it_has_a_place(tmp_path: Path, upscale: Callable[..., Report]) -> None:
    source = with_data(tmp_path / "in.ts", ["klv", "timed_id3"])
    report = upscale(source, tmp_path / "out.ts")
    assert "data track 1, klv: 20 packets bit for bit, in time" in report.verified
    assert "data track 2, timed_id3: 20 packets bit for bit, in time" in report.verified
    assert upscale(source, tmp_path / "out.mp4").notes[:2] == [
        "dropped: data track 1, klv can't be stored in mp4",
        "dropped: data track 2, timed_id3 can't be stored in mp4",
    ]


def test_attachments_without_name_or_kind(tmp_path: Path, upscale: Callable[..., Report]) -> None:
    def attach(output: Any) -> None:
        output.add_attachment("", "", b"first")
        output.add_attachment("a/../b.ttf", "", b"second")

    source = joined(tmp_path / "in.mkv", Clip().write(tmp_path / "clip.mkv"), change=attach)
    assert "2 attachments" in upscale(source, tmp_path / "out.mkv").verified
    with av.open(str(tmp_path / "out.mkv")) as written:
        found = [(stream.name, stream.mimetype, stream.data) for stream in written.streams.attachments]
    kind = "application/octet-stream"
    assert found == [("attachment-1", kind, b"first"), ("a/../b.ttf", kind, b"second")]


@pytest.mark.parametrize("name", ["in.mkv", "in.mp4"])
def test_tags_that_are_not_utf_8_end_nothing(tmp_path: Path, upscale: Callable[..., Report], name: str) -> None:
    source = Clip(metadata={"title": "ABCDEFGH"}).write(tmp_path / name)
    source.write_bytes(source.read_bytes().replace(b"ABCDEFGH", b"A\xff\xfe\xe9EFGH"))
    assert "1 title" in upscale(source, tmp_path / "out.mkv").verified


@pytest.mark.parametrize("name", ["out.mov", "out.mp4", "out.mkv"])
def test_what_a_phone_writes_down_is_kept(tmp_path: Path, upscale: Callable[..., Report], name: str) -> None:
    tags = {"com.apple.quicktime.make": "Apple", "com.apple.quicktime.creationdate": "2023-05-09T12:41:46+0100"}
    clip = Clip(metadata=tags, muxing={"movflags": "use_metadata_tags"}).write(tmp_path / "in.mov")
    assert not [note for note in upscale(clip, tmp_path / name).notes if note.startswith("dropped")]
    with av.open(str(tmp_path / name)) as written:
        said = {key.lower(): value for key, value in written.metadata.items()}
    assert {key: said.get(key) for key in tags} == tags


def test_what_was_true_of_the_input_alone_is_not_missed(tmp_path: Path, upscale: Callable[..., Report]) -> None:
    tags = {"software": "Lavf", "canSeekToEnd": "true", "metadatacreator": "flvmeta"}
    clip = Clip(metadata=tags).write(tmp_path / "in.flv")
    assert not [note for note in upscale(clip, tmp_path / "out.mp4").notes if note.startswith("dropped")]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_chapters_may_begin_late_and_without_a_title(
    suffix: str, tmp_path: Path, upscale: Callable[..., Report]
) -> None:
    late = Clip(chapters=[(0.1, 0.2), (0.3, 0.4)]).write(tmp_path / "late.mkv")
    target = tmp_path / f"out{suffix}"
    assert f"{2 + (suffix != '.mkv')} chapters" in upscale(late, target).verified
    with av.open(str(target)) as written:
        found = [(float(c["start"] * c["time_base"]), c["metadata"]["title"]) for c in written.chapters()]
    assert found[-2:] == [(0.1, "part 0"), (0.3, "part 1")]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("part", [(46341, 46341, -46341, 46341), (65536, 20000, 0, 65536)])
def test_odd_rotation_is_kept_or_said(
    suffix: str, part: tuple[int, ...], tmp_path: Path, upscale: Callable[..., Report]
) -> None:
    source = Clip(matrix=(*part[:2], 0, *part[2:], 0, 0, 0, 1 << 30)).write(tmp_path / "in.mp4")
    said = any("rotation tag" in note for note in upscale(source, tmp_path / f"out{suffix}").notes)
    assert said == (suffix == ".ts" or suffix == ".mkv" and part[1] == 20000)


def test_tags_and_chapters_that_are_lost_are_said(tmp_path: Path, upscale: Callable[..., Report]) -> None:
    clip = Clip(metadata={"title": "A", "director": "B"}, chapters=[(0, 0.2)]).write(tmp_path / "in.mkv")
    assert "dropped: of the file: DIRECTOR" in upscale(clip, tmp_path / "out.mp4").notes
    notes = upscale(clip, tmp_path / "out.ts").notes
    assert "dropped: of the file: title, DIRECTOR" in notes
    assert "dropped: 1 chapter (mpegts has no place for them)" in notes


def test_every_picture_of_a_track_without_durations_is_copied(tmp_path: Path, upscale: Callable[..., Report]) -> None:
    clips = [Clip(size=size).write(tmp_path / f"{size[0]}.flv") for size in [(48, 32), (32, 32)]]
    upscale(joined(tmp_path / "in.flv", *clips), tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as written:
        assert len(list(written.decode(written.streams[1]))) == 12


@pytest.mark.parametrize("length", [60, 5000])
def test_a_title_becomes_the_service_of_a_transport_stream_if_it_is_short_enough(
    tmp_path: Path, upscale: Callable[..., Report], length: int
) -> None:
    source = Clip(metadata={"title": "é" * (length // 2), "comment": "x" * length}).write(tmp_path / "in.mkv")
    report = upscale(source, tmp_path / "out.ts")
    assert ("é" * 30).encode() in (tmp_path / "out.ts").read_bytes() or length > 60
    assert "dropped: of the file: title, COMMENT" in report.notes


def test_the_language_of_the_picture_is_said_to_be_lost_in_ts(tmp_path: Path, upscale: Callable[..., Report]) -> None:
    source = Clip(language="jpn", sounds=[Sound(language="deu")]).write(tmp_path / "in.mkv")
    assert "dropped: of the picture track: language jpn" in upscale(source, tmp_path / "out.ts").notes
    assert "language" not in str(upscale(source, tmp_path / "out.mkv").notes)


def test_a_chapter_beyond_all_time_is_dropped_and_said(tmp_path: Path, upscale: Callable[..., Report]) -> None:
    source = Clip(codec="ffv1", pts=range(25), chapters=[(0, 1), (2 * 10**9, 3 * 10**9)]).write(tmp_path / "in.nut")
    report = upscale(source, tmp_path / "out.mkv")
    assert "dropped: 1 chapter (decades after the beginning)" in report.notes
    with av.open(str(tmp_path / "out.mkv")) as written:
        assert [chapter["metadata"]["title"] for chapter in written.chapters()] == ["part 0"]


def test_an_empty_track_between_others_of_its_kind_is_not_missed(
    tmp_path: Path, upscale: Callable[..., Report]
) -> None:
    sounds = [Sound(rate=48000), Sound(rate=48000, start=Fraction(3)), Sound(rate=48000)]
    source = Clip(pts=range(25), sounds=sounds).write(tmp_path / "in.mkv")
    report = upscale(source, tmp_path / "out.mp4", duration=0.5)
    said = [line for line in report.verified if line.startswith("audio track")]
    assert [line[:13] for line in said] == ["audio track 1", "audio track 3"]
