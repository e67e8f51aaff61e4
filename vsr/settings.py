"""What the user asked for, as frozen dataclasses; `probe()` turns it into a `Job`, which says what will be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Self

from vsr.errors import UsageError

Backend = Literal["auto", "tensorrt", "pytorch", "openvino"]
Precision = Literal["auto", "int8", "bf16", "fp16", "float32"]
Weights = Literal["auto", "clean", "stream"]
Audio = Literal["copy", "transcode", "none"]
Sink = Literal["null", "md5", "y4m"]
Grab = Literal["auto", "x11grab", "mss"]
Scaling = Literal["fit", "integer"]
Verification = Literal["sample", "full", "none"]
Tiling = Literal["none", "fast", "moderate", "full"]
Hardware = Literal["this", "same-capability", "ampere+"]
BACKENDS: tuple[Backend, ...] = ("auto", "tensorrt", "pytorch", "openvino")
PRECISIONS: tuple[Precision, ...] = ("auto", "int8", "bf16", "fp16", "float32")
WEIGHTS: tuple[Weights, ...] = ("auto", "clean", "stream")
AUDIO: tuple[Audio, ...] = ("copy", "transcode", "none")
Resume = Literal["auto", "never"]
RESUMES: tuple[Resume, ...] = ("auto", "never")
Reuse = Literal["auto", "off", "frames", "tiles"]
REUSES: tuple[Reuse, ...] = ("auto", "off", "frames", "tiles")
SINKS: tuple[Sink, ...] = ("null", "md5", "y4m")
GRABS: tuple[Grab, ...] = ("auto", "x11grab", "mss")
SCALINGS: tuple[Scaling, ...] = ("fit", "integer")
VERIFICATIONS: tuple[Verification, ...] = ("sample", "full", "none")
TILINGS: tuple[Tiling, ...] = ("none", "fast", "moderate", "full")
HARDWARE: tuple[Hardware, ...] = ("this", "same-capability", "ampere+")
Hwaccel = Literal["none", "auto", "cuda"]
HWACCELS: tuple[Hwaccel, ...] = ("none", "auto", "cuda")
SCALES = (2, 3, 4)


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """Which network runs, and how."""

    scale: int = 2  # whole factor of the network: 2, 3 or 4
    network: str = "auto"  # a name of vsr.networks.NETWORKS; auto: m4c16
    model: Path | None = None  # the user's own luma ONNX instead of a network that ships
    weights: Weights = "auto"  # trained on clean pictures or on coded video; auto: by the video, clean for pictures
    backend: Backend = "auto"  # auto: the first that works of tensorrt, pytorch (both on a GPU) and openvino
    devices: tuple[int, ...] = ()  # GPUs by CUDA's numbers, each of which gets chunks of its own; (): the first
    precision: Precision = "auto"  # auto: fp16 on a GPU; else int8 for 8 bits where the processor has it, bf16, float32
    threads: int = 0  # CPU threads of the network; 0: one per core
    streams: int = 0  # frames the CPU works on at a time; 0: one a thread, up to four; 1: the least delay
    memory: int = 0  # bytes an engine on the CPU may take, above which frames are tiled; 0: half of what is free
    reuse: Reuse = "auto"  # what isn't computed again where nothing changed: frames, or tiles too; auto: as it pays

    @property
    def device(self) -> int:
        """The GPU, or the first of several."""
        return self.devices[0] if self.devices else 0

    def validate(self) -> None:
        """Raises UsageError for what can't be meant."""
        if self.scale not in SCALES:
            raise UsageError(f"scale {self.scale}: networks exist for {', '.join(map(str, SCALES))}")
        if self.backend not in BACKENDS:
            raise UsageError(f"no backend {self.backend!r}; known: {', '.join(BACKENDS)}")
        if self.reuse not in REUSES:
            raise UsageError(f"no reuse {self.reuse!r}; known: {', '.join(REUSES)}")
        if min(self.threads, self.streams, self.memory) < 0:
            raise UsageError("threads, streams and memory must not be negative (0 chooses)")
        if any(device < 0 for device in self.devices) or len({*self.devices}) < len(self.devices):
            raise UsageError("--device names each GPU once, by CUDA's numbers from 0")
        if self.devices and self.backend == "openvino":
            raise UsageError("--device chooses GPUs, and the openvino backend runs on the CPU")
        if self.model is not None and self.network != "auto":
            raise UsageError("give either --network or --model, not both")
        if self.model is not None and self.weights == "stream":
            raise UsageError("--weights stream is for networks that ship; --model brings its own weights")


@dataclass(frozen=True, kw_only=True)
class PlanSettings:
    """How TensorRT builds a plan. The default is for the GPU and the TensorRT it is built with, alone."""

    workspace: int = 1 << 30  # bytes of device memory a layer may use besides its tensors
    level: int = 3  # effort of the search for fast kernels, 0 to 5
    tiling: Tiling = "none"  # effort of the search for kernels that share the second-level cache
    hardware: Hardware = "this"  # GPUs it runs on, others at a cost: this one, its compute capability, Ampere and later
    any_version: bool = False  # later TensorRT versions load it too, at a cost
    sizes: tuple[tuple[int, int], ...] = ()  # least, usual and largest width and height; (): for one size alone

    @property
    def range(self) -> str:
        """The least and the largest size, for people; "" for a plan of one size."""
        return "{}x{}-{}x{}".format(*self.sizes[0], *self.sizes[-1]) if self.sizes else ""

    def takes(self, width: int, height: int) -> bool:
        """Whether that is in the range of sizes."""
        least, _, largest = self.sizes
        return least[0] <= width <= largest[0] and least[1] <= height <= largest[1]

    def validate(self) -> None:
        """Raises UsageError for what can't be meant."""
        if self.workspace < 1 << 20 or not 0 <= self.level <= 5:
            raise UsageError("a plan's workspace must have 1M at least, its level be from 0 to 5")
        sides = [(1, *side) for side in zip(*self.sizes, strict=True)]
        if self.sizes and (len(self.sizes) != 3 or any(list(side) != sorted(side) for side in sides)):
            given = " ".join(f"{width}x{height}" for width, height in self.sizes)
            raise UsageError(f"sizes {given}: the least, the usual and the largest, in this order, of 1 at least")


@dataclass(frozen=True, kw_only=True)
class EncodeSettings:
    """How the result is coded; None chooses by container and source."""

    codec: str | None = None  # FFmpeg encoder name; default libx264, or what container, depth or HDR ask for
    crf: float | None = None  # constant rate factor; default 18 for libx264
    preset: str | None = None  # default veryfast for libx264
    pix_fmt: str | None = None  # FFmpeg name; default: the source's chroma and depth
    options: Mapping[str, str] = field(default_factory=dict)  # further encoder options, -x key=value


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an input may ask for before it is refused."""

    max_pixels: int = 8192 * 8192  # samples of a picture; four times that for the result
    timeout: float = 10.0  # seconds that a server may say nothing

    def validate(self) -> None:
        """Raises UsageError for what can't be meant."""
        if not 0 < self.max_pixels < 2**31 or not 0 < self.timeout < 86400:
            raise UsageError("--max-pixels must be from 1 to 2147483647, --timeout above 0 and below 86400 seconds")


@dataclass(frozen=True, kw_only=True)
class LiveSettings:
    """One `vsr-live`."""

    window: str | None = None  # part of a title, or a number as 0x1a00003
    screen: str | None = None  # WxH+X+Y, or "" for all of it
    device: str | None = None  # a camera or capture card, as /dev/video0
    input: str | None = None  # address of a stream, or a file played at its own pace
    output: str = "window"  # window, null, y4m, or a camera's device, an address, a file
    engine: EngineSettings = field(default_factory=lambda: EngineSettings(streams=1))
    limits: Limits = field(default_factory=Limits)
    rate: int | None = None  # frames a second of capture at most; None: 60 of a screen, else what comes
    budget: float | None = None  # seconds from capture to upscaled; None: until the next new frame is to be expected
    fixed: bool = False  # the chosen network, however late it is
    cursor: bool = False  # the mouse pointer is captured too
    grab: Grab = "auto"  # what captures screens; auto: x11grab where PyAV has it
    pairs: Path = Path()  # folder for pairs of pictures that a window's key saves
    fullscreen: bool = False  # of the window shown
    vsync: bool = True  # it waits for the screen's refresh
    scaling: Scaling = "fit"  # fit enlarges to the window, integer by whole factors
    overwrite: bool = False

    def validate(self) -> None:
        """Raises UsageError for what can't be meant."""
        self.engine.validate()
        self.limits.validate()
        given = [name for name in ("window", "screen", "device", "input") if getattr(self, name) is not None]
        if len(given) != 1:
            raise UsageError(
                f"what is to be upscaled? one of --window, --screen, --device, an address or a file ("
                f"{' and '.join(given) or 'nothing'} given); vsr-live --list shows what there is"
            )
        if self.rate is not None and (self.rate < 1 or self.input is not None):
            raise UsageError("--rate is for windows, screens and devices, and at least 1 frame a second")
        if self.budget is not None and self.budget <= 0:
            raise UsageError("--budget must be above 0 milliseconds")


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """One `vsr-run`, one `vsr.upscale`."""

    input: str  # path, or "-" for y4m on standard input
    output: str  # path, or "-" for y4m on standard output; ignored by sinks null and md5
    engine: EngineSettings = field(default_factory=EngineSettings)
    encode: EncodeSettings = field(default_factory=EncodeSettings)
    limits: Limits = field(default_factory=Limits)
    size: tuple[int, int] | None = None  # width, height of the output: network at the next whole scale, then swscale
    height: int | None = None  # the same by height; width keeps the picture's shape
    sink: Sink | None = None  # instead of a file
    audio: Audio = "copy"  # copy, and transcode only where copying can't be; transcode always; none drops it
    stream: int | None = None  # which video track, from 0, cover art not counted; None: the default one, the largest
    start: float = 0.0  # seconds from the first frame
    duration: float | None = None  # seconds; None: to the end
    rate: Fraction | None = None  # frames per second of numbered pictures (default 25) and of inputs without times
    deinterlace: bool = False  # one whole frame for each interlaced one
    hwaccel: Hwaccel = "none"  # who decodes: FFmpeg; NVDEC where it gives the same frames; NVDEC or an error
    overwrite: bool = False
    verify: Verification = "sample"  # decode the first, the last and every 10th GOP, or everything; packets always
    chunk: float = 30.0  # seconds of video in a chunk at least: what an interruption loses of the work
    resume: Resume = "auto"  # go on where an interrupted run of the same job stopped, or never
    partial: bool = False  # when stopped by a signal, write what is done beside the output

    @classmethod
    def of(cls, **options: Any) -> Self:
        """Settings from one flat set of names: each goes to the dataclass that has it. Raises UsageError for others."""
        groups: dict[str, dict[str, Any]] = {"": {}, "engine": {}, "encode": {}, "limits": {}}
        owners: dict[str, type[Any]] = {"engine": EngineSettings, "encode": EncodeSettings, "limits": Limits, "": cls}
        for name, value in options.items():
            group = next((g for g, owner in owners.items() if name in owner.__dataclass_fields__), None)
            if group is None:
                raise UsageError(f"no option {name!r}")
            groups[group][name] = value
        parts = {group: owner(**groups[group]) for group, owner in owners.items() if group}
        return cls(**groups[""], **parts)

    def validate(self) -> None:
        """Raises UsageError for options that contradict each other."""
        self.engine.validate()
        self.limits.validate()
        if self.size is not None and self.height is not None:
            raise UsageError("give either --size or --height, not both")
        if self.size is not None and min(self.size) < 1 or self.height is not None and self.height < 1:
            raise UsageError("output width and height must be at least 1")
        if self.rate is not None and self.rate <= 0:
            raise UsageError("--rate must be above 0 frames a second")
        if self.stream is not None and self.stream < 0:
            raise UsageError("--stream counts video tracks from 0")
        if self.start < 0 or self.duration is not None and self.duration <= 0:
            raise UsageError("--start must not be negative and --duration must be above 0 seconds")
        if self.chunk <= 0:
            raise UsageError("--chunk must be above 0 seconds")
