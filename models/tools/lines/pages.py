"""Renders pages of Sanskrit and Hindi with their truth, for `evaluate_ocr.py`. Out: `<name>.png`, `<name>.txt`, `<name>.json`.

    python -m lines.pages FOLDER --sanskrit FILE [--work WORK] [--only NAME,...] [--seed 1]

Verse stands as editions print it, a half-verse a line, numbered; prose is justified; a commentary is verses in large type, each
with its explanation in small. Texts are of the held-out split, faces too where the name says so. Files are those of
`render_pages.py`: the printed lines in reading order, an empty line between blocks, and the blocks with their boxes.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from lines import draw, iast, sources
from lines.compose import DIGITS
from lines.faces import Face, table
from render_pages import Block, Line, around, save, scanned

# Inches; type sizes are points of 1/72 inch.
PAPER = (6.3, 9.2)
MARGIN = 50
# Baseline to baseline over the size: the marks above and below need more than Latin letters do.
PITCH = 1.6


@dataclass
class Spec:
    """One page. `face`, `latin`: file names without their ending, of `faces.tsv`."""

    kind: str
    face: str
    latin: str = "CharisSIL-Regular"
    size: float = 12.0
    dpi: int = 300
    # A scan: noise, blur, a little skew.
    noisy: bool = False


PAGES = {
    "verse-held-out": Spec("verse", "Lohit-Devanagari", size=13),
    "verse-sahadeva-held-out": Spec("verse", "sahadeva", size=14),
    "verse-chandas": Spec("verse", "chandas1-2", size=14),
    "verse-iast-held-out": Spec("iast", "Lohit-Devanagari"),
    "commentary-held-out": Spec("commentary", "Lohit-Devanagari"),
    "commentary-annapurna": Spec("commentary", "AnnapurnaSIL-Regular", "GentiumPlus-Regular"),
    "prose-held-out": Spec("prose", "Lohit-Marathi"),
    "prose-noto": Spec("prose", "NotoSerifDevanagari-Regular", "NotoSerif-Regular", size=11),
    "hindi-held-out": Spec("hindi", "Lohit-Nepali"),
    "scan-verse-held-out": Spec("verse", "Lohit-Devanagari", size=12, dpi=200, noisy=True),
    "scan-commentary-held-out": Spec("commentary", "Lohit-Devanagari", dpi=200, noisy=True),
    "scan-prose-nakula": Spec("prose", "nakula", size=13, dpi=200, noisy=True),
}


class Printer:
    """A page being filled, top to bottom; measures in pixels."""

    def __init__(self, spec: Spec):
        self.spec = spec
        rows = {Path(row.file).stem: row for row in table() if row.script == "deva"} | {
            f"latin {Path(row.file).stem}": row for row in table() if row.script == "latin"}
        self.faces = {"deva": Face(rows[spec.face]), "latin": Face(rows[f"latin {spec.latin}"])}
        self.width, self.height = (round(side * spec.dpi) for side in PAPER)
        self.canvas = Image.new("L", (self.width, self.height), 255)
        self.pen = ImageDraw.Draw(self.canvas)
        self.left, self.right = self.px(MARGIN), self.width - self.px(MARGIN)
        self.y, self.bottom = self.px(MARGIN), self.height - self.px(MARGIN)
        self.blocks: list[Block] = []

    def px(self, points: float) -> int:
        return round(points * self.spec.dpi / 72)

    def can_draw(self, text: str) -> bool:
        """Whether the page's faces have every character."""
        return all(self.faces[script].has(part) for script, part in draw.runs(text))

    def advance(self, text: str, size: int) -> float:
        return sum(self.faces[script].at(size).getlength(part) for script, part in draw.runs(text))

    def write(self, x: float, baseline: float, text: str, size: int) -> list[int]:
        """Draws a text of both scripts on one baseline; returns the ink's bounds."""
        boxes = []
        for script, part in draw.runs(text):
            font = self.faces[script].at(size)
            self.pen.text((x, baseline), part, font=font, anchor="ls", fill=20)
            boxes.append([round(v) for v in self.pen.textbbox((x, baseline), part, font=font, anchor="ls")])
            x += font.getlength(part)
        return around(boxes)

    def row(self, words: list[str], size: int, x: float, room: float | None) -> Line:
        """One line from `x`; spread over `room` unless that is None."""
        text = " ".join(words)
        space = self.advance(" ", size)
        if room is not None and len(words) > 1:
            space = (room - sum(self.advance(word, size) for word in words)) / (len(words) - 1)
        boxes = []
        for word in words:
            boxes.append(self.write(x, self.y + size * 1.1, word, size))
            x += self.advance(word, size) + space
        self.y += round(size * PITCH)
        return Line(around(boxes), text)

    def fits(self, rows: int, size: int) -> bool:
        return self.y + rows * round(size * PITCH) <= self.bottom

    def centred(self, kind: str, rows: list[str], size: int) -> None:
        """Lines as they are, each in the middle."""
        lines = [self.row([row], size, (self.left + self.right - self.advance(row, size)) / 2, None) for row in rows]
        self.blocks.append(Block(kind, " ".join(rows), lines))

    def paragraph(self, text: str, size: int) -> None:
        """A justified paragraph; what does not fit on the page is neither printed nor said."""
        rows, room = [[]], self.right - self.left
        for word in text.split(" "):
            if rows[-1] and self.advance(" ".join([*rows[-1], word]), size) > room:
                rows.append([])
            rows[-1].append(word)
        block = Block("paragraph")
        for i, row in enumerate(rows):
            if not self.fits(1, size):
                break
            block.lines.append(self.row(row, size, self.left, room if i + 1 < len(rows) else None))
        block.whole = " ".join(line.text for line in block.lines)
        if block.lines:
            self.blocks.append(block)


class Author:
    """Texts for a page, each used once."""

    def __init__(self, rng: np.random.Generator, sentences: dict[str, list[str]], page: Printer):
        self.rng, self.number = rng, int(rng.integers(1, 90))
        self.texts = {name: [s for s in (said[int(i)] for i in rng.permutation(len(said))[:600]) if page.can_draw(s)]
                      for name, said in sentences.items() if name in ("sanskrit", "modern")}
        # A half-verse: no danda and no number, which the page adds.
        self.halves = [h for s in self.texts["sanskrit"] if 24 <= len(h := s.rstrip("।॥ .,0123456789०१२३४५६७८९")) <= 42 and not set(h) & set("।॥")]

    def verse(self) -> list[str]:
        self.number += 1
        number = "".join(DIGITS[int(d)] for d in str(self.number))
        return [f"{self.halves.pop()} ।", f"{self.halves.pop()} ॥ {number} ॥"]

    def prose(self, count: int) -> str:
        return " ".join(f"{self.halves.pop()}।" for _ in range(count))

    def hindi(self, count: int) -> str:
        return " ".join(self.texts["modern"].pop().rstrip(".।") + "।" for _ in range(count))


def render(name: str, spec: Spec, seed: int, sentences: dict[str, list[str]]) -> tuple[Image.Image, dict]:
    """The page's picture and its truth."""
    rng = np.random.default_rng([seed, *name.encode()])
    page = Printer(spec)
    said = Author(rng, sentences, page)
    body = page.px(spec.size)
    small = round(body * 0.8)
    page.centred("heading", ["अथ " + "".join(DIGITS[int(d)] for d in str(rng.integers(2, 30))) + " अध्यायः"], round(body * 1.4))
    page.y += body
    while page.fits(3, body):
        if spec.kind in ("verse", "iast"):
            verse = said.verse()
            page.centred("paragraph", [iast.transliterate(row) for row in verse] if spec.kind == "iast" else verse, body)
        elif spec.kind == "commentary":
            page.centred("paragraph", said.verse(), body)
            page.y += body // 2
            page.paragraph(f"{iast.transliterate(said.halves[-1]).split(' ')[0]} – {said.prose(2)} {said.hindi(4)}", small)
        else:
            page.paragraph(said.prose(6) if spec.kind == "prose" else said.hindi(8), body)
        page.y += round(body * 0.8)
    number = "".join(DIGITS[int(d)] for d in str(rng.integers(2, 400)))
    page.y = page.bottom + page.px(4)
    page.centred("page-number", [number], small)
    language = {"hindi": "hi"}.get(spec.kind, "sa")
    truth = {"name": name, "language": language, "width": page.width, "height": page.height,
             "blocks": [{"type": block.kind, "order": i + 1, "bbox": around([line.bbox for line in block.lines]), "content": block.whole,
                         "lines": [{"bbox": line.bbox, "text": line.text} for line in block.lines]}
                        for i, block in enumerate(page.blocks)]}
    return (scanned(page.canvas, rng) if spec.noisy else page.canvas), truth


def main() -> None:
    """The pages asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sanskrit", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("work/lines"))
    parser.add_argument("--only", default=",".join(PAGES), help="names of pages, parted by commas")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    sentences = sources.load("devanagari", options.work, options.sanskrit, "test")
    for name in options.only.split(","):
        if name not in PAGES:
            parser.error(f"expected one of {', '.join(PAGES)}, got {name}")
        save(options.folder, name, *render(name, PAGES[name], options.seed, sentences), PAGES[name].dpi)


if __name__ == "__main__":
    main()
