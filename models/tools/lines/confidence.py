"""Whether confidence means something. In: readings. Out: a reliability table, the expected calibration error, a temperature.

Confidence is that of a character: the highest probability among the steps that say it. It is right when the alignment of least edit
distance pairs it with an equal one. Logits are divided by one temperature, chosen on other lines than those that are reported on, so that
the mean confidence of a bin is the share of right characters in it.
"""

import numpy as np

from lines.characters import BLANK

BINS = 15
TEMPERATURES = np.round(np.geomspace(0.5, 4.0, 43), 3)


def characters(logits: np.ndarray, temperature: float = 1.0) -> tuple[list[int], np.ndarray]:
    """Classes read by greedy CTC from `[T, classes]` and the confidence of each."""
    scaled = logits / temperature
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    powers = np.exp(scaled)
    path = powers.argmax(axis=1)
    likely = powers.max(axis=1) / powers.sum(axis=1)
    read, sure, before = [], [], BLANK
    for c, p in zip(path.tolist(), likely.tolist()):
        if c != BLANK and c == before:
            sure[-1] = max(sure[-1], p)
        elif c != BLANK:
            read.append(c)
            sure.append(p)
        before = c
    return read, np.array(sure)


def right(read, truth) -> list[bool]:
    """For each element of `read`, whether the alignment of least edit distance pairs it with an equal one of `truth`."""
    table = np.zeros((len(read) + 1, len(truth) + 1), np.int32)
    table[:, 0], table[0, :] = np.arange(len(read) + 1), np.arange(len(truth) + 1)
    for i, a in enumerate(read, 1):
        for j, b in enumerate(truth, 1):
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (a != b))
    found, i, j = [False] * len(read), len(read), len(truth)
    while i and j:
        if table[i, j] == table[i - 1, j - 1] + (read[i - 1] != truth[j - 1]):
            i, j = i - 1, j - 1
            found[i] = read[i] == truth[j]
        elif table[i, j] == table[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return found


def bins(sure: np.ndarray, correct: np.ndarray) -> list[tuple[float, float, int]]:
    """Mean confidence, share of right ones and number, for each bin of equal width that has any."""
    at = np.minimum((np.asarray(sure) * BINS).astype(int), BINS - 1)
    return [(float(np.mean(sure[at == b])), float(np.mean(correct[at == b])), int((at == b).sum())) for b in range(BINS) if (at == b).any()]


def expected_error(table: list[tuple[float, float, int]]) -> float:
    """The expected calibration error: the mean distance of confidence and share, weighted by number."""
    return sum(n * abs(c - r) for c, r, n in table) / max(1, sum(n for _, _, n in table))


def gather(lines: list[tuple[np.ndarray, list[int]]]) -> tuple[np.ndarray, np.ndarray]:
    """`lines`: logits `[T, classes]` and true classes. Confidence and rightness of all the characters read; one wrong, unsure one if none are."""
    correct = [right(characters(logits)[0], truth) for logits, truth in lines]
    found = _sure(lines, 1.0), np.concatenate([[], *correct]).astype(bool)
    return found if len(found[0]) else (np.zeros(1), np.zeros(1, bool))


def temperature(lines: list[tuple[np.ndarray, list[int]]]) -> float:
    """The one of TEMPERATURES with the least expected calibration error. What is read, and whether it is right, is the same with all."""
    _, correct = gather(lines)
    if len(_sure(lines, 1.0)) != len(correct):
        return 1.0
    return float(min(TEMPERATURES, key=lambda t: expected_error(bins(_sure(lines, float(t)), correct))))


def _sure(lines, value: float) -> np.ndarray:
    return np.concatenate([np.zeros(0), *(characters(logits, value)[1] for logits, _ in lines)])
