"""Reads lines and compares with what they say. In: a network or a function of the same form, shards. Out: texts, confidences, error rates."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch

from lines import batches
from lines.characters import BLANK, decode
from ocr import distance


@dataclass
class Reading:
    """What was read of one line, in the order of the shards."""

    text: str
    truth: str
    kind: str
    faces: str
    confidence: float

    @property
    def errors(self) -> int:
        """Edit distance in code points."""
        return distance(self.text, self.truth)


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """`u8 -> f32`: 128 is an exact zero, as the manifest's mean and deviation have it."""
    return (pixels.float() - batches.GREY) / 127.5


def read(network, shards: list, columns: int = 40_000, most: int | None = None, device="cpu") -> list[Reading]:
    """Greedy CTC over the lines of shards. `network`: f32 pixels `[N, 1, 48, W]` -> logits `[N, T, classes]`, torch tensors."""
    found: dict[int, Reading] = {}
    lines = [(s, i) for s in shards for i in range(len(s.texts))]
    with torch.no_grad():
        for batch, indices in batches.ordered(shards, columns, most):
            logits = network(normalise(batch.pixels.to(device)))
            likely, path = torch.softmax(logits.float(), -1).max(-1)
            for row, index in enumerate(indices):
                steps = int(batch.steps[row])
                s, i = lines[index]
                best, sure = path[row, :steps].cpu().numpy(), likely[row, :steps].cpu().numpy()
                found[index] = Reading(decode(s.pack, best), s.texts[i], s.kinds[i], s.faces[i], confidence(best, sure))
    return [found[i] for i in sorted(found)]


def confidence(path: np.ndarray, likely: np.ndarray) -> float:
    """Mean probability of the characters of a path, the most certain step of each; 0 without any."""
    best, before = [], BLANK
    for c, p in zip(path, likely):
        if c != BLANK:
            if c == before:
                best[-1] = max(best[-1], float(p))
            else:
                best.append(float(p))
        before = c
    return float(np.mean(best)) if best else 0.0


def rate(readings: list[Reading]) -> float:
    """Character error rate: edit distance over the length of the truth."""
    return sum(r.errors for r in readings) / max(1, sum(len(r.truth) for r in readings))


def by(readings: list[Reading], key) -> dict[str, float]:
    """Error rates of groups."""
    groups = defaultdict(list)
    for reading in readings:
        groups[key(reading)].append(reading)
    return {name: round(rate(group), 4) for name, group in sorted(groups.items())}
