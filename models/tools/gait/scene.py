"""Where a walker is filmed. In: a random generator. Out: a camera, a background and what the sensor does to a frame."""

from dataclasses import dataclass

import cv2
import numpy as np

# Backgrounds are this many times as wide as a frame, for cameras that turn.
WIDE = 2.4


@dataclass(frozen=True)
class Camera:
    """A pinhole camera. Pixels are of a frame `size` pixels wide and high, whatever the shape of the film was."""

    size: int
    azimuth: float          # radians; 0: the walker passes from the side, positive: walks away from the camera
    distance_m: float
    height_m: float
    focal: float            # pixels
    squeeze: float          # width over height of a square: a film of 16:9 comes out 9/16 as wide
    horizon: float          # pixel row
    mirrored: bool

    def project(self, points: np.ndarray, centre_x, pan) -> np.ndarray:
        """`[T, 3]` metres -> `[T, 2]` pixels. `centre_x [T]`: what of x lies in front of the camera; `pan [T]`: pixels to the left."""
        x, y, z = points[..., 0] - centre_x, points[..., 1], points[..., 2]
        c, s = np.cos(self.azimuth), np.sin(self.azimuth)
        # The walker's left hand is far from the camera while he walks to the right.
        away = np.maximum(1.0, self.distance_m + x * s + y * c)
        across = x * c - y * s
        u = self.size / 2 + self.focal * self.squeeze * across / away - pan
        v = self.horizon + self.focal * (self.height_m - z) / away
        if self.mirrored:
            u = self.size - u
        return np.stack([u, v], axis=-1)

    def floor_row(self, distance_m: float) -> float:
        """Pixel row of the floor at a distance."""
        return self.horizon + self.focal * self.height_m / distance_m


@dataclass(frozen=True)
class Sensor:
    """What happens to a frame between the lens and the file."""

    table: np.ndarray       # [256, 3] u8
    blur: float             # sigma in pixels, 0: none
    noise: np.ndarray       # [H, W, 3] i16, larger than a frame
    quality: int            # of JPEG, 0: none

    def __call__(self, picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.blur:
            picture = cv2.GaussianBlur(picture, (0, 0), self.blur)
        picture = cv2.LUT(picture, self.table)
        y, x = rng.integers(self.noise.shape[0] - picture.shape[0]), rng.integers(self.noise.shape[1] - picture.shape[1])
        picture = cv2.add(picture, self.noise[y:y + picture.shape[0], x:x + picture.shape[1]], dtype=cv2.CV_8U)
        if self.quality:
            _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, self.quality])
            picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
        return picture


def draw_sensor(rng: np.random.Generator, size: int) -> Sensor:
    """Exposure, colour cast, blur, noise and compression of one clip."""
    gain, gamma, lift = rng.uniform(0.7, 1.2), rng.uniform(0.75, 1.35), rng.uniform(0, 18)
    levels = np.arange(256)[:, None] / 255
    table = np.clip(lift + 255 * gain * rng.normal(1, 0.05, 3) * levels ** gamma, 0, 255).astype(np.uint8)
    blur = float(rng.uniform(0.35, 1.1) * size / 224) if rng.random() < 0.5 else 0.0
    sigma = float(rng.uniform(0, 7) if rng.random() < 0.7 else 0)
    noise = (rng.standard_normal((size + 32, size + 32, 3), np.float32) * sigma).astype(np.int16)
    quality = int(rng.integers(35, 96)) if rng.random() < 0.75 else 0
    return Sensor(table[:, None, :].reshape(1, 256, 3), blur if blur > 0.25 else 0.0, noise, quality)


def draw_background(rng: np.random.Generator, camera: Camera) -> np.ndarray:
    """`[size, WIDE * size, 3] u8`: a room or the open air, floor below."""
    size, wide = camera.size, int(WIDE * camera.size)
    wall_m = camera.distance_m + rng.uniform(0.8, 5)
    edge = int(np.clip(camera.floor_row(wall_m), size * 0.15, size * 0.97))
    outside = rng.random() < 0.25
    picture = np.empty((size, wide, 3), np.float32)
    wall, floor = (_shade(rng) for _ in range(2))
    if outside:
        wall, floor = np.array([150, 180, 215]) + rng.normal(0, 25, 3), np.array([[95, 120, 70], [130, 128, 122], [150, 130, 105]][rng.integers(3)]) + rng.normal(0, 18, 3)
    down = np.linspace(-1, 1, size, dtype=np.float32)[:, None, None]
    picture[:edge] = wall + down[:edge] * rng.uniform(-25, 25)
    picture[edge:] = floor + down[edge:] * rng.uniform(-30, 30)
    picture += _clouds(rng, size, wide, rng.uniform(2, 14))
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    (_trees if outside else _furniture)(rng, picture, edge)
    _floor_lines(rng, picture, edge, camera)
    if rng.random() < 0.2:
        _bystander(rng, picture, edge)
    picture = cv2.add(picture, _clouds(rng, size, wide, rng.uniform(0, 5), 3), dtype=cv2.CV_8U)
    return picture


def _furniture(rng, picture, edge: int) -> None:
    size, wide = picture.shape[:2]
    if rng.random() < 0.5:
        cv2.line(picture, (0, edge), (wide, edge), _colour(rng), int(rng.integers(1, max(2, size // 40) + 1)), cv2.LINE_AA)
    for _ in range(rng.integers(0, 9)):
        w, h = int(rng.uniform(0.04, 0.4) * size), int(rng.uniform(0.05, 0.7) * size)
        x, y = int(rng.uniform(-0.1, 1) * wide), int(edge - h if rng.random() < 0.5 else rng.uniform(0, max(1, edge)))
        cv2.rectangle(picture, (x, y), (x + w, min(y + h, edge + size // 20)), _colour(rng), -1)
        if rng.random() < 0.6:
            cv2.rectangle(picture, (x, y), (x + w, min(y + h, edge + size // 20)), _colour(rng), int(rng.integers(1, 4)))
    for _ in range(rng.integers(0, 6)):
        a, b = rng.uniform(0, 1, 2) * [wide, edge], rng.uniform(0, 1, 2) * [wide, edge + size // 10]
        if rng.random() < 0.5:
            b[0] = a[0] + rng.normal(0, 3)
        cv2.line(picture, tuple(int(v) for v in a), tuple(int(v) for v in b), _colour(rng), int(rng.integers(1, 4)), cv2.LINE_AA)


def _trees(rng, picture, edge: int) -> None:
    size, wide = picture.shape[:2]
    for _ in range(rng.integers(4, 26)):
        centre = (int(rng.uniform(0, wide)), int(edge - rng.uniform(0, 0.5) * size))
        green = tuple(float(v) for v in np.clip(np.array([70, 105, 55]) + rng.normal(0, 28, 3), 5, 250))
        cv2.ellipse(picture, centre, (int(rng.uniform(0.03, 0.2) * size), int(rng.uniform(0.03, 0.2) * size)), 0, 0, 360, green, -1, cv2.LINE_AA)
    for _ in range(rng.integers(0, 7)):
        x = int(rng.uniform(0, wide))
        cv2.line(picture, (x, int(rng.uniform(0, edge))), (x, edge), _colour(rng), int(rng.integers(1, 6)), cv2.LINE_AA)


def _floor_lines(rng, picture, edge: int, camera: Camera) -> None:
    """Tiles or boards, or a strip to walk on."""
    size, wide = picture.shape[:2]
    kind = rng.random()
    colour = tuple(float(c) for c in np.clip(picture[min(size - 1, edge + 5), wide // 2].astype(float) + rng.normal(0, 22), 0, 255))
    if kind < 0.35:
        for x in np.arange(-3 * wide, 4 * wide, size * rng.uniform(0.15, 0.5)):
            cv2.line(picture, (int(wide / 2 + (x - wide / 2) * 0.3), edge), (int(x), size), colour, 1, cv2.LINE_AA)
        for k in np.geomspace(0.02, 1, int(rng.integers(4, 9))):
            y = int(edge + (size - edge) * k)
            cv2.line(picture, (0, y), (wide, y), colour, 1, cv2.LINE_AA)
    elif kind < 0.6:
        rows = sorted(camera.floor_row(camera.distance_m + d) for d in (-rng.uniform(0.3, 1), rng.uniform(0.3, 1)))
        cv2.rectangle(picture, (0, int(rows[0])), (wide, int(rows[1])), _colour(rng), -1)


def _bystander(rng, picture, edge: int) -> None:
    """Somebody who stands and watches."""
    size, wide = picture.shape[:2]
    h = rng.uniform(0.25, 0.6) * size
    x, y = rng.uniform(0, wide), edge + rng.uniform(0, 0.1) * size
    for (x0, y0), (x1, y1), w in (((-0.06, 0), (-0.05, -0.48), 0.06), ((0.06, 0), (0.05, -0.48), 0.06), ((0, -0.5), (0, -0.8), 0.17), ((-0.13, -0.45), (-0.1, -0.8), 0.045), ((0.13, -0.45), (0.1, -0.8), 0.045)):
        cv2.line(picture, (int(x + x0 * h), int(y + y0 * h)), (int(x + x1 * h), int(y + y1 * h)), _colour(rng), max(1, int(w * h)), cv2.LINE_AA)
    cv2.circle(picture, (int(x), int(y - 0.93 * h)), max(1, int(0.06 * h)), _colour(rng), -1, cv2.LINE_AA)


def _clouds(rng, height: int, width: int, strength: float, coarse: int = 24) -> np.ndarray:
    """Smooth noise `[height, width, 3] f32`."""
    small = rng.standard_normal((max(2, height // coarse), max(2, width // coarse), 1), np.float32) + 0.3 * rng.standard_normal((1, 1, 3), np.float32)
    return cv2.resize(small * np.float32(strength), (width, height), interpolation=cv2.INTER_LINEAR)


def _shade(rng) -> np.ndarray:
    return rng.uniform(50, 225) + rng.normal(0, 16, 3)


def _colour(rng) -> tuple:
    return tuple(float(v) for v in np.clip(rng.uniform(20, 235) + rng.normal(0, 28, 3), 0, 255))
