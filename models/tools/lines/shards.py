"""Renders lines into files that training reads. In: a pack, a split, a seed. Out: shards in a folder, the same on every run.

    python -m lines.shards OUT --pack devanagari --set short --count 20000 [--seed 1] [--workers 2] [--work WORK] [--sanskrit FILE]

Line `i` of a set depends on the seed, the set and `i` alone, not on the number of workers. A shard is `NAME-000.npy`, `[48, sum of
widths] u8`, and `NAME-000.json`: widths, texts, kinds, faces. What is there already is kept, so a broken run goes on.
"""

import argparse
import json
import os
import time
import zlib
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import cv2
import numpy as np

from lines import compose, degrade, draw, sources

# Lines of one file.
SHARD = 2000
WIDEST = 1280


@dataclass(frozen=True)
class Kind:
    """A set of lines. `lengths`: code points asked for, from and to. `widest`: pixels, at the network's height. `forms`: see `draw.ink`."""

    split: str
    level: str
    lengths: tuple[int, int]
    widest: int
    forms: bool = False


SETS = {
    "short": Kind("train", "train", (2, 12), 224),
    "medium": Kind("train", "train", (6, 26), 384),
    "long": Kind("train", "train", (16, 64), 960),
    "forms": Kind("train", "train", (4, 40), 640, forms=True),
    "more": Kind("more", "train", (4, 48), 800),
    "test-clean": Kind("test", "clean", (4, 48), WIDEST),
    "test-scan": Kind("test", "scan", (4, 48), WIDEST),
    # Other texts in the faces of training: how much of an error is the face's.
    "seen-clean": Kind("train", "clean", (4, 48), WIDEST),
}


def line(pack: str, sentences: dict, name: str, seed: int, index: int) -> tuple[np.ndarray, str, str, str]:
    """Pixels `[48, W] u8`, text, kind of text, faces."""
    kind = SETS[name]
    for attempt in range(40):
        rng = np.random.default_rng([seed, zlib.crc32(f"{pack} {name}".encode()), index, attempt])
        text, said = compose.line(rng, pack, sentences, int(rng.integers(kind.lengths[0], kind.lengths[1] + 1)))
        ink = draw.ink(rng, text, kind.split, kind.forms)
        if ink is None:
            continue
        other = None
        if kind.level == "train" and rng.random() < 0.4:
            other = draw.ink(rng, compose.line(rng, pack, sentences, 24)[0], kind.split)
        pixels = degrade.degraded(rng, ink, kind.level, other)
        if pixels.shape[1] <= kind.widest:
            return pixels, text, said, " ".join(Path(f).stem for f in dict.fromkeys(ink.faces))
    raise ValueError(f"line {index} of {name}: no text fits {kind.widest} px")


def shard(pack: str, name: str, seed: int, work: Path, sanskrit: Path, out: Path, number: int, count: int) -> float:
    """Writes one shard unless it is there; returns the seconds that it took."""
    target = out / f"{name}-{number:03}"
    if target.with_suffix(".json").exists():
        return 0.0
    began = time.perf_counter()
    sentences = sources.load(pack, work, sanskrit, SETS[name].split)
    drawn = [line(pack, sentences, name, seed, number * SHARD + i) for i in range(count)]
    pixels, texts, kinds, files = zip(*drawn)
    np.save(target.with_suffix(".npy"), np.concatenate(pixels, axis=1))
    # The list is written last: a shard counts only with it.
    fresh = target.with_suffix(".new")
    fresh.write_text(json.dumps({"pack": pack, "seed": seed, "widths": [p.shape[1] for p in pixels], "texts": texts, "kinds": kinds,
                                 "faces": files}, ensure_ascii=False), encoding="utf-8")
    fresh.rename(target.with_suffix(".json"))
    return time.perf_counter() - began


def render(options, name: str, count: int) -> None:
    """Writes the shards of a set in worker processes of low priority."""
    options.out.mkdir(parents=True, exist_ok=True)
    numbers = range((count + SHARD - 1) // SHARD)
    job = partial(_shard, options.pack, name, options.seed, options.work, options.sanskrit, options.out, count)
    with Pool(min(options.workers, len(numbers)), _low) as pool:
        for number, seconds in pool.imap_unordered(job, numbers):
            if seconds:
                here = min(SHARD, count - number * SHARD)
                print(f"{name}-{number:03}: {here} lines, {here / seconds:.0f} a second and worker", flush=True)


def _shard(pack, name, seed, work, sanskrit, out, count, number):
    return number, shard(pack, name, seed, work, sanskrit, out, number, min(SHARD, count - number * SHARD))


def _low() -> None:
    os.nice(19 - os.nice(0))
    cv2.setNumThreads(1)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that rendering needs."""
    parser.add_argument("out", type=Path)
    parser.add_argument("--pack", choices=list(compose.SHARES), required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--work", type=Path, default=Path("work/lines"), help="where the catalogues' packages are unpacked")
    parser.add_argument("--sanskrit", type=Path, default=Path("work/lines/sanskrit-lines.txt"), help="a text file, a sentence a line")


def main() -> None:
    """One set."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_options(parser)
    parser.add_argument("--set", choices=list(SETS), required=True)
    parser.add_argument("--count", type=int, required=True)
    options = parser.parse_args()
    render(options, options.set, options.count)


if __name__ == "__main__":
    main()
