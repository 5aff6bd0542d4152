"""Renders whole pages with their truth, for `evaluate_ocr.py`. Out: `<name>.png`, `<name>.txt`, `<name>.json` in a folder.

The text file has the printed lines in reading order, an empty line between blocks: the running header, then what spans
the page, then the columns, each with its footnotes, from left to right, then the page number. The JSON file has
`language`, `width`, `height` and `blocks`: `type` as in the answers of the OCR function, `bbox` in pixels (left, top,
right, bottom), `order` from 1, `content` without the hyphens of broken words, and `lines` with `bbox` and `text` as
printed; a table's lines are its rows, cells parted by one space.

Deterministic by `--seed`. `python render_pages.py FOLDER [--only NAME,...] [--seed N]`; needs the packages of `fonts.py`.
"""

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

import prose
from fonts import OPENTYPE, TRUETYPE, Face

# In inches; type sizes are in points of 1/72 inch.
A4 = (8.27, 11.69)
# Regular, bold, italic of a family that draws all seven languages.
FAMILIES = {
    "serif": [f"{TRUETYPE}/noto/NotoSerif-{style}.ttf" for style in ("Regular", "Bold", "Italic")],
    "sans": [f"{TRUETYPE}/noto/NotoSans-{style}.ttf" for style in ("Regular", "Bold", "Italic")],
    "book": [f"{OPENTYPE}/linux-libertine/LinLibertine_{style}.otf" for style in ("R", "RB", "RI")],
}


@dataclass
class Spec:
    """One page. Sizes in points, the gutter in line heights (the pitch from line to line)."""

    language: str
    columns: int
    dpi: int = 300
    paper: tuple[float, float] = A4
    family: str = "serif"
    size: float = 10.0
    pitch: float = 1.25
    gutter: float = 1.5
    justified: bool = True
    indented: bool = True
    # What stands on the page besides paragraphs, top to bottom.
    title: bool = True
    # A paragraph across the columns, set in from both sides.
    abstract: bool = False
    # How often the columns begin anew below a heading that spans them.
    bands: int = 1
    table: str = ""  # "", "column" or "page"
    figure: bool = False
    footnotes: bool = False
    edges: bool = True
    # A scan: noise, blur, a little skew.
    noisy: bool = False


PAGES = {
    "one-column-en": Spec("en", 1, size=11, footnotes=True),
    "one-column-table-de": Spec("de", 1, size=11, table="page", indented=False),
    "one-column-el": Spec("el", 1, size=12, family="sans", indented=False),
    "two-columns-en": Spec("en", 2, footnotes=True),
    "two-columns-narrow-en": Spec("en", 2, gutter=1.0, family="book", size=10.5),
    "two-columns-figure-de": Spec("de", 2, figure=True, gutter=1.25),
    "two-columns-table-fr": Spec("fr", 2, table="column", footnotes=True),
    "two-columns-wide-table-es": Spec("es", 2, table="page", family="sans", size=9.5),
    "two-columns-ragged-it": Spec("it", 2, justified=False, indented=False, gutter=2.0),
    "two-columns-pl": Spec("pl", 2, family="book", size=11, figure=True),
    "two-columns-dense-en": Spec("en", 2, size=9.5, pitch=1.2, title=False, edges=True),
    "two-columns-abstract-en": Spec("en", 2, abstract=True, gutter=1.0),
    "two-columns-bands-it": Spec("it", 2, bands=2, family="sans", size=9),
    "three-columns-bands-de": Spec("de", 3, bands=2, abstract=True, justified=False, size=8.5, gutter=1.5),
    "three-columns-en": Spec("en", 3, family="sans", size=9, figure=True),
    "three-columns-narrow-de": Spec("de", 3, family="book", size=9.5, gutter=1.0, footnotes=True),
    "three-columns-ragged-fr": Spec("fr", 3, justified=False, size=9, gutter=1.25, table="page"),
    "three-columns-es": Spec("es", 3, size=9, indented=False, title=True),
    "scan-one-column-it": Spec("it", 1, dpi=200, size=11, noisy=True, footnotes=True),
    "scan-two-columns-de": Spec("de", 2, dpi=200, size=10.5, noisy=True, figure=True),
    "scan-two-columns-pl": Spec("pl", 2, dpi=200, size=10.5, family="sans", noisy=True, table="column", gutter=1.25),
    "scan-three-columns-en": Spec("en", 3, dpi=200, size=10, family="book", noisy=True),
    "scan-three-columns-fr": Spec("fr", 3, dpi=200, size=9.5, noisy=True, justified=False, footnotes=True),
}


@dataclass
class Line:
    """A printed line: bounds in pixels and its text."""

    bbox: list[int]
    text: str


@dataclass
class Block:
    """Lines of one type, top to bottom; `whole`: the text before it was broken into lines."""

    kind: str
    whole: str = ""
    lines: list[Line] = field(default_factory=list)


class Printer:
    """A page being filled; all measures in pixels."""

    def __init__(self, spec: Spec, rng: np.random.Generator):
        self.spec, self.rng = spec, rng
        self.faces = {style: Face(Path(path))
                      for style, path in zip(("regular", "bold", "italic"), FAMILIES[spec.family], strict=True)}
        self.width, self.height = (round(side * spec.dpi) for side in spec.paper)
        self.canvas = Image.new("L", (self.width, self.height), 255)
        self.pen = ImageDraw.Draw(self.canvas)
        self.blocks: list[Block] = []
        self.body = self.px(spec.size)
        self.pitch = round(self.body * spec.pitch)

    def px(self, points: float) -> int:
        return round(points * self.spec.dpi / 72)

    def font(self, style: str, size: int):
        return self.faces[style].at(size)

    def write(self, x: float, y: int, text: str, font) -> list[int]:
        """Draws with the line box's top left at `x`, `y`; returns the ink's bounds."""
        self.pen.text((x, y), text, font=font, fill=20)
        return [round(v) for v in self.pen.textbbox((x, y), text, font=font)]

    def line(self, x: int, y: int, words: list[str], font, width: int, fill: bool) -> Line:
        """One line, spread over `width` if `fill`."""
        text = " ".join(words)
        if not fill or len(words) == 1:
            return Line(self.write(x, y, text, font), text)
        space = (width - sum(font.getlength(word) for word in words)) / (len(words) - 1)
        boxes, at = [], float(x)
        for word in words:
            boxes.append(self.write(at, y, word, font))
            at += font.getlength(word) + space
        return Line(around(boxes), text)

    def broken(self, text: str, font, width: int, first_indent: int) -> list[list[str]]:
        """Words of `text` by line; a word that does not fit may be parted by a hyphen."""
        rows, row, words = [], [], text.split(" ")[::-1]
        while words:
            room = width - (first_indent if not rows else 0)
            word = words.pop()
            if font.getlength(" ".join([*row, word])) <= room:
                row.append(word)
                continue
            for head, tail in prose.hyphenate(word):
                if row and font.getlength(" ".join([*row, head + "-"])) <= room:
                    row.append(head + "-")
                    word = tail
                    break
            if not row:
                raise ValueError(f"{word!r} does not fit in {width} px")
            words.append(word)
            rows.append(row)
            row = []
        return [*rows, row]

    def text(self, kind: str, text: str, x: int, y: int, width: int, bottom: int, style="regular", size=0, pitch=0,
             indent=0, fill=None) -> int:
        """Sets a block of text; lines that would end below `bottom` are left out with their words. Returns the next y."""
        font = self.font(style, size or self.body)
        pitch = pitch or self.pitch
        if not self.faces[style].has(text):
            raise ValueError(f"{self.faces[style].path.name} cannot draw {text!r}")
        fill = self.spec.justified if fill is None else fill
        block = Block(kind)
        rows = self.broken(text, font, width, indent)
        for i, row in enumerate(rows):
            if y + pitch > bottom:
                # The rest is not printed, so it is not said either: the last line ends where it ends.
                break
            shift = indent if i == 0 else 0
            last = i + 1 == len(rows)
            block.lines.append(self.line(x + shift, y, row, font, width - shift, fill and not last))
            y += pitch
        block.whole = unbroken(rows[:len(block.lines)])
        if block.lines:
            self.blocks.append(block)
        return y

    def table(self, x: int, y: int, width: int, columns: int, rows: int) -> int:
        """A caption, a head and rows of numbers between rules; returns the next y."""
        cells = prose.CELLS[self.spec.language]
        y = self.text("caption", f"{prose.TABLE[self.spec.language]} 1. {self.title()}", x, y, width, self.height,
                      size=round(self.body * 0.9), fill=False)
        y += self.pitch // 4
        first = width * (0.34 if columns > 2 else 0.5)
        step = (width - first) / (columns - 1)
        block = Block("table")
        for row in range(rows + 1):
            if row in (0, 1):
                self.pen.line((x, y - 2, x + width, y - 2), fill=20, width=max(1, self.px(0.5)))
            font = self.font("bold" if row == 0 else "regular", round(self.body * 0.95))
            boxes, said = [], []
            for column in range(columns):
                if column == 0:
                    word, at = cells[row], x
                else:
                    word = str(2018 + column) if row == 0 else f"{self.rng.integers(10, 99000) / 10:.1f}"
                    at = x + first + step * column - font.getlength(word)
                boxes.append(self.write(at, y + self.pitch // 8, word, font))
                said.append(word)
            block.lines.append(Line(around(boxes), " ".join(said)))
            y += round(self.pitch * 1.15)
        self.pen.line((x, y, x + width, y), fill=20, width=max(1, self.px(0.5)))
        block.whole = "\n".join(line.text for line in block.lines)
        self.blocks.append(block)
        return y + self.pitch

    def figure(self, x: int, y: int, width: int) -> int:
        """A grey picture and its caption; returns the next y."""
        height = round(width * 0.55)
        shades = Image.fromarray(self.rng.integers(60, 236, size=(5, 7), dtype=np.uint8))
        self.canvas.paste(shades.resize((width, height), Image.Resampling.BICUBIC), (x, y))
        y += height + self.pitch // 2
        caption = f"{prose.FIGURE[self.spec.language]} 1. " + prose.paragraph(self.rng, self.spec.language, 1)
        y = self.text("caption", caption, x, y, width, self.height, style="italic", size=round(self.body * 0.88),
                      pitch=round(self.pitch * 0.88), fill=False)
        return y + round(0.8 * self.pitch)

    def title(self) -> str:
        known = prose.TITLES[self.spec.language]
        return known[self.rng.integers(len(known))]

    def column(self, x: int, top: int, width: int, bottom: int, extras: list[str], start: int) -> None:
        """Fills one column with paragraphs, subheadings, and `extras` behind the first paragraph."""
        spec, rng = self.spec, self.rng
        notes = []
        if spec.footnotes:
            size, pitch = round(self.body * 0.8), round(self.pitch * 0.82)
            note = f"{start} " + prose.paragraph(rng, spec.language, 1)
            rows = len(self.broken(note, self.font("regular", size), width, 0))
            bottom -= rows * pitch + self.pitch
            notes = [(note, size, pitch)]
        y = top
        paragraphs = 0
        while y + 2 * self.pitch <= bottom:
            # A subheading wants two lines of text below it.
            if paragraphs % 3 == 2 and y + 5 * self.pitch < bottom:
                y += round(0.8 * self.pitch)
                y = self.text("subheading", self.title(), x, y, width, bottom, style="bold", size=round(self.body * 1.2),
                              pitch=round(self.pitch * 1.2), fill=False)
                y += round(0.3 * self.pitch)
            indent = self.px(12) if spec.indented and paragraphs else 0
            text = prose.paragraph(rng, spec.language, int(rng.integers(2, 5)))
            y = self.text("paragraph", text, x, y, width, bottom, indent=indent)
            paragraphs += 1
            if not spec.indented:
                y += round(0.6 * self.pitch)
            if extras and paragraphs == 1:
                for extra in extras:
                    y += self.pitch // 2
                    y = self.table(x, y, width, 3, 5) if extra == "table" else self.figure(x, y, width)
                if y > bottom:
                    raise ValueError(f"{', '.join(extras)} do not fit in a column of {bottom - top} px")
        for note, size, pitch in notes:
            y = bottom + self.pitch // 2
            self.pen.line((x, y, x + width // 3, y), fill=20, width=max(1, self.px(0.4)))
            self.text("footnote", note, x, y + self.pitch // 4, width, self.height, size=size, pitch=pitch, fill=False)


def render(name: str, spec: Spec, seed: int) -> tuple[Image.Image, dict]:
    """The page's picture and its truth."""
    rng = np.random.default_rng([seed, *name.encode()])
    page = Printer(spec, rng)
    margin = page.px(54)
    left, right = margin, page.width - margin
    top, bottom = margin, page.height - margin
    number = None
    if spec.edges:
        header = prose.TITLES[spec.language][1]
        small = round(page.body * 0.85)
        at_top = rng.random() < 0.3
        page.text("running-header", header, left, top - page.px(18), right - left, bottom, style="italic", size=small,
                  fill=False)
        number = Block("page-number", str(rng.integers(2, 400)))
        font = page.font("regular", small)
        room = font.getlength(number.whole)
        x, y = (right - room, top - page.px(18)) if at_top else ((left + right - room) / 2, bottom + page.px(12))
        number.lines = [Line(page.write(x, round(y), number.whole, font), number.whole)]
        if at_top:
            page.blocks.append(number)
            number = None
        top += page.px(10)
    if spec.title:
        top = page.text("heading", prose.TITLES[spec.language][0], left, top, right - left, bottom, style="bold",
                        size=page.px(20), pitch=page.px(25), fill=False)
        top += page.pitch
    if spec.table == "page":
        top = page.table(left, top, right - left, 5, 6)
    if spec.abstract:
        inset = page.px(36)
        top = page.text("paragraph", prose.paragraph(rng, spec.language, 3), left + inset, top, right - left - 2 * inset,
                        bottom, size=round(page.body * 0.95))
        top += page.pitch
    gutter = round(spec.gutter * page.pitch)
    width = (right - left - gutter * (spec.columns - 1)) // spec.columns
    for band in range(spec.bands):
        end = top + (bottom - top) // (spec.bands - band)
        for column in range(spec.columns):
            extras = [kind for kind, wanted in (("figure", spec.figure), ("table", spec.table == "column")) if wanted]
            page.column(left + column * (width + gutter), top, width, end, extras if column == spec.columns - 1 else [],
                        column + 1)
        if band + 1 < spec.bands:
            top = page.text("heading", " - ".join(prose.TITLES[spec.language][:2]), left, end + page.pitch // 2,
                            right - left, bottom, style="bold", size=page.px(16), pitch=page.px(20), fill=False)
            top += page.pitch // 2
    if number:
        page.blocks.append(number)
    truth = {"name": name, "language": spec.language, "width": page.width, "height": page.height,
             "blocks": [{"type": block.kind, "order": i + 1, "bbox": around([line.bbox for line in block.lines]),
                         "content": block.whole,
                         "lines": [{"bbox": line.bbox, "text": line.text} for line in block.lines]}
                        for i, block in enumerate(page.blocks)]}
    return (scanned(page.canvas, rng) if spec.noisy else page.canvas), truth


def scanned(page: Image.Image, rng: np.random.Generator) -> Image.Image:
    """What a scanner makes of a page: a third of a degree of skew, blur, noise, grey paper. Boxes are not moved."""
    page = page.point(lambda v: 25 + v * 210 // 255)
    page = page.rotate(rng.uniform(-0.35, 0.35), Image.Resampling.BICUBIC, fillcolor=235)
    page = page.filter(ImageFilter.GaussianBlur(0.7))
    pixels = np.asarray(page) + rng.normal(0, 9, size=(page.height, page.width))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def unbroken(rows: list[list[str]]) -> str:
    """The words of lines, those parted by a hyphen joined. A hyphen of the word's own never ends a line here."""
    text = ""
    for row in rows:
        if text.endswith("-"):
            text = text[:-1] + " ".join(row)
        else:
            text = (text + " " + " ".join(row)).strip()
    return text


def around(boxes: list[list[int]]) -> list[int]:
    """The bounds of bounds."""
    return [min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes)]


def printed(truth: dict) -> str:
    """The lines in reading order, an empty line between blocks."""
    return "\n\n".join("\n".join(line["text"] for line in block["lines"]) for block in truth["blocks"]) + "\n"


def save(folder: Path, name: str, image: Image.Image, truth: dict, dpi: int) -> None:
    """Writes the three files of a page."""
    image.save(folder / f"{name}.png", optimize=True, dpi=(dpi, dpi))
    (folder / f"{name}.txt").write_text(printed(truth))
    (folder / f"{name}.json").write_text(json.dumps(truth, ensure_ascii=False, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", help="names of pages, parted by commas")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    names = given.only.split(",") if given.only else list(PAGES)
    for name in names:
        if name not in PAGES:
            parser.error(f"expected one of {', '.join(PAGES)}, got {name}")
        save(given.folder, name, *render(name, PAGES[name], given.seed), PAGES[name].dpi)


if __name__ == "__main__":
    main()
