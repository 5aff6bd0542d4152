"""Trains the student on synthetic walkers. In: a seed. Out: checkpoints, `student.pth`, curves.

    python -m gait.train OUT [--schedule 112:10000,224:4000] [--seed 1] [--workers 1] [--threads 2]

Clips are drawn while training, each once, so there is nothing to learn by heart. A schedule's stages are picture size and number of
clips; the same weights fit every size, small pictures come first because they cost a quarter. Run again to go on from the last
checkpoint. CUDA is used when present, else bfloat16 on the processor.

The condition that goes with a clip is a row of the table drawn independently of its class, so the picture alone decides.
"""

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from gait import conditions, parts, walkers
from gait.network import CELLS, FRAMES, Student, normalise

SCHEDULE = "112:10000,224:4000"
BATCH = 16
RATE, HEAD_RATE, HEAD_DECAY = 2e-3, 8e-5, 0.2
# How quickly the features' running mean follows.
FOLLOW = 0.02
# Part of the loss that teaches the convolutions where limbs are.
PARTS_WEIGHT = 1.0
# Every clip is seen once, so little is needed against learning by heart.
SMOOTHING, DROPOUT = 0.03, 0.1
CHECKPOINT_EVERY = 40


class Clips(Dataset):
    """Clips `first..first + count` of a split."""

    def __init__(self, split: str, first: int, count: int, size: int, with_parts: bool = True):
        self.split, self.first, self.count, self.size, self.with_parts = split, first, count, size, with_parts

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int):
        cv2.setNumThreads(1)
        drawn = walkers.clip(self.split, self.first + i, self.size)
        maps = parts.targets(drawn.joints, drawn.aids, self.size) if self.with_parts else np.zeros(1, np.uint8)
        return torch.from_numpy(drawn.frames), drawn.label, torch.from_numpy(maps)


class Trainee(nn.Module):
    """The student in a form that trains faster, with the readout of body parts.

    Pooling stands before normalisation and ReLU, a quarter of the work. Both orders are the same function as long as the
    normalisation's factors are positive, which `keep_positive` sees to.
    """

    def __init__(self, student: Student):
        super().__init__()
        self.student, self.readout = student, nn.Conv2d(64, parts.MAPS, 1)
        nn.init.constant_(self.readout.bias, -4.0)
        # Features behind a ReLU have a mean that would rule the wide layer's gradients; it is taken off here and
        # goes into that layer's bias in `folded`.
        self.register_buffer("centre", torch.zeros(64))

    def maps(self, clip: torch.Tensor) -> torch.Tensor:
        """`[N, 3, T, S, S]` -> `[N * T, 64, S / 8, S / 8]`."""
        x = clip.contiguous(memory_format=torch.channels_last_3d)
        n, _, t = x.shape[:3]
        for i in (0, 4, 8):
            conv, norm = self.student.visual_encoder[i], self.student.visual_encoder[i + 1]
            x = conv(x)
            # Frames as pictures: pooling of two dimensions is the faster kernel. Nothing is copied in this layout.
            flat = x.permute(0, 2, 3, 4, 1).reshape(n * t, *x.shape[3:], x.shape[1]).permute(0, 3, 1, 2)
            flat = functional.max_pool2d(flat, 2)
            flat = functional.relu(functional.batch_norm(
                flat, norm.running_mean, norm.running_var, norm.weight, norm.bias, self.training, norm.momentum, norm.eps))
            x = flat.permute(0, 2, 3, 1).reshape(n, t, *flat.shape[2:], flat.shape[1]).permute(0, 4, 1, 2, 3)
        return flat

    def forward(self, clip, condition):
        """Logits and the logits of the part maps `[N * T, MAPS, h, w]`."""
        flat = self.maps(clip)
        pooled = functional.adaptive_avg_pool2d(flat, CELLS)
        if self.training:
            self.centre.lerp_(pooled.detach().float().mean(dim=(0, 2, 3)), FOLLOW)
        pooled = pooled - self.centre[None, :, None, None]
        features = pooled.reshape(len(clip), -1, *pooled.shape[1:]).transpose(1, 2).flatten(1)
        return self.student.head(features, condition), self.readout(flat)

    def folded(self) -> dict:
        """The student's state dict, on the processor."""
        state = {k: v.detach().cpu().contiguous().clone() for k, v in self.student.state_dict().items()}
        centre = self.centre.cpu().repeat_interleave(FRAMES * CELLS * CELLS)
        state["classifier.0.bias"] -= state["classifier.0.weight"][:, :len(centre)] @ centre
        return state

    def keep_positive(self) -> None:
        """Holds the normalisation's factors above zero."""
        for i in (1, 5, 9):
            self.student.visual_encoder[i].weight.data.clamp_(min=0.05)


def main() -> None:
    """Trains through the schedule."""
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    table = torch.from_numpy(conditions.ours(Path(__file__).resolve().parents[1] / "work").copy()).to(device)
    trainee = Trainee(Student(dropout=DROPOUT)).to(device)
    optimiser = torch.optim.AdamW(_groups(trainee), betas=(0.9, 0.98))
    state = {"clips": 0, "log": []}
    last = options.out / "checkpoint.pth"
    if last.exists():
        saved = torch.load(last, weights_only=True, map_location=device)
        trainee.load_state_dict(saved["trainee"])
        optimiser.load_state_dict(saved["optimiser"])
        state = saved["state"]
    start = 0
    for stage in options.schedule.split(","):
        size, count = map(int, stage.split(":"))
        done = min(max(state["clips"] - start, 0), count)
        if done < count:
            _stage(trainee, optimiser, table, size, start, done, count, state, options, device)
        start += count


def _stage(trainee, optimiser, table, size, start, done, count, state, options, device) -> None:
    """Clips `start + done..start + count` at one size; the rate falls over the stage as a cosine does."""
    loader = DataLoader(Clips("train", start + done, count - done, size), BATCH, num_workers=options.workers, drop_last=True, prefetch_factor=2)
    chooser = torch.Generator().manual_seed(options.seed + start + done)
    began, seen = time.time(), done
    trainee.train()
    for step, (clips, labels, maps) in enumerate(loader):
        part = seen / count
        for group in optimiser.param_groups:
            group["lr"] = group["initial"] * min(1.0, (seen - done + BATCH) / 500) * (0.02 + 0.98 * (0.5 + 0.5 * np.cos(np.pi * part)))
        condition = table[torch.randint(len(table), (len(clips),), generator=chooser).to(device)]
        clips, labels, maps = clips.to(device), labels.to(device), maps.to(device)
        with torch.autocast(device.type, torch.bfloat16):
            logits, found = trainee(normalise(clips), condition)
        wanted = maps.transpose(1, 2).reshape(found.shape).float() / 255
        where = functional.binary_cross_entropy_with_logits(found.float(), wanted, pos_weight=torch.full((1, 1, 1), 4.0, device=device))
        what = functional.cross_entropy(logits.float(), labels, label_smoothing=SMOOTHING)
        optimiser.zero_grad(set_to_none=True)
        (what + PARTS_WEIGHT * 10 * where).backward()
        nn.utils.clip_grad_norm_(trainee.parameters(), 5.0)
        optimiser.step()
        trainee.keep_positive()
        seen += len(clips)
        state["clips"] = start + seen
        right = float((logits.argmax(1) == labels).float().mean())
        state["log"].append([start + seen, size, round(float(what.detach()), 4), round(float(where.detach()), 5), right])
        if step % 10 == 9:
            recent = np.array([r[2:] for r in state["log"][-20:]]).mean(axis=0)
            print(f"{start + seen} clips, {size} px, loss {recent[0]:.3f}, parts {recent[1]:.4f}, right {recent[2]:.3f}, "
                  f"{(time.time() - began) / (seen - done):.3f} s a clip", flush=True)
        if step % CHECKPOINT_EVERY == CHECKPOINT_EVERY - 1:
            _save(trainee, optimiser, state, options.out)
    state["clips"] = start + count
    _save(trainee, optimiser, state, options.out)


def _groups(trainee: Trainee) -> list:
    """The head's wide layer learns slower and decays; everything else does not decay."""
    wide = trainee.student.classifier[0].weight
    rest = [p for p in trainee.parameters() if p is not wide]
    return [{"params": rest, "lr": RATE, "initial": RATE, "weight_decay": 0.0},
            {"params": [wide], "lr": HEAD_RATE, "initial": HEAD_RATE, "weight_decay": HEAD_DECAY}]


def _save(trainee, optimiser, state, out: Path) -> None:
    fresh = out / "checkpoint.new"
    torch.save({"trainee": trainee.state_dict(), "optimiser": optimiser.state_dict(), "state": state}, fresh)
    fresh.rename(out / "checkpoint.pth")
    torch.save(trainee.folded(), out / "student.pth")
    (out / "log.json").write_text(json.dumps(state["log"]))


def _options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--schedule", default=SCHEDULE)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
