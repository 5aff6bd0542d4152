"""Writes the sample pages of the recognition packs' tests, as render_cases.py does those of the Latin one.

    python models/tools/render_packs.py

Deterministic. Devanagari is shaped by HarfBuzz through raqm, which Pillow's wheels for Linux have; raises RuntimeError where it is missing.
Needs the Debian packages fonts-noto-core and fonts-liberation. The verses are the Bhagavadgita's, the other sentences our own.
"""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, features

from render_cases import ROOT, save

NOTO = Path("/usr/share/fonts/truetype/noto")
SERIF, SANS, LATIN, TIMES = (
    NOTO / "NotoSerifDevanagari-Regular.ttf", NOTO / "NotoSansDevanagari-Regular.ttf", NOTO / "NotoSerif-Regular.ttf",
    Path("/usr/share/fonts/truetype/liberation/LiberationSerif-Regular.ttf"))

LINE = ["नदी के किनारे एक पुराना मंदिर है।"]
IAST = ["yogaś citta-vṛtti-nirodhaḥ", "tadā draṣṭuḥ svarūpe 'vasthānam"]
VERSE = [
    "धर्मक्षेत्रे कुरुक्षेत्रे समवेता युयुत्सवः ।",
    "मामकाः पाण्डवाश्चैव किमकुर्वत सञ्जय ॥ १ ॥",
    "दृष्ट्वा तु पाण्डवानीकं व्यूढं दुर्योधनस्तदा ।",
    "आचार्यमुपसङ्गम्य राजा वचनमब्रवीत् ॥ २ ॥",
]
HINDI = [
    "गाँव के लोग सुबह खेत में काम करते थे और",
    "शाम को नदी के पास बैठकर बातें करते थे।",
    "यह बात सब को मालूम है कि वर्षा के बाद",
    "रास्ता बंद हो जाता है।",
]
MIXED = [
    (TIMES, "The village school has a new roof, and the"),
    (TIMES, "pupils of the fourth class wrote this note:"),
    (SANS, "हमारे विद्यालय की छत अब नई है और"),
    (SANS, "पानी अब कमरे में नहीं आता है।"),
    (TIMES, "It was read to the council on Monday."),
    (SANS, "सभा के लोग बहुत प्रसन्न थे।"),
]


def main() -> None:
    """Draws every case."""
    if not features.check("raqm"):
        raise RuntimeError("this Pillow has no raqm, which shapes Devanagari")
    write("devanagari-line", [(SERIF, row) for row in LINE], (760, 110), 44, 80)
    write("iast-lines", [(LATIN, row) for row in IAST], (760, 170), 40, 72, "language=sa-Latn")
    write("sanskrit-verse", [(SERIF, row) for row in VERSE], (1000, 400), 42, 86, "language=sa")
    write("hindi-page", [(SANS, row) for row in HINDI], (900, 390), 38, 82, "language=hi&words=true")
    write("two-scripts-page", MIXED, (900, 520), 38, 76)


def write(name: str, rows: list, size: tuple[int, int], em_px: int, pitch_px: int, query: str = "") -> None:
    """A page with a row of text every `pitch_px`. `rows`: face and text; `query`: what the request asks, if anything."""
    page = Image.new("L", size, 255)
    for i, (path, text) in enumerate(rows):
        font = ImageFont.truetype(path, em_px, layout_engine=ImageFont.Layout.RAQM)
        if font.getlength(text) > size[0] - 80:
            raise ValueError(f"{path.name} at {em_px} px cannot set {text!r} in {size[0]} px")
        ImageDraw.Draw(page).text((40, 40 + i * pitch_px + 0.6 * em_px), text, font=font, fill=0, anchor="ls")
    save(name, "png", page.quantize(16), [text for _, text in rows], optimize=True)
    if query:
        (ROOT / name / "query.txt").write_text(query + "\n")


if __name__ == "__main__":
    main()
