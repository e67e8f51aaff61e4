"""How each network is trained: `recipes/NETWORK.toml`, `NETWORK-stream.toml`, read into a frozen record per scale."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from vsr.errors import UsageError

Loss = Literal["l1", "l2", "charbonnier"]
Degradation = Literal["clean", "stream"]
Optimiser = Literal["adam", "soap"]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A run of optimiser steps; the rate rises over `warmup` steps, then falls to 0 along a cosine."""

    steps: int
    rate: float  # peak learning rate
    warmup: int = 0
    loss: Loss = "l1"
    spectrum: float = 0.0  # weight of the distance between the amplitudes of the Fourier transforms, beside l1
    batch: int = 16
    patch: int = 48  # low-resolution pixels per side, context not counted
    bfloat16: bool = True  # convolutions only; skip addition and loss are float32
    taught: float = 0.0  # weight of the l1 distance to the teacher's results, beside the loss
    adversarial: float = 0.0  # weight of the adversary's verdict, beside the loss; 0: there's no adversary
    matching: float = 0.0  # weight of the l1 distance between what the adversary sees, where there's no VGG
    clip: float = 0.0  # gradients are cut to +-clip / rate (VDSR, section 3.2); 0: not at all


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the weights, besides the pictures."""

    network: str
    scale: int
    stages: tuple[Stage, ...]  # none: what is learned isn't learned by steps
    quantisation: tuple[Stage, ...]  # after the float weights are done; none: no int8 model
    degradation: Degradation = "clean"  # stream: pairs that went through a video encoder
    optimiser: Optimiser = "adam"  # in float; quantisation has Adam
    expanded: bool = True  # MxCy: over-parameterised in training
    start: str | None = None  # recipe whose float weights it starts from; layers of another shape are new
    teacher: str | None = None  # trained recipe of the same scale that stages with `taught` learn from, too
    scales: tuple[int, ...] = ()  # each batch is of one of them, its own first; for networks that fit all
    average: float = 0.999  # decay of the moving average of the weights
    seed: int = 1

    @property
    def name(self) -> str:
        suffix = "" if self.degradation == "clean" else f"-{self.degradation}"
        return f"{self.network}{suffix}_x{self.scale}"

    def shortened(self, steps: int) -> Recipe:
        """The same recipe with every stage cut in proportion, `steps` of them in float and at least one each."""
        ratio = steps / max(1, sum(stage.steps for stage in self.stages))

        def cut(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
            return tuple(replace(stage, steps=max(1, round(stage.steps * ratio))) for stage in stages)

        return replace(self, stages=cut(self.stages), quantisation=cut(self.quantisation))

    def with_batch(self, size: int) -> Recipe:
        """The same recipe with so many patches in every step; on a GPU many cost little more time than few."""
        if size < 1:
            raise UsageError(f"--batch {size}: at least 1 patch is a step")
        stages, quantisation = (
            tuple(replace(stage, batch=size) for stage in kept) for kept in (self.stages, self.quantisation)
        )
        return replace(self, stages=stages, quantisation=quantisation)


FOLDER = Path(__file__).with_name("recipes")


def known() -> list[str]:
    """Names of all recipes, as `m4c16_x2`."""
    return sorted(recipe.name for path in FOLDER.glob("*.toml") for recipe in _read(path))


def find(name: str) -> Recipe:
    """The recipe of that name. Raises UsageError where there is none."""
    path = FOLDER / f"{name.rpartition('_x')[0]}.toml"
    found = {recipe.name: recipe for recipe in _read(path)} if path.is_file() else {}
    if name not in found:
        raise UsageError(f"no recipe {name!r}; known: {', '.join(known())}")
    return found[name]


def _read(path: Path) -> Iterator[Recipe]:
    """A file has a table per scale, `[x2]`, with `stages` and `quantisation`; what stands before them is for all.

    Its name is the network's, unless it says `network`.
    """
    content: dict[str, Any] = tomllib.loads(path.read_text())
    common = {key: value for key, value in content.items() if not isinstance(value, dict)}
    for scale in (2, 3, 4):
        if (own := content.get(f"x{scale}")) is not None:
            stages, quantisation = (
                tuple(Stage(**stage) for stage in own.pop(k, ())) for k in ("stages", "quantisation")
            )
            scales = tuple(own.pop("scales", ()))
            recipe = {"network": path.stem, "scale": scale, "stages": stages, "quantisation": quantisation}
            yield Recipe(**recipe | {"scales": scales} | common | own)
