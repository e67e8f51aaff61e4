"""What a plan consists of, as TensorRT's inspector tells it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from vsr.plans import PlanError


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of a plan.

    Args:
        kind: "CaskConvolution", "kgen", "Reformat" and so on.
        outputs: formats of what it writes, in TensorRT's words.
    """

    name: str
    kind: str
    outputs: tuple[str, ...]

    @property
    def reformats(self) -> bool:
        """It only changes how a tensor lies in memory; one at each end of a network is normal, more cost time."""
        return "reformat" in self.kind.lower() or self.name.startswith("Reformatting")


def layers(trt: Any, engine: Any) -> tuple[Layer, ...]:
    """Raises PlanError when the inspector's answer can't be read."""
    inspector = engine.create_engine_inspector()
    text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    try:
        return tuple(_layer(entry) for entry in json.loads(text)["Layers"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PlanError(f"TensorRT describes this plan in a way that isn't known here ({error})") from error


def kinds(found: tuple[Layer, ...]) -> Counter[str]:
    """How many layers of each kind."""
    return Counter("Reformat" if layer.reformats else layer.kind for layer in found)


def _layer(entry: Any) -> Layer:
    """A name alone where the plan was built without details; TensorRT 10 says format and type in one string."""
    if isinstance(entry, str):
        return Layer(name=entry, kind="unknown", outputs=())
    return Layer(
        name=entry["Name"],
        kind=entry.get("LayerType", "unknown"),
        outputs=tuple(_form(tensor) for tensor in entry.get("Outputs", [])),
    )


def _form(tensor: Any) -> str:
    joint = tensor.get("Format/Datatype")
    parts = [joint] if joint else [tensor.get("Datatype"), tensor.get("Format")]
    return " ".join(str(part) for part in parts if part)
