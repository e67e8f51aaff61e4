"""Makes bomb.mp4.gz: two frames of 16000x16000, 750 KB as MP4, 2 KB packed. Needs 3 GB. python tests/faults/bomb.py"""

from __future__ import annotations

import gzip
from fractions import Fraction
from pathlib import Path

import av

SIDE = 16000

if __name__ == "__main__":
    target = Path(__file__).with_name("bomb.mp4")
    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        stream.codec_context.thread_count = 1
        frame = av.VideoFrame(SIDE, SIDE, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        for number in range(2):
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    target.with_suffix(".mp4.gz").write_bytes(gzip.compress(target.read_bytes(), 9, mtime=0))
    target.unlink()
