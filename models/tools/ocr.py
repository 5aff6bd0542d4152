"""The steps around the networks that measuring needs: pixels to tensor, logits to text, error rates."""

import numpy as np

# The graphs take BGR, as they were trained; x = (v / 255 - MEAN) / STD. The source uses 0.5; 128 / 255 makes the pixel
# value 128 an exact zero, and the half level between them is folded into the first convolution (`centre_input`).
MEAN = 128 / 255
STD = 0.5
SOURCE_MEAN = 0.5


def tensor(pixels: np.ndarray, mean: float = MEAN) -> np.ndarray:
    """`[H, W, 3] u8` RGB -> `[1, 3, H, W] f32` BGR, normalised."""
    x = (pixels[:, :, ::-1].astype(np.float64) / 255 - mean) / STD
    return np.ascontiguousarray(x.transpose(2, 0, 1)[None]).astype(np.float32)


def centre_input(graph) -> None:
    """Makes a source graph (mean 0.5) expect MEAN: x_source = x + (MEAN - SOURCE_MEAN) / STD.

    Exact but for the zero padding of the first convolution, which becomes half a grey level darker.
    """
    (first,) = graph.consumers()["x"]
    weight = graph.weights[first.input[1]].astype(np.float64)
    shift = (MEAN - SOURCE_MEAN) / STD
    graph.weights[first.input[2]] = (
        graph.weights[first.input[2]] + shift * weight.sum(axis=(1, 2, 3))).astype(np.float32)


def decode(logits: np.ndarray, characters: list[str]) -> str:
    """Greedy CTC: `[1, T, classes]` -> text; class 0 is the blank, class i + 1 is `characters[i]`."""
    best = logits[0].argmax(axis=1)
    kept = [c for i, c in enumerate(best) if c != 0 and (i == 0 or c != best[i - 1])]
    return "".join(characters[c - 1] for c in kept)


def distance(a: str, b: str) -> int:
    """Edit distance in characters."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        above, row[0] = row[0], i
        for j, y in enumerate(b, start=1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (x != y))
    return row[-1]


def mask_overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two bool masks; two empty masks agree."""
    union = np.logical_or(a, b).sum()
    return float(np.logical_and(a, b).sum() / union) if union else 1.0
