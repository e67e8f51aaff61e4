"""How each shipped model was trained: one frozen record per network and scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

Loss = Literal["l1", "l2"]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A run of optimiser steps; the rate rises over `warmup` steps, then falls to 0 along a cosine."""

    steps: int
    rate: float  # peak learning rate of Adam
    warmup: int = 0
    loss: Loss = "l1"
    batch: int = 16
    patch: int = 48  # low-resolution pixels per side, context not counted
    bfloat16: bool = True  # convolutions only; skip addition and loss are float32
    revive: float = 0.0  # before it, channels positive on a smaller share of patches than this are made anew


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the weights, besides the pictures."""

    network: str
    scale: int
    stages: tuple[Stage, ...]
    quantisation: tuple[Stage, ...]  # after the float weights are done
    start: str | None = None  # recipe whose float weights the body starts from; the last layer is new
    average: float = 0.999  # decay of the moving average of the weights
    seed: int = 1

    @property
    def name(self) -> str:
        return f"{self.network}_x{self.scale}"

    def shortened(self, steps: int) -> Recipe:
        """The same recipe with every stage cut in proportion, `steps` of them in float and at least one each."""
        ratio = steps / sum(stage.steps for stage in self.stages)

        def cut(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
            return tuple(replace(stage, steps=max(1, round(stage.steps * ratio))) for stage in stages)

        return replace(self, stages=cut(self.stages), quantisation=cut(self.quantisation))


def _finish(steps: int, batch: int = 16) -> Stage:
    return Stage(steps=steps, rate=1e-4, loss="l2", batch=batch, patch=64, bfloat16=False)


def _quantisation(steps: int) -> tuple[Stage, ...]:
    return (Stage(steps=steps, rate=5e-5, warmup=50, loss="l2", patch=48, bfloat16=False),)


def _scratch(network: str, *, steps: int, finish: int) -> Recipe:
    first = (Stage(steps=steps, rate=2e-3, warmup=200), _finish(finish))
    return Recipe(network=network, scale=2, stages=(*first, *_again(16)), quantisation=_quantisation(1_500))


def _again(batch: int) -> tuple[Stage, ...]:
    """Dead channels made anew, then a second descent from half the rate."""
    return (Stage(steps=12_000, rate=1e-3, warmup=200, batch=batch, revive=0.02), _finish(1_000, batch))


def _longer(recipe: Recipe, *stages: Stage) -> Recipe:
    return replace(recipe, stages=(*recipe.stages, *stages))


def _transferred(network: str, scale: int, *, steps: int, finish: int) -> Recipe:
    stages = (Stage(steps=steps, rate=1e-3, warmup=200), _finish(finish))
    return Recipe(network=network, scale=scale, stages=stages, quantisation=_quantisation(800), start=f"{network}_x2")


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in (
            _longer(_scratch("m4c16", steps=40_000, finish=1_000), *_again(32)),
            _scratch("m4c8", steps=50_000, finish=2_500),
            _transferred("m4c16", 3, steps=5_000, finish=400),
            _transferred("m4c16", 4, steps=5_000, finish=400),
            _transferred("m4c8", 3, steps=6_000, finish=400),
            _transferred("m4c8", 4, steps=6_000, finish=400),
        )
    }
)
