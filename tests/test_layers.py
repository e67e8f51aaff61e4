"""Every import statement in vsr/ against the table of layers in CONTRIBUTING.md."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
MODULES = {
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((REPOSITORY / "vsr").rglob("*.py"))
}


@dataclass(frozen=True)
class Row:
    rank: int  # 0 is the top
    libraries: frozenset[str]


def read_table(text: str) -> dict[str, Row]:
    """Row by module name, full name as imported."""
    rows: dict[str, Row] = {}
    _, _, table = text.partition("| layer | modules | libraries |\n|---|---|---|\n")
    layers: list[str] = []
    for line in table.split("\n\n")[0].strip().splitlines():
        layer, modules, libraries = (cell.strip() for cell in line.strip("|").split("|"))
        layers += [layer] if layer not in layers else []
        row = Row(layers.index(layer), frozenset(re.findall(r"\w+", libraries)))
        rows |= {name if name == "vsr" else f"vsr.{name}": row for name in re.findall(r"`([\w.]+)`", modules)}
    return rows


TABLE = read_table((REPOSITORY / "CONTRIBUTING.md").read_text())


def row_of(module: str) -> Row | None:
    """The row of the longest name that is `module` or a package it lies in; `vsr` stands for itself alone."""
    names = [name for name in TABLE if module == name or (module.startswith(f"{name}.") and name != "vsr")]
    return TABLE[max(names, key=len)] if names else None


def imported(source: str) -> Iterator[str]:
    """Modules that a file's import statements name, wherever they stand: function bodies and TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            assert node.module is not None
            for alias in node.names:
                member = f"{node.module}.{alias.name}"
                if member != "vsr.__version__":
                    yield member if member in MODULES else node.module


def violations(module: str, source: str) -> list[str]:
    row = row_of(module)
    if row is None:
        return [f"{module} is in no row of the table in CONTRIBUTING.md"]
    found = []
    for name in imported(source):
        top = name.partition(".")[0]
        if top == "vsr":
            target = row_of(name)
            if target is None or target.rank < row.rank:
                found.append(f"{module} imports {name}, which lies above it or in no row")
        elif top not in sys.stdlib_module_names and top not in row.libraries:
            found.append(f"{module} imports {name}; its row allows {', '.join(sorted(row.libraries)) or 'no library'}")
    return found


@pytest.mark.parametrize("module", MODULES)
def test_imports_follow_the_table(module: str) -> None:
    assert not violations(module, MODULES[module].read_text())


def test_a_violation_is_found() -> None:
    assert violations("vsr.frame", "import numpy") == []
    assert violations("vsr.frame", "def late():\n    import torch")
    assert violations("vsr.graph", "from vsr.networks.mxcy import MxCy") == []
    assert violations("vsr.networks.mxcy", "from vsr import graph")
    assert violations("vsr.demux", "from vsr.pipeline import upscale")
    assert violations("vsr.errors", "from vsr import Upscaler")
    assert violations("vsr.nowhere", "")


def test_the_table_names_what_exists() -> None:
    missing = [name for name in TABLE if name not in MODULES and name != "vsr.engines"]
    assert not missing, f"CONTRIBUTING.md lists modules that don't exist: {missing}"
