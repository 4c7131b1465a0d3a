"""One procedural hazelnut in its shell: its shape, seen from above, and what its surface is made of.

View coordinates: x right, y down, z towards the camera, in half image sides; light is linear RGB.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

DARK, MIDDLE, PALE = (0.30, 0.165, 0.085), (0.575, 0.365, 0.215), (0.735, 0.535, 0.36)
CAP, CAP_PIT, FUZZ = (0.78, 0.68, 0.535), (0.47, 0.375, 0.27), (0.70, 0.61, 0.49)


@dataclass(frozen=True)
class Part:
    """A nut, pixel by pixel, before light falls on it; `h = w = size`.

    `cover` (h, w): share of the pixel that the nut fills. `point`, `normal` (3, h, w): where its surface is and looks.
    `albedo` (3, h, w): reflected share of the light. `relief` (h, w): height above the smooth shape. `gloss`, `open`
    (h, w): strength of the highlight, and share of the surroundings that a surface point sees. `cap` (h, w): 1 on the
    pale base.
    """

    cover: Floats
    point: Floats
    normal: Floats
    albedo: Floats
    relief: Floats
    gloss: Floats
    open: Floats
    cap: Floats

    @property
    def size(self) -> int:
        """Side of the square image in pixels."""
        return int(self.cover.shape[0])


def linear(color: tuple[float, float, float] | npt.NDArray[np.float64]) -> Floats:
    """Displayed colour in 0..1 to linear light (3, 1, 1), by the camera's gamma of 2."""
    return np.asarray(np.square(color), np.float32)[:, None, None]


def smoothstep(x: Floats, low: float, high: float) -> Floats:
    """0 below `low`, 1 above `high`, smooth between; `low` may be the larger one."""
    t = np.clip((x - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def mix(a: Floats, b: Floats, share: Floats) -> Floats:
    """From `a` to `b` (each (3, h, w) or one colour (3, 1, 1)) by a per-pixel share (h, w)."""
    return np.asarray(a + (b - a) * share, np.float32)  # (3, h, w)


def fractal(rng: np.random.Generator, shape: tuple[int, int], cells: list[tuple[int, int]]) -> Floats:
    """Smooth noise of mean 0 and deviation near 1: normal values on coarse grids `cells`, enlarged and added."""
    import cv2

    total = np.zeros(shape, np.float32)
    for rows, columns in cells:
        grid = rng.standard_normal((rows, columns), np.float32)
        total += cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(total / np.float32(0.75 * len(cells) ** 0.5), np.float32)


def grow_part(rng: np.random.Generator, size: int) -> Part:
    """A good nut of random shape, pose and shell, `size` pixels square."""
    shape_rng, shell_rng, cap_rng = rng.spawn(3)
    cover, point, normal, along, across, depth = _body(shape_rng, size)
    around = np.arctan2(across, depth)
    streaks, bands, hairs, grey = _shell_noise(shell_rng, size, along, around)
    # Towards the outline and the tip the finest lines run together.
    facing = smoothstep(normal[2], 0.05, 0.45) * smoothstep(along, 1.0, 0.8)
    streaks, hairs, grey = streaks * (0.4 + 0.6 * facing), hairs * facing, grey * facing
    cap = _cap_share(cap_rng, along, around)
    grain = _cap_grain(cap_rng, size, across, depth) * (0.3 + 0.7 * facing)

    fuzz = smoothstep(along + 0.1 * bands, 0.55, 1.0) * (0.3 + 0.2 * np.clip(hairs, -1, 1))
    contrast, base_tone = shell_rng.uniform(0.16, 0.34), shell_rng.normal(0.5, 0.13)
    tone = base_tone + contrast * streaks + 0.16 * bands + 0.25 * smoothstep(along, -0.55, -0.8)
    shell = _shell_color(shell_rng, tone, hairs)
    shell = mix(shell, linear(FUZZ), np.clip(fuzz, 0, 1)) * (1 + 0.05 * grey)
    cap_color = mix(linear(CAP_PIT), linear(CAP), np.clip(cap_rng.normal(0.66, 0.1) + 0.3 * grain, 0, 1))
    seam = np.exp(-np.square((cap - 0.35) / 0.22)) * (cap > 0.01)
    albedo = mix(shell, cap_color, cap) * (1 - 0.5 * seam)
    pixel = np.float32(2 / size)
    relief = (1 - cap) * (0.9 * streaks + 0.5 * hairs + 0.25 * grey) * pixel * 0.13
    relief = relief + cap * (0.9 * grain - 3) * pixel * 0.6 + 0.004 * bands * (1 - cap)
    relief = relief * smoothstep(normal[2], 0.0, 0.3)
    gloss = (1 - cap) * (1 - 0.8 * np.clip(fuzz, 0, 1)) * np.clip(1 + 0.3 * streaks, 0.2, 2)
    return Part(cover, point, normal, np.clip(albedo, 0.005, 0.9), relief, gloss, 1 - 0.35 * seam, cap)


def _body(rng: np.random.Generator, size: int) -> tuple[Floats, Floats, Floats, Floats, Floats, Floats]:
    """Cover, point, normal, and the nut's own coordinates: along its axis (-1 base, 1 tip), across, and in depth."""
    length = rng.uniform(0.62, 0.70)
    width = length * rng.uniform(0.86, 0.98)
    flat = rng.uniform(0.92, 1.0)
    turn, tilt = rng.uniform(0, 2 * np.pi), rng.uniform(-0.5, 0.32)
    shift = rng.uniform(-0.06, 0.06, 2)
    base, tip, point_width = rng.uniform(1.1, 1.45), rng.uniform(0.72, 1.0), rng.uniform(0.03, 0.07)

    ticks = (np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1
    bend = [0.012 * fractal(rng, (size, size), [(5, 5)]) for _ in range(2)]
    x = ticks[None, :] - np.float32(shift[0]) + bend[0]  # (h, w)
    y = ticks[:, None] - np.float32(shift[1]) + bend[1]

    axis = np.array([np.cos(turn) * np.cos(tilt), np.sin(turn) * np.cos(tilt), np.sin(tilt)])
    side = np.array([-np.sin(turn), np.cos(turn), 0.0])
    up = np.cross(axis, side)
    frame = np.stack([axis / length, side / (width * flat), up / width]).astype(np.float32)  # (3, 3): view to nut
    start = [row[0] * x + row[1] * y for row in frame]  # nut coordinates at z = 0
    step = frame[:, 2]  # and per unit of z

    profile = _Profile(base, tip, point_width)
    z, inside = _meet(profile, start, step)
    along, across, depth = (s + z * np.float32(d) for s, d in zip(start, step, strict=True))
    slope = profile.fall(along)
    normal = np.tensordot(frame.T, np.stack([slope, 2 * across, 2 * depth]), 1)  # (3, h, w)
    normal /= np.sqrt(np.square(normal).sum(axis=0)) + np.float32(1e-6)
    return _cover(inside), np.stack([x, y, z]), normal, along, across, depth


@dataclass(frozen=True)
class _Profile:
    """Squared radius along the axis: (1 - t^2) (1 + c1 t + c2 t^2) (1 - t) / (1 - t + w), a blunt base and a point."""

    base: float
    tip: float
    point_width: float

    def factor(self, t: Floats) -> Floats:
        """Squared radius over 1 - t^2."""
        c1, c2 = (self.tip - self.base) / 2, (self.tip + self.base) / 2 - 1
        rest = 1 - t
        return np.asarray((1 + t * (c1 + c2 * t)) * rest / (rest + np.float32(self.point_width)), np.float32)

    def fall(self, t: Floats) -> Floats:
        """Minus the derivative of the squared radius, by central difference."""
        d = np.float32(1e-3)
        t = np.clip(t, -1 + d, 1 - d)
        low, high = t - d, t + d
        fall = (1 - low * low) * self.factor(low) - (1 - high * high) * self.factor(high)
        return np.asarray(fall / (2 * d), np.float32)


def _meet(profile: _Profile, start: list[Floats], step: Floats) -> tuple[Floats, Floats]:
    """Height at which each upright line meets the nut, and a quantity that is positive inside the outline.

    With the profile's factor held, the surface is a quadric and the meeting point exact; the factor is then renewed.
    """
    along, across, depth = start
    p, _, q = (float(v) for v in step)
    z = np.zeros_like(along)
    for _ in range(4):
        factor = profile.factor(np.clip(along + z * p, -1, 0.9995))
        a = q * q + factor * (p * p)
        b = depth * q + factor * (along * p)
        inside = b * b - a * (across * across + depth * depth + factor * (along * along - 1))
        z = (np.sqrt(np.maximum(inside, 0)) - b) / a
    return z, inside


def _cover(inside: Floats) -> Floats:
    """Share of each pixel within the outline, from the distance to it in pixels."""
    import cv2

    dx, dy = cv2.Sobel(inside, cv2.CV_32F, 1, 0, scale=0.125), cv2.Sobel(inside, cv2.CV_32F, 0, 1, scale=0.125)
    return np.clip(0.5 + inside / np.maximum(cv2.magnitude(dx, dy), 1e-6), 0, 1)


def _sample(texture: Floats, u: Floats, v: Floats) -> Floats:
    """`texture` (rows, columns, C) at u, v in 0..1 of its columns and rows, bilinear."""
    import cv2

    rows, columns = texture.shape[:2]
    return np.asarray(cv2.remap(texture, u * (columns - 1), v * (rows - 1), cv2.INTER_LINEAR), np.float32)


def _shell_noise(rng: np.random.Generator, size: int, along: Floats, around: Floats) -> list[Floats]:
    """Noise drawn out along the axis: streaks, broad bands, single hairs, and fine grey grain; each (h, w)."""
    shape = (size // 2, size * 2)
    streaks = fractal(rng, shape, [(3, 70), (5, 150), (9, 340)])
    bands = fractal(rng, shape, [(4, 9), (3, 22)])
    hairs = fractal(rng, shape, [(8, 420), (16, 620)])
    grain = fractal(rng, shape, [(110, 330)])
    texture = np.stack([streaks, bands, hairs, grain], axis=-1)  # (rows, columns, 4)
    wave = fractal(rng, shape, [(5, 14)])[..., None]
    v = np.asarray(np.clip((along + 1) / 2, 0, 1), np.float32)
    u = np.asarray(np.clip(around / (2 * np.pi) + 0.5, 0, 1), np.float32)
    u = np.asarray(np.clip(u + 0.002 * _sample(wave, u, v), 0, 1), np.float32)
    return [np.ascontiguousarray(plane) for plane in np.moveaxis(_sample(texture, u, v), -1, 0)]


def _shell_color(rng: np.random.Generator, tone: Floats, hairs: Floats) -> Floats:
    """Brown of one nut: dark to pale by `tone`, thin pale fibres on top; (3, h, w)."""
    warmth = rng.normal(0, 0.022, 3) * (1.0, 0.6, 1.2) + rng.normal(0, 0.04)
    dark, middle, pale = linear(DARK), linear(MIDDLE), linear(PALE)
    shell = mix(dark, middle, smoothstep(tone, -0.15, 0.55))
    shell = mix(shell, pale, 0.6 * smoothstep(tone, 0.55, 1.25))
    shell = mix(shell, pale, 0.45 * smoothstep(hairs, 1.0, 2.4))
    return np.asarray(shell * linear(1 + warmth), np.float32)


def _cap_share(rng: np.random.Generator, along: Floats, around: Floats) -> Floats:
    """1 on the pale base, 0 on the shell, with an uneven border; (h, w)."""
    border = np.float32(rng.uniform(-0.8, -0.68))
    wobble = np.zeros_like(along)
    for waves in (1, 2, 3, 5, 8, 13):
        wobble += np.float32(rng.normal(0, 0.022 / waves**0.5)) * np.cos(
            waves * around + np.float32(rng.uniform(0, 6.3))
        )
    return smoothstep(along - border + wobble, 0.022, -0.022)


def _cap_grain(rng: np.random.Generator, size: int, across: Floats, depth: Floats) -> Floats:
    """Rough grain of the base, in its own plane; (h, w)."""
    grain = fractal(rng, (size, size), [(14, 14), (36, 36), (80, 80), (150, 150)])
    u, v = (np.clip(0.5 + 0.42 * c, 0, 1) for c in (across, depth))
    return _sample(grain[..., None], u, v)
