"""Measures the gait student and writes its figures. In: the model's folder and the checkpoint it was made from.

    python evaluate_gait.py --checkpoint student.pth [--folder ../gait-student] [--clips 500] [--view-clips 180]
        [--random random.json] [--film FOLDER] [--training FOLDER]

Out: the `[accuracy]` table of model.toml, the figures between the card's marks, `confusion.png`, `curves.png`, `check/`.
`--random`: export_gait.py's report for random weights. `--film`: 16 frames of a real film, whose answer the card tells.
`--training`: gait.train's folder, for the curves.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

import calibrate
import folder
from export_gait import MODELS, NAME, pictures
from gait import agreement, charts, graph_f32, walkers
from gait.gaits import CLASSES
from graph import Graph

CHECK_FIRST, CHECK_CLIPS, CHECK_QUALITY = 20_000, 3, 82
CONDITION_CLIPS = 45


def main() -> None:
    """Measures and writes."""
    options = _options()
    place = options.folder
    whole = graph_f32.build(graph_f32.check(torch.load(options.checkpoint, map_location="cpu", weights_only=True)))
    small = Graph.load(place / "model.onnx")
    table = np.frombuffer((place / "conditions.f32").read_bytes(), "<f4").reshape(len(CLASSES), -1)

    check(place / "check", whole, small, table)
    film = answer(small, table, pictures(options.film)) if options.film else None
    seen = agreement.Answers([whole, small], table, "test", options.clips)
    unseen = agreement.Answers([small], table, "test-views", options.view_clips)
    figures = {
        "agreement": agreement.agreement(*seen.logits) | {"time_int8_to_f32": round(seen.seconds[1] / seen.seconds[0], 2)},
        "f32": agreement.accuracy(seen.logits[0], seen.labels), "int8": agreement.accuracy(seen.logits[1], seen.labels),
        "views": agreement.accuracy(unseen.logits[0], unseen.labels), "conditions": condition_matters(whole, table),
        "random": json.loads(options.random.read_text()) if options.random else None, "film": film,
    }
    (place / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    charts.confusion(place / "confusion.png", np.array(figures["int8"]["confusion"]), CLASSES)
    if options.training:
        charts.curves(place / "curves.png", {f.stem: json.loads(f.read_text()) for f in sorted(options.training.glob("*.json"))})
    folder.set_accuracy(place, {
        "test_set": f"{options.clips} synthetic clips of walkers that training has not seen; no recordings of people",
        "accuracy_f32": figures["f32"]["accuracy"], "accuracy_int8": figures["int8"]["accuracy"],
        "accuracy_unseen_views": figures["views"]["accuracy"], "agreement": figures["agreement"]["agreement"],
        "probability_difference_mean": figures["agreement"]["probability_difference_mean"],
        "time_int8_to_f32": figures["agreement"]["time_int8_to_f32"]})
    _card(place / "README.md", figures)


def answer(graph: Graph, table: np.ndarray, frames: np.ndarray) -> dict:
    """Probabilities of one clip, given each of the first rows of the table: condition -> class -> probability."""
    runner = calibrate.session(graph)
    return {name: dict(zip(CLASSES, np.round(agreement.softmax(runner.run(None, agreement.inputs(frames, row))[0][0]).astype(float), 4).tolist()))
            for name, row in zip(CLASSES, table)}


def condition_matters(whole: Graph, table: np.ndarray) -> dict:
    """How often another condition changes the winner, and by how much it moves the probabilities; f32."""
    runner, w = calibrate.session(whole, ["flat"]), whole.weights
    changed, moved = [], []
    for index in range(CONDITION_CLIPS):
        frames = walkers.clip("test", index).frames
        flat = runner.run(["flat"], agreement.inputs(frames, table[0]))[0]
        projected = table @ w["projected.weight"].T + w["projected.bias"]
        hidden = np.concatenate([flat.repeat(len(table), axis=0), projected], axis=1) @ w["hidden.weight"].T + w["hidden.bias"]
        p = agreement.softmax(np.maximum(hidden, 0) @ w["logits.weight"].T + w["logits.bias"])
        changed.append(len(set(p.argmax(1))) > 1)
        moved.append(float((p.max(0) - p.min(0)).max()))
    return {"clips": CONDITION_CLIPS, "winner_changes": round(float(np.mean(changed)), 3), "largest_move_mean": round(float(np.mean(moved)), 4)}


def check(place: Path, whole: Graph, small: Graph, table: np.ndarray) -> None:
    """A few clips, each one JPEG with its frames below each other, and what both networks make of the decoded picture."""
    place.mkdir(exist_ok=True)
    for old in place.iterdir():
        old.unlink()
    runners, entries = [calibrate.session(g) for g in (whole, small)], []
    for i in range(CHECK_CLIPS):
        drawn = walkers.clip("test", CHECK_FIRST + 4 * i)
        path = place / f"clip-{i}.jpg"
        Image.fromarray(drawn.frames.reshape(-1, *drawn.frames.shape[2:])).save(path, quality=CHECK_QUALITY)
        frames = np.asarray(Image.open(path)).reshape(drawn.frames.shape)
        feed = agreement.inputs(frames, table[i])
        f32, int8 = (np.round(r.run(None, feed)[0][0].astype(float), 4).tolist() for r in runners)
        entries.append({"file": path.name, "class": CLASSES[drawn.label], "condition": CLASSES[i], "f32": f32, "int8": int8})
    (place / "check.json").write_text(json.dumps({"frames": walkers.FRAMES, "size": 224, "clips": entries}, indent=1) + "\n")


def _card(path: Path, figures: dict) -> None:
    """Puts the figures between the card's marks."""
    head, rest = path.read_text().split(folder.MARK_START)
    _, tail = rest.split(folder.MARK_END)
    int8, views, agreed = figures["int8"], figures["views"], figures["agreement"]
    lines = ["| | seen angles | other angles |", "|---|---|---|",
             f"| clips | {agreed['clips']} | {sum(map(sum, views['confusion']))} |",
             f"| accuracy, int8 | {int8['accuracy']} | {views['accuracy']} |",
             f"| standard error | {_error(int8)} | {_error(views)} |",
             f"| accuracy, f32 | {figures['f32']['accuracy']} | |",
             f"| condition right, whatever the grade | {int8['accuracy_of_condition']} | {views['accuracy_of_condition']} |",
             f"| right or the next grade | {int8['accuracy_within_one_grade']} | {views['accuracy_within_one_grade']} |",
             *(f"| {name} | {int8['per_class'][name]} | {views['per_class'][name]} |" for name in CLASSES), "",
             "| int8 against f32 | these weights | random weights |", "|---|---|---|"]
    random = figures["random"] or {}
    for key, words in (("clips", "clips"), ("agreement", "same class"), ("agreement_centred", "same class, means taken off"),
                       ("probability_difference_mean", "probabilities, mean difference"), ("probability_difference_worst", "worst"),
                       ("logit_error_to_spread", "error of logits / their spread over clips"), ("time_int8_to_f32", "time in onnxruntime, int8 / f32")):
        lines.append(f"| {words} | {agreed[key]} | {random.get(key, '')} |")
    changes = figures["conditions"]
    lines += ["", f"Another condition embedding changes the class of {changes['winner_changes']:.1%} of {changes['clips']} clips and moves a probability by at "
              f"most {changes['largest_move_mean']} in the mean."]
    if figures["film"]:
        best = sorted(figures["film"]["Normal"].items(), key=lambda kv: -kv[1])[:3]
        lines += ["", "The film of a person on a beam, with the condition `Normal`: " + ", ".join(f"{k} {v:.2f}" for k, v in best) + "."]
    path.write_text(head + folder.MARK_START + "\n" + "\n".join(lines) + "\n" + folder.MARK_END + tail)


def _error(figures: dict) -> float:
    """Standard error of an accuracy."""
    return round(float(np.sqrt(figures["accuracy"] * (1 - figures["accuracy"]) / np.sum(figures["confusion"]))), 3)


def _options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=MODELS / NAME)
    parser.add_argument("--clips", type=int, default=500)
    parser.add_argument("--view-clips", type=int, default=180)
    parser.add_argument("--random", type=Path)
    parser.add_argument("--film", type=Path)
    parser.add_argument("--training", type=Path)
    cv2.setNumThreads(1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
