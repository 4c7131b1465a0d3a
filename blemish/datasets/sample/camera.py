"""Light, table, lens and sensor: a photograph of a `Part`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from blemish.datasets.sample.part import Floats, Part, fractal, linear, mix

KEY_COLOR, FILL_COLOR, SKY_COLOR = (1.0, 0.96, 0.9), (0.82, 0.9, 1.0), (0.9, 0.95, 1.0)
TABLE_COLOR = (0.95, 1.0, 1.08)
NOISE = np.float32(1.3)  # deviation in grey levels


def expose(part: Part, rng: np.random.Generator) -> Floats:
    """The picture that the lens throws on the sensor: displayed levels 0..255 before noise, (h, w, 3) RGB.

    The same state of `rng` gives the same light and table, whatever the part.
    """
    import cv2

    light, gain, blur = _key_light(rng), rng.uniform(0.94, 1.06), rng.uniform(0.6, 0.9)
    table = _table(rng, part.size) * _shadow(part.cover, light)  # (3, h, w)
    scene = cv2.merge(list(mix(table, _shade(part, light), part.cover)))  # (h, w, 3)
    scene = cv2.GaussianBlur(scene, (0, 0), max(blur * part.size / 512, 0.4))
    glow = np.maximum(scene, 0) * np.float32(gain)
    return np.asarray(255 * np.sqrt(glow / (1 + np.float32(0.22) * glow)), np.float32)


def sense(picture: Floats, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """The sensor's image, uint8 (h, w, 3): under a gamma of 2 photon noise is equally strong everywhere."""
    noise = rng.standard_normal(picture.shape, np.float32)
    return np.asarray(np.clip(picture + NOISE * noise + np.float32(0.5), 0, 255), np.uint8)


def _key_light(rng: np.random.Generator) -> Floats:
    """Direction to the main light, upper left with a little play; (3,)."""
    azimuth, height = np.radians(rng.normal(-128, 7)), np.radians(rng.normal(50, 3))
    across = np.cos(height)
    return np.array([across * np.cos(azimuth), across * np.sin(azimuth), np.sin(height)], np.float32)


def _shade(part: Part, light: Floats) -> Floats:
    """Light that the part sends to the camera: soft key, fill from the other side, sky, two highlights; (3, h, w)."""
    normal = _rough_normal(part)
    facing = np.tensordot(light, normal, 1)  # (h, w)
    key = np.square(np.clip((facing + 0.3) / 1.3, 0, 1)) * np.sqrt(part.open)
    fill = np.clip((np.tensordot(np.array([0.6, 0.55, 0.58], np.float32), normal, 1) + 0.3) / 1.3, 0, 1)
    sky = (0.25 + 0.75 * np.clip(normal[2], 0, 1)) * part.open
    lamps = ((key, 1.75, KEY_COLOR), (fill * part.open, 0.22, FILL_COLOR), (sky, 0.22, SKY_COLOR))
    received = np.tensordot(
        np.array([[power * c for c in color] for _, power, color in lamps], np.float32).T,
        np.stack([lamp for lamp, _, _ in lamps]),
        1,
    )  # (3, h, w)
    return np.asarray(part.albedo * received + _highlight(part, normal, light), np.float32)


def _rough_normal(part: Part) -> Floats:
    """Normals (3, h, w) tipped by the slope of the relief."""
    import cv2

    per_unit = part.size / 16
    normal = part.normal.copy()
    normal[0] -= cv2.Sobel(part.relief, cv2.CV_32F, 1, 0, scale=per_unit)
    normal[1] -= cv2.Sobel(part.relief, cv2.CV_32F, 0, 1, scale=per_unit)
    return np.asarray(normal / np.sqrt(np.square(normal).sum(axis=0) + np.float32(1e-6)), np.float32)


def _highlight(part: Part, normal: Floats, light: Floats) -> Floats:
    """Blinn's highlight with a broad and a narrow lobe, the satin of a shell; (h, w)."""
    half = light + np.array([0, 0, 1], np.float32)
    cosine = np.clip(np.tensordot(half / np.linalg.norm(half), normal, 1), 0, 1)
    broad = cosine**16
    return np.asarray((0.06 * broad + 0.20 * np.square(np.square(broad))) * part.gloss * part.open, np.float32)


def _table(rng: np.random.Generator, size: int) -> Floats:
    """A dark, faintly woven mat under uneven light; (3, h, w)."""
    ticks = np.arange(size, dtype=np.float32) * np.float32(512 / size)
    jitter = 0.5 * fractal(rng, (size, size), [(40, 40)])
    offset = rng.uniform(0, 6.3, 2).astype(np.float32)
    weave = np.sin(ticks[None, :] * np.float32(1.05) + offset[0] + jitter)
    weave = weave * np.sin(ticks[:, None] * np.float32(1.05) + offset[1] + jitter)
    cloth = fractal(rng, (size, size), [(6, 6), (30, 30), (90, 90), (220, 220)])
    falloff = 1.15 - 0.3 * (ticks[None, :] + 1.2 * ticks[:, None]) / 1126
    value = 0.0135 * falloff * np.clip(1 + 0.16 * weave + 0.16 * cloth, 0.2, None)
    return np.asarray(value * linear(TABLE_COLOR), np.float32)


def _shadow(cover: Floats, light: Floats) -> Floats:
    """Share of light left on the table: a cast shadow away from the light and a tight one at the contact; (h, w)."""
    import cv2

    size = cover.shape[0]
    small = cv2.resize(cover, (128, 128), interpolation=cv2.INTER_AREA)
    move = np.array([[1, 0, -16 * light[0]], [0, 1, -16 * light[1]]], np.float32)
    cast = cv2.GaussianBlur(cv2.warpAffine(small, move, (128, 128)), (0, 0), 6)
    contact = cv2.GaussianBlur(small, (0, 0), 3)
    left = (1 - 0.75 * cast) * (1 - 0.55 * contact)
    return np.asarray(cv2.resize(left, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)
