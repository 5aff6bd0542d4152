"""What the recognisers' packs read: `[pack]` of their `model.toml`.

A language is listed when a pack has the characters that it is usually written with. The order is of no meaning; of two packs that read a
language, the one that `models` in spin.toml names first reads it.
"""

_LATIN = (
    "af ay br bs ca ceb co cs cy da de en eo es et eu fi fil fo fr fy ga gd gl gn hr ht hu id is it jv ku la lb lt lv mg mi ms mt nb nl nn no"
    " oc pl pt qu rm ro sk sl sm so sq su sv sw tl to tr uz xh zu"
).split()

# PP-OCRv6 small, its head pruned (pack.py). Vietnamese and Yoruba without some of their letters, as its card says.
PADDLE_LATIN = {
    "name": "latin",
    "languages": sorted([*_LATIN, "az", "el", "ha", "vi", "yo"]),
    "scripts": ["Latn", "Grek"],
    # Its pooling takes no less.
    "min_width_px": 16,
    # On rendered pages the errors stayed as many as they are at the natural 17 to 20 px. At 13 some apostrophes and thin letters of
    # ordinary pages are lost; small print has no more errors.
    "letter_px": [15, 13],
}

# Of our own (lines/), by the name of their classes.
OWN = {
    "devanagari": {
        "name": "devanagari",
        "languages": ["sa", "hi", "mr", "ne", "kok", "mai", "bho", "awa", "mag", "hne", "bgc", "raj", "doi", "pi", "en"],
        "scripts": ["Deva", "Latn"],
        "min_width_px": 16,
        # For IAST and English; a code point of Devanagari is narrower than that as it is.
        "letter_px": [15, 13],
    },
    # Greek letters too, but not as Greek is written.
    "latin": {
        "name": "european",
        "languages": [*_LATIN, "sa-Latn", "pi-Latn"],
        "scripts": ["Latn"],
        "min_width_px": 16,
        # Errors on 250 rendered lines of each kind stay what they are at the natural 20 px; at 13 they double.
        "letter_px": [15, 14],
    },
}
