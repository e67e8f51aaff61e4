"""FFmpeg's filters, by the program `ffmpeg` that is installed: decoded, filtered and dropped by itself."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.peers.peer import CORES, Clip, Luma, Ran, Stopwatch
from vsr.errors import Unavailable
from vsr.models import processor_flags

TOLD = "0.02"  # seconds between two reports of how many frames are done
SR_MODELS = {"native": "sr_x{}.model", "tensorflow": "sr_x{}.pb"}  # by the backend that reads them
RAISR_MAX = 2


@dataclass(frozen=True)
class Filtered:
    """A filter of FFmpeg's.

    Args:
        graph: the filter in FFmpeg's words; paths in it are relative to `folder`. Raises Unavailable.
        folder: of models.
    """

    name: str
    graph: Callable[[Clip], str]
    folder: Path | None = None

    def timed(self, clip: Clip, watch: Stopwatch) -> Ran:
        sink = ["-f", "null", "-progress", "pipe:1", "-stats_period", TOLD, "-"]
        peak = 0.0
        with self._started(clip, sink, subprocess.DEVNULL) as process:
            assert process.stdout is not None
            for line in process.stdout:
                name, _, value = line.decode().partition("=")
                if name == "frame":
                    watch.seen(int(value))
                peak = max(peak, resident(process.pid))
                if watch.expired:
                    process.kill()
        return Ran(engine=version(), peak_mib=peak)

    def lumas(self, clip: Clip, count: int) -> list[Luma]:
        sink = ["-frames:v", str(count), "-f", "rawvideo", "-pix_fmt", "yuv420p", "pipe:1"]
        with self._started(clip, sink, subprocess.PIPE) as process:
            given, said = process.communicate()
        rows, columns = clip.height * clip.scale, clip.width * clip.scale
        size = rows * columns * 3 // 2
        if process.returncode or not given or len(given) % size:
            lines = said.decode(errors="replace").strip().splitlines() or ["gave frames of another size"]
            raise Unavailable(f"ffmpeg: {lines[0].rpartition('] ')[2]}")
        frames = np.frombuffer(given, np.uint8).reshape(-1, size)
        return [frame[: rows * columns].reshape(rows, columns) for frame in frames]

    def _started(self, clip: Clip, sink: list[str], said: int) -> subprocess.Popen[bytes]:
        words = ["-nostdin", "-nostats", "-v", "error", "-threads", "0", "-i", clip.path, "-an", "-vf"]
        command = [program(), *words, self.graph(clip), *sink]
        return subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, stderr=said)


def scale(flags: str) -> Callable[[Clip], str]:
    """swscale, its slices on all cores (FFmpeg's default)."""
    return lambda clip: f"scale={clip.width * clip.scale}:{clip.height * clip.scale}:flags={flags}"


def sr(folder: Path | None) -> Callable[[Clip], str]:
    """The filter `sr` with the user's model."""

    def graph(clip: Clip) -> str:
        _check("sr")
        names = {backend: name.format(clip.scale) for backend, name in SR_MODELS.items()}
        for backend, name in names.items():
            if folder is not None and (folder / name).is_file():
                return f"sr=dnn_backend={backend}:model={name}:scale_factor={clip.scale}"
        raise Unavailable(f"no model: --models names a folder with {' or '.join(names.values())} (ESPCN, SRCNN)")

    return graph


def raisr(folder: Path | None) -> Callable[[Clip], str]:
    """Intel's library, in the fastest form that this processor has."""

    def graph(clip: Clip) -> str:
        _check("raisr")
        if clip.scale > RAISR_MAX:
            raise Unavailable(f"the filter raisr upscales by {RAISR_MAX} at most")
        flags = processor_flags()
        form = "avx512fp16" if "avx512_fp16" in flags else "avx512" if "avx512f" in flags else "avx2"
        given = ":filterfolder=raisr" if folder is not None and (folder / "raisr").is_dir() else ""
        return f"raisr=ratio={clip.scale}:threadcount={CORES}:asm={form}{given}"

    return graph


def program() -> str:
    """Raises Unavailable."""
    found = shutil.which("ffmpeg")
    if found is None:
        raise Unavailable("no program ffmpeg; install FFmpeg")
    return found


def version() -> str:
    return " ".join(_said("-version").split()[:3:2])


def _check(filter: str) -> None:
    if not any(line.split()[1:2] == [filter] for line in _said("-filters").splitlines()):
        raise Unavailable(f"{version()} was built without the filter {filter}")


def _said(word: str) -> str:
    return subprocess.run([program(), "-hide_banner", word], capture_output=True, text=True, check=True).stdout


def resident(pid: int) -> float:
    """Resident memory of a process at its highest, MiB; 0 when it has just gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)
