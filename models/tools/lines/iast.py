"""Devanagari -> IAST. In: Sanskrit in NFC. Out: its transliteration in NFC, all in small letters.

Signs that IAST has no letter for (accents, nukta) are left out. What is not Devanagari passes unchanged.
"""

import unicodedata

VIRAMA, NUKTA = "\u094d", "\u093c"

_CONSONANTS = dict(zip(
    "कखगघङचछजझञटठडढणतथदधनपफबभमयरलवशषसहळ",
    "k kh g gh ṅ c ch j jh ñ ṭ ṭh ḍ ḍh ṇ t th d dh n p ph b bh m y r l v ś ṣ s h ḻ".split(), strict=True))
_VOWELS = dict(zip("अआइईउऊऋॠऌॡएऐओऔ", "a ā i ī u ū ṛ ṝ ḷ ḹ e ai o au".split(), strict=True))
_SIGNS = dict(zip("ािीुूृॄॢॣेैोौ", "ā i ī u ū ṛ ṝ ḷ ḹ e ai o au".split(), strict=True))
_MARKS = {"ं": "ṃ", "ः": "ḥ", "ँ": "m\u0310", "ऽ": "'", "ॐ": "oṃ", "।": "|", "॥": "||",
          **{chr(0x0966 + i): str(i) for i in range(10)}}
_SILENT = {NUKTA, "\u0951", "\u0952", "\u1cda", "\u1cdc", "\u200c", "\u200d"}


def transliterate(text: str) -> str:
    """A consonant has its inherent `a` unless a vowel sign or a virama follows."""
    result, open_consonant = [], False
    for c in unicodedata.normalize("NFC", text):
        if c in _SILENT:
            continue
        if open_consonant and c not in _SIGNS and c != VIRAMA:
            result.append("a")
        open_consonant = c in _CONSONANTS
        if c != VIRAMA:
            result.append(_CONSONANTS.get(c) or _VOWELS.get(c) or _SIGNS.get(c) or _MARKS.get(c) or c)
    if open_consonant:
        result.append("a")
    return unicodedata.normalize("NFC", "".join(result))
