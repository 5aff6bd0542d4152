"""The faces that lines are drawn in: `faces.tsv`. In: a script and a split. Out: open faces.

A family is in one split only, with all its weights and sizes, so the figures are about designs that training has not seen. `without`:
a text that the face draws wrongly (a glyph of another letter, a broken conjunct), which the table of its characters cannot tell. `forms`:
OpenType features (`ss15`) and languages (`ne`) with which the face draws letters as older books or other countries have them.

    python -m lines.faces       the Debian packages, for `apt-get install $(python -m lines.faces)`; files that are missing, on stderr
"""

import csv
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fontTools.ttLib import TTFont
from PIL import ImageFont, features

TABLE = Path(__file__).resolve().parent / "faces.tsv"
# `more`: families for training that only the set `more` draws, so that the lines of the other sets stay what they were when these came.
SPLITS = ("train", "more", "test")


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    package: str
    file: str
    script: str
    split: str
    without: str
    forms: str


class Face:
    """One font file: what it can draw, and its glyphs at a size."""

    def __init__(self, row: Row):
        self.row = row
        with TTFont(row.file, lazy=True) as font:
            self.characters = frozenset(map(chr, font.getBestCmap()))

    @property
    def features(self) -> tuple[str, ...]:
        """Features that change the form of letters."""
        return tuple(tag for tag in self.row.forms.split() if len(tag) == 4)

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages that change the form of letters."""
        return tuple(tag for tag in self.row.forms.split() if len(tag) == 2)

    def has(self, text: str) -> bool:
        """Whether the face draws every character of `text`, and as it should be."""
        return self.characters.issuperset(text) and not (self.row.without and self.row.without in text)

    def at(self, em_px: int) -> ImageFont.FreeTypeFont:
        """The face at an em of `em_px`, shaped by HarfBuzz."""
        return _sized(self.row.file, em_px)


@cache
def table() -> tuple[Row, ...]:
    """All rows."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return tuple(Row(**row) for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


@cache
def faces(script: str, split: str) -> tuple[Face, ...]:
    """Opens the faces of `deva` or `latin`, those of training where a split has none; raises FileNotFoundError naming the packages that are missing."""
    if not features.check("raqm"):
        raise RuntimeError("Pillow has no raqm here: install libfribidi0, Devanagari cannot be shaped without it")
    of = {name: [r for r in table() if r.script == script and r.split == name] for name in SPLITS}
    rows = of[split] or of["train"]
    missing = sorted({r.package for r in rows if not Path(r.file).exists()})
    if missing:
        raise FileNotFoundError(f"install the Debian packages {' '.join(missing)}")
    return tuple(Face(r) for r in rows)


@cache
def _sized(file: str, em_px: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, em_px, layout_engine=ImageFont.Layout.RAQM)


if __name__ == "__main__":
    print(*sorted({row.package for row in table()}))
    for row in table():
        if not Path(row.file).exists():
            print(f"missing: {row.file} ({row.package})", file=sys.stderr)
