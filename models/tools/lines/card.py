"""The figures of a run -> the card of a model's folder. In: a folder from `lines.export`, its run after `lines.evaluate`, shards.

    python -m lines.card FOLDER --run RUN --shards SHARDS

Out: `README.md`, `curves.png` and `reliability.png`, the `[accuracy]` table of `model.toml`, and `check/`: lines that no figure was
measured on, with their text and what f32 and int8 read.
"""

import argparse
import json
import shutil
import tomllib
from pathlib import Path

from PIL import Image

import folder
from lines import batches, evaluate, measure, train
from lines.characters import decode, spelt
from lines.network import STEP

# The check lines: so many of each set, from here on, behind those that are measured and those that the temperature is chosen on.
CHECKED, CHECK_START = 12, 900
ROWS = ("test-clean", "test-scan", "seen-clean")

READS = {
    "devanagari": "Devanagari (Sanskrit, Hindi, Marathi, Nepali), its transliteration (IAST, ISO 15919) and English",
    "latin": "Latin letters of European languages and of others that need no more marks, IAST, and Greek letters",
}
SPLITS = {
    "devanagari": "Lohit (three faces), Sahadeva, EB Garamond, DejaVu Serif, Carlito, Charis",
    "latin": "EB Garamond, DejaVu Serif, Carlito, Charis",
}
LIMITS = {
    "devanagari": """- Devanagari of Sanskrit, Hindi, Marathi and Nepali; letters of Kashmiri and Sindhi alone, and Vedic marks but the common ones, are no classes.
- An akshara that texts hardly have is often misread: see the column `rare`.""",
    "latin": """- Of accented Greek, as modern Greek is written, four letters only, no Vietnamese, no Cyrillic: those are no classes. Greek letters that look like Latin ones are read as those.
- Print that looks alike (O and 0, l and I) is told by what stands around it.""",
}


def main() -> None:
    """One model's folder."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--shards", type=Path, required=True)
    options = parser.parse_args()
    figures = json.loads((options.run / "figures.json").read_text(encoding="utf-8"))
    record = json.loads((options.run / "run.json").read_text(encoding="utf-8"))
    for picture in ("curves.png", "reliability.png"):
        shutil.copy(options.run / picture, options.folder / picture)
    folder.set_accuracy(options.folder, accuracy(figures))
    check(options.folder, options.run, options.shards, record["settings"]["pack"])
    (options.folder / "README.md").write_text(card(options.folder, record, figures), encoding="utf-8")


def accuracy(figures: dict) -> dict:
    """The table of the manifest."""
    clean, scan = (figures[f"{name} int8"] for name in ROWS[:2])
    return {"test_set": f"{figures['lines']} lines each of test-clean and test-scan, faces and texts that training has not seen",
            "cer_f32": figures["test-clean f32"]["cer"], "cer_int8": clean["cer"], "cer_scan_f32": figures["test-scan f32"]["cer"],
            "cer_scan_int8": scan["cer"], "whole_lines": clean["whole_lines"],
            "calibration_error": max(figures["expected_calibration_error"].values())}


def check(place: Path, run: Path, shards: Path, pack: str) -> None:
    """Writes `check/`."""
    target = place / "check"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    networks = [evaluate.session(run / "f32.onnx"), evaluate.session(place / "model.onnx")]
    entries, errors, count = [], 0, 0
    for name in ROWS[:2]:
        lines = [(s, i) for s in map(batches.shard, batches.shards(shards, name)) for i in range(len(s.texts))][CHECK_START:][:CHECKED]
        for shard, index in lines:
            file = f"line-{len(entries):02}.png"
            Image.fromarray(shard.line(index)).convert("RGB").save(target / file, optimize=True)
            by_f32, by_int8 = (evaluate.path(network, shard.line(index)) for network in networks)
            reading = measure.Reading(decode(pack, by_int8), shard.texts[index], name, "")
            # What an engine gives before letters are joined and put into NFC, which is its caller's to do.
            entries.append({"file": file, "text": reading.truth, "f32": decode(pack, by_f32), "int8": reading.text, "int8_classes": spelt(pack, by_int8)})
            errors, count = errors + reading.errors, count + len(reading.truth)
    facts = {"cer_int8": round(errors / count, 4), "characters": count, "lines": entries}
    (target / "check.json").write_text(json.dumps(facts, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def card(place: Path, record: dict, figures: dict) -> str:
    """The text of the card."""
    about = tomllib.loads((place / "model.toml").read_text(encoding="utf-8"))
    settings = record["settings"]
    pack, classes = settings["pack"], len(about["characters"]) + 1
    begun = record.get("begun")
    before = f", begun with the weights of `{begun['name']}` {begun['version']} (SHA-256 {begun['sha256'][:12]}...)" if begun else ""
    columns = settings["columns"] or train.COLUMNS[record["device"]]
    return f"""# {place.name}

Reads one line of text in {READS[pack]}.

| | |
|---|---|
| Source | trained here: `../tools/make_lines.sh {pack}`, seed {settings["seed"]}, shape `{settings["shape"]}`{before} |
| Licence | {about["licence"]} |
| Size | {record["parameters"] / 1e6:.2f} M parameters, {record["mmac_48x320"]} MMAC at 48x320 |
| Training data | {about["training_data"]} |
| Training | {record["at"]["lines"]:,} lines, {record["at"]["seconds"] / 3600:.1f} hours of {settings["threads"]} thread(s) on {record["device"]}, batches of \
{columns} columns, AdamW, rate {settings["rate"]}, weight decay {settings["decay"]}, dropout {settings["dropout"]}, mean of the weights {settings["average"]} |

![curves](curves.png)

## Input

`x`: `[1, 3, 48, W] f32`, W a multiple of {STEP}, batch 1, channels in the order B, G, R, each `(v / 255 - 128 / 255) / 0.5`. The engine makes it from
a `[1, 48, W, 3] u8` RGB image: one line, upright, scaled to 48 px with its aspect kept, the last step filled up with grey 128 (an exact zero).

## Output

`logits`: `[1, W / {STEP}, {classes}] f32`, before softmax. Class 0 is the CTC blank; class i + 1 is `characters[i]` of `model.toml`. What looks like one
letter and may be spelt as two comes as either (`LIGATURES` in `../tools/lines/characters.py`); texts are NFC after that.

## Accuracy

Character error rate, edit distance over the truth's length, on {figures["lines"]} lines of each set (`python -m lines.evaluate`). `test-clean`: held-out families
({SPLITS[pack]}) and texts, as rendered. `test-scan`: the same as 10 to 12 points at 200 dpi, with blur, noise and JPEG. `seen-clean`: faces of training.
Tesseract 5.3 reads the same pictures.

{table(figures)}

Of `test-clean`, int8, by face: {faces(figures)}.

Expected calibration error of a character's confidence: {", ".join(f"{value} on {name}" for name, value in figures["expected_calibration_error"].items())}.

![reliability](reliability.png)

`check/` holds {2 * CHECKED} lines with their text and what f32 and int8 read, for a quick check of another engine.

## Quantisation

Weights `i8` in seven bits with a scale per output channel, activations `i8` per tensor, biases `i32`; logits f32. Channels were evened out between
layers, ranges chosen by least squared error and weights rounded layer by layer against lines of training (`lines.export`). The head is divided by a
temperature of {figures["temperature"]}, chosen on held-out scans that are not measured above.

## Limits

- Rendered lines are not scans: no handwriting, no page of a real book is among them, and the figures are no promise for one.
{LIMITS[pack]}
"""


def table(figures: dict) -> str:
    """Error rates by set, network and kind of text."""
    found = {name: values for name, values in figures.items() if isinstance(values, dict) and "cer" in values}
    kinds = sorted({kind for values in found.values() for kind in values["by_kind"]})
    head = ["", "all", "lines without an error", *kinds]
    rows = [head, ["---"] * len(head)]
    rows += [[name, f"{v['cer']:.4f}", f"{v['whole_lines']:.2f}", *(f"{v['by_kind'].get(k, float('nan')):.4f}" for k in kinds)] for name, v in found.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def faces(figures: dict) -> str:
    """Error rates by face."""
    return ", ".join(f"{name} {rate:.4f}" for name, rate in figures["test-clean int8"]["by_face"].items())


if __name__ == "__main__":
    main()
