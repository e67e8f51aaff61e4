"""The parts of a run, most wanted first; each enters what it finds as it goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import ceilings, convolutions, peers
from benchmarks.gpu.case import Case, frames
from benchmarks.gpu.floors import work
from benchmarks.gpu.machine import Machine
from benchmarks.gpu.rates import ALONE, EndToEnd, Feed, launches, pageable, pinned, with_copies
from benchmarks.gpu.timing import interleaved
from vsr.backends.cuda import SlotEngine
from vsr.device.memory import PinnedMemory
from vsr.device.slots import overlap
from vsr.graph import describe
from vsr.models import LumaModel, ModelChoice, load, resolve
from vsr.settings import EngineSettings

Found = dict[str, Any]
DRAWN, TOGETHER = 12, 60  # frames of the timeline: in the drawing, and in all
LONG = 2000  # frames over which memory must stay flat


@dataclass(frozen=True)
class Bench:
    """A machine with what all parts need.

    Args:
        decoded: archive of decoded frames; None for random ones.
        seconds: of a measurement of one way to run one case.
    """

    machine: Machine
    decoded: Path | None
    seconds: float

    @contextmanager
    def engine(self, case: Case, backend: str, **options: Any) -> Iterator[tuple[SlotEngine, Any, ExitStack]]:
        """An engine, its executor, and a stack for what else uses that executor; the context is current."""
        device = self.machine.device
        with device.current(), ExitStack() as stack:
            executor = self.machine.make[backend](chosen(case), case.spec)
            engine = stack.enter_context(closing(SlotEngine(device, executor, case.spec, case.scale, **options)))
            yield engine, executor, stack


def chosen(case: Case) -> ModelChoice:
    """The float model that ships."""
    return resolve(EngineSettings(network=case.network, scale=case.scale, precision="float32"), case.depth)


def model(case: Case) -> LumaModel:
    return load(chosen(case))


def limits(bench: Bench, found: Found) -> None:
    """Ceilings of the machine."""
    sizes = ceilings.TOY if bench.machine.toy else ceilings.Sizes()
    found |= ceilings.measured(bench.machine.torch_device, sizes, 4 * bench.seconds)


def timeline(bench: Bench, found: Found, case: Case, backend: str, *, capture: bool = True) -> None:
    """Event times of frames with every slot in use, and of frames one by one; the share of copying that is hidden."""
    device, given = bench.machine.device, frames(case, bench.decoded)
    with device.current(), closing(PinnedMemory(device)) as memory:
        found |= _timed(bench, case, backend, pinned(given, memory), memory, capture=capture)
    found["drawn"] = DRAWN


def _timed(bench: Bench, case: Case, backend: str, feed: Feed, memory: PinnedMemory, *, capture: bool) -> Found:
    with bench.engine(case, backend, pinned=memory, timed=True, capture=capture) as (engine, _, _):
        run, one = (EndToEnd(engine, feed, depth) for depth in (0, 1))
        one(ALONE)
        alone = engine.times[-ALONE // 2 :]
        run(2 * TOGETHER)
        together = engine.times[-TOGETHER:]
        return {
            "label": engine.label,
            "size": str(case),
            "overlap": round(overlap(together, alone), 4),
            "frames_ms": [[1000 * value for value in asdict(times).values()] for times in together],
            "alone_ms": [[1000 * value for value in asdict(times).values()] for times in alone],
        }


def rates(bench: Bench, found: Found, case: Case, backend: str) -> None:
    """One case by four ways, what it must cost beside them."""
    device, given = bench.machine.device, frames(case, bench.decoded)
    counted = work(describe(model(case), case.spec), case.spec, case.scale)
    found |= {"case": asdict(case), "backend": backend, "work": asdict(counted)}
    with device.current(), closing(PinnedMemory(device)) as memory:
        before = device.memory()[0]
        with bench.engine(case, backend, pinned=memory) as (engine, executor, stack):
            found |= {"label": engine.label, "notes": list(engine.notes), "device_bytes": before - device.memory()[0]}
            ends = {"pinned": EndToEnd(engine, pinned(given, memory)), "pageable": EndToEnd(engine, pageable(given))}
            ways = {
                "infer": launches(device, executor, given[0], stack),
                "copies": with_copies(device, executor, given[0], stack),
                **{f"end to end, {name}": run for name, run in ends.items()},
            }
            found["ways"] = interleaved(ways, bench.seconds)
            found["latency_ms"] = {name: run.latency() for name, run in ends.items()}
            found["latency_ms"]["alone"] = _alone(engine, ends["pinned"])
    milliseconds = found["ways"]["infer"]["ms"]
    found["flops"], found["bytes_by_layers"] = (1000 * n / milliseconds for n in (counted.flops, counted.layers))


def _alone(engine: SlotEngine, like: EndToEnd) -> dict[str, float]:
    """Latency of a frame that has the device to itself."""
    run = EndToEnd(engine, like.feed, 1)
    run(ALONE)
    return run.latency()


def slots(bench: Bench, found: Found, case: Case, backend: str) -> None:
    """The same end to end with one to four slots."""
    device, given = bench.machine.device, frames(case, bench.decoded)
    with device.current(), closing(PinnedMemory(device)) as memory, ExitStack() as stack:
        feed = pinned(given, memory)
        ways = {}
        for count in (1, 2, 3, 4):
            engine, _, _ = stack.enter_context(bench.engine(case, backend, slots=count, pinned=memory))
            ways[f"{count} slots"] = EndToEnd(engine, feed)
        found |= interleaved(ways, bench.seconds)


def memory(bench: Bench, found: Found, case: Case, backend: str) -> None:
    """What is free on the device, and what the process holds, before and after many frames."""
    device, given = bench.machine.device, frames(case, bench.decoded)
    with bench.engine(case, backend) as (engine, _, _):
        run = EndToEnd(engine, pageable(given))
        run(100)
        found["before"] = {"device_free": device.memory()[0], "resident": _resident()}
        run(20 if bench.machine.toy else LONG)
        found["after"] = {"device_free": device.memory()[0], "resident": _resident()}
    found["frames"] = 20 if bench.machine.toy else LONG


def _resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def beside(bench: Bench, found: Found, case: Case, backend: str) -> None:
    """Ours against torch eager, eager from a graph, and torch.compile, interleaved."""
    device = bench.machine.torch_device
    given = peers.inputs(case, device)
    torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = True, False
    whole = peers.WholeFrame(case, model(case).proto, half=device == "cuda").to(device).eval()
    with bench.engine(case, backend) as (_, executor, stack):
        ways = {"infer": launches(bench.machine.device, executor, frames(case, bench.decoded)[0], stack)}
        ways["torch eager"] = peers.runner(lambda: whole(*given), device, capture=False)
        ways["torch eager, graph"] = peers.runner(lambda: whole(*given), device, capture=True)
        found |= interleaved(ways, bench.seconds)
        fast = peers.compiled(whole, device)
        ways["torch.compile, graph"] = peers.runner(lambda: fast(*given), device, capture=True)
        with torch.inference_mode():
            pairs = zip(whole(*given), fast(*given), strict=True)
            found["codes_apart"] = max(int((a.int() - b.int()).abs().max()) for a, b in pairs)
        found |= interleaved(ways, 2 * bench.seconds)


def layers(bench: Bench, found: Found) -> None:
    """One body layer in torch's ways."""
    size = (8, 12) if bench.machine.toy else (1084, 1924)
    convolutions.measured(found, bench.machine.torch_device, size, 8 * bench.seconds)
