"""vsr-live: upscale a window, a screen, a camera or a stream as it plays."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from pathlib import Path

from vsr import __version__
from vsr.cli.options import OneLine
from vsr.cli.stop import Stop
from vsr.errors import VsrError
from vsr.settings import BACKENDS, GRABS, PRECISIONS, SCALES, SCALINGS, WEIGHTS, EngineSettings, Limits, LiveSettings

EPILOG = """examples:
  vsr-live --list                               windows, screens and cameras there are
  vsr-live --window Doom                        a game's window, twice the size in a window of its own
  vsr-live --screen 640x360+0+0 --sink y4m | mpv --profile=low-latency --untimed -
  vsr-live rtsp://camera.local/1 --sink call.mkv   a stream, recorded with its sound
  vsr-live --device /dev/video0 --sink rtmp://localhost/live/up
  vsr-live match.mp4 --sink null --stats run.jsonl  how fast this machine is, in figures

Ctrl-C ends a run; what was recorded is a whole file. Exit codes are those of vsr-run."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = OneLine(
        prog="vsr-live", description="Upscale a window, a screen, a camera or a stream as it plays.", epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    what = p.add_argument_group("what to upscale, one of these")
    what.add_argument("input", nargs="?", help="address of a stream (rtsp, rtmp, udp, http), or a file at its own pace")
    what.add_argument("--window", metavar="TITLE", help='the window whose title has this, its number, or "click"')
    what.add_argument("--screen", nargs="?", const="", metavar="WxH+X+Y", help="the screen, or a part of it")
    what.add_argument("--device", metavar="PATH", help="camera or capture card, as /dev/video0")
    what.add_argument("--list", action="store_true", help="show windows, screens and devices")
    what.add_argument("--rate", type=int, metavar="FPS", help="frames a second of capture at most (screens: 60)")
    what.add_argument("--cursor", action="store_true", help="with the mouse pointer")
    what.add_argument("--grab", choices=GRABS, default="auto", help="what captures screens (auto: x11grab)")
    what.add_argument("--timeout", type=float, default=Limits.timeout, metavar="S",
                      help="how long a source may be silent (default 10 s)")  # fmt: skip
    net = p.add_argument_group("network")
    net.add_argument("--scale", type=int, choices=SCALES, default=EngineSettings.scale, help="factor (default 2)")
    net.add_argument("--network", default="auto", help="m4c16 (default); slower ones give way when they are late")
    net.add_argument("--weights", choices=WEIGHTS, default="auto", help="for clean or strongly coded video")
    net.add_argument("--model", type=Path, metavar="FILE", help="your own luma network, ONNX")
    net.add_argument("--backend", choices=BACKENDS, default="auto", help="what runs it (auto: the first that works)")
    net.add_argument("--precision", choices=PRECISIONS, default="auto", help="default: the fastest without loss here")
    net.add_argument("--threads", type=int, default=0, help="CPU threads of the network (default: one a core)")
    net.add_argument("--budget", type=float, metavar="MS",
                     help="from capture to upscaled (default: until the next new frame is expected)")  # fmt: skip
    net.add_argument("--fixed", action="store_true", help="keep the network, however late it is")
    out = p.add_argument_group("where to")
    out.add_argument("--sink", default="window", metavar="WHERE",
                     help="window (default), y4m (to standard output, for a player), null, /dev/videoN, "
                          "rtmp://, rtsp:// or udp:// address, or a file's name")  # fmt: skip
    out.add_argument("--fullscreen", action="store_true", help="the window fills the screen")
    out.add_argument(
        "--scaling", choices=SCALINGS, default="fit", help="to the window: fit (default), or whole factors"
    )
    out.add_argument("--no-vsync", action="store_true", help="show at once, torn pictures and all")
    out.add_argument("--pairs", type=Path, default=Path(), metavar="FOLDER",
                     help="where the window's key p saves source and result (default: here)")  # fmt: skip
    out.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    out.add_argument("--stats", type=Path, metavar="FILE", help="figures of every frame and second as JSON lines")
    p.add_argument("--quiet", action="store_true", help="only errors")
    p.add_argument("--debug", action="store_true", help="a traceback when something fails")
    p.add_argument("--version", action="version", version=f"vsr {__version__}")
    return p


def settings_of(args: argparse.Namespace) -> LiveSettings:
    """What was asked for. Raises UsageError for what can't be meant."""
    settings = LiveSettings(
        window=args.window,
        screen=args.screen,
        device=args.device,
        input=args.input,
        output=args.sink,
        engine=EngineSettings(
            scale=args.scale,
            network=args.network,
            model=args.model,
            weights=args.weights,
            backend=args.backend,
            precision=args.precision,
            threads=args.threads,
            streams=1,
        ),
        limits=Limits(timeout=args.timeout),
        rate=args.rate,
        budget=None if args.budget is None else args.budget / 1000,
        fixed=args.fixed,
        cursor=args.cursor,
        grab=args.grab,
        pairs=args.pairs,
        fullscreen=args.fullscreen,
        vsync=not args.no_vsync,
        scaling=args.scaling,
        overwrite=args.overwrite,
    )
    settings.validate()
    return settings


def main(argv: list[str] | None = None) -> int:
    """Parses, runs, and turns errors into one line and an exit code."""
    words = sys.argv[1:] if argv is None else argv
    if not words:
        print(f"vsr-live: say what to upscale\n\n{EPILOG}", file=sys.stderr)
        return 2
    args = parser().parse_args(words)
    stop = Stop(ask=True, program="vsr-live")
    stop.listen()
    try:
        return _dispatch(args, stop)
    except VsrError as error:
        code, line = error.exit_code, str(error)
        caught: Exception = error
    except MemoryError as error:
        code, line, caught = 6, "out of memory", error
    except OSError as error:
        code, line, caught = 4, f"{error.filename or args.sink}: {error.strerror or error}", error
    if args.debug:
        raise caught
    print(f"vsr-live: {line}", file=sys.stderr)
    return code


def _dispatch(args: argparse.Namespace, stop: Stop) -> int:
    from vsr.live.choose import listing, open_sink, open_source

    if args.list:
        print(*listing(), sep="\n")
        return 0
    settings = settings_of(args)
    from vsr.live.run import Ends, run

    def say(line: str) -> None:
        if not args.quiet:
            print(line, file=sys.stderr)

    with closing(open_source(settings, say)) as source:
        run(settings, Ends(source, open_sink(settings, say)), stats=args.stats, say=say, stop=stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
