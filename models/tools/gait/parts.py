"""Where each part of the body is, as maps. In: a Take's joints in pixels. Out: what the student's 64 feature channels should show.

A class label a clip teaches 70,000 convolution weights slowly; which limb lies where at which angle teaches them a thousand times a
clip. So the convolutions learn these maps, one channel each, and the head first learns from maps that were computed, not seen.
"""

import numpy as np

CHANNELS = 64
# Limb -> joints at the upper and the lower end, of each side, and centres of its angle's bins in degrees: 0 hangs straight down in
# the picture, positive to the right.
LIMBS = {
    "trunk": ([("chest", "pelvis")], np.arange(-45, 46, 15)),
    "thigh": ([("hip0", "knee0"), ("hip1", "knee1")], np.arange(-60, 61, 15)),
    "shank": ([("knee0", "ankle0"), ("knee1", "ankle1")], np.arange(-60, 61, 15)),
    "foot": ([("heel0", "toe0"), ("heel1", "toe1")], np.arange(-120, 121, 30)),
    "upper arm": ([("shoulder0", "elbow0"), ("shoulder1", "elbow1")], np.arange(-60, 61, 20)),
    "forearm": ([("elbow0", "hand0"), ("elbow1", "hand1")], np.arange(-90, 91, 30)),
}
# Joint with its neighbours, of each side, and centres of the bins of its bend in degrees.
BENDS = {
    "knee": ([("hip0", "knee0", "ankle0"), ("hip1", "knee1", "ankle1")], np.arange(0, 81, 20)),
    "elbow": ([("shoulder0", "elbow0", "hand0"), ("shoulder1", "elbow1", "hand1")], np.arange(0, 91, 45)),
}
# Limbs, bends, head, aid, a walker to the right, a walker to the left; the channels that are left stay empty.
USED = sum(len(bins) for _, bins in (*LIMBS.values(), *BENDS.values())) + 4
# Width of a trace in cells of 8 pixels at 224.
WIDTH = 0.8
# Frames at full size have 28 cells a side; the head reads 7.
CELLS, POOLED = 28, 7


def maps(spots: dict, aids: tuple, size: int = 224) -> np.ndarray:
    """`[64, 16, 28, 28] f32` in 0..=1."""
    return np.minimum(1, _collect(spots, aids, size, lambda trace: trace))


def pooled(spots: dict, aids: tuple, size: int = 224) -> np.ndarray:
    """`[64, 16, 7, 7] f32`: the means that the head reads, nearly, for where limbs overlap they add up."""
    wide = CELLS // POOLED
    return _collect(spots, aids, size, lambda trace: trace.reshape(len(trace), POOLED, wide, POOLED, wide).mean(axis=(2, 4)))


def _collect(spots: dict, aids: tuple, size: int, reduce) -> np.ndarray:
    axis = np.arange(CELLS, dtype=np.float32)
    at = {name: (where.astype(np.float32) + 0.5) * (CELLS / size) - 0.5 for name, where in spots.items()}
    frames = len(at["head"])
    channels, anybody = [], 0.0
    for pairs, bins in LIMBS.values():
        found = 0.0
        for upper, lower in pairs:
            whole = _trace(axis, at[upper], at[lower])
            trace, anybody = reduce(whole), np.maximum(anybody, whole)
            line = at[lower] - at[upper]
            found = found + _shares(np.degrees(np.arctan2(line[:, 0], line[:, 1])), bins)[:, :, None, None] * trace
        channels.append(found)
    for triples, bins in BENDS.values():
        found = 0.0
        for a, b, c in triples:
            one, two = at[b] - at[a], at[c] - at[b]
            bend = np.degrees(np.abs(np.arctan2(one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0], (one * two).sum(1))))
            found = found + _shares(bend, bins)[:, :, None, None] * reduce(_trace(axis, at[b] - 0.3 * one, at[b] + 0.3 * two))
        channels.append(found)
    channels.append(reduce(_trace(axis, at["neck"], at["head"]))[None])
    held = [reduce(_trace(axis, at[f"hand{side}"], at[f"tip{side}"])) for side in aids]
    channels.append(np.maximum.reduce(held)[None] if held else np.zeros_like(channels[-1]))
    right = float(np.mean(spots["ahead"][:, 0]) > 0)
    anybody = reduce(anybody)[None]
    channels += [right * anybody, (1 - right) * anybody]
    used = np.concatenate(channels).astype(np.float32)
    return np.concatenate([used, np.zeros((CHANNELS - len(used), frames, *used.shape[2:]), np.float32)])


def _shares(angle, bins) -> np.ndarray:
    """How much of an angle falls to each bin, `[bins, T]`; beyond the last ones all to those."""
    angle = np.clip(angle, bins[0], bins[-1])
    return np.maximum(0, 1 - np.abs(angle[None] - bins[:, None]) / (bins[1] - bins[0])).astype(np.float32)


def _trace(axis, a, b) -> np.ndarray:
    """Closeness of each cell to the lines from a to b: `[T, 2]` each -> `[T, CELLS, CELLS]` in 0..=1."""
    line = b - a
    square = np.maximum((line ** 2).sum(1), 1e-6)[:, None, None]
    dx, dy = axis[None, None, :] - a[:, 0, None, None], axis[None, :, None] - a[:, 1, None, None]
    lx, ly = line[:, 0, None, None], line[:, 1, None, None]
    along = np.clip((dx * lx + dy * ly) / square, 0, 1)
    away = (dx - along * lx) ** 2 + (dy - along * ly) ** 2
    return np.exp(away * np.float32(-1 / WIDTH ** 2))
