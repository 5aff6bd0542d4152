"""Draws the pages of `ephemera bench jobs`: book pages of 1200 x 1600 px at 150 dpi, some twenty lines each.

Half of them clean, half as a scanner gives them. Deterministic. `python bench_pages.py FOLDER`; needs the packages of `fonts.py`.
"""

import sys
from pathlib import Path

from render_pages import Spec, render

# 8 by 10 2/3 inches; type of 15 points, so that a page is full after some twenty lines.
BOOK = {"dpi": 150, "paper": (8, 32 / 3), "size": 15, "pitch": 1.9, "title": False}

PAGES = {
    "clean-en": Spec("en", 1, **BOOK),
    "clean-de": Spec("de", 1, family="sans", **BOOK),
    "clean-fr": Spec("fr", 1, family="book", **BOOK),
    "clean-it": Spec("it", 1, justified=False, **BOOK),
    "scan-en": Spec("en", 1, family="book", noisy=True, **BOOK),
    "scan-de": Spec("de", 1, noisy=True, **BOOK),
    "scan-es": Spec("es", 1, family="sans", noisy=True, **BOOK),
    "scan-pl": Spec("pl", 1, justified=False, noisy=True, **BOOK),
}


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, spec in PAGES.items():
        image, _ = render(name, spec, seed=1)
        # A scan's page as it comes: nothing beside it that a job's folder would take for another file.
        image.save(folder / f"{name}.png", dpi=(spec.dpi, spec.dpi))


if __name__ == "__main__":
    main()
