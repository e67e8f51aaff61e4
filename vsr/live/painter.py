"""Planar frames to the screen by OpenGL: matrix, range and chroma location in a shader, before beside after."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vsr.colour import turn
from vsr.frame import CHROMA_SITES, FULL, SUBSAMPLING, Frame, PlanarFormat, Plane
from vsr.pictures import lies, matrix
from vsr.settings import Scaling

Rectangle = tuple[int, int, int, int]  # left, bottom, width, height in pixels, as OpenGL counts
# Weights of red and blue in luma, H.273 table 4; 5 is BT.470 System B, G.
WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087)}
WEIGHTS |= {9: (0.2627, 0.0593)}
CORNERS = np.array([0, 0, 1, 0, 0, 1, 1, 1], np.float32)  # of a rectangle, as a strip of two triangles

VERTEX = """
#version 330
in vec2 corner;
out vec2 place;
void main() {
    place = vec2(corner.x, 1.0 - corner.y);
    gl_Position = vec4(2.0 * corner - 1.0, 0.0, 1.0);
}
"""
PICTURES = """
#version 330
uniform sampler2D before_y, before_u, before_v, after_y, after_u, after_v;
uniform vec4 before_chroma, after_chroma;  // of a place: factor, shift
uniform float peak;
uniform mat3 to_rgb;
uniform vec3 zero;
uniform mat2 turned;  // from the window to the planes
uniform float split, line;  // left of it before; half the line's width
in vec2 place;
out vec4 colour;
vec3 samples(sampler2D y, sampler2D u, sampler2D v, vec4 chroma) {
    vec2 stored = turned * (place - 0.5) + 0.5;
    vec2 inside = stored * chroma.xy + chroma.zw;
    return vec3(texture(y, stored).r, texture(u, inside).r, texture(v, inside).r);
}
void main() {
    vec3 found;
    if (place.x < split) found = samples(before_y, before_u, before_v, before_chroma);
    else found = samples(after_y, after_u, after_v, after_chroma);
    vec3 shown = clamp(to_rgb * (found * peak - zero), 0.0, 1.0);
    colour = vec4(abs(place.x - split) < line ? vec3(1.0) : shown, 1.0);
}
"""
PANEL = """
#version 330
uniform sampler2D panel;
in vec2 place;
out vec4 colour;
void main() { colour = texture(panel, place); }
"""


def conversion(frame: Frame) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """RGB = matrix @ (YUV - zero), samples as shares of the format's largest code; H.273 8.3, equations 38 to 49."""
    step, white = 1 << (frame.format.depth - 8), frame.format.white
    full = frame.facts.colour.range == FULL
    black, span, colours = (0, white, white) if full else (16 * step, 219 * step, 224 * step)
    red, blue = WEIGHTS[matrix(frame)]
    green = 1 - red - blue
    by_v, by_u = 2 * (1 - red), 2 * (1 - blue)
    rows = np.array([[1, 0, by_v], [1, -by_u * blue / green, -by_v * red / green], [1, by_u, 0]])
    rows *= np.array([white / span, white / colours, white / colours])
    return rows.astype(np.float32), (np.array([black, 128 * step, 128 * step]) / white).astype(np.float32)


def chroma_place(frame: Frame) -> tuple[float, float, float, float]:
    """Where in chroma planes lies what is at (x, y) of luma, both as shares: factors of x and y, shifts of x and y."""
    if frame.format.chroma == "grey":
        return 1.0, 1.0, 0.0, 0.0
    across, down = SUBSAMPLING[frame.format.chroma]
    right, below = CHROMA_SITES[frame.facts.colour.chroma_location]
    rows, columns = frame.planes[1].shape
    shift_x = (1 - right) / (4 * columns) if across == 2 else 0.0
    shift_y = (1 - below) / (4 * rows) if down == 2 else 0.0
    return frame.width / (across * columns), frame.height / (down * rows), shift_x, shift_y


def turned(frame: Frame) -> tuple[float, float, float, float]:
    """The columns of what leads from a place in the upright picture, seen from the middle, to that in the planes.

    By right angles only, as everywhere here; it undoes ISO/IEC 14496-12 8.2.2.
    """
    matrix = frame.facts.display_matrix
    a, b, c, d = (round(n / 65536) for n in turn(matrix) or (65536, 0, 0, 65536))
    return (a, c, b, d) if a * d - b * c in (-1, 1) else (1, 0, 0, 1)


def upright_size(frame: Frame) -> tuple[int, int]:
    """Width and height as shown: turned upright, pixels made square by widening or narrowing."""
    width = max(1, round(frame.width * frame.facts.aspect))
    return (frame.height, width) if lies(frame.facts.display_matrix) else (width, frame.height)


def fitted(picture: tuple[int, int], window: tuple[int, int], scaling: Scaling) -> Rectangle:
    """Where a picture (width, height) is shown in a window: as large as it fits, centred.

    Args:
        scaling: "integer" enlarges by whole factors only; what is larger than the window is shrunk either way.
    """
    factor = min(window[0] / picture[0], window[1] / picture[1])
    if scaling == "integer" and factor >= 1:
        factor = int(factor)
    width, height = (max(1, round(side * factor)) for side in picture)
    return (window[0] - width) // 2, (window[1] - height) // 2, width, height


class Painter:
    """Draws into the OpenGL context that is current. Raises `moderngl.Error` when it is older than 3.3."""

    def __init__(self) -> None:
        import moderngl

        self._gl: Any = moderngl
        self._context: Any = moderngl.create_context(require=330)
        self._pictures = self._context.program(vertex_shader=VERTEX, fragment_shader=PICTURES)
        self._panel = self._context.program(vertex_shader=VERTEX, fragment_shader=PANEL)
        corners = self._context.buffer(CORNERS.tobytes())
        self._draw_pictures = self._context.simple_vertex_array(self._pictures, corners, "corner")
        self._draw_panel = self._context.simple_vertex_array(self._panel, corners, "corner")
        self._textures: dict[str, Any] = {}
        self.renderer: str = self._context.info["GL_RENDERER"]

    def load(self, before: Frame, after: Frame) -> None:
        """Takes over the samples of both; the frames aren't needed any more."""
        rows, zero = conversion(after)
        self._pictures["to_rgb"].write(np.ascontiguousarray(rows.T).tobytes())
        self._pictures["zero"].write(zero.tobytes())
        self._pictures["turned"].write(np.array(turned(after), np.float32).tobytes())
        self._pictures["peak"] = 1.0 if after.format.depth == 8 else 65535 / after.format.white
        for name, frame in (("before", before), ("after", after)):
            self._pictures[f"{name}_chroma"] = chroma_place(frame)
            for letter, plane in zip("yuv", shown_planes(frame), strict=True):
                self._write(f"{name}_{letter}", plane)

    def _write(self, name: str, plane: Plane) -> None:
        size, kind = plane.shape[::-1], "f1" if plane.dtype == np.uint8 else "nu2"
        texture = self._textures.get(name)
        if texture is None or (texture.size, texture.dtype) != (size, kind):
            if texture is not None:
                texture.release()
            texture = self._context.texture(size, 1, dtype=kind, alignment=1)
            texture.repeat_x = texture.repeat_y = False
            self._textures[name] = texture
        texture.write(plane, alignment=1)

    def samples(self, name: str, format: PlanarFormat) -> tuple[Plane, ...]:
        """The planes of "before" or "after" as they were loaded."""
        letters = "y" if format.chroma == "grey" else "yuv"
        textures = [self._textures[f"{name}_{letter}"] for letter in letters]
        return tuple(np.frombuffer(t.read(alignment=1), format.dtype).reshape(t.size[::-1]) for t in textures)

    def draw(self, window: tuple[int, int], picture: Rectangle, *, sharp: bool, split: float, line: bool) -> None:
        """Paints the window.

        Args:
            window: size.
            picture: the rectangle of it that the pictures fill.
            sharp: samples as squares instead of smooth.
            split: share of the picture's width that is before: 0 all after, 1 all before.
            line: between them.
        """
        screen = self._context.screen
        screen.use()
        self._context.viewport = (0, 0, *window)
        self._context.clear(0.0, 0.0, 0.0, 1.0)
        self._context.viewport = picture
        self._pictures["split"], self._pictures["line"] = split, 1.0 / picture[2] if line else 0.0
        for unit, (name, texture) in enumerate(sorted(self._textures.items())):
            if name in self._pictures:
                self._filter(name, texture, sharp=sharp or texture.size == picture[2:])
                texture.use(unit)
                self._pictures[name] = unit
        self._draw_pictures.render(self._gl.TRIANGLE_STRIP)

    def _filter(self, name: str, texture: Any, *, sharp: bool) -> None:
        """Chroma that is coarser than luma is always smooth."""
        whole = texture.size == self._textures[f"{name.partition('_')[0]}_y"].size
        kind = self._gl.NEAREST if sharp and whole else self._gl.LINEAR
        texture.filter = (kind, kind)

    def draw_panel(self, window: tuple[int, int], panel: npt.NDArray[np.uint8]) -> None:
        """Paints a picture of (rows, columns, RGBA) over the upper left corner."""
        height, width = panel.shape[:2]
        texture = self._context.texture((width, height), 4, panel.tobytes())
        self._context.viewport = (0, window[1] - height, width, height)
        self._context.enable(self._gl.BLEND)
        texture.use(0)
        self._panel["panel"] = 0
        self._draw_panel.render(self._gl.TRIANGLE_STRIP)
        self._context.disable(self._gl.BLEND)
        texture.release()

    def close(self) -> None:
        self._context.release()


def shown_planes(frame: Frame) -> tuple[Plane, Plane, Plane]:
    """Y, U, V without opacity; grey gets a U and V of one neutral sample."""
    if frame.format.chroma == "grey":
        neutral = np.full((1, 1), 1 << (frame.format.depth - 1), frame.format.dtype)
        return frame.planes[0], neutral, neutral
    y, u, v = frame.planes[:3]
    return y, u, v
