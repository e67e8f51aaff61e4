"""vsr-doctor: tries encoders, backends, temporary folder and memory, one line for each thing done."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from vsr import __version__

if TYPE_CHECKING:
    from vsr.doctor import Check


def main(argv: list[str] | None = None) -> int:
    """Returns 0 when `vsr-run` with no options has all it needs, 1 otherwise."""
    arguments = _parser().parse_args(argv)
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 talks on standard error otherwise; 1: errors only
    from vsr.doctor import checks, works

    done = []
    for check in checks():
        done.append(check)
        if not arguments.json:
            print(_line(check), flush=True)
    fine = works(done)
    if arguments.json:
        print(json.dumps({"version": 1, "vsr": __version__, "works": fine, "checks": [asdict(c) for c in done]}))
    else:
        print("vsr-run works here" if fine else "vsr-run does not work here: see the lines marked FAIL and *")
    return 0 if fine else 1


def _line(check: Check) -> str:
    mark = "*" if check.needed else " "
    return f"{check.status:<4} {mark} {check.name:<20} {check.done}  ({check.seconds:.2f} s)"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vsr-doctor",
        description="Tries what vsr relies on, here. '--' marks what isn't there and isn't needed, '*' what is.",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    return parser


if __name__ == "__main__":
    sys.exit(main())
