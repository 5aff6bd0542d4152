"""Reads a folder of page images with this project, RapidOCR and Tesseract, and compares what they say with the truth.

In: images with `<name>.txt` or `<name>.gold.txt` beside them, as `render_pages.py` writes them; if `<name>.json` is there,
Tesseract gets its `language`, else `--language`. Out: one table, or JSON with every page.

  cer     edits from the answer to the truth, in characters, over the truth's length; runs of white space are one space
  wer     the same in words
  lines   share of the truth's lines that the answer has, each within a fifth of its characters
  s/page  seconds a page: of a request for `--url`, of a process for the binary, for `--command` and for Tesseract, of the
          call alone for RapidOCR, whose models stay loaded
  MB      largest resident memory of the engine's process; for `--url` the largest linear memory of a request

Every engine has one thread. One that is missing is skipped, and the table says why.

  python evaluate_ocr.py PAGES --binary target/release/ephemera
  python evaluate_ocr.py PAGES --url http://127.0.0.1:3000 --engines ephemera,tesseract --json
  python evaluate_ocr.py PAGES --command 'my-ocr {image}'

RapidOCR is the one that runs in `--rapidocr-python`, by default this one: `pip install rapidocr==3.10.0 onnxruntime`.
Tesseract is Debian's, with its language packs: `apt-get install tesseract-ocr tesseract-ocr-all`.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
import unicodedata
import urllib.error
import urllib.request
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

IMAGES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif"}
RAPIDOCR = "3.10.0"
# Tesseract's names for the languages of the rendered pages.
TESSERACT = {"en": "eng", "de": "deu", "fr": "fra", "es": "spa", "it": "ita", "pl": "pol", "el": "ell", "sa": "san", "hi": "hin"}
# A line is found when at most this share of its characters is wrong.
LINE_TOLERANCE = 0.2
ONE_THREAD = {"OMP_THREAD_LIMIT": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Missing(Exception):
    """An engine that is not here, and why."""


@dataclass
class Sample:
    """An image and its truth."""

    image: Path
    truth: str
    language: str


@dataclass
class Answer:
    """What an engine said of a page; `peak_bytes` counts the engine's process or instance."""

    text: str
    seconds: float
    peak_bytes: int


Engine = Callable[[Sample], Answer]


def samples(folder: Path, language: str) -> list[Sample]:
    """The images of `folder` that have their text beside them."""
    found = []
    for image in sorted(folder.iterdir()):
        texts = [image.with_suffix(suffix) for suffix in (".gold.txt", ".txt")]
        text = next((path for path in texts if path.exists()), None)
        if image.suffix.lower() in IMAGES and text:
            facts = image.with_suffix(".json")
            known = json.loads(facts.read_text()) if facts.exists() else {}
            found.append(Sample(image, text.read_text(), known.get("language", language)))
    return found


def process(command: list[str]) -> Answer:
    """Runs a command to its end; the largest resident memory is that of its process alone."""
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | ONE_THREAD)
    text = child.stdout.read().decode(errors="replace")
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise RuntimeError(f"{command[0]}: expected exit code 0, got {child.returncode}")
    return Answer(text, time.perf_counter() - start, usage.ru_maxrss * 1024)


def ours(given) -> Engine:
    """This project: a server, any command, or the binary."""
    if given.url:
        target = given.url.rstrip("/") + "/v1/ocr?format=text"
        try:
            urllib.request.urlopen(given.url.rstrip("/") + "/health", timeout=5).close()
        except OSError as error:
            raise Missing(f"{given.url}: {error}") from error
        return lambda sample: _request(target, sample.image)
    if given.command:
        words = shlex.split(given.command)
        if not shutil.which(words[0]):
            raise Missing(f"{words[0]} is no command")
        return lambda sample: process([word.replace("{image}", str(sample.image)) for word in words])
    if not given.binary or not Path(given.binary).exists():
        raise Missing("none of --binary, --url and --command names anything")
    return lambda sample: process([given.binary, "run", "ocr", "--no-build", str(sample.image)])


def _request(target: str, image: Path) -> Answer:
    start = time.perf_counter()
    request = urllib.request.Request(target, image.read_bytes(), {"content-type": "application/octet-stream"})
    with urllib.request.urlopen(request, timeout=300) as answer:
        text = answer.read().decode()
        return Answer(text, time.perf_counter() - start, int(answer.headers.get("x-ephemera-peak-memory", 0)))


def tesseract(given) -> Engine:
    """Debian's `tesseract`, a process a page."""
    if not shutil.which("tesseract"):
        raise Missing("tesseract is no command; install tesseract-ocr")
    listed = subprocess.run(["tesseract", "--list-langs"], capture_output=True, text=True, check=True).stdout.split()

    def read(sample: Sample) -> Answer:
        code = TESSERACT.get(sample.language, sample.language)
        if code not in listed:
            raise RuntimeError(f"expected the language pack tesseract-ocr-{code}, got none")
        return process(["tesseract", str(sample.image), "-", "-l", code])

    return read


# Loads once, then a line of JSON for each path on standard input.
_RAPIDOCR = """
import json, resource, sys, time
import rapidocr
from importlib.metadata import version
engine = rapidocr.RapidOCR(params={"Global.log_level": "critical", "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                                   "EngineConfig.onnxruntime.inter_op_num_threads": 1})
print(json.dumps({"version": version("rapidocr")}), flush=True)
for path in sys.stdin:
    start = time.perf_counter()
    texts = engine(path.rstrip("\\n")).txts or []
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"text": "\\n".join(texts), "seconds": seconds, "peak_bytes": peak}), flush=True)
"""


def rapidocr(given) -> Engine:
    """RapidOCR in a process of its own that reads all pages. Its order is its own: rows from top to bottom."""
    python = given.rapidocr_python
    child = subprocess.Popen([python, "-c", _RAPIDOCR], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, env=os.environ | ONE_THREAD)
    first = child.stdout.readline()
    if not first:
        reason = child.stderr.read().strip().splitlines() or ["no reason given"]
        raise Missing(f"rapidocr does not start in {python}: {reason[-1]}")
    # What it says later is nobody's concern, but must not fill the pipe.
    threading.Thread(target=child.stderr.read, daemon=True).start()
    version = json.loads(first)["version"]
    if version != RAPIDOCR:
        raise Missing(f"expected rapidocr {RAPIDOCR}, got {version}")

    def read(sample: Sample) -> Answer:
        child.stdin.write(f"{sample.image.resolve()}\n")
        child.stdin.flush()
        said = child.stdout.readline()
        if not said:
            raise RuntimeError("rapidocr ended")
        return Answer(**json.loads(said))

    return read


ENGINES = {"ephemera": ours, "rapidocr": rapidocr, "tesseract": tesseract}


def edits(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """Edit distance by bit-parallel columns (Myers 1999, with Hyyrö's changes): a page in milliseconds."""
    if not a:
        return len(b)
    where: dict[Hashable, int] = {}
    for i, item in enumerate(a):
        where[item] = where.get(item, 0) | 1 << i
    whole, last = (1 << len(a)) - 1, 1 << (len(a) - 1)
    more, less, score = whole, 0, len(a)
    for item in b:
        same = where.get(item, 0)
        straight = (((same & more) + more) ^ more) | same | less
        up, down = less | ~(straight | more), more & straight
        score += bool(up & last) - bool(down & last)
        up, down = (up << 1 | 1) & whole, (down << 1) & whole
        more, less = (down | ~(straight | up)) & whole, up & straight
    return score


def spaced(text: str) -> str:
    """Composed characters, single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def lines_found(truth: list[str], said: list[str]) -> int:
    """How many lines of the truth have a line of the answer to themselves."""
    free, found = list(said), 0
    for line in truth:
        allowed = int(len(line) * LINE_TOLERANCE)
        close = [other for other in free if abs(len(other) - len(line)) <= allowed]
        best = min(close, key=lambda other: edits(line, other), default=None)
        if best is not None and edits(line, best) <= allowed:
            free.remove(best)
            found += 1
    return found


def scores(truth: str, said: str) -> dict:
    """Counts of one page, to be added up."""
    want, have = spaced(truth), spaced(said)
    rows = [[spaced(line) for line in text.splitlines() if line.strip()] for text in (truth, said)]
    return {"characters": len(want), "edits": edits(want, have), "words": len(want.split()),
            "word_edits": edits(want.split(), have.split()), "lines": len(rows[0]), "lines_found": lines_found(*rows)}


def evaluate(engine: Engine, pages: list[Sample]) -> list[dict]:
    """One row a page; a page that an engine fails on counts as one without text."""
    rows = []
    for page in pages:
        row = {"page": page.image.name}
        try:
            answer = engine(page)
        except (RuntimeError, urllib.error.URLError) as error:
            row["error"] = str(error)
            answer = Answer("", 0.0, 0)
        row |= scores(page.truth, answer.text) | {"seconds": answer.seconds, "peak_bytes": answer.peak_bytes}
        rows.append(row)
        print(f"{page.image.name}: {row['edits']}/{row['characters']} {answer.seconds:.2f} s", file=sys.stderr)
    return rows


def total(rows: list[dict]) -> dict:
    """The figures of the table."""
    add = {key: sum(row[key] for row in rows) for key in rows[0] if key not in ("page", "error")}
    share = lambda part, whole: part / whole if whole else float(part > 0)
    return {"pages": len(rows), "failed": sum("error" in row for row in rows),
            "cer": share(add["edits"], add["characters"]), "wer": share(add["word_edits"], add["words"]),
            "lines": share(add["lines_found"], add["lines"]), "seconds_per_page": add["seconds"] / len(rows),
            "peak_mb": max(row["peak_bytes"] for row in rows) / 1e6}


def table(results: dict) -> str:
    """Markdown: totals, then the error rate of each page."""
    out = ["| engine | pages | failed | cer | wer | lines | s/page | MB |", "|---|---|---|---|---|---|---|---|"]
    ran = {name: result for name, result in results.items() if "skipped" not in result}
    for name, result in results.items():
        if name not in ran:
            out.append(f"| {name} | skipped: {result['skipped']} |")
            continue
        t = result["total"]
        out.append(f"| {name} | {t['pages']} | {t['failed']} | {t['cer']:.4f} | {t['wer']:.4f} | {t['lines']:.3f} | "
                   f"{t['seconds_per_page']:.2f} | {t['peak_mb']:.0f} |")
    if ran:
        out += ["", f"| cer of a page | {' | '.join(ran)} |", "|---" * (len(ran) + 1) + "|"]
        for rows in zip(*(result["pages"] for result in ran.values()), strict=True):
            rates = [f"{row['edits'] / max(row['characters'], 1):.4f}" for row in rows]
            out.append(f"| {rows[0]['page']} | {' | '.join(rates)} |")
    return "\n".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--engines", default=",".join(ENGINES), help="names, parted by commas")
    parser.add_argument("--binary", default="target/release/ephemera", help="the `ephemera` of this project")
    parser.add_argument("--url", help="a running server in its place")
    parser.add_argument("--command", help="a command in its place that prints the text of {image}")
    parser.add_argument("--rapidocr-python", default=sys.executable)
    parser.add_argument("--language", default="en", help="of images without a JSON file, for Tesseract")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    pages = samples(given.folder, given.language)
    if not pages:
        parser.error(f"{given.folder}: expected images with a .txt or .gold.txt beside them, got none")
    results = {}
    for name in given.engines.split(","):
        if name not in ENGINES:
            parser.error(f"expected one of {', '.join(ENGINES)}, got {name}")
        try:
            engine = ENGINES[name](given)
        except Missing as reason:
            results[name] = {"skipped": str(reason)}
            continue
        print(f"{name}:", file=sys.stderr)
        rows = evaluate(engine, pages)
        results[name] = {"total": total(rows), "pages": rows}
    print(json.dumps(results, indent=1) if given.json else table(results))


if __name__ == "__main__":
    main()
