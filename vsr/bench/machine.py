"""The sheet of what the numbers hold for."""

from __future__ import annotations

import datetime
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

EXTENSIONS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16", "asimddp", "i8mm")
TENSORRT = ("tensorrt", "tensorrt_cu13", "tensorrt_cu12")
LIBRARIES = ("av", "numpy", "openvino", "onnx", "torch", "triton", *TENSORRT, "cuda-bindings", "pycuda")


def machine() -> dict[str, Any]:
    """Processor, instruction sets, clocks, memory, versions, date; what the machine doesn't tell is left out."""
    facts = _processor()
    return {
        "processor": facts.get("model name", platform.processor() or platform.machine()),
        "family_model": [facts[name] for name in ("cpu family", "model") if name in facts],
        "extensions": [name for name in EXTENSIONS if name in facts.get("flags", facts.get("Features", "")).split()],
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "mhz": _clocks(facts),
        "memory_mib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20,
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
        **{name: found for name in LIBRARIES if (found := _version(name))},
    }


def _processor() -> dict[str, str]:
    """/proc/cpuinfo's lines of the first core; nothing where there is no such file."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}


def _clocks(facts: dict[str, str]) -> dict[str, float]:
    """Of the first core, MHz: now, and the most it may have where the kernel scales it."""
    clocks = {"now": float(facts["cpu MHz"])} if "cpu MHz" in facts else {}
    try:
        most = Path("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq").read_text()
    except OSError:
        return clocks
    return clocks | {"most": int(most) / 1000}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
