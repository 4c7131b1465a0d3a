"""Scratch, hole, print and crack: what each does to the surface of a `Part`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from blemish.datasets.sample.part import Floats, Part, fractal, linear, mix, smoothstep

RAW_WOOD, BARE_WOOD, VOID = (0.90, 0.78, 0.60), (0.72, 0.54, 0.36), (0.10, 0.07, 0.05)
INKS = ((0.93, 0.93, 0.90), (0.10, 0.14, 0.34))
SIGNS = "ABCEFHKMNRSTX23457"
FINE = 4  # lines are drawn this many times larger, then averaged


def add_scratch(part: Part, rng: np.random.Generator) -> Part:
    """A thin, slightly jagged groove that bares pale wood, its raised rim bright on the side of the light."""
    middle, heading = _spot(part, rng, 0.55), rng.uniform(0, 2 * np.pi)
    length = part.size * rng.uniform(0.16, 0.40)
    start = middle - 0.5 * length * np.array([np.sin(heading), np.cos(heading)])
    path = _walk(rng, start, heading, length, 0.13)
    width = part.size / 512 * rng.uniform(1.6, 3.6)
    pressure = 0.75 + 0.25 * np.sin(np.linspace(0.3, np.pi - 0.1, len(path)))
    groove = _line(part, path, width * pressure) * part.cover
    skip = smoothstep(fractal(rng, groove.shape, [(60, 60)]), -2.2, -1.0)
    groove = groove * skip * np.float32(rng.uniform(0.6, 1.0))
    rim = _soften(groove, width * 1.1)
    relief = part.relief + (2.2 * rim - 1.6 * groove) * np.float32(width / part.size * 0.5)
    albedo = mix(part.albedo, linear(RAW_WOOD), 0.85 * groove)
    return replace(part, albedo=albedo, relief=relief, gloss=part.gloss * (1 - 0.8 * groove))


def add_hole(part: Part, rng: np.random.Generator) -> Part:
    """A dark round hole as of a drill or an insect: a pale ragged rim, walls lit on the far side, black within."""
    row, column = _spot(part, rng, 0.6)
    radius = rng.uniform(0.035, 0.11)
    away = part.point - part.point[:, row, column][:, None, None]  # (3, h, w)
    ragged = 1 + 0.05 * fractal(rng, part.cover.shape, [(40, 40)])
    distance = np.sqrt(np.square(away).sum(axis=0)) / np.float32(radius) * ragged  # 1 at the edge
    pixel = 2 / part.size / radius
    inside = smoothstep(distance, 1 + pixel, 1 - pixel)
    deep = smoothstep(distance, 0.95, 0.55)
    rim = np.exp(-np.square((distance - 1.06) / 0.11)) * np.float32(rng.uniform(0.35, 0.85))
    albedo = mix(mix(part.albedo, linear(BARE_WOOD), rim), linear(BARE_WOOD) * 0.35, inside)
    albedo = mix(albedo, linear(VOID) * 0.4, deep)
    relief = part.relief - np.float32(0.5 * radius) * smoothstep(distance, 1.05, 0.5) + np.float32(0.04 * radius) * rim
    return replace(
        part,
        albedo=albedo,
        relief=relief,
        gloss=part.gloss * (1 - inside) * (1 - 0.7 * rim),
        open=part.open * (1 - 0.5 * inside) * (1 - 0.93 * deep),
    )


def add_print(part: Part, rng: np.random.Generator) -> Part:
    """A small stamp of one or two signs, white or dark blue, which follows the surface and wears thin in places."""
    import cv2

    row, column = _spot(part, rng, 0.7)
    away = part.point - part.point[:, row, column][:, None, None]  # (3, h, w)
    right, down = _tangents(part.normal[:, row, column], rng.uniform(0, 2 * np.pi))
    stamp = _stamp(rng)
    scale = stamp.shape[0] / rng.uniform(0.20, 0.38)
    u = np.tensordot(right, away, 1) * np.float32(scale) + stamp.shape[1] / 2
    v = np.tensordot(down, away, 1) * np.float32(scale) + stamp.shape[0] / 2
    ink = cv2.remap(stamp, u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR)
    worn = smoothstep(fractal(rng, ink.shape, [(30, 30), (120, 120)]), -1.7, -0.4)
    front = smoothstep(np.tensordot(part.normal[:, row, column], part.normal, 1), 0.0, 0.2)
    ink = ink * worn * front * part.cover * np.float32(rng.uniform(0.55, 0.95))
    albedo = mix(part.albedo, linear(INKS[rng.integers(len(INKS))]), ink)
    return replace(part, albedo=albedo, gloss=part.gloss * (1 - 0.4 * ink))


def add_crack(part: Part, rng: np.random.Generator) -> Part:
    """A dark fissure that runs in from the outline, jagged, branching and thinning out."""
    width = part.size / 512 * rng.uniform(2.2, 4.6)
    start, heading = _outline_spot(part, rng)
    trunk = _walk(rng, start, heading, part.size * rng.uniform(0.18, 0.38), 0.30)
    gap = _line(part, trunk, width * np.linspace(1.0, 0.3, len(trunk)))
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(trunk) // 5, 4 * len(trunk) // 5))
        turned = heading + rng.choice([-1, 1]) * rng.uniform(0.4, 1.0)
        branch = _walk(rng, trunk[at], turned, part.size * rng.uniform(0.05, 0.14), 0.30)
        gap = np.maximum(
            gap, _line(part, branch, width * (1 - 0.6 * at / len(trunk)) * np.linspace(0.7, 0.2, len(branch)))
        )
    gap = gap * part.cover
    lips = _soften(gap, width)
    relief = part.relief + (1.2 * lips - 2.0 * gap) * np.float32(width / part.size)
    albedo = mix(part.albedo, linear(VOID), 0.92 * gap)
    shut = (1 - 0.85 * gap) * (1 - 0.3 * lips)
    return replace(part, albedo=albedo, relief=relief, gloss=part.gloss * (1 - gap), open=part.open * shut)


DEFECTS: dict[str, Callable[[Part, np.random.Generator], Part]] = {
    "crack": add_crack,
    "hole": add_hole,
    "print": add_print,
    "scratch": add_scratch,
}


def _spot(part: Part, rng: np.random.Generator, facing: float) -> npt.NDArray[np.intp]:
    """A random pixel (row, column) of the shell that faces the camera at least so much."""
    candidates = np.argwhere((part.cover > 0.99) & (part.normal[2] > facing) & (part.cap < 0.01))
    return np.asarray(candidates[rng.integers(len(candidates))], np.intp)


def _outline_spot(part: Part, rng: np.random.Generator) -> tuple[npt.NDArray[np.float64], float]:
    """A random point (row, column) of the shell's outline, and the heading from there to the middle, in radians."""
    inside = part.cover > 0.5
    middle = np.argwhere(inside).mean(axis=0)
    rim = np.argwhere(inside & (part.normal[2] < 0.25) & (part.cap < 0.01))
    start = rim[rng.integers(len(rim))].astype(np.float64)
    down, right = middle - start
    start -= 0.04 * np.array([down, right])
    return start, float(np.arctan2(down, right) + rng.normal(0, 0.3))


def _walk(
    rng: np.random.Generator, start: npt.NDArray[np.generic], heading: float, length: float, jag: float
) -> npt.NDArray[np.float64]:
    """A bent, jagged path of about `length` pixels as (steps, 2) rows and columns."""
    steps = 40
    bend = np.linspace(0, rng.normal(0, 0.5), steps)
    kinks = np.cumsum(rng.normal(0, jag, steps)) * 0.3 + rng.normal(0, jag, steps)
    angles = heading + bend + kinks - kinks[0]
    strides = np.stack([np.sin(angles), np.cos(angles)], axis=1) * (length / steps)
    return np.asarray(start + np.cumsum(strides, axis=0), np.float64)


def _line(part: Part, path: npt.NDArray[np.float64], widths: npt.NDArray[np.float64]) -> Floats:
    """Share of each pixel (h, w) that a line of changing width covers."""
    import cv2

    line = np.zeros_like(part.cover)
    margin = int(np.ceil(widths.max())) + 1
    low = np.clip(np.floor(path.min(axis=0)).astype(int) - margin, 0, part.size - 1)
    high = np.clip(np.ceil(path.max(axis=0)).astype(int) + margin, 1, part.size)
    rows, columns = (high - low).tolist()  # the box around the path
    canvas = np.zeros((rows * FINE, columns * FINE), np.uint8)
    corners = np.rint((path - low + 0.5)[:, ::-1] * FINE).astype(int)  # (steps, 2) x, y
    for a, b, width in zip(corners[:-1], corners[1:], widths, strict=False):
        cv2.line(canvas, a.tolist(), b.tolist(), 255, max(1, round(width * FINE)))
    box = cv2.resize(canvas, (columns, rows), interpolation=cv2.INTER_AREA)
    line[low[0] : high[0], low[1] : high[1]] = box / np.float32(255)
    return line


def _soften(share: Floats, sigma: float) -> Floats:
    """Gaussian blur, for the rims of a line."""
    import cv2

    return np.asarray(cv2.GaussianBlur(share, (0, 0), max(sigma, 0.3)), np.float32)


def _tangents(normal: Floats, turn: float) -> tuple[Floats, Floats]:
    """Two unit vectors along the surface, at right angles, turned by `turn` radians."""
    first = np.cross(normal, (-np.sin(turn), np.cos(turn), 0.0))
    first /= np.linalg.norm(first)
    return first.astype(np.float32), np.cross(normal, first).astype(np.float32)


def _stamp(rng: np.random.Generator) -> Floats:
    """One or two signs in a ring, or bare, as ink shares (96, 128)."""
    import cv2

    stamp = np.zeros((96, 128), np.uint8)
    text = "".join(rng.choice(list(SIGNS), int(rng.integers(1, 3))))
    scale, thick = 1.9, int(rng.integers(5, 9))
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    cv2.putText(stamp, text, ((128 - width) // 2, (96 + height) // 2), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, thick)
    if len(text) == 1 and rng.random() < 0.6:
        cv2.circle(stamp, (64, 48), 42, 255, thick - 1)
    return np.asarray(cv2.GaussianBlur(stamp, (0, 0), 1.5) / np.float32(255), np.float32)
