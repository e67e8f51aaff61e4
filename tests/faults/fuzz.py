"""Damages media files at random, upscales them, and checks that nothing worse than a clear message comes of it.

    python tests/faults/fuzz.py [--seconds 300] [--seed 0]     from that seed on, until the time is over
    python tests/faults/fuzz.py --only SEED --keep FOLDER      one case again, its files kept

A case is a seed: it chooses a file, the damage and the output. Each runs in a worker process that is killed when it
hangs. What must hold: exit code 0, 3 or 5; no traceback; an end within 20 seconds; bounded memory; an output only with
0 or 5, decodable to its last frame; nothing else left behind. Sources are clips made here, and every file of
$VSR_DATA/video/media that is small.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import av
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from clips import Clip, Sound, video
from strong import luma_model
from tampering import replaced

HANG = 20.0  # seconds
MOST_MIB = 1500
LARGEST = 2_000_000  # bytes of a real file that is taken
OUTPUTS = ("mp4", "mkv", "mov", "ts")

CLIPS: dict[str, Clip] = {
    "b.mp4": Clip(pts=range(30), bframes=2, gop=8, sounds=[Sound()], chapters=[(0, 0.5)]),
    "faststart.mp4": Clip(pts=range(30), gop=8, sounds=[Sound()], muxing={"movflags": "faststart"}),
    "fragmented.mp4": Clip(pts=range(30), gop=8, sounds=[Sound()], muxing={"movflags": "frag_keyframe+empty_moov"}),
    "hevc.mp4": Clip(codec="libx265", pts=range(20), gop=8, size=(64, 48)),
    "rich.mkv": Clip(pts=range(30), gop=8, sounds=[Sound(codec="flac"), Sound(language="deu")], subtitles=["eng"],
                     attachments=["a.ttf"], chapters=[(0, 0.5), (0.5, 1)]),
    "vp9.webm": Clip(codec="libvpx-vp9", pts=range(20), gop=8, sounds=[Sound(codec="libopus", rate=48000)]),
    "av1.mkv": Clip(codec="libsvtav1", pts=range(12), gop=6, size=(64, 64)),
    "ten.mkv": Clip(codec="ffv1", pix_fmt="yuv422p10le", pts=range(12)),
    "mpeg2.ts": Clip(codec="mpeg2video", pts=range(30), bframes=2, gop=8, sounds=[Sound(codec="mp2")]),
    "h264.ts": Clip(pts=range(30), bframes=2, gop=8, sounds=[Sound()]),
    "mpeg4.avi": Clip(codec="mpeg4", pts=range(30), gop=8, sounds=[Sound(codec="pcm_s16le")]),
    "prores.mov": Clip(codec="prores_ks", pix_fmt="yuv422p10le", pts=range(8), sounds=[Sound(codec="pcm_s16le")]),
    "flv.flv": Clip(codec="flv", pts=range(20), gop=8, time_base=Fraction(1, 25)),
    "mjpeg.mov": Clip(codec="mjpeg", pix_fmt="yuvj420p", pts=range(12)),
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What came of one case; `wrong` is empty where all is as it must be."""

    seed: int
    what: str
    code: int | None
    wrong: str


def sources(folder: Path) -> list[Path]:
    """The synthetic clips, made here, and real files where there are any."""
    made = [clip.write(folder / name) for name, clip in CLIPS.items()]
    media = Path(os.environ.get("VSR_DATA", "nowhere")) / "video/media"
    real = sorted(media.iterdir()) if media.is_dir() else []
    return made + [path for path in real if path.stat().st_size <= LARGEST]


def flipped(data: bytearray, noise: np.random.Generator) -> bytearray:
    """Single bytes changed, from a few to one in a thousand; the first eight stay so that the format is recognised."""
    for place in noise.integers(8, len(data), max(1, int(len(data) * 10 ** noise.uniform(-5, -3)))):
        data[int(place)] ^= int(noise.integers(1, 256))
    return data


def head(data: bytearray, noise: np.random.Generator) -> bytearray:
    """A few bytes changed where the header is, or the index at the end."""
    near = min(len(data) - 8, 2048)
    for distance in noise.integers(8, 8 + near, int(noise.integers(1, 6))):
        data[int(distance) if noise.random() < 0.5 else -int(distance)] ^= int(noise.integers(1, 256))
    return data


def cut(data: bytearray, noise: np.random.Generator) -> bytearray:
    return data[: int(len(data) * noise.uniform(0.02, 1))]


def hole(data: bytearray, noise: np.random.Generator) -> bytearray:
    """A stretch zeroed, removed or said twice."""
    start, length = int(noise.integers(8, len(data))), int(10 ** noise.uniform(0, 4))
    stretch = data[start : start + length]
    data[start : start + length] = (bytes(len(stretch)), b"", stretch * 2)[int(noise.integers(3))]
    return data


DAMAGES: tuple[Callable[[bytearray, np.random.Generator], bytearray], ...] = (flipped, head, cut, hole)


def repacked(source: Path, target: Path, noise: np.random.Generator) -> None:
    """A sound container of packets with damaged payloads: what reaches decoders rather than demuxers."""
    share = 10 ** noise.uniform(-2, -0.3)
    with av.open(str(source)) as given, av.open(str(target), "w", format="matroska") as made:
        streams = [s for s in given.streams if s.type in ("video", "audio") and s.codec_context]
        tracks: dict[int, Any] = {s.index: made.add_stream_from_template(s, opaque=True) for s in streams}
        for packet in given.demux(streams):
            if not packet.size or packet.dts is None:
                continue
            payload = bytearray(bytes(packet))
            if noise.random() < share:
                payload = DAMAGES[int(noise.integers(4))](payload, noise) if len(payload) > 16 else payload
            again = replaced(packet, bytes(payload))
            again.stream = tracks[packet.stream.index]
            made.mux(again)
    if not target.exists():
        raise ValueError("no packets")


def damage(seed: int, files: Sequence[Path], folder: Path) -> tuple[Path, str]:
    """Case `seed`: a damaged file in `folder`, and what it is."""
    noise = np.random.default_rng(seed)
    source = files[int(noise.integers(len(files)))]
    kind = int(noise.integers(len(DAMAGES) + 1))
    target = folder / f"in{source.suffix}"
    if kind < len(DAMAGES):
        target.write_bytes(DAMAGES[kind](bytearray(source.read_bytes()), noise))
        return target, f"{source.name}, {DAMAGES[kind].__name__}"
    try:
        target = target.with_suffix(".mkv")
        repacked(source, target, noise)
    except (av.error.FFmpegError, ValueError):  # Matroska doesn't take every stream
        target.write_bytes(flipped(bytearray(source.read_bytes()), noise))
    return target, f"{source.name}, packets"


def work(pipe: Connection) -> None:
    """The worker: takes words for vsr-run, gives back exit code and what was said."""
    from vsr.cli.run import main

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while words := pipe.recv():
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            try:
                code = main(words)
            except SystemExit as left:
                code = int(left.code or 0)
        pipe.send((code, said.getvalue()))


class Worker:
    """One process that runs cases; replaced when it hangs or dies."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._start()

    def _start(self) -> None:
        self._pipe, other = self._context.Pipe()
        self._process = self._context.Process(target=work, args=(other,), daemon=True)
        self._process.start()
        other.close()

    def run(self, words: list[str], seconds: float = HANG) -> tuple[int | None, str]:
        """(exit code, what was said); None for a process that hung or crashed."""
        try:
            self._pipe.send(words)
            if self._pipe.poll(seconds):
                code, said = self._pipe.recv()
                return code, said
            problem = f"hangs: no end within {seconds:g} s"
        except (EOFError, OSError):
            self._process.join()
            problem = f"the process died ({self._process.exitcode})"
        self.restart()
        return None, problem

    def mebibytes(self) -> int:
        """Peak memory of the process so far."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) >> 10

    def restart(self) -> None:
        self.close()
        self._start()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def close(self) -> None:
        self.kill()
        self._pipe.close()


def judge(code: int | None, said: str, folder: Path, given: Path, output: Path) -> str:
    """What is wrong with how a case ended, or ""."""
    if code is None:
        return said
    if code == 4 and "choose ." in said:  # the tracks of an intact file don't go into this container either
        code = 3
    if "Traceback" in said or code not in (0, 3, 5):
        return f"exit code {code}: {said.splitlines()[-1] if said else ''}"
    if extra := sorted({p.name for p in folder.iterdir()} - {given.name, output.name, "report.json"}):
        return f"left behind: {', '.join(extra)}"
    if output.exists() != (code in (0, 5)):
        return f"exit code {code}, but the output {'exists' if output.exists() else 'is missing'}"
    if not output.exists():
        return ""
    told = json.loads((folder / "report.json").read_text())["frames_written"]
    with av.open(str(output)) as container:
        shown = sum(1 for _ in container.decode(video=0))
    return "" if shown == told == len(video(output).times) else f"{shown} frames can be decoded of {told}"


def case(seed: int, files: Sequence[Path], model: Path, worker: Worker, folder: Path) -> Outcome:
    """Runs one case in an empty folder."""
    given, what = damage(seed, files, folder)
    noise = np.random.default_rng(seed + 1_000_000)
    output = folder / f"out.{OUTPUTS[int(noise.integers(len(OUTPUTS)))]}"
    words = [str(given), str(output), "--model", str(model), "--precision", "float32", "--threads", "1",
             "--report", str(folder / "report.json")]  # fmt: skip
    if given.stat().st_size > 200_000 or noise.random() < 0.3:
        words += ["--duration", "0.3"]
    code, said = worker.run(words)
    wrong = judge(code, said, folder, given, output)
    if not wrong and worker.mebibytes() > MOST_MIB:  # of all cases so far; a process of its own tells whose it is
        worker.restart()
        worker.run([*words, "--overwrite"])
        wrong = f"took {worker.mebibytes()} MiB" if worker.mebibytes() > MOST_MIB else ""
    return Outcome(seed, f"{what} -> {output.name}", code, wrong)


def fuzz(seconds: float, first: int, folder: Path, say: Callable[[Outcome], None]) -> list[Outcome]:
    """Cases from seed `first` on until the time is over."""
    files, model = sources(folder), folder / "repeat.onnx"
    model.write_bytes(luma_model(2, zero=True, channels=2, body=0).proto.SerializeToString())
    outcomes, seed, end = list[Outcome](), first, time.monotonic() + seconds
    worker = Worker()
    try:
        while time.monotonic() < end:
            with tempfile.TemporaryDirectory(dir=folder) as place:
                outcomes.append(case(seed, files, model, worker, Path(place)))
            say(outcomes[-1])
            seed += 1
    finally:
        worker.close()
    return outcomes


def repeat(seed: int, keep: Path) -> Outcome:
    """One case again; its files stay in `keep`."""
    worker = Worker()
    with tempfile.TemporaryDirectory() as made:
        files, model = sources(Path(made)), Path(made) / "repeat.onnx"
        model.write_bytes(luma_model(2, zero=True, channels=2, body=0).proto.SerializeToString())
        (keep / "case").mkdir(parents=True)
        try:
            return case(seed, files, model, worker, keep / "case")
        finally:
            worker.close()


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--seconds", type=float, default=300)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--only", type=int)
    words.add_argument("--keep", type=Path, default=Path())
    args = words.parse_args()
    if args.only is not None:
        print(repeat(args.only, args.keep))
        return 0

    def say(outcome: Outcome) -> None:
        if outcome.wrong:
            print(f"seed {outcome.seed}: {outcome.what}: {outcome.wrong}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        outcomes = fuzz(args.seconds, args.seed, Path(folder), say)
    codes = [outcome.code for outcome in outcomes]
    failed = sum(bool(outcome.wrong) for outcome in outcomes)
    counts = ", ".join(f"{code}: {codes.count(code)}" for code in (0, 3, 5))
    print(f"{len(outcomes)} cases from seed {args.seed}, exit codes {counts}; {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
