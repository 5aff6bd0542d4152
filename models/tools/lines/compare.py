"""Trains every shape on the same lines and tabulates them. In: shards. Out: a table in Markdown, and the runs in a folder.

    python -m lines.compare OUT --pack devanagari --shards SHARDS [--lines 30000] [--threads 1]

The budget is short: it tells how fast a shape learns, not how well it reads in the end. A run that is there already is not repeated.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import torch

from lines import network
from lines.characters import characters
from lines.compose import SHARES


def main() -> None:
    """One run each, then the table."""
    options = _options()
    rows = []
    for shape in options.shapes.split(","):
        out = options.out / shape
        if not _done(out, options.lines):
            given = ["--pack", options.pack, "--shards", options.shards, "--shape", shape, "--lines", options.lines, "--sets", "short",
                     "--threads", options.threads, "--seed", options.seed, "--checked", options.checked, "--check-minutes", 1000]
            subprocess.run([sys.executable, "-m", "lines.train", *map(str, [out, *given])], check=True)
        record = json.loads((out / "run.json").read_text())
        last = record["checks"][-1]
        macs, parameters = network.count(network.Recogniser(shape, len(characters(options.pack)) + 1))
        rows.append([shape, f"{macs / 1e6:.0f}", f"{parameters / 1e6:.2f}", f"{record['loss'][-1][1]:.3f}", f"{last['test-clean']:.3f}",
                     f"{last['test-scan']:.3f}", f"{record['at']['lines'] / record['at']['seconds']:.0f}", f"{_step_cost(shape, options):.0f}"])
    head = ["shape", "MMAC at 48x320", "M parameters", "loss", "CER clean", "CER scan", "lines a second in the run", "CPU ms a line of 160 px"]
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]
    (options.out / "table.md").write_text("\n".join(lines) + "\n")
    print(*lines, sep="\n")


def _done(out: Path, lines: int) -> bool:
    record = out / "run.json"
    return record.exists() and json.loads(record.read_text())["at"]["lines"] >= lines


def _step_cost(shape: str, options) -> float:
    """Milliseconds of processor time that training takes for a line, the least of some steps: what else the machine does counts little."""
    torch.set_num_threads(1)
    model = network.Recogniser(shape, len(characters(options.pack)) + 1).to(memory_format=torch.channels_last)
    x = torch.zeros(16, 1, 48, 160).contiguous(memory_format=torch.channels_last)
    costs = []
    for _ in range(4):
        before = time.process_time()
        with torch.autocast("cpu", torch.bfloat16):
            made = model(x)
        made.float().square().mean().backward()
        costs.append(time.process_time() - before)
    return 1000 * min(costs) / len(x)


def _options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--pack", choices=list(SHARES), required=True)
    parser.add_argument("--shapes", default=",".join(network.SHAPES))
    parser.add_argument("--lines", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--checked", type=int, default=300)
    return parser.parse_args()


if __name__ == "__main__":
    main()
