"""Writes the sample pages of the project's tests. Out: `tests/cases/ocr/<name>/request.*` and `text.txt`, the truth.

Deterministic: no random choice but noise from a fixed seed. Run from anywhere: `python models/tools/render_cases.py`;
needs the Debian packages fonts-dejavu-core,
fonts-liberation, fonts-noto-core.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import render_pages
from fonts import CASES, faces
from render_pages import Spec

ROOT = Path(__file__).resolve().parents[2] / "tests" / "cases" / "ocr"

CLEAN = [
    "A letter from the harbour",
    "The ferry left at half past seven, as it does on every",
    "weekday in spring, and carried nineteen passengers, two",
    "bicycles and a crate of oranges across the bay.",
    "Fares rose to 4.50 on March 1st; return tickets cost 8.00.",
    "“Bring a coat,” wrote the captain, “and something to read.”",
    "Questions? Ask at pier 3 or write to office@harbour.example",
    "Open daily 6:30 - 22:15, closed on public holidays.",
]
GREY = [
    "Le café près de l’église ouvre à huit heures.",
    "Zwölf große Äpfel kosten heute nur fünf Euro.",
    "El niño pequeño mira las montañas de España.",
    "Księżyc świecił jasno nad małą łąką.",
    "Příliš málo času, řekla šestá žákyně.",
]
BILEVEL = [
    "Notice to all lodgers",
    "The main water valve will be shut on Tuesday",
    "between 9 and 11 o’clock. Please fill a jug",
    "in time. Room 214 keeps a spare key.",
]
LARGE = [
    "PUBLIC TIMETABLE",
    "Platform 1 North valley line, every hour",
    "Platform 2 Coast line, every half hour",
    "Platform 3 Mountain line, summer only",
    "Lost property is kept for ninety days.",
]
TURNED = [
    "Minutes of the town meeting",
    "The council met on Monday at seven in the evening.",
    "Nineteen members were present, two were excused.",
    "The bridge will be closed for repairs until May 4th.",
    "Both school buses take the road along the mill.",
    "A new roof costs 12,750, of which half is given.",
]
UPSIDE_DOWN = [
    "Solve the riddle before you look:",
    "what has keys but opens no lock?",
    "Answer: the piano in the music room",
    "More riddles follow on the next page.",
]


def main() -> None:
    """Draws every case."""
    sans, serif, times, arial = faces(CASES)
    rng = np.random.default_rng(20)

    page = text_page((760, 420), CLEAN, times, 26, 46, margin=32)
    save("clean-page", "png", page.convert("L"), CLEAN, optimize=True)

    page = text_page((800, 420), GREY, serif, 28, 66, margin=40, paper=196, ink=52)
    page = page.rotate(0.8, Image.Resampling.BICUBIC, fillcolor=(196,) * 3)
    noisy = np.asarray(page.convert("L")) + rng.normal(0, 7, size=(420, 800))
    save("grey-noisy-page", "jpg", Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)), GREY, quality=70)

    page = text_page((1240, 620), BILEVEL, arial, 46, 110, margin=90)
    save("bilevel-page", "tif", page.convert("L").point(lambda v: 255 * (v > 128)).convert("1"), BILEVEL,
         compression="group4", dpi=(150, 150))

    save("single-word", "png", text_page((220, 48), ["Ephemera"], sans, 32, 48, margin=18, top=5).convert("L"),
         ["Ephemera"], optimize=True)

    page = text_page((2600, 1500), LARGE, sans, 104, 260, margin=140)
    save("large-page", "png", page.convert("L").quantize(16), LARGE, optimize=True)

    # Layouts, at a size that fits a repository: columns with a narrow gutter, a table in one of them, page edges, notes.
    specs = {
        "three-column-page": Spec("de", 3, dpi=150, paper=(6.5, 5.2), size=8.5, family="sans", gutter=1.1, justified=False),
        "two-column-page": Spec("en", 2, dpi=150, paper=(5.4, 6.9), size=9, gutter=1.2, table="column", footnotes=True),
    }
    for name, spec in specs.items():
        page, truth = render_pages.render(name, spec, seed=20)
        save(name, "png", page.quantize(16), render_pages.printed(truth).splitlines(), optimize=True)

    # Put on the scanner sideways, and not straight: its top is at the right.
    page = text_page((760, 420), TURNED, serif, 24, 60, margin=40).convert("L")
    page = page.rotate(-94, Image.Resampling.BICUBIC, expand=True, fillcolor=255)
    save("turned-page", "png", page.quantize(16), TURNED, optimize=True)

    page = text_page((640, 300), UPSIDE_DOWN, times, 28, 60, margin=40).convert("L")
    line = (0, 155, 640, 205)
    page.paste(page.crop(line).transpose(Image.Transpose.ROTATE_180), line)
    save("upside-down-line", "png", page, UPSIDE_DOWN, optimize=True)

    # Inks instead of light, and a part of a page.
    page = text_page((800, 160), BILEVEL[:2], serif, 30, 70, margin=30)
    save("cmyk-page", "jpg", page.convert("CMYK"), BILEVEL[:2], quality=70)

    page = text_page((760, 420), CLEAN, times, 26, 46, margin=32)
    save("region-of-a-page", "webp", page, CLEAN[1:4], quality=60)
    # Below the first row to below the fourth.
    (ROOT / "region-of-a-page" / "query.txt").write_text("region=0,72,760,140\n")

    save("empty-page", "png", Image.new("L", (640, 480), 250), [], optimize=True)


def text_page(size, rows, face, size_px, pitch_px, margin, top=None, paper=255, ink=0) -> Image.Image:
    """An RGB page with one row of text every `pitch_px`; raises ValueError when a row does not fit or has no glyph."""
    page = Image.new("RGB", size, (paper,) * 3)
    font = face.at(size_px)
    for i, row in enumerate(rows):
        if not face.has(row) or font.getlength(row) > size[0] - 2 * margin:
            raise ValueError(f"{face.path.name} at {size_px} px cannot draw {row!r} in {size[0]} px")
        y = (margin if top is None else top) + i * pitch_px
        ImageDraw.Draw(page).text((margin, y), row, font=font, fill=(ink,) * 3)
    return page


def save(name: str, extension: str, image: Image.Image, rows: list[str], **options) -> None:
    """Writes one case."""
    folder = ROOT / name
    folder.mkdir(parents=True, exist_ok=True)
    image.save(folder / f"request.{extension}", **options)
    (folder / "text.txt").write_text("".join(row + "\n" for row in rows))


if __name__ == "__main__":
    main()
