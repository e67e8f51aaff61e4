"""Sound encoded anew is heard when it was: starts, gaps, cuts, damage."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from clips import Clip, Sound
from vsr.errors import OutputError, VerificationError
from vsr.pipeline import run
from vsr.probe import probe
from vsr.report import Report
from vsr.settings import RunSettings
from vsr.sound import choose, spans
from vsr.verify import verify
from vsr.verify.sound import check_sound

Upscale = Callable[..., Report]
RATE = 48000
LONG = range(75)  # three seconds


def heard(path: Path, index: int = 1, *, seconds: int = 6) -> Any:
    """What a player puts out, from the file's zero on: one channel at 48 kHz, silence where nothing is."""
    out = np.zeros(seconds * RATE, np.float32)
    with av.open(str(path)) as source:
        resampler = av.AudioResampler("fltp", "mono", RATE)
        for frame in [*source.decode(source.streams[index]), None]:
            for part in resampler.resample(frame):
                at = round(part.pts * part.time_base * RATE)
                samples = part.to_ndarray()[0, max(0, -at) :]
                samples = samples[: max(0, len(out) - max(0, at))]
                out[max(0, at) : max(0, at) + len(samples)] = samples
    return out


def lag(a: Any, b: Any, most: int = RATE // 10) -> float:
    """Milliseconds by which `b` is behind `a`."""
    spectrum = np.fft.rfft(a, 2 * len(a)).conj() * np.fft.rfft(b, 2 * len(b))
    near = np.fft.irfft(spectrum)
    return 1000 * (int(np.argmax(np.concatenate([near[-most:], near[:most]]))) - most) / RATE


@pytest.mark.parametrize("start", [Fraction(0), Fraction(1, 4)])
@pytest.mark.parametrize(
    ("name", "codec", "rate", "to"),
    [
        ("out.webm", "aac", 44100, "opus"),
        ("out.mkv", "libmp3lame", 22050, "opus"),
        ("out.mp4", "ac3", 48000, "aac"),
        ("out.mov", "libopus", 48000, "aac"),
        ("out.ts", "flac", 44100, "aac"),
    ],
)
def test_what_is_heard_keeps_its_time(
    tmp_path: Path, upscale: Upscale, name: str, codec: str, rate: int, to: str, start: Fraction
) -> None:
    sound = Sound(codec=codec, rate=rate, start=start, seconds=Fraction(5, 2), language="eng")
    source = Clip(pts=LONG, sounds=[sound]).write(tmp_path / "in.mkv")
    report = upscale(source, tmp_path / name, audio="transcode")
    note = report.notes[0]
    assert note.startswith(f"converted: audio track 1, {'mp3float' if 'mp3' in codec else codec.replace('lib', '')}")
    assert f": to {to}, mono" in note
    with av.open(str(tmp_path / name)) as written:
        assert written.streams[1].codec_context.codec.canonical_name == to
        assert written.streams[1].language == "eng"
        video = (written.streams[0].start_time or 0) * written.streams[0].time_base  # TS starts later, as a whole
    before, after = heard(source), np.roll(heard(tmp_path / name), -round(video * RATE))
    assert abs(lag(before, after)) <= 2
    quiet = np.abs(after[: max(0, round(start * RATE) - 1200)]).max(initial=0)
    assert quiet < 0.01
    loud = slice(round((start + Fraction(1, 10)) * RATE), round((start + Fraction(12, 5)) * RATE))
    assert np.std(after[loud]) == pytest.approx(np.std(before[loud]), rel=0.02)


@pytest.mark.parametrize(("layout", "channels"), [("stereo", 2), ("5.1", 6), ("7.1", 8), ("16 channels", 8)])
@pytest.mark.parametrize("name", ["out.webm", "out.mp4"])
def test_channels_stay_apart(tmp_path: Path, upscale: Upscale, layout: str, channels: int, name: str) -> None:
    sound = Sound(codec="pcm_f32le", rate=RATE, layout=layout)
    source = Clip(pts=range(25), sounds=[sound]).write(tmp_path / "in.mkv")
    upscale(source, tmp_path / name, audio="transcode")
    with av.open(str(tmp_path / name)) as written:
        resampler = av.AudioResampler("flt", written.streams[1].codec_context.layout, RATE)
        parts = [part.to_ndarray() for f in written.decode(written.streams[1]) for part in resampler.resample(f)]
    loudness = np.std(np.concatenate(parts, axis=1).reshape(-1, channels), axis=0)
    assert (loudness > 0.02).all()
    if layout != "16 channels":  # which are mixed
        assert (np.diff(loudness) < 0).all()


def holed(path: Path, holes: list[tuple[float, float]]) -> Path:
    """A clip whose 16-bit sound has no packets there."""
    whole = Clip(pts=LONG, sounds=[Sound(codec="pcm_s16le", rate=RATE, seconds=Fraction(6))]).write(
        path.with_stem("whole")
    )
    with av.open(str(whole)) as one, av.open(str(path), "w") as two:
        streams = [two.add_stream_from_template(stream, opaque=True) for stream in one.streams]
        for packet in one.demux():
            time = float((packet.pts or 0) * packet.time_base)
            if packet.size and (packet.stream.index == 0 or not any(a <= time < b for a, b in holes)):
                packet.stream = streams[packet.stream.index]
                two.mux_one(packet)
    return path


def test_short_gaps_become_silence_long_ones_stay(tmp_path: Path, upscale: Upscale) -> None:
    source = holed(tmp_path / "in.mkv", [(0.5, 1.0), (2.0, 5.0)])
    target = tmp_path / "out.webm"
    upscale(source, target)
    before, after = heard(source), heard(target)
    assert abs(lag(before, after)) <= 2
    for begin, end in [(0.55, 0.95), (2.05, 4.95)]:
        assert np.abs(after[round(begin * RATE) : round(end * RATE)]).max() < 0.01
    assert np.std(after[round(5.1 * RATE) : round(5.9 * RATE)]) > 0.2
    with av.open(str(target)) as written:
        packets = [packet.pts * packet.time_base for packet in written.demux(written.streams[1]) if packet.size]
    assert not [time for time in packets if 2.2 < time < 4.8]


def decoded(path: Path) -> Any:
    with av.open(str(path)) as source:
        return np.concatenate([frame.to_ndarray().ravel() for frame in source.decode(source.streams[1])])


@pytest.mark.parametrize("name", ["out.mp4", "out.mov"])
def test_pcm_stays_exact_where_samples_are_counted(tmp_path: Path, upscale: Upscale, name: str) -> None:
    source, target = holed(tmp_path / "in.mkv", [(0.5, 1.0)]), tmp_path / name
    report = upscale(source, target)
    assert "sample for sample: to pcm_s16le, mono" in report.notes[0]
    before, after, hole = decoded(source), decoded(target), 24 * 1024
    assert (before[:hole] == after[:hole]).all()
    assert (before[hole:] == after[hole - len(before) :]).all()
    assert (after[hole : hole - len(before)] == 0).all()
    assert len(after) / RATE == pytest.approx(6, abs=0.001)
    upscale(target, tmp_path / f"again-{name}")
    assert (decoded(tmp_path / f"again-{name}") == after).all()


@pytest.mark.parametrize("name", ["out.mp4", "out.mov"])
def test_long_pauses_of_pcm_become_silence_too(tmp_path: Path, upscale: Upscale, name: str) -> None:
    source, target = holed(tmp_path / "in.mkv", [(2.0, 5.0)]), tmp_path / name
    upscale(source, target)
    after = decoded(target)
    assert len(after) / RATE == pytest.approx(6, abs=0.001)
    assert (after[round(2.1 * RATE) : round(4.9 * RATE)] == 0).all()


def test_a_pause_of_hours_in_pcm_is_refused(tmp_path: Path, upscale: Upscale) -> None:
    source = Clip(pts=LONG, sounds=[Sound(codec="pcm_s16le", rate=8000)]).write(tmp_path / "whole.mkv")
    with av.open(str(source)) as one, av.open(str(tmp_path / "in.mkv"), "w") as two:
        streams = [two.add_stream_from_template(stream, opaque=True) for stream in one.streams]
        for packet in one.demux():
            if packet.size:
                if packet.stream.index and packet.pts * packet.time_base > 0.5:
                    packet.pts = packet.dts = packet.pts + 3 * 3600 * 1000
                packet.stream = streams[packet.stream.index]
                two.mux_one(packet)
    with pytest.raises(OutputError, match="PCM knows no gaps there; --audio transcode does"):
        upscale(tmp_path / "in.mkv", tmp_path / "out.mp4")


@pytest.mark.parametrize(
    ("container", "codec", "layout", "name", "note"),
    [
        ("in.mkv", "libopus", "6.1", "out.ts", "opus can't be stored in mpegts: to aac, 7.1"),
        ("in.nut", "eac3", "stereo", "out.mp4", "is E-AC-3 under the name of AC-3: to aac, stereo"),
        ("in.ts", "aac", "quad", "out.mkv", ""),
    ],
)
def test_sound_whose_header_or_name_says_too_little(
    tmp_path: Path, upscale: Upscale, container: str, codec: str, layout: str, name: str, note: str
) -> None:
    source = Clip(sounds=[Sound(codec=codec, rate=RATE, layout=layout)]).write(tmp_path / container)
    report = upscale(source, tmp_path / name)
    assert not note and not report.notes or note in report.notes[0]


def test_a_part_is_cut_to_the_sample(tmp_path: Path, upscale: Upscale) -> None:
    source = Clip(pts=LONG, sounds=[Sound(seconds=Fraction(3))]).write(tmp_path / "in.mkv")
    upscale(source, tmp_path / "out.webm", start=1.0, duration=1.0)
    after = heard(tmp_path / "out.webm")
    assert abs(lag(heard(source)[RATE : 2 * RATE], after[:RATE])) <= 2
    assert np.abs(after[RATE + 960 :]).max() < 0.01


def test_damaged_sound_is_skipped_and_counted(tmp_path: Path, upscale: Upscale) -> None:
    whole = Clip(pts=LONG, sounds=[Sound(codec="ac3", rate=RATE, seconds=Fraction(3))]).write(tmp_path / "whole.mkv")
    with av.open(str(whole)) as one, av.open(str(tmp_path / "in.mkv"), "w") as two:
        streams = [two.add_stream_from_template(stream, opaque=True) for stream in one.streams]
        for number, packet in enumerate(packet for packet in one.demux() if packet.size):
            if packet.stream.index == 1 and number % 20 == 10:
                damaged = av.Packet(b"\x00" * 40)
                damaged.pts, damaged.dts, damaged.time_base = packet.pts, packet.dts, packet.time_base
                damaged.duration, damaged.stream, packet = packet.duration, packet.stream, damaged
            packet.stream = streams[packet.stream.index]
            two.mux_one(packet)
    report = upscale(tmp_path / "in.mkv", tmp_path / "out.webm")
    assert report.exit_code == 5
    assert all("track 1, packet at pts" in line for line in report.damage)
    assert abs(lag(heard(whole), heard(tmp_path / "out.webm"))) <= 2


def test_none_drops_it_and_says_so(tmp_path: Path, upscale: Upscale) -> None:
    source = Clip(sounds=[Sound(language="eng")]).write(tmp_path / "in.mp4")
    report = upscale(source, tmp_path / "out.mp4", audio="none")
    assert report.notes[0] == "dropped: audio track 1, aac (eng) was not wanted (--audio none)"
    with av.open(str(tmp_path / "out.mp4")) as written:
        assert [stream.type for stream in written.streams] == ["video"]


def test_a_lost_packet_of_converted_sound_is_noticed(tmp_path: Path, repeat: dict[int, Path]) -> None:
    source = Clip(pts=LONG, sounds=[Sound(seconds=Fraction(3))]).write(tmp_path / "in.mp4")
    settings = RunSettings.of(input=str(source), output=str(tmp_path / "out.webm"), model=repeat[2])
    job = probe(settings)
    run(job, settings)
    with av.open(job.output) as one, av.open(str(tmp_path / "less.webm"), "w") as two:
        streams = [two.add_stream_from_template(stream, opaque=True) for stream in one.streams]
        streams[0].codec_context.sample_aspect_ratio = one.streams[0].sample_aspect_ratio
        sounds = 0
        for packet in one.demux():
            sounds += packet.stream.index == 1
            if packet.size and not (packet.stream.index == 1 and sounds == 40):
                packet.stream = streams[packet.stream.index]
                two.mux_one(packet)
    verify(job.output, job)
    with pytest.raises(VerificationError, match="audio track 1, aac: heard in 2 parts instead of 1"):
        verify(str(tmp_path / "less.webm"), job)


def test_starts_and_ends_are_compared() -> None:
    with av.open("any", "w", format="null") as target:
        codec = choose(target.add_stream("pcm_s16le", RATE, layout="stereo"), "libopus")
    one, tick = [(Fraction(0), Fraction(2))], Fraction(1, 1000)
    assert check_sound(codec, one, [(Fraction(1, 100), Fraction(2))], tick, Fraction(0)) == ""
    assert check_sound(codec, one, [(Fraction(1, 2), Fraction(5, 2))], tick, Fraction(1, 2)) == ""
    assert check_sound(codec, one, [(Fraction(1, 20), Fraction(2))], tick, Fraction(0)) == "starts 50.0 ms off"
    assert check_sound(codec, one, [(Fraction(0), Fraction(19, 10))], tick, Fraction(0)) == "ends 100.0 ms off"


@pytest.mark.parametrize(
    ("layout", "rate", "encoder", "expected"),
    [
        ("stereo", 44100, "aac", ("stereo", 44100, 192000)),
        ("stereo", 44100, "libopus", ("stereo", 48000, 128000)),
        ("5.1(side)", 48000, "libopus", ("5.1", 48000, 384000)),
        ("2.1", 48000, "aac", ("5.1", 48000, 576000)),
        ("mono", 8000, "aac", ("mono", 8000, 32000)),
        ("7.1", 192000, "aac", ("7.1", 96000, 768000)),
        ("4 channels", 48000, "libopus", ("quad", 48000, 256000)),
    ],
)
def test_the_encoder_keeps_channels_and_rate(
    layout: str, rate: int, encoder: str, expected: tuple[str, int, int]
) -> None:
    with av.open("any", "w", format="null") as target:
        codec = choose(target.add_stream("pcm_s16le", rate, layout=layout), encoder)
    assert (codec.layout, codec.rate, codec.bit_rate) == expected
    assert codec.open(global_header=True).frame_size == codec.frame * codec.rate


def test_spans_join_what_lies_close() -> None:
    frames = [(Fraction(n, 10), Fraction(n + 1, 10)) for n in (0, 1, 2, 4, 9)]
    assert spans(frames, Fraction(0)) == [(0, Fraction(3, 10)), (Fraction(4, 10), Fraction(1, 2)), (Fraction(9, 10), 1)]
    assert spans(frames, Fraction(1, 10)) == [(0, Fraction(1, 2)), (Fraction(9, 10), 1)]
