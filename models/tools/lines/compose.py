"""Chooses what a line says. In: a random generator, sentences, a length. Out: a text in NFC whose characters are all in the pack."""

import unicodedata

import numpy as np

import text as pages
from lines import iast
from lines.characters import characters, classes

# Kind of line -> its part of the pack's lines.
SHARES = {
    "devanagari": {"sanskrit": 0.36, "modern": 0.18, "iast": 0.2, "latin": 0.07, "mixed": 0.06, "numbers": 0.05, "rare": 0.08},
    "latin": {"english": 0.26, "latin": 0.32, "own": 0.1, "iast": 0.08, "numbers": 0.1, "address": 0.05, "rare": 0.07, "signs": 0.02},
}
# Part of the lines that get a punctuation mark more than their text has.
PUNCTUATED = 0.15
_AROUND = ("“”", "‘’", "\"\"", "''", "()", "[]", "«»", "**")
_BEHIND = (";", ":", "?", "!", ",", ".", "…", "...", " —", " –", "-", "*", "†", " ।", "।", " ॥", "/", "॰")
DIGITS = "०१२३४५६७८९"
_CONSONANTS = [c for c in map(chr, range(0x0915, 0x093A)) if c not in "ऩऱऴ"]
_SIGNS = "ािीुूृॄेैोौॅॉॢ"
_VOWELS = "अआइईउऊऋॠऌएऐओऔऍऑ"
_ENDS = ("", "", "", "", "ं", "ः", "ँ", "॑", "॒")
# Marks of the pack that stand on the letter before them.
_COMBINING = {c for pack in SHARES for c in characters(pack) if unicodedata.combining(c) or unicodedata.category(c) in ("Mn", "Mc")}


def line(rng: np.random.Generator, pack: str, sentences: dict[str, list[str]], length: int) -> tuple[str, str]:
    """A text of about `length` code points and its kind, as in SHARES; never empty."""
    shares = SHARES[pack]
    kind = str(rng.choice(list(shares), p=list(shares.values())))
    for _ in range(30):
        said = _cut(rng, _KINDS[kind](rng, pack, sentences), length)
        if kind not in ("numbers", "address", "signs") and rng.random() < PUNCTUATED:
            said = _punctuated(rng, said)
        text = unicodedata.normalize("NFC", said).strip()
        if text and text[0] not in _COMBINING and all(c in classes(pack) for c in text):
            return text, kind
    return "12", "numbers"


def _one(rng, sentences: list[str]) -> str:
    return sentences[int(rng.integers(len(sentences)))]


def _several(rng, sentences: list[str]) -> str:
    # Catalogues are full of single words; a line has more.
    return " ".join(_one(rng, sentences) for _ in range(int(rng.integers(1, 4))))


def _sanskrit(rng, pack, sentences) -> str:
    found = _one(rng, sentences["sanskrit"])
    if rng.random() < 0.06:
        found = "ॐ " + found
    return found


def _iast(rng, pack, sentences) -> str:
    found = iast.transliterate(_one(rng, sentences["sanskrit"]))
    how = rng.random()
    if how < 0.25:
        found = " ".join(w[:1].upper() + w[1:] for w in found.split(" "))
    elif how < 0.3:
        found = found.upper()
    elif how < 0.45:
        found = found[:1].upper() + found[1:]
    if rng.random() < 0.05:
        # As ISO 15919 writes it.
        for a, b in (("ṛ", "r\u0325"), ("ṝ", "r\u0325\u0304"), ("ḷ", "l\u0325"), ("ṃ", "ṁ"), ("e", "ē"), ("o", "ō")):
            found = found.replace(a, b)
    elif rng.random() < 0.04:
        # The accents of Vedic texts.
        at = [i for i, c in enumerate(found) if c in "aāiīuūeo"]
        for i in sorted((at[int(j)] for j in rng.integers(len(at), size=3)), reverse=True) if at else ():
            found = found[:i + 1] + "\u0301\u0300"[int(rng.integers(2))] + found[i + 1:]
    return found.replace("'", "’") if rng.random() < 0.5 else found


def _latin(rng, pack, sentences) -> str:
    return _several(rng, sentences["latin"]) if rng.random() < 0.8 or not sentences["own"] else _own(rng, pack, sentences)


def _own(rng, pack, sentences) -> str:
    found = _several(rng, sentences["own"] or sentences["latin"])
    return found.upper() if rng.random() < 0.08 else found


def _mixed(rng, pack, sentences) -> str:
    first, second = _sanskrit(rng, pack, sentences).split(" "), _iast(rng, pack, sentences).split(" ")
    n, m = (int(v) for v in rng.integers(1, 4, 2))
    a, b = " ".join(first[:n]), " ".join(second[:m])
    forms = [f"{a} ({b})", f"{b} {a}", f"{a} – {b}", f"{b} ({a})", f"{a} = {b}", f"{a} {_number(rng, '0123456789')}", f"[{a}] {b}"]
    return forms[int(rng.integers(len(forms)))]


def _number(rng, digits: str) -> str:
    return "".join(digits[int(i)] for i in rng.integers(10, size=int(rng.integers(1, 5))))


def _numbers(rng, pack, sentences) -> str:
    if pack == "latin" or rng.random() < 0.35:
        return pages._numbers(rng)
    digits = DIGITS if rng.random() < 0.8 else "0123456789"
    n = [_number(rng, digits) for _ in range(3)]
    forms = [f"॥ {n[0]} ॥", f"।। {n[0]} ।।".replace("।।", "॥"), f"॥ {n[0]}.{n[1]} ॥", f"{n[0]}.{n[1]}.{n[2]}", f"{n[0]}-{n[1]}", f"({n[0]})",
             f"{n[0]}/{n[1]}/{n[2]}", f"{n[0]},{n[1]}", f"॥{n[0]}॥", f"[{n[0]}]", f"₹ {n[0]}.{n[1]}", f"{n[0]}%", f"{n[0]}:{n[1]}", f"पृ॰ {n[0]}"]
    return " ".join(forms[int(rng.integers(len(forms)))] for _ in range(int(rng.integers(1, 4))))


def _rare(rng, pack, sentences) -> str:
    """Syllables that texts hardly have, and every character of the pack now and then."""
    if pack == "latin":
        return pages._rare(rng) if rng.random() < 0.4 else _any(rng, pack, sentences)
    if rng.random() < 0.4:
        return _any(rng, pack, sentences)
    return " ".join("".join(_akshara(rng) for _ in range(int(rng.integers(1, 5)))) for _ in range(int(rng.integers(1, 5))))


def _any(rng, pack, sentences) -> str:
    """Words of a sentence with characters of the pack put between and behind them."""
    words = _one(rng, sentences["latin"] if pack == "latin" or rng.random() < 0.3 else sentences["sanskrit"]).split(" ")
    free = [c for c in characters(pack) if c not in _COMBINING and c != " "]
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(words)))
        c = free[int(rng.integers(len(free)))]
        words[at] = [c + words[at], words[at] + c, f"{words[at]} {c}"][int(rng.integers(3))]
    return " ".join(words)


def _akshara(rng) -> str:
    if rng.random() < 0.1:
        return _VOWELS[int(rng.integers(len(_VOWELS)))] + _ENDS[int(rng.integers(len(_ENDS)))]
    count = int(rng.choice([1, 2, 3], p=[0.45, 0.45, 0.1]))
    cluster = "\u094d".join(_CONSONANTS[int(i)] for i in rng.integers(len(_CONSONANTS), size=count))
    if rng.random() < 0.15:
        cluster = "र\u094d" + cluster
    if count == 1 and rng.random() < 0.08 and cluster[-1] in "कखगजडढफय":
        cluster += "\u093c"
    sign = _SIGNS[int(rng.integers(len(_SIGNS)))] if rng.random() < 0.7 else ""
    return cluster + sign + _ENDS[int(rng.integers(len(_ENDS)))]


def _punctuated(rng, text: str) -> str:
    words = text.split(" ")
    first, last = sorted(int(i) for i in rng.integers(len(words), size=2))
    if rng.random() < 0.4:
        pair = _AROUND[int(rng.integers(len(_AROUND)))]
        words[first], words[last] = pair[0] + words[first], words[last] + pair[-1]
    else:
        words[last] += _BEHIND[int(rng.integers(len(_BEHIND)))]
    return " ".join(words)


def _address(rng, pack, sentences) -> str:
    return pages._address(rng)


def _signs(rng, pack, sentences) -> str:
    return pages._signs(rng)


def _modern(rng, pack, sentences) -> str:
    return _several(rng, sentences["modern"])


def _english(rng, pack, sentences) -> str:
    found = _several(rng, sentences["english"])
    return found.upper() if rng.random() < 0.08 else found


_KINDS = {"sanskrit": _sanskrit, "english": _english, "modern": _modern, "iast": _iast, "latin": _latin, "own": _own, "mixed": _mixed, "numbers": _numbers,
          "rare": _rare, "address": _address, "signs": _signs}


def _cut(rng, text: str, length: int) -> str:
    """Whole words from a random one on, at most `length` code points; a longer word is cut between syllables.

    The first word is one behind which there is enough text, so that lines are not mostly ends of verses.
    """
    words = text.split(" ")
    rest = np.cumsum([len(w) + 1 for w in words[::-1]])[::-1]
    start = int(rng.integers(max(1, int((rest > length).sum()))))
    taken = words[start]
    for word in words[start + 1:]:
        if len(taken) + 1 + len(word) > length:
            break
        taken += " " + word
    end = len(taken)
    if end > length:
        end = length
        while end < len(taken) and (taken[end] in _COMBINING or taken[end - 1] == "\u094d"):
            end += 1
    return taken[:end]
