"""Trains the student on synthetic walkers. In: a seed. Out: `student.pth`, checkpoints, curves' data.

    python -m gait.train OUT [--seed 1] [--threads 2] [--workers 1] [--stages convolutions,maps,frames,whole] [--crops N] ...

A network of this size learns slowly from a class alone: 13 M weights, most of them one matrix over cells and frames. So it learns in
stages, each kept in OUT and skipped when it is there:

    convolutions   crops of drawn clips -> maps of the body's parts, one feature channel each (parts.py)
    maps           the head, from computed part maps: clips that were never drawn, 4 ms each
    frames         the head, from what the convolutions see in drawn clips; half of its batches are still maps
    whole          everything together, end to end at 224; worth it where there is a GPU

Clips are never seen at more than one index and split. CUDA is used when present, else bfloat16 on the processor. The condition that
goes with a clip is a row of the table drawn independently of its class, so the picture alone decides.
"""

import argparse
import json
import shutil
import time
from multiprocessing import Pool
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from gait import conditions, parts, walkers
from gait.network import CELLS, FRAMES, SIZE, Student, normalise

# Clips of the training split that each stage takes, from this index on.
CONVOLUTION_FIRST, FRAMES_FIRST, WHOLE_FIRST, MAPS_FIRST = 0, 100_000, 150_000, 200_000
# Crops in pixels and frames.
CROP, SPAN = 96, 16
# From a channel's value to the logit of its part, so that 1 is nearly sure and 0 nearly surely not; and the weight of what is there.
SLOPE, OFFSET, PRESENT = 6.0, -2.5, 5.0
# Taken off the last ReLU's threshold afterwards, so that weak evidence of rare parts still reaches the head.
MARGIN = 0.25
SMOOTHING = 0.03
NOISE = 0.01 * np.abs(np.random.default_rng(0).standard_normal(1 << 20, np.float32))
CHANNELS = parts.CHANNELS


def main() -> None:
    """Trains through the stages."""
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    table = torch.from_numpy(conditions.ours(Path(__file__).resolve().parents[1] / "work").copy())
    student = Student(dropout=options.dropout)
    before = None
    for stage in options.stages.split(","):
        path = options.out / f"{stage}.pth"
        if path.exists():
            student.load_state_dict(torch.load(path, weights_only=True))
        else:
            if before is not None:
                student.load_state_dict(torch.load(before, weights_only=True))
            student.to(device)
            log = STAGES[stage](student, table.to(device), options, device)
            state = {k: v.cpu() for k, v in student.state_dict().items()}
            torch.save(state, path)
            (options.out / f"{stage}.json").write_text(json.dumps(log))
        before = path
    shutil.copyfile(before, options.out / "student.pth")


def convolutions(student, table, options, device) -> list:
    """Crops -> part maps. A channel learns as if its logit were SLOPE times its value before the last ReLU, plus OFFSET.

    Behind the ReLU most targets are zero and so would be most gradients: channels died when they learnt there.
    """
    frames, wanted = _drawn_clips(options)
    layers = student.visual_encoder
    nn.init.constant_(layers[9].weight, 0.3)
    nn.init.constant_(layers[9].bias, -0.3)
    trained = [p for i in (0, 1, 4, 5, 8, 9) for p in layers[i].parameters()]
    optimiser = torch.optim.AdamW(trained, weight_decay=1e-4)
    first, log = _resume("convolutions", student, optimiser, options)
    rng, began = np.random.default_rng([options.seed, first]), time.time()
    steps = options.crops // options.crop_batch
    inner = slice(1, -1)
    for step in range(first, steps):
        _rate(optimiser, options.rate, step, steps)
        clips, maps = _crops(rng, frames, wanted, options.crop_batch)
        with torch.autocast(device.type, torch.bfloat16):
            found = encode(student, normalise(clips.to(device)), training=True, rectified=False)
        found = found.float().reshape(len(clips), SPAN, CHANNELS, *found.shape[2:]).transpose(1, 2)[:, :parts.USED]
        wanted_here = maps.to(device)[:, :parts.USED].float() / 255
        # The border of a crop lacks what lies beyond it.
        loss = functional.binary_cross_entropy_with_logits(
            (SLOPE * found + OFFSET)[..., inner, inner], wanted_here[..., inner, inner], pos_weight=torch.tensor(PRESENT, device=device))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        for i in (1, 5, 9):
            # Pooling stands before normalisation in `encode`; that is the same function while these are positive.
            layers[i].weight.data.clamp_(min=0.02)
        log.append(float(loss.detach()))
        if step % 20 == 19:
            print(f"convolutions: {step + 1} of {steps}, error {np.mean(log[-20:]):.4f}, {(time.time() - began) / (step + 1 - first):.2f} s a step", flush=True)
            _keep("convolutions", student, optimiser, step + 1, log, options)
    layers[9].bias.data += MARGIN
    return log


def encode(student, clip: torch.Tensor, training: bool, rectified: bool = True) -> torch.Tensor:
    """The convolutions in a form that is faster: `[N, 3, T, S, S]` -> `[N * T, 64, S / 8, S / 8]`.

    Pooling stands before normalisation and ReLU, a quarter of the work. `rectified`: whether the last ReLU is there.
    """
    x = clip.contiguous(memory_format=torch.channels_last_3d)
    n, _, t = x.shape[:3]
    for i in (0, 4, 8):
        conv, norm = student.visual_encoder[i], student.visual_encoder[i + 1]
        x = conv(x)
        # Frames as pictures: pooling of two dimensions is the faster kernel. Nothing is copied in this layout.
        flat = x.permute(0, 2, 3, 4, 1).reshape(n * t, *x.shape[3:], x.shape[1]).permute(0, 3, 1, 2)
        flat = functional.max_pool2d(flat, 2)
        flat = functional.batch_norm(flat, norm.running_mean, norm.running_var, norm.weight, norm.bias, training, norm.momentum, norm.eps)
        flat = functional.relu(flat) if rectified or i < 8 else flat
        x = flat.permute(0, 2, 3, 1).reshape(n, t, *flat.shape[2:], flat.shape[1]).permute(0, 4, 1, 2, 3)
    return flat


def maps(student, table, options, device) -> list:
    """The head on computed maps."""
    return _head(student, table, options, device, options.maps, 0)


def frames(student, table, options, device) -> list:
    """The head on what the convolutions see, and on maps."""
    return _head(student, table, options, device, options.maps, options.frames)


def _head(student, table, options, device, map_count: int, frame_count: int) -> list:
    computed, map_labels = _computed_maps(options, map_count)
    if frame_count:
        seen, frame_labels = _seen_features(student, options, device, frame_count)
        factor = _align(student, seen, computed)
    rest = [*student.clinical_proj.parameters(), student.classifier[0].bias, *student.classifier[3].parameters()]
    wide = student.classifier[0].weight
    optimiser = torch.optim.AdamW([
        {"params": rest, "initial": options.rate, "weight_decay": 0.0},
        {"params": [wide], "initial": options.head_rate, "weight_decay": options.head_decay}], lr=1e-3, fused=True)
    name = "frames" if frame_count else "maps"
    first, log = _resume(name, student, optimiser, options)
    rng, began = np.random.default_rng([options.seed + 1, first]), time.time()
    batch, epochs = options.batch, options.frame_epochs if frame_count else options.map_epochs
    total = epochs * (frame_count or map_count) // batch
    for step in range(first, total):
        _rate(optimiser, None, step, total)
        if frame_count and step % 3 != 2:
            at = np.sort(rng.choice(frame_count, batch, replace=False))
            features, labels = _shifted(rng, seen[at] * factor), frame_labels[at]
        else:
            at = np.sort(rng.choice(map_count, batch, replace=False))
            features, labels = _worn(rng, _shifted(rng, computed[at])), map_labels[at]
        features = torch.from_numpy(features.reshape(batch, -1)).to(device, torch.float32)
        features = functional.dropout(features, options.feature_dropout)
        labels = torch.from_numpy(labels).to(device)
        condition = table[torch.from_numpy(rng.integers(len(table), size=batch)).to(device)]
        student.train()
        with torch.autocast(device.type, torch.bfloat16):
            logits = student.head(features, condition)
        loss = functional.cross_entropy(logits.float(), labels, label_smoothing=SMOOTHING)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        log.append([float(loss.detach()), float((logits.argmax(1) == labels).float().mean())])
        if step % 50 == 49:
            print(f"{name}: {step + 1} of {total}, loss, right {np.mean(log[-50:], axis=0).round(3)}, "
                  f"{(time.time() - began) / (step + 1 - first):.2f} s a step", flush=True)
            if step % 200 == 199:
                _keep(name, student, optimiser, step + 1, log, options)
    return log


def whole(student, table, options, device) -> list:
    """All layers end to end on freshly drawn clips."""
    optimiser = torch.optim.AdamW([{"params": student.parameters(), "initial": options.whole_rate, "weight_decay": 0.01}], lr=1e-4)
    first, log = _resume("whole", student, optimiser, options)
    rng, steps = np.random.default_rng([options.seed + 2, first]), options.whole // 8
    with Pool(options.workers, _single) as pool:
        drawn = pool.imap(_frames_of, range(WHOLE_FIRST + 8 * first, WHOLE_FIRST + 8 * steps), chunksize=4)
        for step in range(first, steps):
            _rate(optimiser, None, step, steps)
            clips, labels = zip(*(next(drawn) for _ in range(8)))
            clips, labels = torch.from_numpy(np.stack(clips)).to(device), torch.tensor(labels, device=device)
            condition = table[torch.from_numpy(rng.integers(len(table), size=8)).to(device)]
            student.train()
            with torch.autocast(device.type, torch.bfloat16):
                # Statistics of the normalisation stay as they are.
                logits = student.head(_pool(encode(student, normalise(clips), training=False), len(clips)), condition)
            loss = functional.cross_entropy(logits.float(), labels, label_smoothing=SMOOTHING)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            for i in (1, 5, 9):
                student.visual_encoder[i].weight.data.clamp_(min=0.02)
            log.append([float(loss.detach()), float((logits.argmax(1) == labels).float().mean())])
            if step % 10 == 9:
                print(f"whole: {step + 1} of {steps}, loss, right {np.mean(log[-20:], axis=0).round(3)}", flush=True)
                _keep("whole", student, optimiser, step + 1, log, options)
    return log


STAGES = {"convolutions": convolutions, "maps": maps, "frames": frames, "whole": whole}


def features_of(student, clips: torch.Tensor) -> torch.Tensor:
    """What the head reads: `[N, 16, 224, 224, 3] u8` -> `[N, 64, 16, 7, 7]`; in bfloat16 on the processor."""
    with torch.no_grad(), torch.autocast(clips.device.type, torch.bfloat16):
        found = _pool(encode(student, normalise(clips), training=False), len(clips))
    return found.float().reshape(len(clips), CHANNELS, FRAMES, CELLS, CELLS)


def _pool(flat: torch.Tensor, count: int) -> torch.Tensor:
    pooled = functional.adaptive_avg_pool2d(flat, CELLS)
    return pooled.reshape(count, -1, *pooled.shape[1:]).transpose(1, 2).flatten(1)


def _keep(stage: str, student, optimiser, step: int, log: list, options) -> None:
    """Writes what `_resume` reads."""
    fresh = options.out / "partial.new"
    torch.save({"stage": stage, "student": student.state_dict(), "optimiser": optimiser.state_dict(), "step": step, "log": log}, fresh)
    fresh.rename(options.out / "partial.pth")


def _resume(stage: str, student, optimiser, options) -> tuple[int, list]:
    """Goes on from this stage's last checkpoint, if there is one; returns the step and the log so far."""
    path = options.out / "partial.pth"
    if not path.exists():
        return 0, []
    kept = torch.load(path, weights_only=True, map_location=next(student.parameters()).device)
    if kept["stage"] != stage:
        return 0, []
    student.load_state_dict(kept["student"])
    optimiser.load_state_dict(kept["optimiser"])
    return kept["step"], kept["log"]


def _align(student, seen: np.ndarray, computed: np.ndarray) -> np.ndarray:
    """Scales each channel of what is seen to spread as the computed maps do, and shifts the head's bias to their mean.

    A factor behind a ReLU is one before it, so it goes into the last normalisation. Returns the factors, `[64, 1, 1, 1] f16`.
    """
    seen, computed = (np.asarray(a[:1000], np.float32) for a in (seen, computed))
    spread, wanted = (np.sqrt(a.var(axis=0).mean(axis=(1, 2, 3))) for a in (seen, computed))
    factor = np.where(spread > 1e-4, np.clip(wanted / np.maximum(spread, 1e-6), 1e-3, 10), 1e-3).astype(np.float32)
    norm, first = student.visual_encoder[9], student.classifier[0]
    shift = seen.mean(axis=0) * factor[:, None, None, None] - computed.mean(axis=0)
    with torch.no_grad():
        norm.weight *= torch.from_numpy(factor).to(norm.weight.device)
        norm.bias *= torch.from_numpy(factor).to(norm.bias.device)
        first.bias -= first.weight[:, :shift.size] @ torch.from_numpy(shift.reshape(-1)).to(first.weight.device)
    return factor[:, None, None, None]


def _rate(optimiser, rate, step: int, steps: int) -> None:
    """A short rise, then a cosine."""
    part = min(1.0, (step + 1) / 30) * (0.01 + 0.99 * (0.5 + 0.5 * np.cos(np.pi * step / steps)))
    for group in optimiser.param_groups:
        group["lr"] = float((rate or group["initial"]) * part)


def _crops(rng, frames, wanted, count: int):
    """Pieces of CROP pixels and SPAN frames on the grid of cells, most of them where the walker is."""
    clips, maps, cells = [], [], CROP // 8
    for _ in range(count):
        which = rng.integers(len(frames))
        at = rng.integers(0, SIZE // 8 - cells + 1, 2)
        if rng.random() < 0.85:
            there = np.argwhere(wanted[which, -6:, rng.integers(FRAMES)].max(axis=0) > 100)
            there = np.argwhere(wanted[which, :parts.USED, rng.integers(FRAMES)].max(axis=0) > 100) if not len(there) else there
            if len(there):
                at = np.clip(there[rng.integers(len(there))] - cells // 2 + rng.integers(-3, 4, 2), 0, SIZE // 8 - cells)
        (y, x), t = at, rng.integers(0, FRAMES - SPAN + 1)
        clips.append(frames[which, t:t + SPAN, 8 * y:8 * y + CROP, 8 * x:8 * x + CROP])
        maps.append(wanted[which, :, t:t + SPAN, y:y + cells, x:x + cells])
    return torch.from_numpy(np.stack(clips)), torch.from_numpy(np.stack(maps))


def _shifted(rng, features: np.ndarray) -> np.ndarray:
    """Moves some clips by a cell to the side, up or down; the edge is repeated."""
    features = features.astype(np.float32)
    for i in np.flatnonzero(rng.random(len(features)) < 0.3):
        axis, by = (-1, int(rng.choice([-1, 1]))) if rng.random() < 0.7 else (-2, int(rng.choice([-1, 1])))
        index = np.clip(np.arange(CELLS) - by, 0, CELLS - 1)
        features[i] = np.take(features[i], index, axis=axis)
    return features


def _worn(rng, features: np.ndarray) -> np.ndarray:
    """Computed maps made worse, as what convolutions see is."""
    gain = rng.uniform(0.5, 1.1, (len(features), CHANNELS, 1, 1, 1)).astype(np.float32)
    # One draw of noise, begun elsewhere for each batch: to draw it anew takes longer than the step.
    return features * gain + np.take(NOISE, np.arange(features.size) + rng.integers(len(NOISE)), mode="wrap").reshape(features.shape)


def _drawn_clips(options):
    """Memory maps of drawn clips `[N, 16, 224, 224, 3]` and their part maps `[N, 64, 16, 28, 28]`, both u8."""
    count = options.clips
    frames = _array(options.out / "clips.u8", np.uint8, (count, FRAMES, SIZE, SIZE, 3))
    wanted = _array(options.out / "clips.maps", np.uint8, (count, CHANNELS, FRAMES, parts.CELLS, parts.CELLS))
    marker = options.out / f"clips.{count}"
    if not marker.exists():
        with Pool(options.workers, _single) as pool:
            for i, (clip, maps) in enumerate(pool.imap(_clip_and_maps, range(CONVOLUTION_FIRST, CONVOLUTION_FIRST + count), chunksize=8)):
                frames[i], wanted[i] = clip, maps
        marker.touch()
    return frames, wanted


def _computed_maps(options, count: int):
    """Pooled part maps `[N, 64, 16, 7, 7] f16` and classes, of clips that are not drawn."""
    found = _array(options.out / "maps.f16", np.float16, (count, CHANNELS, FRAMES, CELLS, CELLS))
    marker = options.out / f"maps.{count}"
    if not marker.exists():
        with Pool(options.workers, _single) as pool:
            for i, maps in enumerate(pool.imap(_maps_of, range(MAPS_FIRST, MAPS_FIRST + count), chunksize=32)):
                found[i] = maps
        marker.touch()
    return found, np.arange(MAPS_FIRST, MAPS_FIRST + count) % len(walkers.CLASSES)


def _seen_features(student, options, device, count: int):
    """Features `[N, 64, 16, 7, 7] f16` of drawn clips, and classes."""
    found = _array(options.out / "features.f16", np.float16, (count, CHANNELS, FRAMES, CELLS, CELLS))
    marker = options.out / f"features.{count}"
    done = options.out / "features.done"
    first = int(done.read_text()) if done.exists() else 0
    student.eval()
    began = time.time()
    if not marker.exists():
        with Pool(options.workers, _single) as pool:
            drawn = pool.imap(_frames_of, range(FRAMES_FIRST + first, FRAMES_FIRST + count), chunksize=4)
            for i in range(first, count, 4):
                clips = np.stack([next(drawn)[0] for _ in range(min(4, count - i))])
                found[i:i + 4] = features_of(student, torch.from_numpy(clips).to(device)).cpu().numpy()
                if i % 100 == 96:
                    done.write_text(str(i + 4))
                    print(f"frames: {i + 4} of {count} clips seen, {(time.time() - began) / (i + 4 - first):.2f} s each", flush=True)
        marker.touch()
    return found, np.arange(FRAMES_FIRST, FRAMES_FIRST + count) % len(walkers.CLASSES)


def _array(path: Path, kind, shape) -> np.ndarray:
    """A file as an array; one that is too short grows and keeps what it has."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    with open(path, "ab") as file:
        file.truncate(max(size, path.stat().st_size))
    return np.memmap(path, kind, "r+", shape=shape)


def _single() -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _clip_and_maps(index: int):
    drawn = walkers.clip("train", index)
    return drawn.frames, (parts.maps(drawn.take.spots, drawn.take.aids) * 255).astype(np.uint8)


def _maps_of(index: int):
    taken = walkers.take("train", index)
    return parts.pooled(taken.spots, taken.aids).astype(np.float16)


def _frames_of(index: int):
    drawn = walkers.clip("train", index)
    return drawn.frames, drawn.label


def _options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--stages", default="convolutions,maps,frames")
    for name, value in (("seed", 1), ("threads", 2), ("workers", 1), ("clips", 400), ("crops", 2200), ("crop-batch", 4), ("maps", 18000), ("map-epochs", 5),
                        ("frames", 2400), ("frame-epochs", 10), ("batch", 64), ("whole", 4000)):
        parser.add_argument(f"--{name}", type=int, default=value)
    for name, value in (("rate", 2e-3), ("head-rate", 3e-4), ("head-decay", 0.1), ("dropout", 0.3), ("feature-dropout", 0.1), ("whole-rate", 1e-4)):
        parser.add_argument(f"--{name}", type=float, default=value)
    return parser.parse_args()


if __name__ == "__main__":
    main()
