"""Draws a text as ink. In: a random generator, a text, a split. Out: a line's coverage, cut out as a detector would.

Runs of Devanagari and of other characters may stand in different faces, on one baseline, as books set them.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw

from lines.faces import Face, faces

# Height of the network's input.
HEIGHT = 48
# Em sizes in pixels: 8 to 16 points at 200 to 300 dpi, and small print. Those of the held-out split lie between.
_TRAINED = (18, 20, 22, 25, 28, 32, 36, 40, 46, 52, 60)
EMS = {"train": _TRAINED, "more": _TRAINED, "test": (21, 26, 30, 34, 43, 50)}
# Where any form of a letter may be drawn, this part of the lines is in faces that have forms to choose by feature.
FORMED = 0.4
# Characters of both scripts' faces stay in the run that they stand in.
_NEUTRAL = set(" .,;:!?()[]{}-–—'\"’‘“”/%*+=0123456789|")


@dataclass
class Ink:
    """`cover`: `[H, W] f32`, 0 paper to 1 ink. `em_px`: the size of the letters in it; `faces`: the files they are from."""

    cover: np.ndarray
    em_px: float
    faces: tuple[str, ...]


@dataclass(frozen=True)
class Drawn:
    """A face and how its letters are formed."""

    face: Face
    features: tuple[str, ...] = ()
    language: str | None = None

    def length(self, em: int, text: str) -> float:
        return self.face.at(em).getlength(text, features=self.features, language=self.language)

    def write(self, pen: ImageDraw.ImageDraw, x: float, baseline: float, em: int, text: str) -> None:
        pen.text((x, baseline), text, font=self.face.at(em), anchor="ls", fill=255, features=self.features, language=self.language)


def runs(text: str) -> list[tuple[str, str]]:
    """A text as runs of one script: `(deva or latin, part)`; neutral characters belong to the run before them."""
    found: list[list[str]] = []
    for c in text:
        script = "deva" if "\u0900" <= c <= "\u097f" or "\u1cd0" <= c <= "\u1cff" else "latin"
        if found and (c in _NEUTRAL or found[-1][0] == script or found[-1][1].strip("".join(_NEUTRAL)) == ""):
            found[-1][1] += c
            if c not in _NEUTRAL:
                found[-1][0] = script
        else:
            found.append([script, c])
    return [(script, part) for script, part in found]


def ink(rng: np.random.Generator, text: str, split: str, forms: bool = False) -> Ink | None:
    """The line, cut at its ink with small random margins; None when no face that was tried draws the whole text.

    `forms`: in faces that have several forms of a letter, any of them.
    """
    em = int(rng.choice(EMS[split]))
    parts = _faced(rng, text, split, forms)
    if parts is None:
        return None
    pad = em
    widths = [drawn.length(em, part) for drawn, part in parts]
    picture = Image.new("L", (int(sum(widths)) + 2 * pad, 3 * em), 0)
    pen, x = ImageDraw.Draw(picture), float(pad)
    for (drawn, part), width in zip(parts, widths):
        drawn.write(pen, x, 1.9 * em, em, part)
        x += width
    return _cut(rng, np.asarray(picture), em, pad, x, tuple(drawn.face.row.file for drawn, _ in parts))


def _faced(rng, text: str, split: str, forms: bool) -> list[tuple[Drawn, str]] | None:
    whole = runs(text)
    if whole[0][0] == "deva" and len(whole) == 1:
        rest = {"deva": _pick(rng, "deva", split, text, forms)}
    else:
        # A Devanagari face that has the Latin letters as well sets the whole line, half of the time.
        alone = _pick(rng, "deva", split, text, forms) if any(s == "deva" for s, _ in whole) and rng.random() < 0.5 else None
        rest = {s: alone or _pick(rng, s, split, "".join(p for t, p in whole if t == s), forms) for s, _ in whole}
    if any(face is None for face in rest.values()):
        return None
    return [(rest[s], part) for s, part in whole]


def _pick(rng, script: str, split: str, text: str, forms: bool) -> Drawn | None:
    candidates = faces(script, split)
    if forms and script == "deva" and rng.random() < FORMED:
        candidates = tuple(face for face in candidates if face.features)
    for _ in range(12):
        face = candidates[int(rng.integers(len(candidates)))]
        if face.has(text):
            return _formed(rng, face) if forms else Drawn(face)
    return None


def _formed(rng, face: Face) -> Drawn:
    features = tuple(tag for tag in face.features if rng.random() < 0.5)
    languages = (None, *face.languages)
    return Drawn(face, features, languages[int(rng.integers(len(languages)))])


def _cut(rng, cover: np.ndarray, em: int, pad: int, end: float, files) -> Ink | None:
    rows = np.flatnonzero(cover.max(axis=1) > 40)
    columns = np.flatnonzero(cover.max(axis=0) > 40)
    if not len(rows):
        return None
    # A lone danda or dash keeps the height of a line, as its neighbours on the page would give it.
    top, bottom = min(rows[0], int(1.9 * em - 0.55 * em)), max(rows[-1] + 1, int(1.9 * em + 0.05 * em))
    high = bottom - top
    above, below = rng.uniform(-0.03, 0.22, 2) * high
    before, behind = rng.uniform(0.0, 0.35, 2) * high
    top, bottom = round(max(0, top - above)), round(min(len(cover), bottom + below))
    left, right = round(max(0, columns[0] - before)), round(min(cover.shape[1], columns[-1] + 1 + behind))
    return Ink(cover[top:bottom, left:right].astype(np.float32) / 255, em, files)


def fitted(pixels: np.ndarray, width: int | None = None) -> np.ndarray:
    """A picture of a line at the network's height, its aspect kept (or its width given)."""
    high, wide = pixels.shape
    wanted = width or max(8, round(wide * HEIGHT / high))
    shrinking = high > HEIGHT
    return cv2.resize(pixels, (wanted, HEIGHT), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
