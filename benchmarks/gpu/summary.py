"""A result as lines for people: the rates, then what was to be reached."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.gpu.floors import Work

WAYS = ("infer", "copies", "end to end, pinned", "end to end, pageable")
END_TO_END, GOAL, OVERLAP, GROWTH = 0.85, 2000, 0.8, 16 << 20  # share of infer only, fps, share of the copies, bytes

Found = dict[str, Any]


def lines(content: Found) -> Iterator[str]:
    parts = content["parts"]
    limits = parts.get("limits", {})
    yield from _limits(limits)
    rows = {name: found for name, found in parts.items() if "latency_ms" in found}
    if rows:
        yield f"{'fps':46}" + "".join(f"{way:>22}" for way in WAYS) + f"{'ms infer':>10}{'floor':>8}{'layers':>8}"
    for name, row in rows.items():
        yield _row(name, row, limits)
    yield from _ways("slots", parts.get("slots", {}))
    yield from _ways("beside", parts.get("beside", {}))
    yield from _layers(parts.get("layers", {}))
    yield from reached(content)
    yield from (f"FAILED {name}: {text.splitlines()[-1]}" for name, text in content["errors"].items())


def _limits(found: Found) -> Iterator[str]:
    units = {"copied": 1e9, "uploaded": 1e9, "downloaded": 1e9, "both_ways": 1e9, "copied_by_cpu": 1e9}
    shown = [f"{name} {found[name] / unit:,.0f} GB/s" for name, unit in units.items() if name in found]
    if "multiplied" in found:
        shown.append(f"multiplied {found['multiplied'] / 1e12:,.1f} TFLOP/s")
    if shown:
        yield "limits: " + ", ".join(shown)


def _row(name: str, row: Found, limits: Found) -> str:
    fps = "".join(f"{row['ways'][way]['fps']:>22,.0f}" for way in WAYS)
    floors = ""
    if "copied" in limits and "multiplied" in limits:
        least = Work(**row["work"]).milliseconds(limits["copied"], limits["multiplied"])
        floors = "".join(f"{value:>8.3f}" for value in least)
    return f"{name:46}{fps}{row['ways']['infer']['ms']:>10.3f}{floors}"


def _ways(title: str, found: Found) -> Iterator[str]:
    shown = [f"{name} {one['fps']:,.0f} fps" for name, one in found.items() if isinstance(one, dict) and "fps" in one]
    if shown:
        yield f"{title}: " + ", ".join(shown)


def _layers(found: Found) -> Iterator[str]:
    for name, one in found.items():
        if isinstance(one, dict) and "ms" in one:
            yield f"layer, {name}: {one['ms']:.4f} ms, {one['bytes_per_second'] / 1e9:,.0f} GB/s"


def reached(content: Found) -> Iterator[str]:
    """One line for everything that was to be reached."""
    parts = content["parts"]
    bar = parts.get("timeline", {}).get("size")
    for row in (found for name, found in parts.items() if name.endswith(f": {bar}") and "latency_ms" in found):
        ways = row["ways"]
        share = ways["end to end, pinned"]["fps"] / ways["infer"]["fps"]
        yield _verdict(
            share >= END_TO_END, f"{row['label']}: end to end is {share:.0%} of infer only ({END_TO_END:.0%})"
        )
        fps = ways["end to end, pinned"]["fps"]
        yield _verdict(fps >= GOAL, f"{row['label']}: {fps:,.0f} fps end to end ({GOAL:,})")
    beside = parts.get("beside", {})
    if "torch.compile, graph" in beside:
        ours, theirs = beside["infer"]["fps"], beside["torch.compile, graph"]["fps"]
        yield _verdict(ours >= theirs, f"infer only {ours:,.0f} fps, torch.compile {theirs:,.0f}")
    for name in ("timeline", "timeline without graphs"):
        if "overlap" in (kept := parts.get(name, {})):
            yield _verdict(
                kept["overlap"] >= OVERLAP, f"{name}: {kept['overlap']:.0%} of copying is hidden ({OVERLAP:.0%})"
            )
    if "after" in (kept := parts.get("memory", {})):
        grown = kept["before"]["device_free"] - kept["after"]["device_free"]
        held = kept["after"]["resident"] - kept["before"]["resident"]
        text = f"{kept['frames']} frames took {grown >> 20} MiB of the device's memory, {held >> 20} of the system's"
        yield _verdict(max(grown, held) <= GROWTH, text)


def _verdict(fine: bool, text: str) -> str:
    return f"{'ok  ' if fine else 'MISS'} {text}"
