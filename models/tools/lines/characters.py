"""The classes of a pack. In: `lines/<pack>.txt`. Out: its characters in the order of the network's classes.

A file has one character a line, `code point<TAB>name`; class 0 is the CTC blank, the first line is class 1. A text is NFC, so a letter
that NFC takes apart (क + nukta, m + candrabindu) is two classes. The order is part of a trained network: append, never insert.

    python -m lines.characters PACK      prints a pack's file anew from the ranges below (only for a pack that nobody has trained)
"""

import sys
import unicodedata
from functools import cache
from pathlib import Path

PACKS = ("devanagari", "latin")
FOLDER = Path(__file__).resolve().parent
BLANK = 0

# What looks like one letter and is never written as two: the first spelling is read as the second.
LIGATURES = (("अा", "आ"), ("अो", "ओ"), ("अौ", "औ"), ("अॉ", "ऑ"), ("आे", "ओ"), ("आै", "औ"), ("आॅ", "ऑ"), ("एे", "ऐ"), ("ाे", "ो"), ("ाै", "ौ"), ("ाॅ", "ॉ"))

# Greek letters that look like Latin ones: they are read as those, and who decodes tells them by the word that they stand in.
TWINS = str.maketrans("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "ABEZHIKMNOPTYXo")

_ASCII = "".join(map(chr, range(0x20, 0x7F)))
_TYPOGRAPHY = "‘’“”–—…•·§¶†‡°©®×÷±«»½¼¾€£₹′″"
# Letters, signs and digits of the block that Sanskrit, Hindi, Marathi, Nepali and Vedic texts use; not those of Kashmiri and Sindhi.
_DEVANAGARI = "".join(map(chr, [*range(0x0900, 0x093A), *range(0x093C, 0x094E), 0x0950, 0x0951, 0x0952, *range(0x0960, 0x0971), 0x0972, 0x0979]))
# Of Vedic Extensions: the svaritas that the common editions of the Yajurveda print, and the jihvamuliya's sign.
_VEDIC = "\u1cda\u1cdc\u1cf5\u1cf6"
# IAST, and what ISO 15919 writes otherwise: r and l with a ring, m with a candrabindu (combining), long e and o.
_IAST = "āīūṛṝḷḹṅñṭḍṇśṣṃṁḥḻēōẏĀĪŪṚṜḶḸṄÑṬḌṆŚṢṂṀḤḺĒŌẎáàíìúùéèóòäïöü" + "\u0310\u0325\u0301\u0300"
_LATIN = "".join(c for c in map(chr, [*range(0xA1, 0x180), *range(0x218, 0x21C), 0x1E9E]) if c not in "\u00ad\u0149\u017f\u0132\u0133\u013f\u0140")
_LATIN_SIGNS = "‘’‚“”„‹›–—…•†‡‰′″€₹™−≤≥≈→←№℃"
_GREEK = "".join(c for c in map(chr, range(0x391, 0x3CA)) if c != "\u03a2")

RANGES = {
    "devanagari": _DEVANAGARI + _VEDIC + _IAST + _ASCII + _TYPOGRAPHY,
    "latin": _LATIN + _IAST + _LATIN_SIGNS + _GREEK + _ASCII,
}


@cache
def characters(pack: str) -> tuple[str, ...]:
    """The characters of classes 1, 2, ... of `pack`."""
    lines = (FOLDER / f"{pack}.txt").read_text(encoding="utf-8").splitlines()
    return tuple(chr(int(line.split("\t")[0], 16)) for line in lines)


@cache
def classes(pack: str) -> dict[str, int]:
    """Character -> class."""
    return {c: i + 1 for i, c in enumerate(characters(pack))}


def encode(pack: str, text: str) -> list[int]:
    """Classes of a text in NFC; raises ValueError for a character that the pack lacks."""
    known = classes(pack)
    for c in text:
        if c not in known:
            raise ValueError(f"U+{ord(c):04X} is not in the pack {pack}")
    return [known[c] for c in text]


def decode(pack: str, path) -> str:
    """Best class of each step `[T]` -> text: repeats merged, blanks dropped, LIGATURES and TWINS read as what they are, in NFC."""
    return joined(spelt(pack, path))


def spelt(pack: str, path) -> str:
    """Best class of each step `[T]` -> the characters of its classes as they come: repeats merged, blanks dropped, nothing else."""
    names, text, before = characters(pack), [], BLANK
    for c in map(int, path):
        if c != BLANK and c != before:
            text.append(names[c - 1])
        before = c
    return "".join(text)


def joined(text: str) -> str:
    """A text with the one spelling of each letter, in NFC; letters of one shape are one letter."""
    text = text.translate(TWINS)
    for apart, letter in LIGATURES:
        text = text.replace(apart, letter)
    return unicodedata.normalize("NFC", text)


def listed(pack: str) -> str:
    """The text of a pack's file from RANGES: by code point, each once, only what NFC leaves as it is, the space last."""
    found = sorted({c for c in RANGES[pack] if unicodedata.normalize("NFC", c) == c and unicodedata.category(c) != "Cn"} - {" "}) + [" "]
    return "".join(f"{ord(c):04X}\t{unicodedata.name(c)}\n" for c in found)


if __name__ == "__main__":
    sys.stdout.write(listed(sys.argv[1]))
