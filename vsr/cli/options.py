"""vsr-run's words and what they mean; `--help` needs nothing but this."""

from __future__ import annotations

import argparse
import math
from fractions import Fraction
from pathlib import Path
from typing import NoReturn

from vsr import __version__
from vsr.errors import UsageError
from vsr.settings import (
    AUDIO,
    BACKENDS,
    HWACCELS,
    PRECISIONS,
    RESUMES,
    REUSES,
    SCALES,
    SINKS,
    VERIFICATIONS,
    WEIGHTS,
    EncodeSettings,
    EngineSettings,
    Limits,
    RunSettings,
)

UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
DESCRIPTION = "Upscale a video, a picture or a folder of them."
EPILOG = """examples:
  vsr-run input.mp4 out.mp4                     twice the size, sound and timing kept, checked when done
  vsr-run input.mkv out.mkv --height 1080       any size up to four times
  vsr-run photo.png out.png --scale 4           a still picture
  vsr-run in/%04d.png out.mp4 --rate 24         numbered pictures; out/%04d.png writes such
  vsr-run clips/ upscaled/                      a folder; what is there already is skipped
  vsr-run input.mp4 --sink null                 how fast decoding and the network are by themselves
  vsr-run input.mp4 - | ffplay -                raw y4m into a pipe

exit codes: 0 written and verified, 2 usage, 3 input, 4 output, 5 written but the input was damaged, 6 memory,
7 verification failed, 130 and 143 interrupted"""


class OneLine(argparse.ArgumentParser):
    """A parser whose errors are one line, without the whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = OneLine(
        prog="vsr-run", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("input", help='video, picture, folder or http(s) address; "-" reads y4m from standard input')
    p.add_argument("output", nargs="?", help='.mp4 .mkv .mov .webm .ts .gif .y4m, pictures, a folder, or "-" for y4m')
    size = p.add_argument_group("size").add_mutually_exclusive_group()
    size.add_argument("--scale", type=int, choices=SCALES, help="factor (default 2)")
    size.add_argument("--size", type=dimensions, metavar="WxH", help="exact size instead of a factor")
    size.add_argument("--height", type=int, metavar="N", help="exact height, width in proportion")
    kept = p.add_argument_group("other tracks")
    kept.add_argument("--stream", type=int, metavar="N", help="which video track is upscaled, from 0")
    kept.add_argument("--audio", choices=AUDIO, default="copy",
                      help="copy (default; Opus or AAC where that can't be), transcode always, or none")  # fmt: skip
    part = p.add_argument_group("part of the video")
    part.add_argument("--start", type=_seconds, default=0.0, metavar="TIME", help="seconds or [HH:]MM:SS")
    part.add_argument("--duration", type=_seconds, metavar="TIME", help="seconds or [HH:]MM:SS")
    part.add_argument("--rate", type=_rate, metavar="FPS", help="of numbered pictures (default 25), e.g. 24000/1001")
    part.add_argument("--hwaccel", choices=HWACCELS, default="none", help="decode on the GPU, where that is the same")
    part.add_argument("--deinterlace", action="store_true", help="make interlaced frames whole (bwdif)")
    net = p.add_argument_group("network")
    net.add_argument(
        "--network", default="auto", help="m4c16 (default); m4c8 is faster, m10c16 sharper; docs/networks.md has all"
    )
    net.add_argument(
        "--weights", choices=WEIGHTS, default="auto", help="for clean or strongly coded video (auto: looks)"
    )
    net.add_argument("--model", type=Path, metavar="FILE", help="your own luma network, ONNX")
    net.add_argument("--backend", choices=BACKENDS, default="auto", help="what runs it (auto: the first that works)")
    net.add_argument("--device", type=_devices, default=(), metavar="N[,N]",
                     help="GPU by CUDA's number; several share a file's chunks")  # fmt: skip
    net.add_argument("--precision", choices=PRECISIONS, default="auto", help="default: the fastest without loss here")
    net.add_argument("--threads", type=int, default=0, help="CPU threads of the network (default: one a core)")
    net.add_argument(
        "--memory", type=size_in_bytes, default=0, metavar="SIZE", help="may be taken, e.g. 500M; else tiles"
    )
    net.add_argument("--reuse", choices=REUSES, default="auto",
                     help="don't compute again what didn't change (auto: as it pays)")  # fmt: skip
    enc = p.add_argument_group("encoder")
    enc.add_argument("--codec", help="FFmpeg encoder (default: libx264, for HDR libx265, else what stores the samples)")
    enc.add_argument("--crf", type=float, help="constant quality (default 18 for libx264)")
    enc.add_argument("--preset", help="speed of the encoder (default veryfast for libx264)")
    enc.add_argument("--pix-fmt", help="pixel format stored (default: the input's)")
    enc.add_argument("-x", dest="options", action="append", default=[], type=_pair, metavar="KEY=VALUE",
                     help="any option of the encoder; repeatable")  # fmt: skip
    run = p.add_argument_group("run")
    run.add_argument("--sink", choices=SINKS, help="instead of a file: count, checksum, or y4m to standard output")
    run.add_argument("--verify", choices=VERIFICATIONS, default="sample",
                     help="read the file back and decode every 10th GOP (default), all of it, or nothing")  # fmt: skip
    run.add_argument("--overwrite", action="store_true", help="replace the output once the new file is verified")
    run.add_argument("--resume", choices=RESUMES, default="auto", help="go on with an interrupted run, or start over")
    run.add_argument("--chunk", type=_seconds, default=30.0, metavar="TIME", help="video an interruption may cost (30)")
    run.add_argument("--partial", action="store_true", help="when interrupted, write what is done as NAME.partial.EXT")
    run.add_argument(
        "--dry-run", action="store_true", help="print the job and an estimate of time and size as JSON; write nothing"
    )
    run.add_argument("--preview", type=_seconds, metavar="TIME", help="write a before|after PNG of one frame instead")
    run.add_argument(
        "--max-pixels", type=int, default=Limits.max_pixels, metavar="N",
        help="largest picture taken (default 8192x8192 in all; a result may have four times that)",
    )  # fmt: skip
    run.add_argument("--timeout", type=_seconds, default=Limits.timeout, metavar="TIME",
                     help="how long a server may be silent (default 10 s)")  # fmt: skip
    run.add_argument("--report", type=Path, metavar="FILE", help="write what was done as JSON")
    run.add_argument("--json", action="store_true", help="progress on standard output, JSON with ffmpeg's keys")
    run.add_argument("--quiet", action="store_true", help="only errors")
    run.add_argument("--debug", action="store_true", help="a traceback when something fails")
    run.add_argument("--version", action="version", version=f"vsr {__version__}")
    return p


def settings_of(args: argparse.Namespace) -> RunSettings:
    """What was asked for. Raises UsageError without an output where one is needed, and for empty names."""
    if not args.input or args.output == "":
        raise UsageError("the name of the input or output is empty")
    if args.output is None and not (args.sink or args.dry_run):
        raise UsageError(f"name an output (or --sink {'|'.join(SINKS)}, --dry-run)")
    return RunSettings(
        input=args.input,
        output=args.output or "",
        engine=EngineSettings(
            scale=args.scale or EngineSettings.scale,
            network=args.network,
            model=args.model,
            weights=args.weights,
            backend=args.backend,
            devices=args.device,
            precision=args.precision,
            threads=args.threads,
            memory=args.memory,
            reuse=args.reuse,
        ),
        encode=EncodeSettings(
            codec=args.codec, crf=args.crf, preset=args.preset, pix_fmt=args.pix_fmt, options=dict(args.options)
        ),
        limits=Limits(max_pixels=args.max_pixels, timeout=args.timeout),
        size=args.size,
        height=args.height,
        sink=args.sink or ("null" if args.output is None else None),
        audio=args.audio,
        stream=args.stream,
        start=args.start,
        duration=args.duration,
        rate=args.rate,
        deinterlace=args.deinterlace,
        hwaccel=args.hwaccel,
        overwrite=args.overwrite,
        verify=args.verify,
        chunk=args.chunk,
        resume=args.resume,
        partial=args.partial,
    )


def dimensions(text: str) -> tuple[int, int]:
    """Width and height, written WxH."""
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not WxH, e.g. 1920x1080")
    return int(width), int(height)


def _seconds(text: str) -> float:
    try:
        seconds = 0.0
        for part in text.split(":"):
            seconds = seconds * 60 + float(part)
        if not math.isfinite(seconds):
            raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: seconds, MM:SS or HH:MM:SS") from None
    return seconds


def _rate(text: str) -> Fraction:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is no rate: frames per second, e.g. 25 or 24000/1001") from None


def _devices(text: str) -> tuple[int, ...]:
    if not all(part.isdecimal() for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r} names no GPUs: 0, or 0,1 for two")
    return tuple(map(int, text.split(",")))


def size_in_bytes(text: str) -> int:
    """A number, perhaps with K, M or G."""
    number, unit = (text[:-1], UNITS[text[-1].lower()]) if text[-1:].lower() in UNITS else (text, 1)
    try:
        return int(float(number) * unit)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is no size: bytes, or with K, M or G") from None


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value
