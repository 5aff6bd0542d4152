"""Where each part of the body is, as maps. In: a Clip's joints. Out: targets that teach the convolutions while training.

A class label a clip teaches 70,000 convolution weights slowly; which limb lies where at which angle teaches them a thousand times a
clip. Only training uses this: the maps' readout is not part of the student.
"""

import numpy as np

# Degrees between the bins of a limb's angle; 0 hangs straight down in the picture, positive to the right.
BINS = np.arange(-90, 91, 30)
# kind -> joints at the upper and the lower end, of each side.
LIMBS = {
    "trunk": [("chest", "pelvis")], "thigh": [("hip0", "knee0"), ("hip1", "knee1")], "shank": [("knee0", "ankle0"), ("knee1", "ankle1")],
    "foot": [("heel0", "toe0"), ("heel1", "toe1")], "upper arm": [("shoulder0", "elbow0"), ("shoulder1", "elbow1")],
    "forearm": [("elbow0", "hand0"), ("elbow1", "hand1")],
}
# Angled limbs, then head, aid, and a walker to the right and to the left.
MAPS = len(LIMBS) * len(BINS) + 4
# Width of a limb's trace in cells.
WIDTH = 0.8


def targets(joints: dict, aids: tuple, size: int, stride: int = 8) -> np.ndarray:
    """`[MAPS, 16, size / stride, size / stride] u8`, 255 where the part is."""
    cells = size // stride
    grid = np.stack(np.meshgrid(np.arange(cells), np.arange(cells)), axis=-1).astype(np.float32)
    at = {name: (where + 0.5) / stride - 0.5 for name, where in joints.items()}
    maps = np.zeros((MAPS, len(at["head"]), cells, cells), np.float32)
    anybody = np.zeros(maps.shape[1:], np.float32)
    for kind, (upper_lower) in enumerate(LIMBS.values()):
        for upper, lower in upper_lower:
            trace = _trace(grid, at[upper], at[lower])
            line = at[lower] - at[upper]
            angle = np.clip(np.degrees(np.arctan2(line[:, 0], line[:, 1])), -90, 90)
            for i, share in enumerate(np.maximum(0, 1 - np.abs(angle[None] - BINS[:, None]) / 30)):
                if share.max() > 0:
                    one = maps[kind * len(BINS) + i]
                    np.maximum(one, trace * share[:, None, None], out=one)
            np.maximum(anybody, trace, out=anybody)
    maps[-4] = _trace(grid, at["neck"], at["head"])
    for side in aids:
        np.maximum(maps[-3], _trace(grid, at[f"hand{side}"], at[f"tip{side}"]), out=maps[-3])
    to_right = at["ahead"].mean(axis=0)[0] > 0
    maps[-2 if to_right else -1] = anybody
    return (maps * 255).astype(np.uint8)


def _trace(grid, a, b) -> np.ndarray:
    """Closeness of each cell to the lines from a to b: `[H, W, 2]`, `[T, 2]`, `[T, 2]` -> `[T, H, W]` in 0..=1."""
    a, line = a[:, None, None], (b - a)[:, None, None]
    along = np.clip(((grid - a) * line).sum(-1) / np.maximum((line ** 2).sum(-1), 1e-6), 0, 1)
    away = ((grid - a - along[..., None] * line) ** 2).sum(-1)
    return np.exp(-away / WIDTH ** 2)
