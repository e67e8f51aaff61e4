"""The receiving side of a call: python -m benchmarks.call [--seconds 60] [--burst 0.17] [--json FILE]

A drawn scene with a tone, H.264 and AAC in MPEG-TS at 30 frames a second, sent by UDP in bursts as many senders do.
`vsr-live --fixed` receives and upscales it into nothing. The first two seconds, in which it catches up with what came
while it connected, are told apart. The sender takes a little of the same cores.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np

from vsr.bench.clip import scene
from vsr.bench.machine import machine

CALLS = [("m4c16", (640, 360)), ("m4c8", (960, 540))]
RATE, SOUND_RATE, TONE = 30, 48_000, 1024
CODED = {"preset": "veryfast", "tune": "zerolatency", "b": "1500000", "g": "60"}
SETTLED = 2.0  # seconds after the first frame
MORE = 20  # seconds that are sent: nobody waits for the end


def write(path: Path, size: tuple[int, int], seconds: int) -> None:
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=RATE, options=CODED)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        sound = out.add_stream("aac", rate=SOUND_RATE, layout="mono")
        for number, picture in enumerate(islice(scene(size), seconds * RATE)):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            out.mux(video.encode(frame))
        for start in range(0, seconds * SOUND_RATE, TONE):
            wave = np.sin(np.arange(start, start + TONE) * (2 * np.pi * 440 / SOUND_RATE)).astype(np.float32)
            heard = av.AudioFrame.from_ndarray(wave[None] / 4, format="fltp", layout="mono")
            heard.sample_rate, heard.pts, heard.time_base = SOUND_RATE, start, Fraction(1, SOUND_RATE)
            out.mux(sound.encode(heard))
        out.mux(video.encode(None))
        out.mux(sound.encode(None))


def send(path: Path, address: str, burst: float, stop: threading.Event) -> None:
    """In real time, a burst at a time."""
    begin = time.monotonic()
    with av.open(str(path)) as source, av.open(address, "w", format="mpegts") as out:
        tracks = [out.add_stream_from_template(stream) for stream in source.streams]
        for packet in source.demux():
            if packet.dts is None:
                continue
            due = (packet.dts * packet.time_base // burst + 1) * burst
            if stop.wait(max(0.0, begin + due - time.monotonic())):
                return
            packet.stream = tracks[packet.stream.index]
            out.mux(packet)


def received(network: str, size: tuple[int, int], seconds: float, burst: float, folder: Path) -> dict[str, Any]:
    clip, stats, stop = folder / f"{network}.mkv", folder / f"{network}.jsonl", threading.Event()
    write(clip, size, round(seconds) + MORE)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        address = f"udp://127.0.0.1:{free.getsockname()[1]}"
    sender = threading.Thread(target=send, args=(clip, f"{address}?pkt_size=1316", burst, stop), daemon=True)
    sender.start()
    words = [address, "--network", network, "--fixed", "--sink", "null", "--stats", str(stats)]
    program = subprocess.Popen([sys.executable, "-m", "vsr.cli.live", *words], stderr=subprocess.PIPE, text=True)
    time.sleep(seconds)
    program.send_signal(signal.SIGINT)
    said = program.communicate()[1]
    stop.set()
    sender.join()
    lines = [json.loads(line) for line in stats.read_text().splitlines()]
    every = [line for line in lines if line["kind"] == "second" and line["counts"].get("captured")]
    first = next(line for line in every if line["time"] > every[0]["time"] + SETTLED)
    late = {name: n for name, n in first["counts"].items() if name.startswith("dropped") and n}
    last = every[-1]
    shown, captured = (last["counts"][name] - first["counts"][name] for name in ("shown", "captured"))
    drops = {name: n - late.get(name, 0) for name, n in last["counts"].items() if name.startswith("dropped")}
    return {
        "network": network,
        "size": list(size),
        "seconds": round(last["time"] - first["time"], 1),
        "captured": captured,
        "shown": shown,
        "dropped": {name: n for name, n in drops.items() if n},
        "dropped before": late,
        "said": said.splitlines(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--burst", type=float, default=0.17, help="seconds between two bursts")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = [received(*call, arguments.seconds, arguments.burst, Path(folder)) for call in CALLS]
    for call in found:
        print(*(f"{name}: {value}" for name, value in call.items() if name != "said"), *call["said"], sep="\n")
    if arguments.json:
        result = {"machine": machine(), "burst": arguments.burst, "calls": found}
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
