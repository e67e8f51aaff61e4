"""One frame through a new engine on a GPU, compared with float32 on the CPU, before a user's frame is trusted to it."""

from __future__ import annotations

import hashlib
import json
import math
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from vsr import __version__
from vsr.backends import cache_folder, open_engine
from vsr.backends.engine import Engine
from vsr.backends.tiled import Grid, cut, halo, kept
from vsr.errors import VsrError
from vsr.frame import Colour, Frame, Plane, Planes, TrackFacts
from vsr.graph import FrameSpec
from vsr.models import Exact, ModelChoice, Runner
from vsr.settings import EngineSettings

CODES, NEAR, SHARE, LEAST = 2, 1, 0.001, 55.0  # in 8 bits: most, usual, how many may be beyond, and dB of PSNR at least
DEEPER = 4  # times as many codes above 8 bits
TILE, PLACES = 128, 5  # of the frame, what is compared: the CPU needs a moment for that, and minutes for a large frame
PERIOD, BLOCK = 352, 16  # of the frame's pattern
FOLDER = "checked"  # in the cache folder
_DRIVER = Path("/proc/driver/nvidia/version")


class CheckError(VsrError):
    """An engine's results aren't those of the network."""


def check(engine: Engine, choice: ModelChoice, spec: FrameSpec, *, folder: Path | None = None) -> None:
    """Raises CheckError when results are further from float32 than rounding explains; either is remembered.

    Args:
        engine: idle, opened for `spec` with `choice`; each of its slots gets the frame.
        folder: where verdicts are kept; None takes the cache folder, if there is one.
    """
    facts = {
        "model": choice.sha256,
        "frames": f"{spec} {spec.location}",
        "engine": engine.label,
        "vsr": __version__,
        "driver": _DRIVER.read_text() if _DRIVER.is_file() else "",
    }
    folder = folder or cache_folder()
    file = folder and folder / FOLDER / f"{hashlib.sha256(json.dumps(facts).encode()).hexdigest()}.json"
    verdict = _verdict(file, facts)
    if verdict is None:
        verdict = _compared(engine, choice, spec)
        _keep(file, facts, verdict)
    elif verdict:
        verdict += "; found at an earlier start, `vsr-plan clean --all` has it looked at again"
    if verdict:
        raise CheckError(verdict)


def forget(folder: Path) -> None:
    """Every engine is compared again."""
    for file in (folder / FOLDER).glob("*.json"):
        file.unlink(missing_ok=True)


def _compared(engine: Engine, choice: ModelChoice, spec: FrameSpec) -> str:
    try:
        compare(engine, choice, spec)
    except CheckError as error:
        return str(error)
    return ""


def _verdict(file: Path | None, facts: dict[str, str]) -> str | None:
    """What was found wrong, "" for nothing; None where it isn't known."""
    try:
        kept = json.loads(file.read_bytes()) if file else {}
        return str(kept["wrong"]) if kept["facts"] == facts else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(file: Path | None, facts: dict[str, str], verdict: str) -> None:
    if file is not None:
        with suppress(OSError):  # a full disk, say: it is compared again at the next start
            file.parent.mkdir(exist_ok=True)
            file.write_text(json.dumps({"facts": facts, "wrong": verdict}, indent=2))


def compare(engine: Engine, choice: ModelChoice, spec: FrameSpec) -> None:
    """The frame through every slot, against the CPU in a few places of it."""
    given, results = structured(spec), list[Frame]()
    try:
        for ticket in [engine.submit(given) for _ in range(engine.capacity)]:
            results.append(engine.wait(ticket))
        _against_cpu(results, given, choice)
    finally:
        for result in results:
            result.release()


def structured(spec: FrameSpec) -> Frame:
    """Gradients, edges, noise, 0 and the maximum, in blocks, in every plane; always the same."""
    random, white = np.random.default_rng(0), spec.format.white
    rows, columns = np.indices((PERIOD, PERIOD))
    kinds = (
        (rows + columns) * white // (2 * PERIOD),
        (columns // 3 + rows // 5) % 2 * white,
        random.integers(0, white, rows.shape, endpoint=True),
        random.integers(0, 2, rows.shape) * white,
        ((rows % BLOCK - 8) ** 2 + (columns % BLOCK - 8) ** 2 < 38) * white,
    )
    pattern = np.choose((rows // BLOCK + 3 * (columns // BLOCK)) % len(kinds), kinds).astype(spec.format.dtype)
    shapes = spec.format.shapes(spec.width, spec.height)
    planes = tuple(pattern[np.ix_(np.arange(h) % PERIOD, np.arange(w) % PERIOD)] for h, w in shapes)
    facts = TrackFacts(colour=Colour(chroma_location=spec.location))
    return Frame(format=spec.format, width=spec.width, height=spec.height, planes=planes, facts=facts)


def _against_cpu(results: list[Frame], given: Frame, choice: ModelChoice) -> None:
    """In a few places; everywhere where the model sees too far for places."""
    spec, radius = FrameSpec.of(given), choice.radius
    side, margin = (max(spec.width, spec.height), 0) if radius is None else (TILE, halo(spec, radius))
    grid = Grid(spec=spec, width=side, height=side, halo=margin)
    places, tile = list(grid.places()), grid.tile
    reference = _on_cpu(choice, tile)
    size = tile.width * choice.scale, tile.height * choice.scale
    planes, expected = (_planes(spec, *at) for at in ((tile.width, tile.height), size))
    try:
        for place in {*places[:: -(-len(places) // PLACES)], places[-1]}:
            cut(given, place, planes)
            part = given.like(format=spec.format, width=tile.width, height=tile.height, planes=planes, lease=None)
            wanted = reference.wait(reference.submit(part, expected))
            for result in results:
                for pair in kept(wanted, place, result.planes, choice.scale):
                    _judge(*pair, spec)
    finally:
        reference.close()


def _planes(spec: FrameSpec, width: int, height: int) -> Planes:
    return spec.format.views(np.empty(spec.format.nbytes(width, height), np.uint8), width, height)


def _on_cpu(choice: ModelChoice, spec: FrameSpec) -> Engine:
    """The same model in float32, or in int8 where that is what it is."""
    runner = Runner("openvino" if find_spec("openvino") else "pytorch")
    precision: Exact = "int8" if choice.precision == "int8" else "float32"
    return open_engine(EngineSettings(scale=choice.scale), replace(choice, precision=precision, runner=runner), spec)


def _judge(expected: Plane, got: Plane, spec: FrameSpec) -> None:
    """Raises CheckError beyond what rounding explains."""
    differences = np.abs(expected.astype(np.int64) - got)
    unit = 1 if spec.format.depth == 8 else DEEPER
    most, beyond = int(differences.max()), float((differences > NEAR * unit).mean())
    error = float((differences.astype(np.float64) ** 2).mean())
    score = 10 * math.log10(spec.format.white**2 / error) if error else math.inf
    if most > CODES * unit or beyond > SHARE or score < LEAST:
        raise CheckError(
            f"its results differ from float32 on the CPU: by up to {most} codes ({CODES * unit} allowed), by more than "
            f"{NEAR * unit} in {100 * beyond:.2f}% ({100 * SHARE:g}%), {score:.1f} dB ({LEAST:g})"
        )
