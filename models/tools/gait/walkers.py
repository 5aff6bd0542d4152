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

# Shapes of films, as the width of a square after it became a square picture: 16:9, 4:3, square, 3:4, 9:16.
SQUEEZE = ((9 / 16, 0.4), (3 / 4, 0.25), (1.0, 0.2), (4 / 3, 0.1), (16 / 9, 0.05))


@dataclass(frozen=True)
class Clip:
    """`frames [16, S, S, 3] u8` RGB, oldest first. `joints`: name -> `[16, 2]` pixels; `aids`: hands (0, 1) that hold one."""

    frames: np.ndarray
    label: int
    joints: dict = field(repr=False)
    aids: tuple = ()


def clip(split: str, index: int, size: int = 224) -> Clip:
    """Clip `index` of a split; its class is `index` modulo nine."""
    seed, bands = SPLITS[split]
    rng = np.random.default_rng([seed, index])
    label = index % len(CLASSES)
    gait = gaits.draw(rng, label)
    body = kinematics.Body(float(np.clip(rng.normal(1.70, 0.09), 1.45, 1.98)), float(np.clip(rng.normal(1.1, 0.16), 0.8, 1.6)))
    look = figure.draw_look(rng)
    times = np.linspace(0, rng.uniform(2.2, 3.6), FRAMES)
    at = kinematics.joints(gait, body, rng, times)
    camera, centres, pans, height_px = _film(rng, bands, body, at, size)
    background = scene.draw_background(rng, camera)
    sensor = scene.draw_sensor(rng, size)
    shake = _shake(rng, size)
    shadow = rng.uniform(0.5, 0.85) if rng.random() < 0.7 else 0.0

    frames, found = np.empty((FRAMES, size, size, 3), np.uint8), {}
    for t in range(FRAMES):
        pan = pans[t] * (-1 if camera.mirrored else 1)
        left = (background.shape[1] - size) / 2 + pan
        move = shake[t] @ np.array([[1, 0, -left], [0, 1, 0], [0, 0, 1.0]])
        picture = cv2.warpAffine(background, move[:2], (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)

        def project(points, t=t):
            flat = camera.project(points, centres[t], pans[t])
            return flat @ shake[t][:2, :2].T + shake[t][:2, 2]

        spots = {name: project(where[t]) for name, where in at.items()}
        far_ahead = project(at["pelvis"][t] + [1.0, 0, 0]) - spots["pelvis"]
        spots["ahead"] = far_ahead * body.height_m
        # The left side is the far one for a walker to the right, and stays so in the mirror.
        near = 1

        def floor(name, metres, t=t):
            return project(at[name][t] * [1, 1, 0] + [metres * body.height_m, 0, 0])

        if gait.aid:
            spots |= {f"tip{side}": floor(f"hand{side}", figure.TIP_AHEAD[gait.aid]) for side in (0, 1)}

        if shadow:
            _cast(picture, spots, project(at["pelvis"][t] * [1, 1, 0]), height_px, camera, shadow)
        scale = height_px * camera.distance_m / max(1.0, camera.distance_m + (at["pelvis"][t, 0] - centres[t]) * np.sin(camera.azimuth))
        figure.person(picture, spots, scale * _breadth(camera), look, body.girth, gait.aid, gait.aid_side, near, floor)
        frames[t] = sensor(picture, rng)
        for name, spot in spots.items():
            found.setdefault(name, []).append(spot)
    return Clip(frames, label, {n: np.array(v, np.float32) for n, v in found.items()},
                () if gait.aid is None else (gait.aid_side,) if gait.aid == "cane" else (0, 1))


def _film(rng, bands, body, at, size: int):
    """Camera, what of x it looks at per frame, how far it has turned per frame in pixels, and the walker's height in pixels."""
    low, high = bands[rng.integers(len(bands))]
    azimuth = np.radians(rng.uniform(low, high)) * rng.choice([-1, 1])
    squeeze = float(rng.choice([s for s, _ in SQUEEZE], p=[p for _, p in SQUEEZE]))
    distance, height_m = rng.uniform(4, 8), rng.uniform(0.8, 1.6)
    tall = rng.uniform(0.55, 0.82) * size
    focal = tall * distance / body.height_m
    # Feet somewhere above the lower edge, head below the upper one.
    feet = size * rng.uniform(0.5 + tall / size / 2, min(0.97, 0.62 + tall / size / 2))
    camera = scene.Camera(size, float(azimuth), distance, height_m, focal, squeeze, feet - focal * height_m / distance, bool(rng.random() < 0.5))
    x = at["pelvis"][:, 0]
    middle = (x[0] + x[-1]) / 2
    travel_px = (x[-1] - x[0]) * np.cos(azimuth) * focal * squeeze / distance
    room = size * rng.uniform(0.15, 0.45)
    kept = 0.0 if rng.random() < 0.6 else min(1.0, room / max(1.0, travel_px))
    across = focal * squeeze * np.cos(azimuth) / distance * (x - middle)
    spare = max(0.0, size * 0.36 - kept * travel_px / 2)
    offset = rng.uniform(-1, 1) * min(spare, size * 0.09)
    # On a treadmill nothing turns, the walker just stays where he is.
    treadmill = kept == 0.0 and rng.random() < 0.4
    if treadmill:
        return camera, x, np.full(FRAMES, offset), tall
    pans = across * (1 - kept) + offset
    limit = (scene.WIDE - 1) * size / 2 - 2
    if np.abs(pans).max() > limit:
        return camera, x, np.clip(pans - across, -limit, limit), tall
    return camera, np.full(FRAMES, middle), pans, tall


def _shake(rng, size: int) -> list:
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
    return made


def _breadth(camera) -> float:
    """Limbs are drawn round: as thick as the mean of a squeezed picture's two scales."""
    return float(np.sqrt(camera.squeeze)) * 1.0


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
