"""vsr-plugin, and the element in pipelines of gst-launch-1.0, which runs the system's Python."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from gstreamer import program
from strong import assert_close, planes, spec
from vsr import Upscaler
from vsr.cli.plugin import main
from vsr.errors import UsageError
from vsr.live.gstreamer import loader


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and a GStreamer that loads Python plugins of this interpreter's version; skips without one."""
    for name in list(os.environ):
        if name.startswith("GST_PLUGIN"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    program("gst-launch-1.0")
    if loader.inspect("python") is None:
        pytest.skip("GStreamer has no loader for Python here")
    return tmp_path


@pytest.fixture
def installed(home: Path) -> Path:
    try:
        loader.install(loader.file_in(None))
        loader.inspect("vsrupscale")
    except UsageError as error:
        pytest.skip(str(error))
    return home


def launch(*pipeline: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [program("gst-launch-1.0"), *" ".join(pipeline).split()]
    return subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_install_where_uninstall(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = home / ".gstreamer-1.0" / "plugins" / "python" / "vsrupscale.py"
    assert main(["where"]) == 1
    assert "not there" in capsys.readouterr().out
    assert main(["install"]) == 0
    assert capsys.readouterr().out.splitlines() == [str(file), "GStreamer lists vsrupscale"]
    assert main(["install"]) == 0  # its own file is replaced
    assert main(["where"]) == 0
    assert main(["uninstall"]) == 0
    assert not file.exists()
    assert main(["uninstall"]) == 0


def test_another_folder_needs_a_variable(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["install", "--folder", str(home / "plugins")]) == 0
    said = capsys.readouterr().out
    assert f'export GST_PLUGIN_PATH="{home}/plugins${{GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}}"' in said
    file = loader.file_in(home / "plugins")
    assert not loader.scanned(file, {"HOME": str(home)})
    assert loader.scanned(file, {"HOME": str(home), "GST_PLUGIN_PATH": f"/x:{home}/plugins"})
    own = loader.file_in(None, {"HOME": str(home)})
    assert loader.scanned(own, {"HOME": str(home)})
    assert not loader.scanned(own, {"HOME": str(home), "GST_PLUGIN_SYSTEM_PATH": "/usr/lib/gstreamer-1.0"})


def test_a_file_of_somebody_else_stays(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = loader.file_in(None)
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    assert main(["install"]) == main(["uninstall"]) == 4
    assert file.read_text() == "mine"
    assert "wasn't written by vsr-plugin" in capsys.readouterr().err


def test_what_is_missing_is_said(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loader.install(loader.file_in(None))
    file = loader.file_in(None)
    file.write_text(file.read_text().replace(f"({sys.version_info[0]}, {sys.version_info[1]})", "(3, 2)"))
    assert main(["where"]) == 2
    assert "vsr is installed for Python 3.2, GStreamer runs Python 3." in capsys.readouterr().err
    file.write_text(loader.text().replace("vsr.live", "vsr.gone"))
    assert main(["where"]) == 2
    assert "No module named 'vsr.gone'" in capsys.readouterr().err
    monkeypatch.setenv("PATH", str(home))
    assert main(["install"]) == 2
    assert "apt install gstreamer1.0-tools" in capsys.readouterr().err


def test_a_file_goes_through_decoder_element_and_encoder(installed: Path) -> None:
    """VP8 in WebM in, VP8 in WebM out: as many frames, at their times, the picture upscaled."""
    source, target = installed / "in.webm", installed / "out.webm"
    with av.open(str(source), "w") as file:
        stream = file.add_stream("libvpx", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 96, 64, "yuv420p", 4_000_000
        rows, columns = np.mgrid[0:64, 0:96]
        for index in range(10):
            grey = (rows * 2 + columns + 7 * index) % 256
            frame = av.VideoFrame.from_ndarray(
                np.pad(grey.astype(np.uint8), ((0, 32), (0, 0)), constant_values=128), "yuv420p"
            )
            frame.pts, frame.time_base = index, Fraction(1, 25)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    done = launch(
        f"filesrc location={source} ! matroskademux ! vp8dec ! vsrupscale",
        f"! vp8enc target-bitrate=8000000 deadline=1 ! webmmux ! filesink location={target}",
    )
    assert done.returncode == 0, done.stderr
    assert "yuv420p 96x64 to 192x128: m4c16 openvino cpu" in done.stdout
    with av.open(str(source)) as before, av.open(str(target)) as after, Upscaler() as upscaler:
        pairs = list(zip(before.decode(video=0), after.decode(video=0), strict=True))
        assert [round(1000 * given.time) for given, _ in pairs] == [round(1000 * got.time) for _, got in pairs]
        for given, got in pairs:
            wanted = upscaler(given.to_ndarray()[:64].copy())
            error = np.mean((wanted.astype(float) - got.to_ndarray()[:128].astype(float)) ** 2)
            assert 10 * np.log10(255**2 / error) > 30


def test_samples_are_upscalers_in_gst_launch_too(installed: Path) -> None:
    what = spec(size=(46, 30))
    pictures = [planes(what, seed) for seed in range(3)]
    raw, out = installed / "in.raw", installed / "out.raw"
    raw.write_bytes(b"".join(padded(picture, 48, 24) for picture in pictures))
    done = launch(
        f"filesrc location={raw} blocksize=100000 ! rawvideoparse format=i420 width=46 height=30",
        "! capssetter caps=video/x-raw,chroma-site=mpeg2 ! vsrupscale scale=2 network=m4c8 ! filesink location="
        + str(out),
    )
    assert done.returncode == 0, done.stderr
    written, shapes = np.fromfile(out, np.uint8).reshape(3, -1), what.format.shapes(92, 60)
    with Upscaler(network="m4c8") as upscaler:
        for picture, samples in zip(pictures, written, strict=True):
            starts = (0, 92 * 60, 92 * 60 + 48 * 30)
            got = [
                samples[at : at + rows * row].reshape(rows, row)[:, :columns]
                for at, row, (rows, columns) in zip(starts, (92, 48, 48), shapes, strict=True)
            ]
            assert_close(got, upscaler(picture))


def padded(picture: tuple[np.ndarray, ...], luma: int, chroma: int) -> bytes:
    y, u, v = picture
    parts = [
        np.pad(plane, ((0, 0), (0, width - plane.shape[1]))) for plane, width in ((y, luma), (u, chroma), (v, chroma))
    ]
    return b"".join(part.tobytes() for part in parts)


def test_nothing_leaks(installed: Path) -> None:
    tracing = {"GST_TRACERS": 'leaks(filters="GstBuffer,GstElement,GstCaps,GstQuery")', "GST_DEBUG": "GST_TRACER:7"}
    done = launch("videotestsrc num-buffers=30 ! video/x-raw,width=64,height=48 ! vsrupscale ! fakesink", **tracing)
    assert done.returncode == 0
    assert "object-alive.class" in done.stderr  # the tracer runs
    assert "object-alive, type-name=(string)Gst" not in done.stderr


def test_errors_are_one_line(installed: Path) -> None:
    done = launch("videotestsrc num-buffers=3 ! vsrupscale network=nonesuch ! fakesink")
    assert done.returncode == 1
    assert "vsrupscale0: no network 'nonesuch'; known: m4c8, m4c16" in done.stderr
    assert "Traceback" not in done.stderr
