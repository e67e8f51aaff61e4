"""Job: everything a run will do, decided before its first frame; encoder and verification read nothing else."""

from __future__ import annotations

import hashlib
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from fractions import Fraction
from typing import Any, Literal

from vsr.chunks import Chunk
from vsr.deinterlace import Fields
from vsr.frame import PlanarFormat, TrackFacts
from vsr.limits import LIMITS
from vsr.sequences import files
from vsr.settings import EngineSettings, Hwaccel, Limits, Weights
from vsr.tracks import Track


@dataclass(frozen=True, kw_only=True)
class Source:
    """The input and its video track.

    Args:
        path: as given; "-" is y4m on standard input.
        bytes, modified_ns: identity of the file, to notice that it changed; 0 for standard input.
        stream: index of the video track.
        width, height, format: of its first frame, as it will be upscaled; with alpha only where the result keeps it.
        pix_fmt, codec: as stored.
        facts: colour, aspect, rotation.
        time_base: seconds per tick.
        rate: average frames per second.
        untimed: timestamps are missing or useless; frames are numbered at `rate` instead.
        nominal: duration in ticks of a frame that carries none.
        frames: presented frames in the range of the job by packet scan; None when unknown.
        start, end: range of the job in ticks, end exclusive; None: to the end.
        trimmed: the user chose the range, so other tracks are cut to it too.
        origin: seconds taken off the times of all tracks alike.
        side_data: kinds that its frames carry, by FFmpeg's names.
        alpha: the input has a channel of opacity, kept or not.
        last_end: where the job's last frame ends, in ticks, if known.
        damage: what is known to be missing before anything is decoded, or "".
        limits: beyond which nothing is decoded; they shape no content.
        fields: how the pictures are scanned, by the first of them.
        deinterlace: interlaced ones are made whole before they are upscaled.
        hwaccel: what decodes: "none" is FFmpeg's own decoders, "cuda" NVDEC.
        resident: what NVDEC decodes stays on the GPU until the network has read it.
        first_number: of numbered pictures, whose pts are places in the row; None for other inputs.
    """

    path: str
    bytes: int
    modified_ns: int
    stream: int
    width: int
    height: int
    format: PlanarFormat
    pix_fmt: str
    codec: str
    facts: TrackFacts
    time_base: Fraction
    rate: Fraction
    untimed: bool
    nominal: int
    frames: int | None
    start: int
    end: int | None
    trimmed: bool
    origin: Fraction
    last_end: int | None
    alpha: bool = False
    limits: Limits = LIMITS
    damage: str = ""
    fields: Fields = ""
    deinterlace: bool = False
    hwaccel: Hwaccel = "none"
    resident: bool = False
    first_number: int | None = None
    side_data: tuple[str, ...] = ()

    @property
    def threading(self) -> Literal["AUTO", "SLICE"]:
        """How FFmpeg's decoder uses threads: NVDEC has no room for the pictures of many."""
        return "AUTO" if self.hwaccel == "none" else "SLICE"

    @property
    def range(self) -> tuple[Fraction | None, Fraction | None]:
        """(begin, end) in seconds of what the user chose; None where it isn't cut."""
        if not self.trimmed:
            return None, None
        return self.start * self.time_base, None if self.end is None else self.end * self.time_base

    def holds(self, time: Fraction) -> bool:
        """Whether the range has this instant, in seconds of the input."""
        begin, end = self.range
        return (begin is None or time >= begin) and (end is None or time < end)


@dataclass(frozen=True, kw_only=True)
class Network:
    """The network that runs: its name or file, whole scale, "clean" or "stream" weights, precision and content hash."""

    name: str
    path: str
    scale: int
    weights: Weights
    precision: str
    backend: str
    sha256: str

    def applied(self, engine: EngineSettings) -> EngineSettings:
        """The settings with what was decided here."""
        return replace(engine, scale=self.scale, weights=self.weights)


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """The video encoder: everything that shapes its bits.

    Args:
        width, height: of the coded picture.
        aspect: sample aspect ratio written.
        options: the encoder's own.
        threads: fixed, because x264's bits depend on it.
        side_data: kinds that are written into its packets where frames carry them, by FFmpeg's names.
    """

    codec: str
    pix_fmt: str
    width: int
    height: int
    aspect: Fraction
    options: Mapping[str, str]
    threads: int
    side_data: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run. Two runs with the same hash write the same file.

    Args:
        version: of vsr.
        output: path, or "" for a sink that needs none.
        sink: "" for a file with tracks, "null", "md5", "y4m" (into a file or a pipe), "gif" or "pictures".
        notes: choices the user should hear of before the first frame.
        fit: width and height that a sink resizes to.
    """

    version: str
    source: Source
    network: Network
    output: str
    sink: str
    encoder: Encoder | None
    tracks: tuple[Track, ...]
    chunks: tuple[Chunk, ...]
    notes: tuple[str, ...]
    fit: tuple[int, int] | None = None

    @property
    def upscaled(self) -> tuple[int, int]:
        """Width and height as the network leaves them."""
        return self.source.width * self.network.scale, self.source.height * self.network.scale

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the result."""
        return (self.encoder.width, self.encoder.height) if self.encoder else self.fit or self.upscaled

    @property
    def output_limits(self) -> Limits:
        """For reading the result back, which may be larger than an input may be."""
        return Limits(max_pixels=max(LIMITS.max_pixels, self.size[0] * self.size[1]))

    def to_json(self) -> str:
        return json.dumps(_plain(asdict(self)), indent=2)

    @classmethod
    def from_json(cls, text: str) -> Job:
        """The inverse of `to_json`. Raises KeyError or ValueError for anything else."""
        job = _typed(cls, json.loads(text))
        assert isinstance(job, cls)
        return job

    def hash(self) -> str:
        """sha256 of all that shapes the result's content: paths don't, the input's size and date do."""
        content = _plain(asdict(self))
        for volatile in ("output", "notes"):
            del content[volatile]
        del content["source"]["path"], content["source"]["limits"], content["network"]["path"]
        del content["source"]["resident"]  # the frames are the same wherever they stay
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def identity(path: str) -> tuple[int, int]:
    """(bytes, modification time in ns) of an input, the latest of its files'; (0, 0) for standard input."""
    if path == "-":
        return 0, 0
    stats = [file.stat() for file in files(path)]
    return sum(stat.st_size for stat in stats), max(stat.st_mtime_ns for stat in stats)


def unchanged(source: Source) -> bool:
    """Whether the input still is the file that was probed."""
    try:
        return identity(source.path) == (source.bytes, source.modified_ns)
    except OSError:
        return False


def _plain(value: Any) -> Any:
    """Dicts, lists, strings and numbers only; fractions as "a/b"."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Fraction) else value


def _typed(kind: Any, value: Any) -> Any:
    """`value`, read from JSON, as an instance of the annotated type `kind`."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        return None if value is None else _typed(next(a for a in args if a is not type(None)), value)
    if is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, Mapping):
            raise ValueError(f"{kind.__name__} is a JSON object, not {value!r}")
        hints = typing.get_type_hints(kind)
        return kind(**{field.name: _typed(hints[field.name], value[field.name]) for field in fields(kind)})
    if origin is tuple:
        return tuple(_typed(args[0], item) for item in value)
    return Fraction(value) if kind is Fraction else value
