"""Draws text as scanners and cameras would see it. In: random generator, faces. Out: RGB pixels and their text.

`lines` gives crops for the recogniser, `pages` whole pages for the detector. Item i of a split depends on the split's
seed and i alone, so a set can be made in parts.
"""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

import text
from fonts import CALIBRATION, TEST, Face, faces

# First element of every seed; a split's faces and seeds never meet another's.
SPLITS = {"calibration": (1, CALIBRATION), "test": (2, TEST)}

# The recogniser's line height in pixels, and what its widths are multiples of.
LINE_HEIGHT = 48
WIDTH_STEP = 8
# The narrowest input that the recogniser's pooling takes.
MIN_LINE_WIDTH = 16
# What fills a line up to a multiple of the step: the value that normalisation takes to zero.
PADDING = 128
# Widest line that is rendered: 45 letters or so; longer ones differ in nothing else.
MAX_LINE_WIDTH = 960


@dataclass
class Line:
    """`pixels`: `[48, W, 3] u8` RGB, W a multiple of 8. `text`: what it says."""

    pixels: np.ndarray
    text: str


@dataclass
class Page:
    """`pixels`: `[H, W, 3] u8` RGB, H and W multiples of 32. `text`: its lines, top to bottom by column."""

    pixels: np.ndarray
    text: list[str]


def lines(split: str, count: int, start: int = 0):
    """Yields `count` lines of a split, from item `start` on."""
    seed, families = SPLITS[split]
    available = faces(families)
    for index in range(start, start + count):
        yield _line(np.random.default_rng([seed, 0, index]), available)


def pages(split: str, count: int, start: int = 0):
    """Yields `count` pages of a split, from item `start` on."""
    seed, families = SPLITS[split]
    available = faces(families)
    for index in range(start, start + count):
        yield _page(np.random.default_rng([seed, 1, index]), available)


def draw(canvas: Image.Image, at: tuple[int, int], words: str, face: Face, size_px: int, ink) -> tuple[int, int]:
    """Writes `words` with its ascender's top left at `at`; returns the width and height of the line box in pixels."""
    font = face.at(size_px)
    ascent, descent = font.getmetrics()
    ImageDraw.Draw(canvas).text(at, words, font=font, fill=ink)
    return int(np.ceil(font.getlength(words))), ascent + descent


def _line(rng, available) -> Line:
    face = available[rng.integers(len(available))]
    # Most crops come from text around 20 to 40 px; the small ones are enlarged and blurred, as in a thumbnail.
    size_px = int(np.clip(rng.lognormal(3.4, 0.4), 13, 72))
    words = text.line(rng, face, int(rng.integers(3, 46)))
    font = face.at(size_px)
    left, top, right, bottom = font.getbbox(words)
    # The detector's boxes leave a margin that scales with the line's height and is never quite even.
    height = max(bottom - top, size_px // 2)
    margin = rng.uniform(0.04, 0.28, size=4) * height
    width = int(right - left + margin[0] + margin[2]) + 1
    paper, ink = _colours(rng)
    canvas = Image.new("RGB", (width, int(height + margin[1] + margin[3]) + 1), paper)
    ImageDraw.Draw(canvas).text((margin[0] - left, margin[1] - top), words, font=font, fill=ink)
    # A rectified crop has little skew left.
    canvas = _skew(rng, canvas, paper, 0.6)
    pixels = _degrade(rng, canvas)
    return Line(to_line(pixels), words)


def to_line(pixels: np.ndarray) -> np.ndarray:
    """Resizes a crop `[h, w, 3] u8` to the recogniser's height, keeping its aspect; grey fills the last step."""
    h, w, _ = pixels.shape
    width = int(np.clip(round(LINE_HEIGHT * w / h), WIDTH_STEP, MAX_LINE_WIDTH))
    line = np.full((LINE_HEIGHT, max(MIN_LINE_WIDTH, -(-width // WIDTH_STEP) * WIDTH_STEP), 3), PADDING, np.uint8)
    line[:, :width] = Image.fromarray(pixels).resize((width, LINE_HEIGHT), Image.Resampling.BILINEAR)
    return line


def _page(rng, available) -> Page:
    width, height = (int(v) * 32 for v in rng.integers(15, 31, size=2))
    paper, ink = _colours(rng)
    canvas = Image.new("RGB", (width, height), paper)
    _pictures(rng, canvas, paper)
    columns = 1 if width < 600 or rng.random() < 0.6 else 2
    margin = int(rng.integers(12, 60))
    gutter = int(rng.integers(16, 40))
    column_width = (width - 2 * margin - gutter * (columns - 1)) // columns
    said = []
    for column in range(columns):
        left = margin + column * (column_width + gutter)
        y = margin + int(rng.integers(0, 40))
        while y < height - margin:
            y += _block(rng, available, canvas, (left, y), (column_width, height - margin), ink, said)
    canvas = _skew(rng, canvas, paper, 2.0)
    return Page(_degrade(rng, canvas), said)


def _block(rng, available, canvas, at, limit, ink, said) -> int:
    """Draws one heading, paragraph or list; returns how many pixels it took, at least 1."""
    left, y = at
    width, bottom = limit
    face = available[rng.integers(len(available))]
    heading = rng.random() < 0.25
    size_px = int(rng.integers(24, 64)) if heading else int(np.clip(rng.lognormal(2.9, 0.25), 11, 34))
    pitch = rng.uniform(1.05, 1.7)
    for _ in range(1 if heading else int(rng.integers(1, 9))):
        fit = max(3, int(width / (0.52 * size_px)))
        words = text.line(rng, face, int(fit * rng.uniform(0.3, 1.0)))
        font = face.at(size_px)
        while font.getlength(words) > width and " " in words:
            words = words.rsplit(" ", 1)[0]
        _, height = draw(Image.new("L", (1, 1)), (0, 0), words, face, size_px, 0)
        if y + height > bottom or font.getlength(words) > width:
            return bottom
        draw(canvas, (left, y), words, face, size_px, ink)
        said.append(words)
        y += int(height * pitch)
    return y - at[1] + int(rng.integers(6, 50))


def _pictures(rng, canvas, paper) -> None:
    """Things on a page that are no text: rules, boxes, a smooth photograph-like patch."""
    pen = ImageDraw.Draw(canvas)
    width, height = canvas.size
    shade = tuple(int(v * 0.6) for v in paper)
    for _ in range(rng.integers(0, 3)):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        pen.line((x, y, x + int(rng.integers(width)), y), fill=shade, width=int(rng.integers(1, 4)))
    if rng.random() < 0.25:
        w, h = (int(v) for v in rng.integers(60, 240, size=2))
        # Light and shade in one hue, with some grain.
        shades = Image.fromarray(rng.integers(20, 236, size=(5, 5), dtype=np.uint8)).resize((w, h), Image.Resampling.BICUBIC)
        grain = rng.normal(0, 10, size=(h, w))
        hue = rng.uniform(0.75, 1.0, size=3)
        pixels = np.clip((np.asarray(shades) + grain)[:, :, None] * hue, 0, 255).astype(np.uint8)
        patch = Image.fromarray(pixels)
        canvas.paste(patch, (int(rng.integers(width)), int(rng.integers(height))))


def _colours(rng):
    """Paper and ink, RGB; mostly dark on light, sometimes faint, sometimes inverted."""
    paper = float(np.clip(rng.normal(232, 22), 140, 255))
    ink = float(np.clip(rng.gamma(1.5, 25), 0, paper - 55))
    tint = rng.normal(0, 5, size=3)
    light = tuple(int(v) for v in np.clip(paper + tint, 0, 255))
    dark = tuple(int(v) for v in np.clip(ink + rng.normal(0, 12, size=3) * (rng.random() < 0.3), 0, 255))
    return (dark, light) if rng.random() < 0.06 else (light, dark)


def _skew(rng, canvas, paper, limit_degrees: float) -> Image.Image:
    if rng.random() < 0.5:
        return canvas
    return canvas.rotate(rng.uniform(-limit_degrees, limit_degrees), Image.Resampling.BICUBIC, fillcolor=paper)


def _degrade(rng, canvas: Image.Image) -> np.ndarray:
    """Uneven light, blur, noise, JPEG, or a fax's two levels; about one in five stays clean. Returns `[H, W, 3] u8`."""
    if rng.random() < 0.2:
        return np.asarray(canvas)
    if rng.random() < 0.5:
        canvas = canvas.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.2, 1.1))))
    pixels = np.asarray(canvas).astype(np.float32)
    if rng.random() < 0.4:
        # Light falling off to one side, down to 70 %.
        ramp = np.linspace(1.0, rng.uniform(0.7, 1.0), pixels.shape[1], dtype=np.float32)
        pixels *= (ramp if rng.random() < 0.5 else ramp[::-1])[None, :, None]
    if rng.random() < 0.6:
        grain = rng.normal(0, rng.uniform(1, 14), size=pixels.shape[:2]).astype(np.float32)
        pixels += grain[:, :, None]
    pixels = np.clip(pixels, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        pixels = np.repeat(np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None], 3, axis=2)
    if rng.random() < 0.06:
        grey = pixels.mean(axis=2)
        pixels = np.repeat(np.where(grey > grey.mean() * 0.85, 255, 0).astype(np.uint8)[:, :, None], 3, axis=2)
    elif rng.random() < 0.5:
        coded = io.BytesIO()
        Image.fromarray(pixels).save(coded, "JPEG", quality=int(rng.integers(35, 95)))
        pixels = np.asarray(Image.open(coded))
    return pixels
