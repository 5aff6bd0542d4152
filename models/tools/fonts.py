"""The fonts that pages are rendered from: Debian packages, split by family into calibration and held-out test.

A family is in one split only, so the test figures are about fonts that calibration has not seen.
"""

from functools import cache
from pathlib import Path

from fontTools.ttLib import TTFont
from PIL import ImageFont

TRUETYPE = "/usr/share/fonts/truetype"
OPENTYPE = "/usr/share/fonts/opentype"

# (Debian package, folder, files)
CALIBRATION = [
    ("fonts-dejavu-core", f"{TRUETYPE}/dejavu", [
        "DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSerif.ttf", "DejaVuSerif-Bold.ttf", "DejaVuSansMono.ttf"]),
    ("fonts-dejavu-extra", f"{TRUETYPE}/dejavu", [
        "DejaVuSans-Oblique.ttf", "DejaVuSerif-Italic.ttf", "DejaVuSansCondensed.ttf"]),
    ("fonts-liberation", f"{TRUETYPE}/liberation", [
        "LiberationSans-Regular.ttf", "LiberationSans-Bold.ttf", "LiberationSans-Italic.ttf",
        "LiberationSerif-Regular.ttf", "LiberationSerif-Bold.ttf", "LiberationSerif-Italic.ttf",
        "LiberationMono-Regular.ttf", "LiberationSansNarrow-Regular.ttf"]),
    ("fonts-freefont-ttf", f"{TRUETYPE}/freefont", [
        "FreeSerif.ttf", "FreeSerifItalic.ttf", "FreeSerifBold.ttf", "FreeSans.ttf", "FreeMono.ttf"]),
    ("fonts-crosextra-carlito", f"{TRUETYPE}/crosextra", [
        "Carlito-Regular.ttf", "Carlito-Bold.ttf", "Carlito-Italic.ttf"]),
    ("fonts-ebgaramond", f"{OPENTYPE}/ebgaramond", [
        "EBGaramond12-Regular.otf", "EBGaramond12-Italic.otf", "EBGaramond12-Bold.otf"]),
    ("fonts-urw-base35", f"{OPENTYPE}/urw-base35", [
        "C059-Roman.otf", "C059-Italic.otf", "URWBookman-Light.otf", "URWGothic-Book.otf", "P052-Roman.otf",
        "NimbusSansNarrow-Regular.otf"]),
    ("fonts-roboto-unhinted", f"{TRUETYPE}/roboto/unhinted/RobotoTTF", [
        "Roboto-Regular.ttf", "Roboto-Light.ttf", "Roboto-Bold.ttf", "Roboto-Italic.ttf"]),
    ("fonts-hack", f"{TRUETYPE}/hack", ["Hack-Regular.ttf", "Hack-Bold.ttf"]),
    ("fonts-oldstandard", f"{TRUETYPE}/fonts-oldstandard", ["OldStandard-Regular.ttf", "OldStandard-Italic.ttf"]),
    ("fonts-courier-prime", f"{OPENTYPE}/courier-prime", ["Courier Prime.otf"]),
]

TEST = [
    ("fonts-noto-core", f"{TRUETYPE}/noto", [
        "NotoSans-Regular.ttf", "NotoSans-Bold.ttf", "NotoSans-Italic.ttf", "NotoSerif-Regular.ttf",
        "NotoSerif-Bold.ttf", "NotoSerif-Italic.ttf"]),
    ("fonts-linuxlibertine", f"{OPENTYPE}/linux-libertine", [
        "LinLibertine_R.otf", "LinLibertine_RB.otf", "LinLibertine_RI.otf", "LinBiolinum_R.otf"]),
    ("fonts-crosextra-caladea", f"{TRUETYPE}/crosextra", ["Caladea-Regular.ttf", "Caladea-Italic.ttf"]),
    ("fonts-sil-gentiumplus", f"{TRUETYPE}/gentiumplus", ["GentiumPlus-Regular.ttf", "GentiumPlus-Italic.ttf"]),
    ("fonts-sil-charis", f"{TRUETYPE}/charis", ["CharisSIL-Regular.ttf", "CharisSIL-Bold.ttf"]),
    ("fonts-open-sans", f"{TRUETYPE}/open-sans", [
        "OpenSans-Regular.ttf", "OpenSans-Semibold.ttf", "OpenSans-Italic.ttf"]),
    ("fonts-lato", f"{TRUETYPE}/lato", ["Lato-Regular.ttf", "Lato-Bold.ttf", "Lato-Italic.ttf"]),
    ("fonts-vollkorn", f"{TRUETYPE}/vollkorn", ["Vollkorn-Regular.ttf"]),
    ("fonts-firacode", f"{TRUETYPE}/firacode", ["FiraCode-Regular.ttf"]),
    ("fonts-jetbrains-mono", f"{TRUETYPE}/jetbrains-mono", ["JetBrainsMono-Regular.ttf"]),
]

# The faces of the small test cases of the project (render_cases.py).
CASES = [
    ("fonts-dejavu-core", f"{TRUETYPE}/dejavu", ["DejaVuSans.ttf", "DejaVuSerif.ttf"]),
    ("fonts-liberation", f"{TRUETYPE}/liberation", ["LiberationSerif-Regular.ttf", "LiberationSans-Regular.ttf"]),
]


class Face:
    """One font file: which characters it has, and its glyphs at a size in pixels."""

    def __init__(self, path: Path):
        self.path = path
        with TTFont(path, lazy=True) as font:
            self.characters = frozenset(map(chr, font.getBestCmap()))

    def has(self, text: str) -> bool:
        """Whether every character of `text` has a glyph."""
        return self.characters.issuperset(text)

    def at(self, size_px: int) -> ImageFont.FreeTypeFont:
        """The face at an em of `size_px`; basic layout, because the shaping library is not part of Pillow's wheel."""
        return ImageFont.truetype(self.path, size_px, layout_engine=ImageFont.Layout.BASIC)


@cache
def _face(path: Path) -> Face:
    return Face(path)


def faces(families: list) -> list[Face]:
    """Opens every file of a list above; raises FileNotFoundError naming the package that is missing."""
    found = []
    for package, folder, files in families:
        for file in files:
            path = Path(folder) / file
            if not path.exists():
                raise FileNotFoundError(f"{path}: install the Debian package {package}")
            found.append(_face(path))
    return found


if __name__ == "__main__":
    # The packages, for `apt-get install $(python fonts.py)`.
    print(*sorted({package for package, _, _ in CALIBRATION + TEST + CASES}))
