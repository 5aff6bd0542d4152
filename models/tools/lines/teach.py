"""What another recogniser says of the lines of shards, for training after it (distillation). In: shards, its folder. Out: `NAME-000.taught.npz` beside each.

    python -m lines.teach SHARDS --pack latin --teacher ../ocr-recogniser-latin --set medium [--most 10]

The teacher has a step of eight pixels, twice as wide as ours. Kept of each of its steps are its TOP likeliest classes that the pack has, blank
included, and how likely; a step of which less than CERTAIN is among them says nothing, nor does a line that the teacher itself misreads.
"""

import argparse
import time
import tomllib
from pathlib import Path

import numpy as np

from lines import batches, evaluate
from lines.characters import BLANK, PACKS, classes, joined
from lines.export import coloured
from ocr import decode

STEP, TOP, CERTAIN = 8, 3, 0.9


def mapping(characters: list[str], pack: str) -> np.ndarray:
    """The teacher's class `[T]` -> the pack's, -1 where the pack has none."""
    known = classes(pack)
    return np.array([BLANK, *(known.get(joined(c), -1) for c in characters)])


def taught(logits: np.ndarray, ours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits `[T, classes]` -> the pack's classes `[T, TOP] i16` and how likely they are `[T, TOP] f16`, in all 1, or 0 where a step says nothing."""
    likely = np.exp(logits - logits.max(axis=1, keepdims=True))
    likely /= likely.sum(axis=1, keepdims=True)
    likely[:, ours < 0] = 0
    best = np.argsort(-likely, axis=1)[:, :TOP]
    part = np.take_along_axis(likely, best, axis=1)
    whole = part.sum(axis=1, keepdims=True)
    return ours[best].astype(np.int16), np.where(whole < CERTAIN, 0, part / np.maximum(whole, CERTAIN)).astype(np.float16)


def teach(path: Path, network, characters: list[str], pack: str) -> int:
    """Writes what the teacher says of one shard, each line's steps in a row; returns how many lines it reads without an error."""
    shard, ours = batches.shard(path), mapping(characters, pack)
    found, right = [], 0
    for i, text in enumerate(shard.texts):
        logits = network.run(None, {"x": coloured(shard.line(i), STEP)})[0]
        said, likely = taught(logits[0], ours)
        if joined(decode(logits, characters)) == text:
            right += 1
        else:
            likely[:] = 0
        found.append((said, likely))
    ends = np.cumsum([0, *(len(said) for said, _ in found)])
    np.savez(path.with_suffix(".taught.npz"), starts=ends, classes=np.concatenate([f[0] for f in found]), likely=np.concatenate([f[1] for f in found]))
    return right


def main() -> None:
    """One set."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("shards", type=Path)
    parser.add_argument("--pack", choices=PACKS, required=True)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--set", required=True)
    parser.add_argument("--most", type=int, default=10, help="shards")
    options = parser.parse_args()
    characters = tomllib.loads((options.teacher / "model.toml").read_text(encoding="utf-8"))["characters"]
    network = evaluate.session(options.teacher / "model.onnx")
    for path in batches.shards(options.shards, options.set)[:options.most]:
        if path.with_suffix(".taught.npz").exists():
            continue
        began = time.perf_counter()
        right = teach(path, network, list(characters), options.pack)
        lines = len(batches.shard(path).texts)
        print(f"{path.stem}: {right} of {lines} lines read without an error, {lines / (time.perf_counter() - began):.0f} a second", flush=True)


if __name__ == "__main__":
    main()
