"""Shards -> batches for the network. In: a folder of shards, a seed. Out: pixels, classes, widths; the same for the same seed and number.

A batch holds lines of nearly one width and a budget of columns, not of lines, so that its cost is even. What a camera or a scanner's
settings change (brightness, contrast, offset by a pixel, noise) is changed anew each time a line is seen; and some lines are narrower than
they were drawn, since a function reads wide letters squeezed, which takes it less time.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch

from lines.characters import encode, joined
from lines.draw import HEIGHT
from lines.network import STEP

# So many of the lines are squeezed, to as little as this, as long as there are so many steps a character.
SQUEEZED, NARROWEST, STEPS = 0.5, 0.55, 2.2
# What pads a batch: an exact zero of the network's input, as the engine pads a line (the manifest's mean, 128 / 255).
GREY = 128


@dataclass
class Batch:
    """`pixels`: `[N, 1, 48, W] u8`. `steps`: of the output, per line `[N]`. `wanted`: classes of all lines in a row; `lengths` `[N]`.

    `said`, `likely`: what a teacher says of each pair of steps, `[N, W / 8, TOP]`, 0 where it says nothing (see teach.py); None without one.
    """

    pixels: torch.Tensor
    steps: torch.Tensor
    wanted: torch.Tensor
    lengths: torch.Tensor
    texts: list[str]
    said: torch.Tensor | None = None
    likely: torch.Tensor | None = None


class Shard:
    """One file of lines."""

    def __init__(self, path: Path):
        about = json.loads(path.read_text(encoding="utf-8"))
        self.pack, self.kinds, self.faces = about["pack"], about["kinds"], about["faces"]
        # What is drawn as two letters of one shape is asked for as one.
        self.texts = [joined(text) for text in about["texts"]]
        self.widths = np.array(about["widths"])
        self.starts = np.concatenate([[0], np.cumsum(self.widths)])
        self.pixels = np.load(path.with_suffix(".npy"), mmap_mode="r")
        taught = path.with_suffix(".taught.npz")
        self.taught = dict(np.load(taught)) if taught.exists() else None

    def teacher(self, index: int) -> tuple[np.ndarray, np.ndarray] | None:
        """What the teacher says of a line: classes and how likely they are, `[T, TOP]`; None without one."""
        if self.taught is None:
            return None
        part = slice(self.taught["starts"][index], self.taught["starts"][index + 1])
        return self.taught["classes"][part], self.taught["likely"][part]

    def line(self, index: int) -> np.ndarray:
        """`[48, W] u8`."""
        return np.asarray(self.pixels[:, self.starts[index]:self.starts[index + 1]])


@cache
def shard(path: Path) -> Shard:
    """A shard, opened once."""
    return Shard(path)


def shards(folder: Path, name: str) -> list[Path]:
    """The finished shards of a set, in order."""
    return sorted(folder.glob(f"{name}-[0-9]*.json"))


def training(folder: Path, weights: dict[str, float], seed: int, number: int, columns: int) -> list[Batch]:
    """The batches of two shards drawn from sets with these weights; `number` counts the draws of a run. `columns`: pixels of a batch."""
    rng = np.random.default_rng([seed, number])
    present = {name: found for name in weights if (found := shards(folder, name))}
    if not present:
        raise FileNotFoundError(f"no shards of {', '.join(weights)} in {folder}")
    parts = np.array([weights[name] for name in present])
    chosen = []
    for _ in range(2):
        name = list(present)[int(rng.choice(len(present), p=parts / parts.sum()))]
        chosen.append(shard(present[name][int(rng.integers(len(present[name])))]))
    lines = [(s, i) for s in chosen for i in range(len(s.texts))]
    widths = squeezed(rng, np.array([s.widths[i] for s, i in lines]), np.array([len(s.texts[i]) for s, i in lines]))
    order = np.argsort(widths + rng.uniform(0, 12, len(lines)))
    groups = list(_groups(widths, order, columns))
    rng.shuffle(groups)

    def drawn(j: int) -> tuple[np.ndarray, str]:
        shard_, i = lines[j]
        pixels = shard_.line(i)
        if widths[j] < pixels.shape[1]:
            pixels = cv2.resize(pixels, (int(widths[j]), HEIGHT), interpolation=cv2.INTER_AREA)
        return pixels, shard_.texts[i]

    def said(j: int) -> tuple[np.ndarray, np.ndarray] | None:
        # The teacher saw the line as it was drawn.
        shard_, i = lines[j]
        return shard_.teacher(i) if widths[j] == shard_.widths[i] else None

    made = []
    for group in groups:
        batch = make([drawn(j) for j in group], chosen[0].pack, rng)
        if any(s.taught is not None for s in chosen):
            teach(batch, [said(j) for j in group])
        made.append(batch)
    return made


def teach(batch: Batch, said: list) -> None:
    """Puts what a teacher says of the lines, None where it says nothing, into a batch."""
    top = next((classes.shape[1] for classes, _ in filter(None, said)), 1)
    shape = (len(said), batch.pixels.shape[3] // (2 * STEP), top)
    batch.said, batch.likely = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape)
    for i, (classes, likely) in ((i, s) for i, s in enumerate(said) if s is not None):
        # A class that the pack has not is not likely at all, and any will do in its place.
        batch.said[i, :len(classes)] = torch.from_numpy(np.maximum(classes, 0).astype(np.int64))
        batch.likely[i, :len(likely)] = torch.from_numpy(likely.astype(np.float32))


def squeezed(rng: np.random.Generator, widths: np.ndarray, characters: np.ndarray) -> np.ndarray:
    """Widths of lines in pixels `[N]`, of so many characters `[N]` -> widths that they are trained in."""
    factors = np.where(rng.random(len(widths)) < SQUEEZED, rng.uniform(NARROWEST, 1, len(widths)), 1.0)
    return np.minimum(widths, np.maximum(np.round(widths * factors), np.ceil(STEPS * STEP * characters))).astype(int)


def ordered(found: list[Shard], columns: int, most: int | None = None):
    """The lines of shards for measuring, unchanged: yields `(batch, indices)`, by width; an index counts through the shards."""
    lines = [(s, i) for s in found for i in range(len(s.texts))][:most]
    widths = np.array([s.widths[i] for s, i in lines])
    for group in _groups(widths, np.argsort(widths, kind="stable"), columns):
        yield make([(lines[j][0].line(lines[j][1]), lines[j][0].texts[lines[j][1]]) for j in group], found[0].pack), group


def _groups(widths, order, columns: int):
    group = []
    for j in order:
        if group and widths[j] * (len(group) + 1) > columns:
            yield group
            group = []
        group.append(int(j))
    if group:
        yield group


def make(lines: list[tuple[np.ndarray, str]], pack: str, rng: np.random.Generator | None = None) -> Batch:
    """One batch; changed at random where there is a generator. A width is filled up to whole steps."""
    lines = [(pixels, text, encode(pack, text)) for pixels, text in lines]
    wide = max(p.shape[1] for p, _, _ in lines)
    wide = -(-wide // (2 * STEP)) * 2 * STEP
    batch = np.full((len(lines), 1, HEIGHT, wide), GREY, np.uint8)
    for target, (pixels, _, _) in zip(batch, lines):
        target[0, :, :pixels.shape[1]] = _changed(rng, pixels) if rng is not None else pixels
    return Batch(
        torch.from_numpy(batch), torch.tensor([-(-p.shape[1] // STEP) for p, _, _ in lines]),
        torch.tensor([c for _, _, classes in lines for c in classes]), torch.tensor([len(c) for _, _, c in lines]), [t for _, t, _ in lines])


def _changed(rng, pixels: np.ndarray) -> np.ndarray:
    what = rng.random(4)
    page = pixels
    if what[0] < 0.4:
        # Up, down, left or right by a pixel or two, the edge repeated.
        y, x = rng.integers(-2, 3, 2)
        page = np.roll(page, (y, x), (0, 1))
        if y > 0:
            page[:y] = page[y]
        elif y < 0:
            page[y:] = page[y - 1]
        if x > 0:
            page[:, :x] = page[:, x:x + 1]
        elif x < 0:
            page[:, x:] = page[:, x - 1:x]
    if what[1] < 0.5:
        # One table for all 256 levels: contrast about the middle, brightness, gamma.
        levels = np.linspace(0, 1, 256) ** rng.uniform(0.7, 1.4)
        levels = (levels - 0.5) * rng.uniform(0.6, 1.15) + 0.5 + rng.uniform(-0.12, 0.12)
        page = np.clip(255 * levels, 0, 255).astype(np.uint8)[page]
    if what[2] < 0.25:
        page = np.clip(page + _noise(rng, page.shape, rng.uniform(2, 9)), 0, 255).astype(np.uint8)
    if what[3] < 0.15:
        # A blot or a scratch.
        x, w = int(rng.integers(page.shape[1])), int(rng.integers(1, 5))
        y, h = int(rng.integers(HEIGHT)), int(rng.integers(1, 9))
        page = page.copy()
        page[y:y + h, x:x + w] = int(rng.integers(256))
    return page


_GRAIN = np.random.default_rng(0).standard_normal(1 << 19).astype(np.float32)


def _noise(rng, shape, deviation: float) -> np.ndarray:
    """Normal noise cut out of a fixed table, ten times faster than drawing it."""
    size = shape[0] * shape[1]
    at = int(rng.integers(len(_GRAIN) - size))
    return (_GRAIN[at:at + size] * np.float32(deviation)).reshape(shape)
