"""Writes a model's folder. In: QDQ Graph, facts. Out: `model.onnx` and `model.toml` as the engine's manifest reads them."""

import json
from pathlib import Path

import ocr
from graph import Graph
from source import sha256

LICENCE = "Apache-2.0"
TRAINING_DATA = (
    "Trained by the PaddleOCR authors on their own collection of documents, scenes and synthetic text, which they have"
    " not published as a whole; we add no training, only calibration on pages rendered from Debian fonts."
)

# Where a card has its figures, and what they are called there.
MARK_START, MARK_END = "<!-- figures -->", "<!-- end -->"
FIGURES = {
    "cer_source": "CER of the source",
    "cer_f32": "CER of f32, head pruned",
    "cer_int8": "CER of int8",
    "agreement": "agreement with f32, characters",
    "equal_lines": "lines that read the same as with f32",
    "mask_overlap_mean": "mask overlap with f32, mean",
    "mask_overlap_median": "median",
    "mask_overlap_least": "least",
    "time_int8_to_f32": "time, int8 / f32",
}


def write(folder: Path, graph: Graph, facts: dict, inputs: list, outputs: list, characters=(), pack=None) -> None:
    """`facts`: name, version, source, source_sha256. `inputs`: list of tables; `outputs`: the same. `pack`: see packs.py."""
    folder.mkdir(parents=True, exist_ok=True)
    graph.save(folder / "model.onnx")
    facts = facts | {"licence": LICENCE, "sha256": sha256(folder / "model.onnx"), "training_data": TRAINING_DATA}
    (folder / "model.toml").write_text(manifest(facts, inputs, outputs, characters, pack=pack))


def manifest(facts: dict, inputs: list, outputs: list, characters=(), tables=(), pack=None) -> str:
    """The text of `model.toml`. `facts`: all the keys that are not tables; `tables`: constants beside the graph; `pack`: of a recogniser."""
    lines = [f"{key} = {_value(value)}" for key, value in facts.items()]
    if characters:
        # One long line would be unreadable in a diff; forty characters a row.
        lines.append("# Class i + 1; class 0 is the CTC blank.")
        lines.append(f"characters = {_rows(characters, 40)}")
    for kind, listed in (("inputs", inputs), ("outputs", outputs), ("tables", tables)):
        for table in listed:
            lines.append(f"\n[[{kind}]]")
            lines += [f"{key} = {_value(value)}" for key, value in table.items()]
    if pack:
        lines.append("\n[pack]")
        lines += [f"{key} = {_rows(value, 20) if key == 'languages' else _value(value)}" for key, value in pack.items()]
    return "\n".join(lines) + "\n"


def drawn(name: str, digest: str) -> dict:
    """The facts of a network whose weights are random; `digest`: of its `model.onnx`."""
    return {"name": name, "version": "0.1.0", "source": "drawn at random by models/tools", "source_sha256": digest,
            "licence": LICENCE, "sha256": digest, "training_data": "None: the weights are random."}


def image_input(shape: list) -> dict:
    """The one input of both networks: BGR, because they were trained so."""
    return {"name": "x", "shape": shape, "channels": "bgr", "mean": [ocr.MEAN] * 3, "std": [ocr.STD] * 3}


def set_accuracy(folder: Path, figures: dict) -> None:
    """Replaces the `[accuracy]` table, the last of the file. `figures`: key -> number or text."""
    path = folder / "model.toml"
    head = path.read_text().split("\n[accuracy]\n")[0].rstrip("\n")
    table = "\n".join(f"{key} = {_value(value)}" for key, value in figures.items())
    path.write_text(f"{head}\n\n[accuracy]\n{table}\n")


def set_card(folder: Path, figures: dict) -> None:
    """Puts the figures, one row each, between the marks of the card."""
    path = folder / "README.md"
    head, rest = path.read_text().split(MARK_START)
    _, tail = rest.split(MARK_END)
    rows = "".join(f"| {FIGURES[key]} | {value} |\n" for key, value in figures.items() if key in FIGURES)
    path.write_text(f"{head}{MARK_START}\n| int8 | |\n|---|---|\n{rows}{MARK_END}{tail}")


def _rows(values: list, width: int) -> str:
    """A TOML array with so many values a line."""
    rows = [values[i:i + width] for i in range(0, len(values), width)]
    return "[\n" + "".join(f"  {', '.join(map(_value, row))},\n" for row in rows) + "]"


def _value(value) -> str:
    """A TOML value; JSON's strings, numbers and arrays are TOML's too."""
    return json.dumps(value, ensure_ascii=False)
