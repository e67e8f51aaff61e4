"""An X server without a screen."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def xvfb(size: str = "1280x1024", *options: str) -> Iterator[str]:
    """The name of a display of its own, e.g. ":3". Raises FileNotFoundError where there is no Xvfb."""
    reads, writes = os.pipe()
    command = ["Xvfb", "-displayfd", str(writes), "-screen", "0", f"{size}x24", "-nolisten", "tcp", "-noreset"]
    try:
        server = subprocess.Popen([*command, *options], pass_fds=[writes], stderr=subprocess.DEVNULL)
    finally:
        os.close(writes)
    try:
        with os.fdopen(reads) as pipe:
            yield f":{pipe.readline().strip()}"
    finally:
        server.terminate()
        server.wait(30)
