"""Tries what a run relies on, on this machine. A check is a thing done and compared, never a version looked up."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Literal

import av
import av.error
import numpy as np
import numpy.typing as npt

from vsr.backends import cache_folder, open_engine
from vsr.backends.choice import ON_GPU, Engines
from vsr.backends.engine import Engine
from vsr.backends.machine import has_driver
from vsr.encoders import ENCODERS
from vsr.errors import Unavailable, UsageError, VsrError
from vsr.frame import Frame, PlanarFormat, Planes
from vsr.graph import INPUTS, FrameSpec, describe
from vsr.metrics import psnr
from vsr.models import Exact, Library, ModelChoice, load, resolve
from vsr.pipeline import upscale
from vsr.settings import Backend, EngineSettings

Status = Literal["ok", "--", "FAIL"]
PIX_FMTS = {"prores_ks": "yuv422p10le"}  # what it takes; the others take yuv420p
ENGINES: tuple[tuple[Backend, Exact], ...] = (
    ("openvino", "float32"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
    ("pytorch", "float32"),
    ("pytorch", "int8"),
)
FRAMES, WIDTH, HEIGHT = 8, 320, 192
LEAST_CODED = 32.0  # dB luma PSNR after encoding and decoding, at the defaults of vsr.encode
# dB against ONNX's own evaluator
LEAST_RUN: dict[Exact, float] = {"float32": 70.0, "bf16": 45.0, "fp16": 50.0, "int8": 34.0}
TOUCHED = 256 << 20  # bytes of memory taken and written


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of the doctor.

    Args:
        name: of what was tried.
        status: "ok", "--" for what isn't there and isn't needed, or "FAIL".
        done: what was done and seen, or why it could not be done.
        seconds: wall-clock time it took.
        needed: whether `vsr-run` with no options relies on it.
    """

    name: str
    status: Status
    done: str
    seconds: float
    needed: bool


def checks() -> Iterator[Check]:
    """Every check, each yielded when it is done; none raises."""
    from vsr import doctor_gpu

    for encoder in ENCODERS:
        yield attempt(f"encoder {encoder}", partial(round_trip, encoder), needed=encoder == "libx264")
    for backend, precision in ENGINES:
        name = f"{backend} {precision}"
        yield attempt(name, partial(run_graph, backend, precision), needed=name == "openvino float32")
    for name, do in doctor_gpu.tries():
        yield attempt(name, do, needed=False)
    for library in ON_GPU if has_driver() else ():
        yield attempt(f"{library} fp16 on GPU", partial(run_on_gpu, library), needed=False)
    yield attempt("whole run", whole_run, needed=True)
    yield attempt("cache folder", cache, needed=False)
    yield attempt("temporary folder", temporary, needed=True)
    yield attempt("memory", memory, needed=True)


def works(done: Iterable[Check]) -> bool:
    """Whether `vsr-run` with no options has all it needs."""
    return all(check.status == "ok" for check in done if check.needed)


def attempt(name: str, do: Callable[[], str], *, needed: bool) -> Check:
    """Runs one check: what `do` returns or raises becomes its line."""
    start = time.perf_counter()
    status: Status = "ok"
    try:
        done = do()
    except Unavailable as error:
        status, done = "FAIL" if needed else "--", str(error)
    except Exception as error:  # noqa: BLE001  # whatever goes wrong is the finding, and the other checks still run
        status, done = "FAIL", f"{type(error).__name__}: {error}"
    return Check(name=name, status=status, done=done, seconds=round(time.perf_counter() - start, 3), needed=needed)


def picture(n: int, width: int = WIDTH, height: int = HEIGHT) -> npt.NDArray[np.uint8]:
    """Luma of a test picture that moves with `n`: smooth waves and hard edges."""
    y, x = np.mgrid[:height, :width]
    waves = 60 * np.sin((x + 2 * n) / 7 + y / 11)
    edges = 40 * np.sign(np.sin((x - n) / 9) * np.cos(y / 8))
    return np.asarray(np.clip(126 + waves + edges, 0, 255), np.uint8)


def round_trip(encoder: str, *, least: float = LEAST_CODED) -> str:
    """Encodes and decodes a few frames.

    Raises Unavailable when the encoder isn't here, VsrError for lost frames or luma below `least` dB.
    """
    if encoder not in av.codecs_available:
        raise Unavailable("not in this build of FFmpeg")
    file = io.BytesIO()
    _write(file, encoder)
    file.seek(0)
    with av.open(file, "r") as source:
        decoded = [frame.to_ndarray(format="yuv420p")[:HEIGHT] for frame in source.decode(video=0)]
    if len(decoded) != FRAMES:
        raise VsrError(f"{FRAMES} frames encoded, {len(decoded)} decoded")
    score = min(psnr(plane, picture(n)) for n, plane in enumerate(decoded))
    if score < least:
        raise VsrError(f"{FRAMES} frames decoded at {score:.1f} dB; at least {least} dB expected")
    return f"{FRAMES} frames {WIDTH}x{HEIGHT} encoded and decoded, {_close(score)}"


def _write(file: io.BytesIO | str, encoder: str) -> None:
    with av.open(file, "w", format="matroska") as target:
        stream = target.add_stream(encoder, rate=25, options=dict(ENCODERS[encoder].defaults))
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, PIX_FMTS.get(encoder, "yuv420p")
        try:
            stream.codec_context.open()
        except (av.error.FFmpegError, ValueError) as error:
            needs = ", it needs an NVIDIA GPU and its driver" if ENCODERS[encoder].hardware else ""
            reason = getattr(error, "strerror", None) or error
            raise Unavailable(f"doesn't open here{needs} ({reason})") from error
        for frame in [*map(_coded_frame, range(FRAMES)), None]:
            target.mux(stream.encode(frame))


def _coded_frame(n: int) -> av.VideoFrame:
    chroma = np.full((HEIGHT // 2, WIDTH), 128, np.uint8)
    frame = av.VideoFrame.from_ndarray(np.vstack([picture(n), chroma]), format="yuv420p")
    frame.pts, frame.time_base = n, Fraction(1, 25)
    return frame


def run_graph(backend: Backend, precision: Exact, *, least: float | None = None) -> str:
    """Runs the default network on one frame, compares with its float32 graph in ONNX's evaluator (NumPy).

    Raises Unavailable when backend or precision aren't here, VsrError for a plane below `least` dB (by precision).
    """
    frame = _small_frame()
    spec, settings = FrameSpec.of(frame), EngineSettings(backend=backend, precision=precision)
    try:
        choice = resolve(settings, depth=8)
        engine = open_engine(settings, choice, spec)
    except (ImportError, UsageError) as error:
        raise Unavailable(str(error)) from error
    return _compared(engine, choice, frame, LEAST_RUN[precision] if least is None else least)


def run_on_gpu(library: Library, open: Callable[[EngineSettings], Engines] = Engines) -> str:
    """The same on the first GPU, in fp16. Raises Unavailable when the library can't be used there."""
    frame = _small_frame()
    engines = open(EngineSettings(backend=library, precision="fp16", devices=(0,)))
    try:
        try:
            choice, engine = engines.open(FrameSpec.of(frame))
        except UsageError as error:
            raise Unavailable(str(error)) from error
        return _compared(engine, choice, frame, LEAST_RUN["fp16"])
    finally:
        engines.close()


def _small_frame() -> Frame:
    width, height = 96, 64
    luma = picture(0, width, height)
    small = np.ascontiguousarray(luma[::2, ::2])
    return Frame(format=PlanarFormat(), width=width, height=height, planes=(luma, small, small))


def _compared(engine: Engine, choice: ModelChoice, frame: Frame, least: float) -> str:
    """Runs one frame, closes the engine. Raises VsrError for a plane below `least` dB."""
    try:
        result = engine.wait(engine.submit(frame))
        expected = _by_onnx(FrameSpec.of(frame), frame.planes)
        score = min(psnr(plane, wanted) for plane, wanted in zip(result.planes, expected, strict=True))
        result.release()
    finally:
        engine.close()
    if score < least:
        raise VsrError(f"only {score:.1f} dB against the float32 reference; at least {least} dB expected")
    return f"one frame upscaled by {choice.network} on {engine.label}; against the float32 reference {_close(score)}"


def _close(score: float) -> str:
    return "equal" if score == float("inf") else f"{score:.1f} dB"


def _by_onnx(spec: FrameSpec, planes: Planes) -> Planes:
    from onnx.reference import ReferenceEvaluator

    model = load(resolve(EngineSettings(precision="float32"), depth=8))
    feeds = {name: plane[None, None] for name, plane in zip(INPUTS, planes, strict=True)}
    return tuple(np.asarray(plane)[0, 0] for plane in ReferenceEvaluator(describe(model, spec)).run(None, feeds))


def whole_run() -> str:
    """What `vsr-run in.mkv out.mp4` does, on a few frames, with everything left to choose."""
    with tempfile.TemporaryDirectory(prefix="vsr-doctor-") as folder:
        source, result = f"{folder}/in.mkv", f"{folder}/out.mp4"
        _write(source, "libx264")
        report = upscale(source, result)
        return f"{report.frames_written} frames upscaled by {report.engine}; read back: {'; '.join(report.verified)}"


def cache() -> str:
    """Where compiled models are kept, so that the next start is quicker."""
    folder = cache_folder()
    if folder is None:
        raise Unavailable("can't be written; every start compiles its models anew (VSR_CACHE names another)")
    return _kept(folder)


def temporary() -> str:
    """Where a run puts what doesn't fit in memory."""
    return _kept(Path(tempfile.gettempdir()))


def _kept(folder: Path) -> str:
    content = bytes(range(256)) * 4096
    with tempfile.NamedTemporaryFile(prefix="vsr-doctor-", dir=folder) as file:
        file.write(content)
        file.flush()
        if Path(file.name).read_bytes() != content:
            raise VsrError(f"{file.name} doesn't read back as it was written")
    return f"1 MiB written to, read from and removed from {folder}"


def memory() -> str:
    """Takes and writes some memory."""
    taken = np.full(TOUCHED, 1, np.uint8)
    return f"{taken.nbytes >> 20} MiB taken and written"
