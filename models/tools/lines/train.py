"""Trains a recogniser. In: shards. Out: a folder with a checkpoint that a later run goes on from, weights, curves, settings and figures.

    python -m lines.train OUT --pack devanagari --shards SHARDS --lines 1000000 [--shape dense] [--seed 1] [--threads 2] ...

Short lines first, then longer ones (CURRICULUM). CUDA is used when present, else the processor; in bfloat16 where it multiplies that. A
stopped run goes on where its last checkpoint was, with the same batches; a larger `--lines` goes on beyond the end of an earlier one.
`--begin FOLDER` begins with the weights of a recogniser that is finished, of this pack or another, and with lines of all lengths.
`--distil` trains after what `lines.teach` has put beside the shards as well. OUT holds

    state.pth      weights, their running mean, optimiser, position: what a run goes on from
    weights.pth    the running mean of the weights, which is what is measured and exported
    run.json       settings, the loss, error rates on held-out faces along the way
    curves.png     the same as a picture
"""

import argparse
import copy
import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from lines import batches, begin, charts, measure
from lines.characters import BLANK, characters
from lines.compose import SHARES
from lines.network import SHAPES, Recogniser, count

# Up to this part of the run, sets in these proportions.
CURRICULUM = ((0.15, {"short": 1.0}), (0.5, {"short": 0.3, "medium": 0.5, "forms": 0.2}), (1.01, {"short": 0.1, "medium": 0.25, "long": 0.25, "forms": 0.2, "more": 0.2}))
# Steps with a rising rate; the part of the run behind which it falls to nothing.
WARM, FALL = 300, 0.7
# Pixels of a batch: 40 lines of 160.
COLUMNS = {"cpu": 6_400, "cuda": 51_200}
CHECKED = ("test-clean", "test-scan")
# Batches that the normalisations of a recogniser are measured on when a run begins with it.
BEGUN = 30


def main() -> None:
    """Trains until the lines or the minutes are used up, or until it is told to stop (SIGTERM, Ctrl-C)."""
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run = Run(options, device)
    run.resume()
    for asked in (signal.SIGTERM, signal.SIGINT):
        signal.signal(asked, lambda *_: run.stop())
    run.train()
    run.keep()


class Run:
    """One training, its state and its records."""

    def __init__(self, options, device):
        self.options, self.device = options, device
        classes = len(characters(options.pack)) + 1
        self.network = Recogniser(options.shape, classes, options.dropout).to(device, memory_format=torch.channels_last)
        begun = None
        if options.begin and not (options.out / "state.pth").exists():
            drawn = batches.training(options.shards, CURRICULUM[-1][1], options.seed, 0, COLUMNS["cpu"])
            begun = begin.begin(self.network, options.begin, options.pack, drawn[:BEGUN])
        self.mean = copy.deepcopy(self.network).eval()
        decayed = [p for p in self.network.parameters() if p.dim() > 1]
        rest = [p for p in self.network.parameters() if p.dim() <= 1]
        self.optimiser = torch.optim.AdamW([{"params": decayed, "weight_decay": options.decay}, {"params": rest, "weight_decay": 0.0}], lr=options.rate)
        self.stopped = False
        # Elsewhere bfloat16 is computed by way of f32, which is slower than f32 alone.
        self.narrow = device.type == "cuda" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
        self.columns = options.columns or COLUMNS[device.type]
        # Where the run is: draws of shards, batches of this draw that are done, steps, lines; and the seconds that steps took.
        self.at = {"draw": 0, "batch": 0, "step": 0, "lines": 0, "seconds": 0.0}
        macs, parameters = count(copy.deepcopy(self.network).cpu().float())
        self.record = {"settings": {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()},
                       "mmac_48x320": round(macs / 1e6), "parameters": parameters, "device": str(device), "torch": torch.__version__, "begun": begun,
                       "loss": [], "checks": []}

    def train(self) -> None:
        """Steps, with a check and a checkpoint now and then."""
        began, losses, kept, checked = time.monotonic(), [], time.monotonic(), time.monotonic()
        while self.at["lines"] < self.options.lines:
            drawn = batches.training(self.options.shards, self.sets(), self.options.seed, self.at["draw"], self.columns)
            for batch in drawn[self.at["batch"]:]:
                before = time.monotonic()
                losses.append(self.step(batch))
                self.at["batch"] += 1
                self.at["step"] += 1
                self.at["lines"] += len(batch.texts)
                # A run that somebody held with SIGSTOP did not work meanwhile.
                self.at["seconds"] += min(time.monotonic() - before, 60)
                if self.at["step"] % 50 == 0:
                    self.record["loss"].append([self.at["lines"], round(float(np.mean(losses)), 4)])
                    print(f"{time.strftime('%H:%M:%S')} step {self.at['step']}, {self.at['lines']} lines, loss {np.mean(losses):.3f}, "
                          f"{self.at['lines'] / self.at['seconds']:.0f} lines a second", flush=True)
                    losses = []
                now = time.monotonic()
                if now - checked > 60 * self.options.check_minutes:
                    self.check()
                    checked = time.monotonic()
                if now - kept > 60 * self.options.keep_minutes:
                    try:
                        self.keep()
                    except (OSError, RuntimeError) as error:
                        # A full disk is no reason to lose hours: the checkpoint before is whole, and there is a next one.
                        print(f"no checkpoint: {error}", flush=True)
                    kept = time.monotonic()
                if self.options.minutes and now - began > 60 * self.options.minutes or self.at["lines"] >= self.options.lines:
                    self.check()
                    return
                if self.stopped:
                    return
            self.at["draw"], self.at["batch"] = self.at["draw"] + 1, 0

    def sets(self) -> dict[str, float]:
        """Weights of the sets of lines at this point."""
        if self.options.sets:
            return dict.fromkeys(self.options.sets.split(","), 1.0)
        # Who can read needs no primer.
        return CURRICULUM[-1][1] if self.options.begin else sets(self.at["lines"] / self.options.lines)

    def stop(self) -> None:
        """Ends the run behind the step that it is in; what it has is kept."""
        self.stopped = True

    def step(self, batch) -> float:
        """One step of the optimiser; returns the loss per character."""
        self.network.train()
        for group in self.optimiser.param_groups:
            group["lr"] = self.options.rate * pace(self.at["step"], self.at["lines"] / self.options.lines)
        pixels = measure.normalise(batch.pixels.to(self.device)).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, self.narrow):
            logits = self.network(pixels)
        likely = functional.log_softmax(logits.float(), -1).transpose(0, 1)
        loss = functional.ctc_loss(likely, batch.wanted.to(self.device), batch.steps, batch.lengths, reduction="sum", zero_infinity=True)
        if self.options.distil and batch.said is not None:
            loss = loss + self.options.distil * distilled(logits.float(), batch.said.to(self.device), batch.likely.to(self.device))
        loss = loss / len(batch.wanted)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 2.0)
        self.optimiser.step()
        self.average()
        return float(loss.detach())

    @torch.no_grad()
    def average(self) -> None:
        """Moves the running mean towards the weights; at first it follows them closely."""
        part = max(1 - self.options.average, 1 / (1 + self.at["step"] / 10))
        for mean, now in zip(self.mean.state_dict().values(), self.network.state_dict().values()):
            if mean.is_floating_point():
                mean.lerp_(now, part)
            else:
                mean.copy_(now)

    def check(self) -> None:
        """Error rates of the running mean on the first held-out lines of each set."""
        found = {}
        for name in CHECKED:
            shards = [batches.shard(p) for p in batches.shards(self.options.shards, name)]
            if shards:
                found[name] = round(measure.rate(measure.read(self.averaged(), shards[:1], most=self.options.checked, device=self.device)), 4)
        self.record["checks"].append({"lines": self.at["lines"], "step": self.at["step"], "seconds": round(self.at["seconds"]), **found})
        print(f"{time.strftime('%H:%M:%S')} {self.at['lines']} lines, error rates {found}", flush=True)

    def averaged(self):
        """The running mean as a function, in the run's precision."""
        def network(pixels):
            with torch.autocast(self.device.type, torch.bfloat16, self.narrow):
                return self.mean(pixels.contiguous(memory_format=torch.channels_last))
        return network

    def keep(self) -> None:
        """Writes everything; each file appears whole."""
        state = {"network": self.network.state_dict(), "mean": self.mean.state_dict(), "optimiser": self.optimiser.state_dict(), "at": self.at}
        out = self.options.out
        _whole(out / "state.pth", lambda path: torch.save(state, path))
        _whole(out / "weights.pth", lambda path: torch.save({k: v.cpu() for k, v in self.mean.state_dict().items()}, path))
        self.record["at"] = {k: round(v) for k, v in self.at.items()}
        _whole(out / "run.json", lambda path: path.write_text(json.dumps(self.record, indent=1)))
        charts.curves(out / "curves.png", self.record)

    def resume(self) -> None:
        """Goes on from OUT's checkpoint, if there is one; raises ValueError when that is of another shape or pack."""
        path = self.options.out / "state.pth"
        if not path.exists():
            return
        before = json.loads((self.options.out / "run.json").read_text())
        for key in ("shape", "pack", "seed"):
            given, kept = vars(self.options)[key], before["settings"][key]
            if given != kept:
                raise ValueError(f"{path}: was trained with {key} {kept}, not {given}")
        kept = torch.load(path, weights_only=True, map_location=self.device)
        self.network.load_state_dict(kept["network"])
        self.mean.load_state_dict(kept["mean"])
        self.optimiser.load_state_dict(kept["optimiser"])
        self.at = kept["at"]
        for key in ("begun", "loss", "checks"):
            self.record[key] = before.get(key)
        # Dropout must not repeat what it did at the start.
        torch.manual_seed(self.options.seed + self.at["step"])
        print(f"goes on at {self.at['lines']} lines", flush=True)


def distilled(logits: torch.Tensor, said: torch.Tensor, likely: torch.Tensor) -> torch.Tensor:
    """How far logits `[N, T, classes]` are from what a teacher says of each pair of their steps `[N, T / 2, TOP]`: a cross-entropy, summed.

    A pair has what one of its steps has, and is blank only if both are.
    """
    pairs = logits.unflatten(1, (-1, 2))
    blank = pairs[..., :BLANK + 1].amin(2)
    together = functional.log_softmax(torch.cat([blank, pairs[..., BLANK + 1:].amax(2)], -1), -1)
    return -(likely * together.gather(-1, said)).sum()


def sets(part: float) -> dict[str, float]:
    """Weights of the sets of lines at this part of a run."""
    return next(weights for end, weights in CURRICULUM if part < end)


def pace(step: int, part: float) -> float:
    """Factor of the learning rate: a rise, a plateau, a fall to a hundredth."""
    return min(1.0, (step + 1) / WARM) * (1.0 if part < FALL else max(0.01, (1 - part) / (1 - FALL)))


def _whole(path: Path, write) -> None:
    fresh = path.with_name(f"{path.name}.new")
    try:
        write(fresh)
        fresh.rename(path)
    finally:
        fresh.unlink(missing_ok=True)


def _options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--pack", choices=list(SHARES), required=True)
    parser.add_argument("--shape", choices=list(SHAPES), default="dense")
    parser.add_argument("--lines", type=int, default=1_000_000, help="lines seen in the whole run, earlier runs counted in")
    parser.add_argument("--begin", type=Path, help="a recogniser's folder to begin with")
    parser.add_argument("--distil", type=float, default=0.0, help="weight of what a teacher says of the lines, where lines.teach has asked it")
    parser.add_argument("--sets", default="", help="sets in equal parts, such as short,medium, instead of the curriculum")
    parser.add_argument("--minutes", type=float, default=0, help="stop after so many, wherever the run is; 0: do not")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--columns", type=int, default=0, help="pixels of a batch; 0: what suits the device")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--decay", type=float, default=0.02)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--average", type=float, default=0.998, help="of the running mean, per step")
    parser.add_argument("--check-minutes", type=float, default=10)
    parser.add_argument("--keep-minutes", type=float, default=3)
    parser.add_argument("--checked", type=int, default=200, help="held-out lines of each set that a check reads")
    return parser.parse_args()


if __name__ == "__main__":
    main()
