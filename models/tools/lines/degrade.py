"""What printing, ageing and scanning do to a line. In: ink on nothing. Out: grey pixels at the network's height.

Levels: `clean`, as a page rendered at its own size; `scan`, 10 to 12 points at 200 dpi with the blur, noise and compression of a
scanner; `train`, anything from clean to barely readable.
"""

import cv2
import numpy as np

from lines import draw
from lines.draw import HEIGHT, Ink

LEVELS = ("clean", "scan", "train")
# 10 to 12 points at 200 dpi, in pixels of the em.
SCAN_EM = (28, 33)


def degraded(rng: np.random.Generator, ink: Ink, level: str, other: Ink | None = None) -> np.ndarray:
    """`[48, W] u8`, W as the line's aspect has it. `other`: a line that shines through or stands next to this one."""
    if level == "clean":
        return _bytes(255 * (1 - draw.fitted(ink.cover)))
    cover = ink.cover
    if level == "scan":
        cover = _sized(cover, ink.em_px, rng.uniform(*SCAN_EM))
        cover = cv2.GaussianBlur(cover, (0, 0), rng.uniform(0.4, 0.8))
        page = _paper(rng, cover.shape, 0.5) - cover * rng.uniform(150, 215)
        page = page + rng.normal(0, rng.uniform(3, 9), cover.shape)
        return draw.fitted(_jpeg(_bytes(page), int(rng.integers(50, 90))))
    return _worn(rng, ink, other)


def _worn(rng, ink: Ink, other: Ink | None) -> np.ndarray:
    # How much happens at all: a third of the lines are nearly clean.
    force = max(0.0, rng.uniform(-0.5, 1.0))
    cover = ink.cover
    if other is not None and rng.random() < 0.25:
        cover = _neighbour(rng, cover, other.cover)
    if rng.random() < 0.07:
        cover = _underlined(rng, cover)
    if rng.random() < 0.75:
        cover = _bent(rng, cover, force)
    if rng.random() < 0.45 * (0.3 + force):
        cover = _bled(rng, cover)
    if rng.random() < 0.3 * force:
        cover = _broken(rng, cover)
    # Resolution: down to an em of 13 pixels, where Devanagari is just readable.
    if rng.random() < 0.35 + 0.4 * force:
        cover = _sized(cover, ink.em_px, rng.uniform(14 if force > 0.5 else 20, 36))
    if rng.random() < 0.6:
        cover = cv2.GaussianBlur(cover, (0, 0), 0.25 + rng.uniform(0, 0.9) * (0.3 + force) * max(0.6, len(cover) / HEIGHT))
    paper = _paper(rng, cover.shape, force)
    if other is not None and rng.random() < 0.12:
        paper = _through(rng, paper, other.cover)
    page = paper - np.clip(cover, 0, 1) * (paper.mean() - rng.uniform(0, 0.55 + 0.2 * (1 - force)) * paper.mean())
    if rng.random() < 0.08:
        page = 255 - page
    if rng.random() < 0.6:
        page = page + rng.normal(0, rng.uniform(0.5, 16 * force + 2), cover.shape)
    if rng.random() < 0.05:
        specks = rng.random(cover.shape)
        page = np.where(specks < 0.006, 20, np.where(specks > 0.994, 250, page))
    page = _bytes(page)
    if rng.random() < 0.06:
        # A fax: two levels.
        page = _bytes(255.0 * (page > page.mean() - 8 + rng.uniform(-12, 12)))
    if rng.random() < 0.5:
        page = _jpeg(page, int(rng.integers(25 if force > 0.6 else 45, 95)))
    return draw.fitted(page, max(8, round(page.shape[1] * HEIGHT / page.shape[0] * rng.uniform(0.88, 1.13))))


def _bytes(page: np.ndarray) -> np.ndarray:
    return np.clip(page, 0, 255).astype(np.uint8)


def _sized(cover: np.ndarray, em: float, wanted: float) -> np.ndarray:
    part = wanted / em
    size = (max(6, round(cover.shape[1] * part)), max(8, round(cover.shape[0] * part)))
    return cv2.resize(cover, size, interpolation=cv2.INTER_AREA if part < 1 else cv2.INTER_LINEAR)


def _jpeg(page: np.ndarray, quality: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", page, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)


def _smooth(rng, shape, cells: int) -> np.ndarray:
    """Low frequencies: `[H, W] f32`, mean 0, deviation 1."""
    high, wide = shape
    coarse = rng.standard_normal((max(2, cells // 2), max(2, cells * wide // max(1, high)))).astype(np.float32)
    return cv2.resize(coarse, (wide, high), interpolation=cv2.INTER_CUBIC)


def _paper(rng, shape, force: float) -> np.ndarray:
    level = rng.uniform(255 - 90 * force, 255)
    paper = np.full(shape, level, np.float32)
    if rng.random() < 0.5:
        paper += _smooth(rng, shape, int(rng.integers(2, 5))) * rng.uniform(0, 14) * force
    if rng.random() < 0.3:
        paper += _smooth(rng, shape, 24) * rng.uniform(0, 9) * force
    if rng.random() < 0.3:
        # The shadow of the fold.
        paper *= np.linspace(1, rng.uniform(1 - 0.35 * force, 1), shape[1], dtype=np.float32)[::rng.choice([1, -1])]
    return paper


def _bent(rng, cover: np.ndarray, force: float) -> np.ndarray:
    """Skew, slant and curvature in one sampling."""
    high, wide = cover.shape
    x = np.arange(wide, dtype=np.float32)
    rise = np.tan(np.deg2rad(rng.normal(0, 0.35 + 0.5 * force))) * (x - wide / 2)
    rise = np.clip(rise, -0.22 * high, 0.22 * high)
    if rng.random() < 0.3:
        rise += high * 0.07 * force * np.sin(2 * np.pi * (x / max(wide, 4 * high) * rng.uniform(0.3, 1.2) + rng.random()))
    slant = rng.normal(0, 0.08) if rng.random() < 0.4 else 0.0
    y = np.arange(high, dtype=np.float32)[:, None]
    return cv2.remap(cover, (x + slant * (y - high / 2)).astype(np.float32), (y + rise).astype(np.float32), cv2.INTER_LINEAR, borderValue=0)


def _bled(rng, cover: np.ndarray) -> np.ndarray:
    """Ink that spread, or too little of it: strokes grow or shrink by part of a pixel."""
    size = 3 if len(cover) < 60 else int(rng.choice([3, 5]))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    changed = cv2.dilate(cover, kernel) if rng.random() < 0.65 else cv2.erode(cover, kernel)
    part = rng.uniform(0.2, 0.9 if changed.sum() > cover.sum() else 0.55)
    return cover * (1 - part) + changed * part


def _broken(rng, cover: np.ndarray) -> np.ndarray:
    """Strokes worn away in spots."""
    spots = _smooth(rng, cover.shape, int(rng.integers(14, 30)))
    return cover * np.clip(1.6 + spots * rng.uniform(0.6, 1.1), 0.05, 1)


def _underlined(rng, cover: np.ndarray) -> np.ndarray:
    high, wide = cover.shape
    y = min(high - 2, int(high * rng.uniform(0.86, 0.99)))
    cover = cover.copy()
    cover[y:y + max(1, high // 28)] = np.maximum(cover[y:y + max(1, high // 28)], rng.uniform(0.5, 1))
    return cover


def _neighbour(rng, cover: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Remains of the line above or below at the edge of the cut."""
    high, wide = cover.shape
    depth = max(1, int(high * rng.uniform(0.03, 0.13)))
    other = cv2.resize(other, (max(8, round(other.shape[1] * high / len(other))), high))
    other = np.tile(other, (1, wide // other.shape[1] + 1))[:, :wide]
    cover = cover.copy()
    if rng.random() < 0.5:
        cover[:depth] = np.maximum(cover[:depth], other[-depth - high // 8:-(high // 8)])
    else:
        cover[-depth:] = np.maximum(cover[-depth:], other[high // 8:high // 8 + depth])
    return cover


def _through(rng, paper: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The other side of the leaf, mirrored."""
    high, wide = paper.shape
    back = cv2.resize(other[:, ::-1], (max(8, round(other.shape[1] * high / len(other))), high))
    back = np.tile(back, (1, wide // back.shape[1] + 1))[:, :wide]
    back = np.roll(cv2.GaussianBlur(back, (0, 0), 1.2), int(rng.integers(-high // 2, high // 2)), axis=0)
    return paper - back * rng.uniform(8, 40)
