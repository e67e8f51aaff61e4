"""What a bare CUDA machine needs besides the checkout: python -m benchmarks.gpu.pack [FOLDER]

Such a machine has Python, torch, NumPy, ONNX, pytest, CUDA's bindings and compiler, and no network. FOLDER
(device-pack/) gets decoded frames, as it has no decoder, and what `make device-site` there installs: PyCUDA's source
with all that it needs. Checkout and folder together stay below what can be sent in one piece.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import av
import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
MOST = 64 << 20  # bytes
SIZE, FRAMES = (1920, 1080), 2
SOURCES = ("pycuda==2026.1",)
WHEELS = ("pytools==2026.1.1", "platformdirs", "mako", "markupsafe", "siphash24", "typing-extensions")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def decoded(clip: Path, pix_fmt: str, size: tuple[int, int]) -> Iterator[list[np.ndarray]]:
    """Planes of the clip's frames at `size`, some apart from each other."""
    with av.open(str(clip)) as container:
        for frame in islice(container.decode(video=0), 0, None, 40):
            scaled = frame.reformat(*size, format=pix_fmt, interpolation="BICUBIC")
            yield [_samples(plane, pix_fmt) for plane in scaled.planes]


def _samples(plane: av.video.plane.VideoPlane, pix_fmt: str) -> np.ndarray:
    dtype = np.dtype(np.uint16 if "10" in pix_fmt else np.uint8)
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width * dtype.itemsize].copy().view(dtype)


def write_frames(clip: Path, path: Path, size: tuple[int, int] = SIZE) -> None:
    """Frames of 8 and of 10 bits; arrays are called PIX_FMT_PLANE."""
    arrays = {}
    for pix_fmt in ("yuv420p", "yuv420p10le"):
        taken = list(islice(decoded(clip, pix_fmt, size), FRAMES))
        arrays |= {f"{pix_fmt}_{plane}": np.stack([frame[plane] for frame in taken]) for plane in range(3)}
    np.savez_compressed(path, **arrays)


def fetch(folder: Path, python: str) -> None:
    """PyCUDA as source, to be built there, and wheels for `python` of what it needs."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*command, "--no-build-isolation", "--no-binary", ":all:", *SOURCES], check=True)
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    wheels = ["--only-binary", ":all:", "--implementation", "cp", "--python-version", python, *platforms]
    subprocess.run([*command, *wheels, *WHEELS], check=True)


def check(sizes: dict[str, int]) -> str:
    """A line that says what travels. Raises SystemExit when it is too much."""
    total = sum(sizes.values())
    text = ", ".join(f"{name} {size / 2**20:.1f} MiB" for name, size in sizes.items())
    if total >= MOST:
        raise SystemExit(f"{text}: {total / 2**20:.1f} MiB are more than the {MOST >> 20} that travel at once")
    return f"{text}: {total / 2**20:.1f} of at most {MOST >> 20} MiB"


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def size_of_checkout() -> int:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return sum((ROOT / name).stat().st_size for name in names if name and (ROOT / name).is_file())


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path, nargs="?", default=ROOT / "device-pack")
    p.add_argument("--python", default="3.12", help="version of the machine's Python")
    options = p.parse_args()
    packages = options.folder / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    write_frames(ROOT / "demo" / "demo.mp4", options.folder / "frames.npz")
    fetch(packages, options.python)
    print(check({"checkout": size_of_checkout(), str(options.folder.name): size_of(options.folder)}))


if __name__ == "__main__":
    main()
