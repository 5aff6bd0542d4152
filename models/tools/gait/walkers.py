"""Synthetic walking clips. In: a split and a number. Out: 16 frames as if sampled evenly from a film, and the class.

    python -m gait.walkers SHEET.png          a sheet of one clip per class, to look at

A split fixes who is drawn (gait, body, clothes), where (room, light, camera's noise) and from which angles; splits share none of
these draws. The number decides everything else, so a clip is the same on every run.
"""

import sys
from dataclasses import dataclass, field

import cv2
import numpy as np

from gait import figure, gaits, kinematics, scene
from gait.gaits import CLASSES

FRAMES = 16

# Angles in degrees between the walker's way and the picture's plane, either sign. The bands of "view" lie between and beyond.
SEEN = ((0, 10), (20, 32))
UNSEEN = ((12, 18), (35, 42))
# split -> first part of every seed, angles.
SPLITS = {"train": (1, SEEN), "validation": (2, SEEN), "test": (3, SEEN), "test-views": (4, UNSEEN)}

# Shapes of films, as the width of a square after the film became a square picture: 16:9, 4:3, square.
SQUEEZE = ((9 / 16, 0.4), (3 / 4, 0.3), (1.0, 0.3))


@dataclass(frozen=True)
class Clip:
    """`frames [16, S, S, 3] u8` RGB, oldest first."""

    frames: np.ndarray
    label: int
    take: "Take" = field(repr=False)


@dataclass(frozen=True)
class Take:
    """Everything about a clip but its pixels. `spots`: name -> `[16, 2]` pixels of joints and of aids' tips."""

    rng: np.random.Generator = field(repr=False)
    label: int
    gait: gaits.Gait
    body: kinematics.Body
    look: figure.Look
    camera: scene.Camera
    at: dict = field(repr=False)
    centres: np.ndarray = field(repr=False)
    pans: np.ndarray = field(repr=False)
    shake: np.ndarray = field(repr=False)
    height_px: float
    spots: dict = field(repr=False)
    aids: tuple

    def project(self, points: np.ndarray) -> np.ndarray:
        """`[16, 3]` metres, one point a frame, -> `[16, 2]` pixels."""
        flat = self.camera.project(points, self.centres, self.pans)
        return np.einsum("tij,tj->ti", self.shake[:, :2, :2], flat) + self.shake[:, :2, 2]

    def floor(self, name: str, ahead: float) -> np.ndarray:
        """Pixels of the floor below a joint, `ahead` body heights further on; `[16, 2]`."""
        return self.project(self.at[name] * [1, 1, 0] + [ahead * self.body.height_m, 0, 0])


def take(split: str, index: int, size: int = 224) -> Take:
    """Who walks how before which camera in clip `index` of a split; the class is `index` modulo nine."""
    seed, bands = SPLITS[split]
    rng = np.random.default_rng([seed, index])
    label = index % len(CLASSES)
    gait = gaits.draw(rng, label)
    body = kinematics.Body(float(np.clip(rng.normal(1.70, 0.09), 1.45, 1.98)), float(np.clip(rng.normal(1.1, 0.16), 0.8, 1.6)))
    look = figure.draw_look(rng)
    times = np.linspace(0, rng.uniform(2.2, 3.6), FRAMES)
    at = kinematics.joints(gait, body, rng, times)
    camera, centres, pans, height_px = _film(rng, bands, body, at, size)
    aids = () if gait.aid is None else (gait.aid_side,) if gait.aid == "cane" else (0, 1)
    made = Take(rng, label, gait, body, look, camera, at, centres, pans, _shake(rng, size), height_px, {}, aids)
    made.spots.update({name: made.project(where) for name, where in at.items()})
    made.spots["ahead"] = (made.project(at["pelvis"] + [1.0, 0, 0]) - made.spots["pelvis"]) * body.height_m
    made.spots.update({f"tip{side}": made.floor(f"hand{side}", figure.TIP_AHEAD[gait.aid]) for side in aids})
    return made


def clip(split: str, index: int, size: int = 224) -> Clip:
    """Clip `index` of a split."""
    t = take(split, index, size)
    return Clip(_draw(t, size), t.label, t)


def _draw(t: Take, size: int) -> np.ndarray:
    rng, gait, camera = t.rng, t.gait, t.camera
    background = scene.draw_background(rng, camera)
    sensor = scene.draw_sensor(rng, size)
    shadow = rng.uniform(0.5, 0.85) if rng.random() < 0.7 else 0.0
    below = t.project(t.at["pelvis"] * [1, 1, 0])
    feet = {(name, ahead): t.floor(name, ahead) for name in ("hand0", "hand1") for ahead in (*figure.TIP_AHEAD.values(), figure.BACK_AHEAD)} if gait.aid else {}
    frames = np.empty((FRAMES, size, size, 3), np.uint8)
    for i in range(FRAMES):
        left = (background.shape[1] - size) / 2 + t.pans[i] * (-1 if camera.mirrored else 1)
        move = t.shake[i] @ np.array([[1, 0, -left], [0, 1, 0], [0, 0, 1.0]])
        picture = cv2.warpAffine(background, move[:2], (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        spots = {name: where[i] for name, where in t.spots.items()}
        if shadow:
            _cast(picture, spots, below[i], t.height_px, camera, shadow)
        away = camera.distance_m + (t.at["pelvis"][i, 0] - t.centres[i]) * np.sin(camera.azimuth)
        # Limbs are drawn round, as thick as the mean of a squeezed picture's two scales. The right side is the near one for a
        # walker to the right, and stays so in the mirror.
        scale = t.height_px * camera.distance_m / max(1.0, away) * np.sqrt(camera.squeeze)
        figure.person(picture, spots, scale, t.look, t.body.girth, gait.aid, gait.aid_side, 1, lambda name, ahead, i=i: feet[name, ahead][i])
        frames[i] = sensor(picture, rng)
    return frames


def _film(rng, bands, body, at, size: int):
    """Camera, what of x it looks at per frame, how far it has turned per frame in pixels, and the walker's height in pixels."""
    low, high = bands[rng.integers(len(bands))]
    azimuth = np.radians(rng.uniform(low, high)) * rng.choice([-1, 1])
    squeeze = float(rng.choice([s for s, _ in SQUEEZE], p=[p for _, p in SQUEEZE]))
    distance, height_m = rng.uniform(4, 8), rng.uniform(0.8, 1.6)
    tall = rng.uniform(0.66, 0.8) * size
    focal = tall * distance / body.height_m
    # Feet somewhere above the lower edge, head below the upper one.
    feet = size * (0.54 + tall / size / 2 + rng.uniform(-0.03, 0.03))
    camera = scene.Camera(size, float(azimuth), distance, height_m, focal, squeeze, feet - focal * height_m / distance, bool(rng.random() < 0.5))
    x = at["pelvis"][:, 0]
    middle = (x[0] + x[-1]) / 2
    travel_px = (x[-1] - x[0]) * np.cos(azimuth) * focal * squeeze / distance
    room = size * rng.uniform(0.1, 0.25)
    kept = 0.0 if rng.random() < 0.75 else min(1.0, room / max(1.0, travel_px))
    across = focal * squeeze * np.cos(azimuth) / distance * (x - middle)
    spare = max(0.0, size * 0.36 - kept * travel_px / 2)
    offset = rng.uniform(-1, 1) * min(spare, size * 0.04)
    # On a treadmill nothing turns, the walker just stays where he is.
    treadmill = kept == 0.0 and rng.random() < 0.4
    if treadmill:
        return camera, x, np.full(FRAMES, offset), tall
    pans = across * (1 - kept) + offset
    limit = (scene.WIDE - 1) * size / 2 - 2
    if np.abs(pans).max() > limit:
        return camera, x, np.clip(pans - across, -limit, limit), tall
    return camera, np.full(FRAMES, middle), pans, tall


def _shake(rng, size: int) -> np.ndarray:
    """Per frame, the 3 x 3 map of a hand that is not quite still, about a roll that stays."""
    steady = rng.random() < 0.5
    roll = np.radians(rng.normal(0, 2.0))
    drift = np.cumsum(rng.normal(0, 0.0 if steady else 0.006 * size, (FRAMES, 2)), axis=0)
    made = []
    for t in range(FRAMES):
        angle = roll + (0 if steady else np.radians(rng.normal(0, 0.3)))
        c, s = np.cos(angle), np.sin(angle)
        m = size / 2
        made.append(np.array([[c, -s, m - c * m + s * m + drift[t, 0]], [s, c, m - s * m - c * m + drift[t, 1]], [0, 0, 1.0]]))
    return np.array(made)


def _cast(picture, spots, below, height_px: float, camera, factor: float) -> None:
    """A soft shadow under the feet."""
    wide = int(0.16 * height_px * camera.squeeze + abs(spots["heel0"][0] - spots["heel1"][0]) / 2)
    tall = max(2, int(0.03 * height_px))
    x0, x1 = int(max(0, below[0] - wide)), int(min(picture.shape[1], below[0] + wide))
    y0, y1 = int(max(0, below[1] - tall)), int(min(picture.shape[0], below[1] + tall))
    if x1 - x0 < 3 or y1 - y0 < 2:
        return
    ys, xs = np.mgrid[y0:y1, x0:x1]
    away = ((xs - below[0]) / wide) ** 2 + ((ys - below[1]) / tall) ** 2
    dark = 1 - (1 - factor) * np.clip(1.2 - away, 0, 1)
    picture[y0:y1, x0:x1] = (picture[y0:y1, x0:x1] * dark[..., None]).astype(np.uint8)


def main() -> None:
    """Writes a sheet: a row per class, every second frame."""
    split, first = (sys.argv[2], int(sys.argv[3])) if len(sys.argv) > 3 else ("train", 0)
    rows = [np.hstack(list(clip(split, first + i).frames[::2])) for i in range(len(CLASSES))]
    cv2.imwrite(sys.argv[1], np.vstack(rows)[..., ::-1])


if __name__ == "__main__":
    main()
