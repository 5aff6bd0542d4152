"""Reads lines and compares with what they say. In: a network or a function of the same form, shards. Out: texts, error rates."""

from collections import defaultdict
from dataclasses import dataclass

import torch

from lines import batches
from lines.characters import decode
from ocr import distance


@dataclass
class Reading:
    """What was read of one line, in the order of the shards."""

    text: str
    truth: str
    kind: str
    faces: str

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
            path = logits.argmax(-1).cpu().numpy()
            for row, index in enumerate(indices):
                s, i = lines[index]
                found[index] = Reading(decode(s.pack, path[row, :int(batch.steps[row])]), s.texts[i], s.kinds[i], s.faces[i])
    return [found[i] for i in sorted(found)]


def rate(readings: list[Reading]) -> float:
    """Character error rate: edit distance over the length of the truth."""
    return sum(r.errors for r in readings) / max(1, sum(len(r.truth) for r in readings))


def by(readings: list[Reading], key) -> dict[str, float]:
    """Error rates of groups."""
    groups = defaultdict(list)
    for reading in readings:
        groups[key(reading)].append(reading)
    return {name: round(rate(group), 4) for name, group in sorted(groups.items())}
