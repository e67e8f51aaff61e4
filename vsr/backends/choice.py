"""Which library runs the network, and on what: the best that works here, with the reasons why not a better one.

"auto" tries TensorRT, torch on the GPU, OpenVINO, in this order. Where nothing hints at an NVIDIA GPU only OpenVINO is
thought of: no word about the others, no library loaded to ask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from vsr.backends import open_engine
from vsr.backends.check import check
from vsr.backends.engine import Engine
from vsr.backends.machine import THIS, Machine
from vsr.device.protocol import DeviceError, DeviceMemoryError
from vsr.errors import UsageError, VsrError
from vsr.frame import Memory
from vsr.graph import FrameSpec
from vsr.models import Library, ModelChoice, Runner, resolve
from vsr.settings import EngineSettings

if TYPE_CHECKING:
    from vsr.backends.gpu import Gpu


class Open(Protocol):
    """`vsr.backends.open_engine`, or a test's own."""

    def __call__(
        self, settings: EngineSettings, choice: ModelChoice, spec: FrameSpec, *, gpu: Gpu | None, halvings: int
    ) -> Engine: ...


Check = Callable[[Engine, ModelChoice, FrameSpec], None]
ON_GPU: tuple[Library, ...] = ("tensorrt", "pytorch")


def runners(settings: EngineSettings, machine: Machine = THIS) -> Iterator[tuple[Runner, str]]:
    """What may run the network by the settings, best first, each with what is in its way ("" for nothing).

    Each is looked at when it is asked for: one that works spares loading the libraries of those after it. The CPU isn't
    among them where a GPU was asked for by name and there is none.
    """
    gpu = [Runner(library, settings.device) for library in ON_GPU if settings.backend in ("auto", library)]
    required = settings.backend == "tensorrt" or bool(settings.devices)
    usable = False
    for runner in gpu if required or gpu and machine.hint() else []:
        obstacle = machine.obstacle(runner)
        usable = usable or not obstacle
        yield runner, obstacle
    if settings.backend != "tensorrt" and (usable or not settings.devices):
        yield Runner("pytorch" if settings.backend == "pytorch" else "openvino"), ""


class Engines:
    """Opens the best engine for each kind of frame and goes on to the next best when one fails.

    Args:
        machine, open, check: see there.
        timed: see `Gpu`.
        say: gets each of the notes at once; building a plan takes minutes.

    Attributes:
        notes: why not a better one, a line each.
    """

    def __init__(
        self,
        settings: EngineSettings,
        *,
        machine: Machine = THIS,
        open: Open = open_engine,
        check: Check = check,
        say: Callable[[str], None] = lambda line: None,
        timed: bool = False,
    ) -> None:
        settings.validate()
        self.settings = settings
        self.notes: list[str] = []
        self._machine, self._open, self._check, self._say = machine, open, check, say
        self._timed = timed
        self._gpu: Gpu | None = None
        self._on_gpu = False
        self._unseen = runners(settings, machine)
        self._usable: list[Runner] = []
        self._halvings: dict[Runner, int] = {}
        self._broken: VsrError | None = None

    def choices(self, depth: int) -> Iterator[ModelChoice]:
        """What may work for video of `depth` bits, best first.

        Raises:
            UsageError: nothing does. InputError: a model that can't be read. DeviceError: what worked broke.
        """
        refused: VsrError | None = self._broken
        count = 0
        for runner in self._runners():
            try:
                choice = resolve(self.settings, depth, runner=runner)
            except UsageError as error:
                refused = error
                if runner.device is not None:
                    self._not(runner, error)
                continue
            count += 1
            yield choice
        if not count:
            raise refused or UsageError(self._nothing())

    def open(self, spec: FrameSpec) -> tuple[ModelChoice, Engine]:
        """An engine that was opened and, on a GPU, checked.

        Raises:
            VsrError: what the last one failed of.
        """
        failed: VsrError | None = None
        for choice in self.choices(spec.format.depth):
            try:
                return choice, self._opened(choice, spec)
            except VsrError as error:
                failed = error
                self._not(choice.runner, error)
                if isinstance(error, DeviceError) and not isinstance(error, DeviceMemoryError):
                    self._drop(choice.runner, error)
        assert failed is not None
        raise failed

    def tiles(self, choice: ModelChoice, spec: FrameSpec) -> Engine:
        """Another engine on the CPU for parts of the frames that one was opened for. Raises VsrError."""
        return self._open(self.settings, choice, spec, gpu=None, halvings=0)

    def failed(self, choice: ModelChoice, error: DeviceError) -> None:
        """An engine broke while it ran: the next one is for smaller tiles, or on something else."""
        if isinstance(error, DeviceMemoryError):
            self._halvings[choice.runner] = self._halvings.get(choice.runner, 0) + 1
            self._note(f"{choice.runner} ran out of memory and goes on in smaller tiles ({error})")
        else:
            self._note(f"{choice.runner} failed; its frames go through the next engine ({error})")
            self._drop(choice.runner, error)

    def memory(self) -> Memory | None:
        """What frames are best decoded into for the engine opened last; None for any memory."""
        return self._gpu.memory if self._gpu and self._on_gpu else None

    def close(self) -> None:
        """After the engines; what it is asked for next it opens anew."""
        gpu, self._gpu = self._gpu, None
        if gpu is not None:
            gpu.close()

    def _opened(self, choice: ModelChoice, spec: FrameSpec) -> Engine:
        device, halvings = choice.runner.device, self._halvings.get(choice.runner, 0)
        self._on_gpu = device is not None
        if device is None:
            return self._open(self.settings, choice, replace(spec, surfaces=False), gpu=None, halvings=halvings)
        from vsr.backends.gpu import Gpu

        self._gpu = self._gpu or Gpu(self._machine.device(device), self._note, timed=self._timed)
        engine = self._open(self.settings, choice, spec, gpu=self._gpu, halvings=halvings)
        try:
            self._check(engine, choice, spec)
        except BaseException:
            engine.close()
            raise
        return engine

    def _runners(self) -> Iterator[Runner]:
        yield from list(self._usable)
        for runner, obstacle in self._unseen:
            if obstacle:
                self._not(runner, obstacle)
            else:
                self._usable.append(runner)
                yield runner

    def _nothing(self) -> str:
        """Why what was asked for can't be had; once where the reason is the same for all."""
        asked = (
            f"--backend {self.settings.backend}" if not self.settings.devices else f"--device {self.settings.device}"
        )
        reasons = {line.partition(": ")[2] for line in self.notes}
        return f"{asked}: {'; '.join(reasons if len(reasons) == 1 else self.notes)}"

    def _drop(self, runner: Runner, error: VsrError) -> None:
        self._usable.remove(runner)
        self._broken = error

    def _not(self, runner: Runner, why: object) -> None:
        self._note(f"not {runner}: {why}")

    def _note(self, line: str) -> None:
        if line not in self.notes:
            self.notes.append(line)
            self._say(line)
