"""Makes the gait model's folder. In: a state dict of the student network. Out: `model.onnx`, `model.toml`, `conditions.f32`, `check/`.

    python export_gait.py --checkpoint student.pth [--conditions table.json|table.npy] [--out ../gait-student]
    python export_gait.py --random SEED --out FOLDER        with weights as PyTorch initialises them
        [--clips 500] [--report report.json] [--calibration FOLDER] [--source ".."] [--training-data ".."] [--ours]

A checkpoint is read with `weights_only=True`; names and shapes are checked. The condition table is ours (`gait/conditions.py`)
unless one is given: `.json`, class name -> 768 numbers, or `.npy`, `[9, 768]` in the order of the classes. Ranges are calibrated on
synthetic clips of the training split; `--calibration` takes a folder of clips of your own instead, each a folder of 16 pictures.
Then int8 is compared with f32 on `--clips` clips of the test split (none with 0).
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import torch

import folder
from gait import agreement, conditions, graph_f32, int8, walkers
from gait.gaits import CLASSES
from gait.network import MEAN, STD, Student
from source import sha256

NAME, VERSION = "gait-student", "0.1.0"
MODELS, WORK = Path(__file__).resolve().parents[1], Path(__file__).resolve().parent / "work"
CALIBRATION_CLIPS = 18
# Clips of the training split that were not drawn for training.
CALIBRATION_FIRST = 1_000_000
TRAINING_DATA = (
    "Synthetic walkers drawn by models/tools/gait, no recordings of people. No clinical validation; for research only, not for diagnosis.")
OTHERS_DATA = "Not told: the weights were given to export_gait.py. No clinical validation is known; for research only, not for diagnosis."


def main() -> None:
    """Exports, quantises, writes and compares."""
    options = _options()
    try:
        state, facts = _weights(options)
        table = conditions.load(options.conditions) if options.conditions else conditions.ours(WORK)
    except ValueError as problem:
        sys.exit(f"error: {problem}")
    whole = graph_f32.build(state)
    small = int8.quantise_student(whole, calibration(options.calibration, table), table)
    write(options.out, small, facts, table)
    print(f"{options.out / 'model.onnx'}: {(options.out / 'model.onnx').stat().st_size / 1e6:.2f} MB")
    if options.clips:
        answers = agreement.Answers([whole, small], table, "test", options.clips)
        report = agreement.agreement(*answers.logits) | {
            "accuracy_f32": agreement.accuracy(answers.logits[0], answers.labels)["accuracy"],
            "accuracy_int8": agreement.accuracy(answers.logits[1], answers.labels)["accuracy"],
            "time_int8_to_f32": round(answers.seconds[1] / answers.seconds[0], 2)}
        print(json.dumps(report, indent=1))
        if options.report:
            options.report.write_text(json.dumps(report, indent=1) + "\n")


def _weights(options) -> tuple[dict, dict]:
    """The checked state dict and what model.toml says of it."""
    if options.random is not None:
        torch.manual_seed(options.random)
        state = graph_f32.check(Student().state_dict())
        digest = hashlib.sha256(b"".join(state[k].tobytes() for k in sorted(state))).hexdigest()
        return state, {"source": f"drawn at random, seed {options.random}", "source_sha256": digest, "training_data": "None: the weights are random."}
    try:
        loaded = torch.load(options.checkpoint, map_location="cpu", weights_only=True)
    except Exception as problem:
        raise ValueError(f"{options.checkpoint}: not a file of tensors: {str(problem).splitlines()[0]}") from problem
    return graph_f32.check(loaded), {"source": options.source, "source_sha256": sha256(options.checkpoint), "training_data": options.training_data}


def calibration(given: Path | None, table: np.ndarray) -> list[dict]:
    """Clips as the two inputs, each with a condition that is next in the table."""
    if given is None:
        clips = [walkers.clip("train", CALIBRATION_FIRST + i).frames for i in range(CALIBRATION_CLIPS)]
    else:
        clips = [pictures(f) for f in sorted(given.iterdir()) if f.is_dir()]
    return [agreement.inputs(frames, table[i % len(table)]) for i, frames in enumerate(clips)]


def pictures(place: Path) -> np.ndarray:
    """The 16 pictures of a folder, in the order of their names, as `[16, 224, 224, 3] u8` RGB."""
    files = sorted(f for f in place.iterdir() if f.suffix.lower() in (".png", ".jpg", ".jpeg"))
    if len(files) != walkers.FRAMES:
        raise ValueError(f"{place.name}: expected {walkers.FRAMES} pictures, got {len(files)}")
    return np.stack([cv2.resize(cv2.imread(str(f)), (224, 224))[..., ::-1] for f in files])


def write(out: Path, graph, facts: dict, table: np.ndarray) -> None:
    """The folder's files but for the card and the check set."""
    out.mkdir(parents=True, exist_ok=True)
    graph.save(out / "model.onnx")
    (out / "conditions.f32").write_bytes(np.ascontiguousarray(table, "<f4").tobytes())
    facts = {"name": out.resolve().name, "version": VERSION, "source": facts["source"], "source_sha256": facts["source_sha256"], "licence": folder.LICENCE,
             "sha256": sha256(out / "model.onnx"), "training_data": facts["training_data"], "classes": list(CLASSES)}
    inputs = [{"name": "clip", "shape": graph.inputs["clip"], "channels": "rgb", "mean": list(MEAN), "std": list(STD)},
              {"name": "condition", "shape": graph.inputs["condition"]}]
    tables = [{"name": "conditions", "file": "conditions.f32", "sha256": sha256(out / "conditions.f32"),
               "rows": list(CLASSES), "columns": table.shape[1]}]
    (out / "model.toml").write_text(folder.manifest(facts, inputs, [{"name": "logits", "shape": graph.outputs["logits"]}], tables=tables))


def _options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--checkpoint", type=Path)
    which.add_argument("--random", type=int, metavar="SEED")
    parser.add_argument("--conditions", type=Path)
    parser.add_argument("--calibration", type=Path)
    parser.add_argument("--out", type=Path, default=MODELS / NAME)
    parser.add_argument("--clips", type=int, default=500)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--source", default="a checkpoint given to export_gait.py")
    parser.add_argument("--training-data", default=OTHERS_DATA)
    parser.add_argument("--ours", action="store_true", help="the checkpoint is gait.train's, on synthetic walkers")
    options = parser.parse_args()
    if options.ours:
        options.source, options.training_data = "trained by models/tools/gait/train.py", TRAINING_DATA
    return options


if __name__ == "__main__":
    main()
