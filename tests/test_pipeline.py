"""Whole runs: every container, timing, layout and kind of track, against the source and against the plain sequence."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import vsr
from clips import Clip, Order, Sound, Track, crc, damaged, end_of_picture, frames, tracks, uneven, video
from vsr.chunks import Key, cut
from vsr.convert import copy_out
from vsr.errors import InputError, OutputError, UsageError
from vsr.frame import Colour, Frame, PlanarFormat
from vsr.job import Job
from vsr.pipeline import run, upscaling
from vsr.probe import probe
from vsr.report import Report
from vsr.settings import RunSettings
from vsr.sinks import md5

MS = Fraction(1, 1000)
SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".ts")
EXACT = (".mp4", ".mov")
TICK = {".mp4": Fraction(0), ".mov": Fraction(0), ".mkv": MS / 2, ".webm": MS / 2, ".ts": Fraction(1, 180000)}
ADTS_HEADER = 7
Upscale = Callable[..., Report]


def sound_for(suffix: str, **more: Any) -> Sound:
    return Sound(codec="libopus", rate=48000, **more) if suffix == ".webm" else Sound(**more)


def assert_times(found: list[Fraction], expected: list[Fraction], tolerance: Fraction) -> None:
    """Equal but for one common shift: exact where `tolerance` is 0."""
    assert len(found) == len(expected)
    shift = found[0] - expected[0]
    off = [abs(a - b - shift) for a, b in zip(found, expected, strict=True)]
    assert max(off) <= 2 * tolerance, f"number {off.index(max(off))} is {float(max(off)) * 1000:.3f} ms off"


def lead(path: Path, kind: str = "audio") -> Fraction:
    """How much later than the picture a track starts."""
    found = tracks(path)
    picture, other = (next(t for t in found if t.kind == k) for k in ("video", kind))
    return min(other.times) - min(picture.times)


def payloads(track: Track) -> list[int]:
    """Checksums; AAC without its transport header, which TS has and MP4 has not."""
    adts = track.codec == "aac" and all(data[0] == 0xFF and data[1] & 0xF6 == 0xF0 for data in track.payloads)
    return crc([data[ADTS_HEADER:] if adts else data for data in track.payloads])


# --- time and sound -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", SUFFIXES)
@pytest.mark.parametrize("source", [".mp4", ".mkv", ".ts"])
def test_uneven_times_and_sound_are_kept(tmp_path: Path, upscale: Upscale, source: str, target: str) -> None:
    sounds = [] if (source, target) == (".ts", ".webm") else [sound_for(target, language="deu")]
    if source == ".ts" and target != ".webm":
        sounds = [Sound(language="deu")]
    clip = Clip(pts=uneven(24), time_base=MS, last=150, bframes=3, gop=12, sounds=sounds)
    before, after = clip.write(tmp_path / f"in{source}"), tmp_path / f"out{target}"
    report = upscale(before, after)
    assert (report.exit_code, report.frames_written) == (0, 24)
    one, other = video(before), video(after)
    assert_times(sorted(other.times), sorted(one.times), TICK[target])
    if sounds:
        heard = [next(t for t in tracks(path) if t.kind == "audio") for path in (before, after)]
        assert payloads(heard[0]) == payloads(heard[1])
        assert heard[1].language == ("ger" if target == ".mov" else "deu")  # QuickTime's name
        assert abs(lead(after) - lead(before)) <= max(TICK[target], TICK[source]) * 2
    assert [track.kind for track in tracks(after)] == ["video"] + ["audio"] * len(sounds)


@pytest.mark.parametrize(("source", "target"), [(".mp4", ".mp4"), (".mov", ".mov"), (".mkv", ".mp4")])
@pytest.mark.parametrize("last", [1, 2500])
@pytest.mark.parametrize("bframes", [0, 3])
def test_the_last_frame_lasts_as_long(
    tmp_path: Path, upscale: Upscale, source: str, target: str, last: int, bframes: int
) -> None:
    clip = Clip(pts=uneven(9, step=40, seed=last), time_base=MS, last=last, bframes=bframes)
    before, after = clip.write(tmp_path / f"in{source}"), tmp_path / f"out{target}"
    upscale(before, after)
    if source in EXACT:  # Matroska itself doesn't keep how long the last frame lasts
        assert end_of_picture(after) - min(video(after).times) == clip.times[-1] + last * MS - clip.times[0]
    assert max(video(after).times) < end_of_picture(after)


@pytest.mark.parametrize("seed", range(6))
def test_wild_times_keep_their_end(tmp_path: Path, upscale: Upscale, seed: int) -> None:
    times = np.cumsum(np.random.default_rng(seed).choice([1, 7, 40, 900], 7 + 2 * seed)).tolist()
    clip = Clip(pts=times, time_base=MS, last=300, bframes=3)
    before, after = clip.write(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    upscale(before, after, codec=["libx264", "libx265"][seed % 2])
    assert sorted(video(after).times) == [time - clip.times[0] for time in clip.times]
    assert end_of_picture(after) == (times[-1] + 300 - times[0]) * MS


@pytest.mark.parametrize(
    ("target", "start", "rate"),
    [
        (".mp4", Fraction(0), 44100),
        (".mp4", Fraction(1, 3), 44100),
        (".mp4", Fraction(7, 2), 44100),
        (".mov", Fraction(1, 3), 44100),
        (".mov", Fraction(7, 2), 48000),
        (".mp4", Fraction(7, 2), 11025),
    ],
)
def test_odd_time_bases_with_sound_that_starts_elsewhere(
    tmp_path: Path, upscale: Upscale, target: str, start: Fraction, rate: int
) -> None:
    base = Fraction(1001, 30000)
    clip = Clip(pts=range(60, 75), time_base=base, bframes=2, sounds=[Sound(codec="pcm_s16le", rate=rate, start=start)])
    before, after = clip.write(tmp_path / "in.mov"), tmp_path / f"out{target}"
    upscale(before, after)
    assert_times(sorted(video(after).times), clip.times, Fraction(0))
    assert lead(after) == lead(before)
    assert min(video(after).times) >= 0


@pytest.mark.parametrize("order", ["sound first", "picture first", "mixed"])
@pytest.mark.parametrize("target", [".mp4", ".mkv"])
def test_however_the_tracks_lie_in_the_file(tmp_path: Path, upscale: Upscale, order: Order, target: str) -> None:
    sounds = [Sound(seconds=Fraction(3)), Sound(codec="flac", rate=48000, seconds=Fraction(2), language="fra")]
    clip = Clip(pts=range(75), size=(16, 16), sounds=sounds, order=order)
    before, after = clip.write(tmp_path / "in.mkv"), tmp_path / f"out{target}"
    upscale(before, after)
    for one, other in zip(tracks(before), tracks(after), strict=True):
        assert_times(sorted(other.times), sorted(one.times), TICK[".mkv"])
        assert one.kind == "video" or payloads(one) == payloads(other)
    with av.open(str(after)) as container:
        kinds = [
            (p.stream.type, float((p.pts if p.dts is None else p.dts) * p.time_base))
            for p in container.demux()
            if p.size
        ]
    longest = max(abs(a[1] - b[1]) for a, b in pairwise(kinds) if a[0] != b[0])
    assert longest < 1.1  # the output's tracks lie in step, whatever the input's did


def test_a_file_that_starts_late_starts_at_zero(tmp_path: Path, upscale: Upscale) -> None:
    clip = Clip(pts=range(250, 262), sounds=[Sound(start=Fraction(10), seconds=Fraction(1, 2))])
    before, after = clip.write(tmp_path / "in.mkv"), tmp_path / "out.mp4"
    upscale(before, after)
    assert min(video(after).times) < Fraction(1, 10)
    assert abs(lead(after) - lead(before)) <= MS


# --- pixels ---------------------------------------------------------------------------------------------------------

LAYOUTS = [
    "yuv420p",
    "yuv422p",
    "yuv444p",
    "gray",
    "yuv420p10le",
    "yuv422p10le",
    "yuv444p10le",
    "gray10le",
    "yuv420p12le",
]


@pytest.mark.parametrize(
    ("pix_fmt", "size", "scale"),
    [(name, (47, 33), 2) for name in LAYOUTS] + [(name, (17, 15), scale) for name in LAYOUTS[::4] for scale in (3, 4)],
)
def test_luma_without_loss(tmp_path: Path, upscale: Upscale, pix_fmt: str, size: tuple[int, int], scale: int) -> None:
    clip = Clip(codec="ffv1", pix_fmt=pix_fmt, size=size, pts=range(3))
    before, after = clip.write(tmp_path / "in.mkv"), tmp_path / "out.mkv"
    upscale(before, after, scale, codec="ffv1")
    for one, other in zip(frames(before), frames(after), strict=True):
        assert other.size == (size[0] * scale, size[1] * scale)
        assert other.pix_fmt == pix_fmt
        assert np.array_equal(other.planes[0], one.planes[0].repeat(scale, 0).repeat(scale, 1))
        for small, large in zip(one.planes[1:], other.planes[1:], strict=True):
            assert abs(large.mean() - small.mean()) < 0.02 * 2 ** PlanarFormat.of(pix_fmt).depth  # type: ignore[union-attr]


@pytest.mark.parametrize("target", [".mp4", ".webm", ".ts"])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le", "yuv422p10le", "yuv444p", "gray"])
def test_depth_and_chroma_are_kept_or_refused(tmp_path: Path, upscale: Upscale, pix_fmt: str, target: str) -> None:
    before, after = Clip(codec="ffv1", pix_fmt=pix_fmt).write(tmp_path / "in.mkv"), tmp_path / f"out{target}"
    if target == ".webm" and pix_fmt == "yuv422p10le":
        with pytest.raises(OutputError, match=f"no encoder for {pix_fmt} in this container; .mkv takes it"):
            upscale(before, after)
        return
    upscale(before, after)
    for one, other in zip(frames(before), frames(after), strict=True):
        stored = "yuv420p" if pix_fmt == "gray" else pix_fmt  # so FFmpeg's H.264 decoder gives grey
        assert other.pix_fmt.replace("yuvj", "yuv") == stored
        wanted = one.planes[0].repeat(2, 0).repeat(2, 1).astype(float)
        assert abs(other.planes[0] - wanted).mean() < 0.03 * PlanarFormat.of(pix_fmt).white  # type: ignore[union-attr]


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_odd_sizes_become_even_with_the_edge_repeated(tmp_path: Path, upscale: Upscale, codec: str) -> None:
    before, after = Clip(codec="ffv1", size=(47, 33), pts=range(2)).write(tmp_path / "in.mkv"), tmp_path / "out.mp4"
    report = upscale(before, after, 3, codec=codec, crf=0)
    assert any("142x100 with the edge repeated" in note for note in report.notes)
    shown = frames(after)[0].planes[0].astype(int)
    assert shown.shape == (100, 142)
    assert abs(shown[-1] - shown[-2]).mean() < 3
    assert abs(shown[:, -1] - shown[:, -2]).mean() < 3


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "stored"),
    [
        ("png", "rgb24", "yuv444p"),
        ("png", "rgb48be", "yuv444p16le"),
        ("ffv1", "bgr0", "yuv444p"),
        ("gif", "rgb8", "yuv444p"),
    ],
)
def test_rgb_is_said_and_tagged(tmp_path: Path, upscale: Upscale, codec: str, pix_fmt: str, stored: str) -> None:
    suffix = {"png": ".mov", "gif": ".gif", "ffv1": ".mkv"}[codec]
    before = Clip(codec=codec, pix_fmt=pix_fmt, pts=range(3), time_base=Fraction(1, 100)).write(
        tmp_path / f"in{suffix}"
    )
    after = tmp_path / "out.mkv"
    report = upscale(before, after, codec="ffv1")
    shown = frames(after)[0]
    assert (shown.pix_fmt, shown.colour.matrix, shown.colour.range) == (stored, 1, 1)
    assert any(note.startswith(f"stored as {stored} (input ") for note in report.notes)


def test_a_matrix_that_nothing_is_converted_by_is_no_obstacle(tmp_path: Path, upscale: Upscale) -> None:
    """swscale is needed for the layout and the size, and refuses frames of ICtCp even there."""
    clip = Clip(codec="ffv1", pix_fmt="yuv411p", size=(48, 30), colour=Colour(range=1, matrix=14), pts=range(3))
    report = upscale(clip.write(tmp_path / "in.mkv"), tmp_path / "out.mkv", codec="ffv1", size=(90, 60))
    assert report.frames_written == 3
    assert frames(tmp_path / "out.mkv")[0].colour.matrix == 14


def test_a_picture_too_small_for_an_encoder_gets_another(tmp_path: Path, upscale: Upscale) -> None:
    before = Clip(codec="ffv1", pix_fmt="yuv420p12le", size=(24, 16), pts=range(3)).write(tmp_path / "in.mkv")
    assert upscale(before, tmp_path / "out.mkv").frames_written == 3
    assert video(tmp_path / "out.mkv").codec == "ffv1"


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv"])
def test_long_packets_of_bare_samples_are_kept(tmp_path: Path, upscale: Upscale, name: str) -> None:
    """MP4 gives them back 1024 samples at a time."""
    before = tmp_path / "in.mkv"
    Clip(pts=range(25), sounds=[Sound(codec="pcm_s16le", rate=48000)]).write(tmp_path / "short.mkv")
    with av.open(str(tmp_path / "short.mkv")) as short, av.open(str(before), "w") as target:
        picture, sound = (target.add_stream_from_template(stream) for stream in short.streams)
        samples = b"".join(bytes(packet) for packet in short.demux(short.streams[1]))
        short.seek(0)
        for packet in short.demux(short.streams[0]):
            if packet.size:
                packet.stream = picture
                target.mux(packet)
        for number in range(25):
            whole = av.Packet(samples[number * 3840 : (number + 1) * 3840])
            whole.stream, whole.time_base, whole.pts = sound, Fraction(1, 25), number
            whole.dts, whole.duration = number, 1
            target.mux(whole)
    upscale(before, tmp_path / name)
    heard = next(track for track in tracks(tmp_path / name) if track.kind == "audio")
    assert b"".join(heard.payloads) == samples


def test_a_matrix_that_vp9_cannot_tell_is_said(tmp_path: Path, upscale: Upscale) -> None:
    report = upscale(
        Clip(colour=Colour(range=1, matrix=4), pts=range(3)).write(tmp_path / "in.mp4"), tmp_path / "out.webm"
    )
    assert any(note.startswith("dropped: the matrix (4), libvpx-vp9") for note in report.notes)


@pytest.mark.parametrize("count", [1, 3])
def test_tiny_transport_streams_can_be_opened(tmp_path: Path, upscale: Upscale, count: int) -> None:
    clip = Clip(codec="mpeg4", size=(8, 8), pts=range(count)).write(tmp_path / "in.mkv")
    upscale(clip, tmp_path / "out.ts")
    assert len(frames(tmp_path / "out.ts")) == count


@pytest.mark.parametrize("gap", [10**6, 2**45])
def test_hours_between_frames(tmp_path: Path, upscale: Upscale, gap: int) -> None:
    clip = Clip(codec="ffv1", pts=[0, gap], time_base=Fraction(1, 1000)).write(tmp_path / "in.mkv")
    assert upscale(clip, tmp_path / "out.mkv").frames_written == 2


# --- what a track is described by -----------------------------------------------------------------------------------

TURNED = (0, 65536, 0, -65536, 0, 0, 32 << 16, 0, 1 << 30)
MIRRORED = (-65536, 0, 0, 0, 65536, 0, 48 << 16, 0, 1 << 30)


def matrix_of(path: Path) -> tuple[int, ...] | None:
    from vsr.colour import read_facts

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return read_facts(stream, next(container.decode(stream))).display_matrix


@pytest.mark.parametrize("target", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("matrix", [TURNED, MIRRORED], ids=["turned", "mirrored"])
def test_rotation(tmp_path: Path, upscale: Upscale, matrix: tuple[int, ...], target: str) -> None:
    before, after = Clip(matrix=matrix).write(tmp_path / "in.mp4"), tmp_path / f"out{target}"
    upscale(before, after)
    assert matrix_of(before) == matrix
    kept = matrix_of(after)
    assert kept is not None
    assert kept[:2] + kept[3:5] == matrix[:2] + matrix[3:5]
    if target in EXACT:
        assert kept[6:8] == (2 * matrix[6], 2 * matrix[7])


def test_rotation_has_no_place_in_ts(tmp_path: Path, upscale: Upscale) -> None:
    report = upscale(Clip(matrix=TURNED).write(tmp_path / "in.mp4"), tmp_path / "out.ts")
    said = "dropped: the rotation tag (mpegts has no place for it): pictures will be shown unturned"
    assert said in report.notes


@pytest.mark.parametrize("target", [".mp4", ".mov", ".mkv", ".ts"])
@pytest.mark.parametrize("aspect", [Fraction(64, 45), Fraction(8, 9)])
def test_sample_aspect(tmp_path: Path, upscale: Upscale, aspect: Fraction, target: str) -> None:
    after = tmp_path / f"out{target}"
    upscale(Clip(aspect=aspect).write(tmp_path / "in.mp4"), after)
    with av.open(str(after)) as container:
        assert container.streams.video[0].sample_aspect_ratio == aspect
    assert frames(after)[0].size == (96, 64)


@pytest.mark.parametrize(("target", "codec"), [(".webm", "libvpx-vp9"), (".mkv", "libsvtav1")])
@pytest.mark.parametrize(("aspect", "width"), [(Fraction(3, 2), 144), (Fraction(1, 2), 48)])
def test_where_no_aspect_is_kept_pixels_become_square(
    tmp_path: Path, upscale: Upscale, target: str, codec: str, aspect: Fraction, width: int
) -> None:
    after = tmp_path / f"out{target}"
    report = upscale(Clip(aspect=aspect, size=(48, 64)).write(tmp_path / "in.mp4"), after, codec=codec)
    assert frames(after)[0].size == (width, 128)
    assert any("has only square pixels" in note for note in report.notes)
    upscale(tmp_path / "in.mp4", after, codec=codec, height=98, overwrite=True)  # no whole width fits: near enough


@pytest.mark.parametrize("target", [".mp4", ".mkv", ".webm", ".ts"])
@pytest.mark.parametrize(
    "colour",
    [
        Colour(range=1, primaries=9, transfer=16, matrix=9),
        Colour(range=2, primaries=1, transfer=13, matrix=1),
        Colour(range=1, primaries=5, transfer=6, matrix=5),
        Colour(),
    ],
    ids=["hdr10", "full", "pal", "none"],
)
def test_colour_tags(tmp_path: Path, upscale: Upscale, colour: Colour, target: str) -> None:
    after = tmp_path / f"out{target}"
    upscale(Clip(colour=colour).write(tmp_path / "in.mp4"), after)
    found = frames(after)[0].colour
    assert replace(found, range=found.range or 1) == replace(colour, range=colour.range or 1)


@pytest.mark.parametrize("options", [{}, {"height": 48}, {"pix_fmt": "yuv444p"}, {"pix_fmt": "yuv420p10le"}])
def test_full_range_samples_stay(tmp_path: Path, upscale: Upscale, options: dict[str, Any]) -> None:
    clip = Clip(codec="ffv1", pix_fmt="yuv420p", colour=Colour(range=2), pts=range(2))
    before, after = clip.write(tmp_path / "in.mkv"), tmp_path / "out.mkv"
    upscale(before, after, codec="ffv1", **options)
    one, other = frames(before)[0], frames(after)[0]
    depth = PlanarFormat.of(other.pix_fmt).depth  # type: ignore[union-attr]
    assert other.colour.range == 2
    assert abs(other.planes[0].mean() / 2 ** (depth - 8) - one.planes[0].mean()) < 1.5
    assert abs(other.planes[0].max() / 2 ** (depth - 8) - one.planes[0].max()) < 6


@pytest.mark.parametrize("target", [".mp4", ".mov", ".mkv"])
def test_chapters_metadata_languages(tmp_path: Path, upscale: Upscale, target: str) -> None:
    clip = Clip(
        pts=range(50, 80), bframes=2, language="jpn", metadata={"title": "A film", "comment": "x"},
        sounds=[Sound(language="deu", start=Fraction(2)), Sound(codec="ac3", language="fra", start=Fraction(2))],
        chapters=[(2, 2.4), (2.4, 3.2)],
    )  # fmt: skip
    before, after = clip.write(tmp_path / "in.mkv"), tmp_path / f"out{target}"
    upscale(before, after)
    with av.open(str(after)) as container:
        start = round(container.streams.video[0].start_time * container.streams.video[0].time_base, 3)
        chapters = [(c["metadata"]["title"], c["start"] * c["time_base"] - start) for c in container.chapters()]
        said = {key.lower(): value for key, value in container.metadata.items()}
        assert (said["title"], said["comment"]) == ("A film", "x")
    assert chapters == [("part 0", 0), ("part 1", Fraction(2, 5))]
    german = "ger" if target == ".mov" else "deu"  # QuickTime's name
    assert [track.language for track in tracks(after)] == ["jpn", german, "fra"]


def test_matroska_keeps_subtitles_and_attachments(tmp_path: Path, upscale: Upscale) -> None:
    clip = Clip(subtitles=["eng", "fra"], attachments=["one.ttf", "two.ttf"], sounds=[Sound()])
    before, after = clip.write(tmp_path / "in.mkv"), tmp_path / "out.mkv"
    upscale(before, after)
    assert [(t.codec, t.language, crc(t.payloads)) for t in tracks(after)[1:]] == [
        (t.codec, t.language, crc(t.payloads)) for t in tracks(before)[1:]
    ]
    with av.open(str(before)) as one, av.open(str(after)) as other:
        kept = [[(s.metadata["filename"], s.data) for s in c.streams.attachments] for c in (one, other)]
    assert len(kept[0]) == 2
    assert kept[0] == kept[1]


def test_what_a_container_cannot_hold_is_said(tmp_path: Path, upscale: Upscale) -> None:
    clip = Clip(subtitles=["eng"], attachments=["one.ttf"], sounds=[Sound()])
    report = upscale(clip.write(tmp_path / "in.mkv"), tmp_path / "out.mp4")
    assert [note for note in report.notes if note.startswith("dropped")] == [
        "dropped: attachment track 3, one.ttf has no place in mp4",
    ]
    assert [track.kind for track in tracks(tmp_path / "out.mp4")] == ["video", "audio", "subtitle"]


@pytest.mark.parametrize("target", EXACT)
def test_samples_counted_anew_are_in_time(tmp_path: Path, upscale: Upscale, target: str) -> None:
    """Matroska rounds to milliseconds; MP4 tells PCM's times by counting samples, which undoes the rounding."""
    clip = Clip(pts=range(70, 84), sounds=[Sound(codec="pcm_s16le", rate=48000, start=Fraction(3))])
    assert upscale(clip.write(tmp_path / "in.mkv"), tmp_path / f"out{target}").exit_code == 0


@pytest.mark.parametrize("target", [".mp4", ".mov", ".mkv"])
def test_a_part_in_which_a_track_is_silent(tmp_path: Path, upscale: Upscale, target: str) -> None:
    sounds = [Sound(language="deu", seconds=Fraction(2)), Sound(language="fra", seconds=Fraction(1, 10))]
    after = tmp_path / f"out{target}"
    upscale(Clip(pts=range(50), sounds=sounds).write(tmp_path / "in.mkv"), after, start=1.0)
    languages = [track.language for track in tracks(after) if track.times]
    assert languages == ["", "ger" if target == ".mov" else "deu"]


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_grey_has_no_matrix_to_lose(tmp_path: Path, upscale: Upscale, codec: str) -> None:
    colour = Colour(range=1, primaries=9, transfer=16, matrix=9)
    before = Clip(codec="ffv1", pix_fmt="gray", size=(64, 64), colour=colour).write(tmp_path / "in.mkv")
    assert upscale(before, tmp_path / "out.mp4", codec=codec).exit_code == 0


# --- sizes and ranges -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "size", "aspect"),
    [
        ({"size": (100, 70)}, (100, 70), Fraction(96 * 70, 64 * 100)),
        ({"size": (96, 64)}, (96, 64), Fraction(1)),
        ({"size": (140, 90)}, (140, 90), Fraction(3 * 90, 2 * 140)),
        ({"height": 50}, (76, 50), Fraction(75, 76)),
        ({"height": 33}, (50, 34), Fraction(1)),
    ],
)
def test_exact_sizes(
    tmp_path: Path, repeat: dict[int, Path], options: dict[str, Any], size: tuple[int, int], aspect: Fraction
) -> None:
    before, after = Clip().write(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    scale = 3 if max(size) > 96 else 2
    vsr.upscale(before, after, model=repeat[scale], precision="float32", **options)
    with av.open(str(after)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.width, stream.codec_context.height) == size
        assert abs(stream.sample_aspect_ratio / aspect - 1) < 0.02
    wanted = frames(before)[5].planes[0].astype(float).mean()
    assert abs(frames(after)[5].planes[0].mean() - wanted) < 2


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"size": (48, 32)}, "48x32 is not larger than the input's 48x32"),
        ({"height": 20}, "not larger"),
        ({"size": (194, 128)}, "more than 4 times the input; 192x128 at most"),
        ({"size": (0, 10)}, "at least 1"),
        ({"size": (96, 64), "height": 64}, "not both"),
        ({"start": -1.0}, "must not be negative"),
        ({"duration": 0.0}, "above 0"),
        ({"start": 9.0}, r"9 s is past the end of .*in.mp4 \(0.44 s\)"),
        ({"codec": "nothing"}, "no encoder named nothing"),
        ({"codec": "libvpx-vp9", "pix_fmt": "yuv420p16le"}, "can't store yuv420p16le"),
    ],
)
def test_what_cannot_be_meant(tmp_path: Path, options: dict[str, Any], reason: str) -> None:
    before = Clip().write(tmp_path / "in.mp4")
    with pytest.raises(UsageError, match=reason):
        vsr.upscale(before, tmp_path / "out.mp4", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize("target", [".mp4", ".mkv"])
@pytest.mark.parametrize(("start", "duration"), [(0.5, 0.7), (0.0, 0.33), (1.01, None), (0.51, 10.0)])
def test_a_part_cuts_picture_and_sound_alike(
    tmp_path: Path, upscale: Upscale, target: str, start: float, duration: float | None
) -> None:
    sound = Sound(codec="pcm_s16le" if target == ".mkv" else "flac", rate=48000, seconds=Fraction(2))
    clip = Clip(pts=range(50), bframes=2, gop=10, sounds=[sound])
    before, after = clip.write(tmp_path / "in.mkv"), tmp_path / f"out{target}"
    upscale(before, after, start=start, duration=duration)
    end = start + (duration or 10)
    chosen = [time for time in clip.times if start <= time < end]
    assert_times(sorted(video(after).times), chosen, Fraction(0))
    before_sound, after_sound = (next(t for t in tracks(path) if t.kind == "audio") for path in (before, after))
    heard = [i for i, time in enumerate(before_sound.times) if start <= time < end]
    assert payloads(after_sound) == [payloads(before_sound)[i] for i in heard]
    was = before_sound.times[heard[0]] - chosen[0]
    assert abs(after_sound.times[0] - min(video(after).times) - was) <= MS
    assert min(*after_sound.times, *video(after).times) >= 0
    last = min(end, 2.0) - (float(chosen[0]) if target == ".mkv" else start)
    if target == ".mp4":
        assert abs(float(end_of_picture(after)) - last) < 0.045


def test_chapters_outside_a_part_go(tmp_path: Path, upscale: Upscale) -> None:
    clip = Clip(pts=range(50), chapters=[(0, 0.5), (0.5, 1.2), (1.2, 1.6), (1.6, 2)])
    after = tmp_path / "out.mkv"
    upscale(clip.write(tmp_path / "in.mkv"), after, start=0.8, duration=0.6)
    with av.open(str(after)) as container:
        found = [
            (c["metadata"]["title"], float(c["start"] * c["time_base"]), float(c["end"] * c["time_base"]))
            for c in container.chapters()
        ]
    assert found == [("part 1", 0, 0.4), ("part 2", 0.4, 0.6)]


def test_a_part_of_a_slide_show_keeps_its_sound_in_place(tmp_path: Path, upscale: Upscale) -> None:
    clip = Clip(pts=[0, 1000, 2000], time_base=MS, last=1000, sounds=[Sound(codec="flac", seconds=Fraction(3))])
    before, after = clip.write(tmp_path / "in.mkv"), tmp_path / "out.mp4"
    upscale(before, after, start=0.5)
    assert min(next(t for t in tracks(after) if t.kind == "audio").times) >= 0
    assert float(min(video(after).times)) == pytest.approx(0.5, abs=0.03)


# --- chunks, threads, buffers ---------------------------------------------------------------------------------------


def digest(job: Job, settings: RunSettings, depth: int) -> str:
    report = Report()
    with upscaling(job, settings.engine, report, depth) as results:
        md5(results, report)
    assert report.frames_written == job.source.frames
    return report.digest


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le"])
def test_threads_change_no_pixel(tmp_path: Path, repeat: dict[int, Path], pix_fmt: str) -> None:
    path = Clip(pix_fmt=pix_fmt, pts=uneven(30), time_base=MS, bframes=3).write(tmp_path / "in.mp4")
    settings = RunSettings.of(input=str(path), output="", sink="md5", model=repeat[2], precision="float32")
    job = probe(settings)
    plain = hashlib.md5(usedforsecurity=False)
    for shown in frames(path):  # the oracle: one decoder thread, samples repeated
        luma = shown.planes[0].repeat(2, 0).repeat(2, 1)
        plain.update(luma.tobytes())
    assert len({digest(job, settings, depth) for depth in (0, 1, 4)}) == 1
    threaded, report = hashlib.md5(usedforsecurity=False), Report()
    with upscaling(job, settings.engine, report) as results:
        for frame in results:
            threaded.update(frame.planes[0].tobytes())
            frame.release()
    assert threaded.hexdigest() == plain.hexdigest()


@pytest.mark.parametrize("depth", [0, 4])
@pytest.mark.parametrize("wrong", ["kept", "twice"])
def test_a_frame_kept_or_released_twice_is_found(
    tmp_path: Path, repeat: dict[int, Path], depth: int, wrong: str
) -> None:
    path = Clip().write(tmp_path / "in.mp4")
    settings = RunSettings.of(input=str(path), output="", sink="null", model=repeat[2])
    job = probe(settings)

    def consume() -> None:
        with upscaling(job, settings.engine, Report(), depth) as results:
            for index, frame in enumerate(results):
                if index != 3 or wrong == "twice":
                    frame.release()
                if index == 3 and wrong == "twice":
                    frame.release()

    with pytest.raises(RuntimeError, match=r"never released|released twice"):
        consume()


@pytest.mark.parametrize("depth", [0, 1, 4])
@pytest.mark.parametrize("taken", [0, 1, 5])
def test_leaving_early_leaks_nothing(tmp_path: Path, repeat: dict[int, Path], depth: int, taken: int) -> None:
    import threading

    path = Clip(pts=range(20)).write(tmp_path / "in.mp4")
    settings = RunSettings.of(input=str(path), output="", sink="null", model=repeat[2])
    job, before = probe(settings), threading.active_count()
    with upscaling(job, settings.engine, Report(), depth) as results:  # closes pools and engines, which count
        for _ in range(taken):
            next(results).release()
    assert threading.active_count() == before


CODECS = {
    "libx264": ("yuv420p", ".mp4"),
    "libx265": ("yuv420p10le", ".mp4"),
    "libvpx-vp9": ("yuv420p", ".webm"),
    "libsvtav1": ("yuv420p10le", ".webm"),
    "ffv1": ("yuv422p", ".mkv"),
}


def in_pieces(job: Job, ticks: int) -> Job:
    """The job with a chunk at least every `ticks`, wherever there is a frame."""
    times = [Key(round(t / job.source.time_base), 0) for t in sorted(video(job.source.path).times)]
    chunks = cut(times, job.source.start, job.source.end, ticks, job.source.start)
    assert len(chunks) > 3
    return replace(job, chunks=chunks)


def run_pieces(path: Path, after: Path, repeat: dict[int, Path], ticks: int, **options: Any) -> Job:
    settings = RunSettings.of(
        input=str(path), output=str(after), model=repeat[2], precision="float32", overwrite=True, **options
    )
    job = in_pieces(probe(settings), ticks)
    report = run(job, settings)
    assert report.exit_code == 0
    return job


@pytest.mark.parametrize("codec", CODECS)
def test_pieces_make_one_track(tmp_path: Path, repeat: dict[int, Path], codec: str) -> None:
    pix_fmt, suffix = CODECS[codec]
    clip = Clip(codec="ffv1", pix_fmt=pix_fmt, size=(64, 64), pts=uneven(40), time_base=MS, last=100)
    path, after = clip.write(tmp_path / "in.mkv"), tmp_path / f"out{suffix}"
    job = run_pieces(path, after, repeat, 1500, codec=codec)
    track = video(after)
    assert_times(sorted(track.times), clip.times, TICK[suffix])
    assert all(a < b for a, b in pairwise(track.decode_times))
    assert all(decode <= shown for decode, shown in zip(track.decode_times, track.times, strict=True))
    seams = [(chunk.start * job.source.time_base - job.source.origin) for chunk in job.chunks]
    position = 0
    for number, seam in enumerate(seams):  # a piece begins with a key frame, and nothing after it is shown before it
        position = min(range(len(track.times)), key=lambda i: abs(track.times[i] - min(track.times) - seam + seams[0]))
        assert track.keys[position], f"piece {number} has no key frame"
        assert min(track.times[position:]) == track.times[position], f"piece {number} is open"
        assert max([track.times[position] - MS, *track.times[:position]]) < track.times[position]
    assert position > 0
    shown = frames(after)
    assert [frame.time for frame in shown] == sorted(track.times)
    for one, other in zip(frames(path), shown, strict=True):
        wanted = one.planes[0].repeat(2, 0).repeat(2, 1).astype(float)
        assert abs(other.planes[0] - wanted).mean() < 0.06 * PlanarFormat.of(pix_fmt).white  # type: ignore[union-attr]


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_slide_show_is_not_cut_before_the_encoder_shows_its_depth(
    tmp_path: Path, repeat: dict[int, Path], codec: str
) -> None:
    times = [*range(0, 1600, 80), *range(1600, 1612)]  # 20 key frames, each farther from the next than a chunk is long
    clip = Clip(codec="ffv1", gop=1, size=(64, 64), pts=times, time_base=Fraction(1, 2))
    path, after = clip.write(tmp_path / "in.mkv"), tmp_path / "out.mp4"
    settings = RunSettings.of(input=str(path), output=str(after), model=repeat[2], codec=codec)
    job = probe(settings)
    assert [chunk.start * job.source.time_base for chunk in job.chunks] == [0, 640, 680, 720, 760, 800]
    run(job, settings)
    track = video(after)
    assert sorted(track.times) == clip.times
    assert all(a < b for a, b in pairwise(track.decode_times))
    assert all(decode <= shown for decode, shown in zip(track.decode_times, track.times, strict=True))


def test_a_long_video_is_cut_at_its_key_frames(tmp_path: Path, upscale: Upscale) -> None:
    clip = Clip(size=(16, 16), pts=range(0, 70 * 25, 25), gop=8, bframes=2)
    before, after = clip.write(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    job = probe(RunSettings.of(input=str(before), output=str(after), network="m4c8"))
    base = job.source.time_base
    assert [chunk.start * base for chunk in job.chunks] == [0, 32, 64]
    upscale(before, after)
    track = video(after)
    assert sorted(track.times) == clip.times
    assert {time for time, key in zip(track.times, track.keys, strict=True) if key} >= {0, 32, 64}


# --- damage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("target", [".mp4", ".mkv"])
def test_damage_is_counted_and_the_rest_is_written(tmp_path: Path, upscale: Upscale, seed: int, target: str) -> None:
    whole = Clip(pts=range(40), gop=8, bframes=2, sounds=[Sound(seconds=Fraction(2))]).write(tmp_path / "whole.mp4")
    before, after = damaged(whole, tmp_path / "in.mp4", flips=25, seed=seed, keep=1500), tmp_path / f"out{target}"
    report = upscale(before, after)
    assert report.exit_code == 5
    assert report.damaged_packets > 0
    assert 20 <= len(frames(after)) == report.frames_written
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("target", [".mp4", ".mkv", ".ts"])
def test_sound_that_lost_its_header_is_left_out_and_counted(tmp_path: Path, upscale: Upscale, target: str) -> None:
    whole = Clip(pts=range(25, 50), sounds=[Sound(start=Fraction(1))]).write(tmp_path / "whole.ts")
    data = bytearray(whole.read_bytes())
    for number, payload in enumerate(next(t for t in tracks(whole) if t.kind == "audio").payloads[5:30:8]):
        place = data.find(payload[:24])  # more than the header, less than a transport packet
        data[place : place + 2] = b"\x12\x34"
        assert place > 0, number
    before, after = tmp_path / "in.ts", tmp_path / f"out{target}"
    before.write_bytes(data)
    report = upscale(before, after)
    assert len(frames(after)) == 25
    if target == ".ts":  # takes anything
        assert report.exit_code == 0
        return
    assert report.exit_code == 5
    assert report.damaged_packets == sum(line.startswith("audio packet at ") for line in report.damage) > 0


def test_sound_whose_packets_have_no_duration(tmp_path: Path, upscale: Upscale) -> None:
    data = bytearray(Clip(sounds=[Sound()]).write(tmp_path / "whole.mkv").read_bytes())
    place = data.find(b"\x63\xa2", data.find(b"A_AAC"))  # CodecPrivate: without it nobody knows how long a packet lasts
    data[place + 3] = 0
    before, after = tmp_path / "in.mkv", tmp_path / "out.mp4"
    before.write_bytes(data)
    assert not any(next(t for t in tracks(before) if t.kind == "audio").durations)
    upscale(before, after)
    heard = [next(t for t in tracks(path) if t.kind == "audio") for path in (before, after)]
    assert payloads(heard[0]) == payloads(heard[1])


def test_frames_lost_without_a_word_are_noted(tmp_path: Path) -> None:
    before = Clip(pts=range(9)).write(tmp_path / "in.mp4")
    settings = RunSettings.of(input=str(before), output="", sink="null", network="m4c8")
    job = probe(settings)
    more = replace(job, source=replace(job.source, frames=12))
    assert "9 frames could be decoded of 12 packets" in run(more, settings).notes
    fewer = replace(job, source=replace(job.source, frames=8))  # fields, or two frames that are given the same time
    for right in (job, fewer):
        assert not [note for note in run(right, settings).notes if "could be decoded" in note]


@pytest.mark.parametrize("suffix", [".ts", ".mkv"])
def test_a_truncated_file_is_written_as_far_as_it_goes(tmp_path: Path, upscale: Upscale, suffix: str) -> None:
    data = Clip(pts=range(40), gop=8, sounds=[Sound()]).write(tmp_path / f"whole{suffix}").read_bytes()
    before, after = tmp_path / f"in{suffix}", tmp_path / "out.mp4"
    before.write_bytes(data[: len(data) * 2 // 3])
    report = upscale(before, after)
    assert 10 < report.frames_written < 40
    assert len(frames(after)) == report.frames_written


def test_frames_for_programs(tmp_path: Path, repeat: dict[int, Path]) -> None:
    clip = Clip(pts=uneven(9), time_base=MS)
    path = clip.write(tmp_path / "in.mkv")
    got = [
        (frame.pts * frame.time_base, frame.planes[0].copy())
        for frame in vsr.upscaled_frames(path, model=repeat[2], precision="float32")
    ]
    assert [time for time, _ in got] == clip.times
    assert all(
        np.array_equal(a[1], b.planes[0].repeat(2, 0).repeat(2, 1)) for a, b in zip(got, frames(path), strict=True)
    )


def test_frames_for_programs_can_be_left(tmp_path: Path, repeat: dict[int, Path]) -> None:
    path = Clip(pts=range(20)).write(tmp_path / "in.mp4")
    source: Iterator[Frame] = vsr.upscaled_frames(path, model=repeat[2])
    assert next(source).index == 0
    source.close()  # type: ignore[attr-defined]


def test_the_output_appears_only_verified(tmp_path: Path, upscale: Upscale) -> None:
    before, after = Clip(pts=range(30)).write(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    after.write_bytes(b"the old one")
    seen: set[bytes] = set()
    settings = RunSettings.of(input=str(before), output=str(after), overwrite=True, network="m4c8")
    run(probe(settings), settings, lambda report: seen.add(after.read_bytes()))
    assert seen == {b"the old one"}
    assert len(frames(after)) == 30
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("from outside")])
def test_whatever_happens_no_part_stays(tmp_path: Path, error: BaseException) -> None:
    before, after = Clip(pts=range(30)).write(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    settings = RunSettings.of(input=str(before), output=str(after), network="m4c8")

    def fail(report: Report) -> None:
        if report.frames_upscaled > 2:
            raise error

    with pytest.raises(type(error)):
        run(probe(settings), settings, fail)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_an_input_that_changed_meanwhile_is_noticed(tmp_path: Path) -> None:
    before, after = Clip().write(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    settings = RunSettings.of(input=str(before), output=str(after), network="m4c8")
    job = probe(settings)
    before.unlink()
    with pytest.raises(InputError, match="no such file"):
        run(job, settings)
    assert list(tmp_path.iterdir()) == []


def test_planes_of_the_sequence_are_the_encoders(tmp_path: Path, upscale: Upscale) -> None:
    """The sequential oracle: decode, repeat samples, encode, all in one thread by PyAV alone."""
    before, after = Clip(pix_fmt="gray", codec="ffv1").write(tmp_path / "in.mkv"), tmp_path / "out.mkv"
    upscale(before, after, codec="ffv1")
    encoder: Any = av.CodecContext.create("ffv1", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 96, 64, "gray", MS
    encoder.options, encoder.thread_count = {"level": "3", "slicecrc": "1"}, 3
    expected = []
    for number, shown in enumerate(frames(before)):
        frame = av.VideoFrame(96, 64, "gray")
        copy_out((shown.planes[0].repeat(2, 0).repeat(2, 1),), frame)
        frame.pts = number
        expected += [bytes(packet) for packet in encoder.encode(frame)]
    expected += [bytes(packet) for packet in encoder.encode(None)]
    assert crc(video(after).payloads) == crc(expected)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "ffv1"])
def test_primaries_that_an_encoder_cannot_tell_are_said(tmp_path: Path, upscale: Upscale, codec: str) -> None:
    clip = Clip(codec="mpeg2video", pts=range(3), colour=Colour(primaries=22, transfer=6, matrix=6))
    report = upscale(clip.write(tmp_path / "in.mpg"), tmp_path / "out.mkv", codec=codec)
    said = [note for note in report.notes if note.startswith("dropped: the primaries (22), lib")]
    assert len(said) == (codec != "ffv1")
    assert frames(tmp_path / "out.mkv")[0].colour.primaries == (22 if codec == "ffv1" else 2)
