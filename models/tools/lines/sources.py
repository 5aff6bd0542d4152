"""What the lines say. In: a file of Sanskrit lines, message catalogues of Debian packages. Out: cleaned sentences by language.

A sentence is NFC, holds only characters of the pack and single spaces. One in fifty, by its checksum, is for the held-out split, so
no text of training is measured.

    python -m lines.sources WORK [SANSKRIT]     fetches the catalogues' packages with apt-get into WORK, counts the sentences
"""

import gettext
import re
import struct
import subprocess
import sys
import zlib
from functools import cache
from pathlib import Path

import prose
import text as pages
from lines.characters import classes, joined

# Packages that hold catalogues of many languages; unpacked, not installed.
PACKAGES = ("iso-codes", "libreoffice-l10n-hi", "libreoffice-l10n-mr", "libreoffice-l10n-ne", "libreoffice-l10n-de", "libreoffice-l10n-fr",
            "libreoffice-l10n-es", "libreoffice-l10n-pl", "libreoffice-l10n-cs", "libreoffice-l10n-tr", "libreoffice-l10n-hu",
            "libreoffice-l10n-ro", "libreoffice-l10n-fi", "libreoffice-l10n-pt")
DEVANAGARI_LANGUAGES = ("hi", "mr", "ne", "mai", "kok")
LATIN_LANGUAGES = ("de", "fr", "es", "it", "pt", "nl", "pl", "cs", "sk", "sl", "hr", "hu", "ro", "tr", "fi", "sv", "da", "nb", "lt", "lv", "et")
# Whose catalogues the English sentences are read from; they are much the same in all.
ENGLISH_OF = ("de", "fr")
HELD_OUT_PART = 50

_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u00ad"))
# A digit of the other script inside a number, a slip of typing.
_FOREIGN_DIGIT = re.compile(r"(?<=[०-९])[0-9]|[0-9](?=[०-९])", re.ASCII)
_SPACES = re.compile(r"\s+")
# Placeholders, markup, paths: nothing that a page says.
_CODE = re.compile(r"[%<>{}$\\#|=@^~`]|https?:|\.\w{2,4}\b|--")
_MNEMONIC = re.compile(r"[_&](?=\w)|\(_\w\)")


def clean(pack: str, raw: str) -> str | None:
    """A line as it should be read: NFC, two dandas as a double danda, single spaces; None if the pack lacks one of its characters."""
    line = joined(raw.translate(_INVISIBLE))
    line = _FOREIGN_DIGIT.sub(lambda found: chr(0x0966 + int(found[0])), line.replace("\u0ce6", "०"))
    line = _SPACES.sub(" ", line.replace("।।", "॥").replace("'", "’" if "\u0900" < line[:1] < "\u0980" else "'")).strip()
    known = classes(pack)
    return line if line and all(c in known for c in line) else None


def message(raw: str) -> list[str]:
    """A catalogue's translation -> the sentences in it that a page could hold."""
    pieces = []
    for line in raw.split("\n"):
        line = _MNEMONIC.sub("", line).strip()
        if len(line) > 3 and not _CODE.search(line):
            pieces.append(line)
    return pieces


def held_out(line: str) -> bool:
    """Whether a sentence belongs to the held-out split."""
    return zlib.crc32(line.encode()) % HELD_OUT_PART == 0


def sanskrit(path: Path) -> list[str]:
    """The lines of a plain text file."""
    cleaned = (clean("devanagari", line) for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in cleaned if line]


def catalogues(work: Path, languages) -> list[Path]:
    """Compiled catalogues of `languages`: unpacked ones in WORK, and those of the machine's own packages that are listed."""
    return sorted(p for language in languages for p in work.glob(f"packages/**/{language}/LC_MESSAGES/*.mo"))


def translations(pack: str, paths: list[Path]) -> list[str]:
    """Sentences of catalogues, each once, in a fixed order."""
    return _cleaned(pack, (said for path in paths for said in _entries(path).values()))


def originals(pack: str, paths: list[Path]) -> list[str]:
    """The English sentences that catalogues translate, each once, in a fixed order."""
    return _cleaned(pack, (said for path in paths for said in _entries(path)))


def _entries(path: Path) -> dict:
    """English -> its translation; a file that is no catalogue has none."""
    try:
        with path.open("rb") as file:
            return gettext.GNUTranslations(file)._catalog
    except (OSError, UnicodeDecodeError, struct.error):
        return {}


def _cleaned(pack: str, said) -> list[str]:
    # A context stands before its message, parted from it by EOT. Plural forms are pairs and are passed over.
    whole = (entry.split("\x04")[-1] for entry in said if isinstance(entry, str))
    return sorted({line for entry in whole for piece in message(entry) if (line := clean(pack, piece))})


def devanagari_share(line: str) -> float:
    """The part of a line's letters and signs that are Devanagari."""
    letters = [c for c in line if not c.isspace()]
    return sum("\u0900" <= c <= "\u097f" for c in letters) / max(1, len(letters))


@cache
def load(pack: str, work: Path, sanskrit_path: Path, split: str) -> dict[str, list[str]]:
    """Language -> its sentences of a split, `train` or `test`."""
    own = [clean(pack, s) for sentences in (*pages.SENTENCES.values(), *prose.LONGER.values()) for s in sentences]
    found = {"own": sorted(filter(None, own)), "latin": translations(pack, catalogues(work, LATIN_LANGUAGES))}
    found["sanskrit"] = sanskrit(sanskrit_path)
    if pack == "latin":
        found["english"] = originals(pack, catalogues(work, ENGLISH_OF))
    else:
        modern = translations(pack, catalogues(work, DEVANAGARI_LANGUAGES))
        found["modern"] = [line for line in modern if devanagari_share(line) > 0.6]
    return {name: [s for s in sentences if held_out(s) == (split == "test")] for name, sentences in found.items()}


def fetch(work: Path) -> None:
    """Downloads and unpacks what is missing of PACKAGES; needs apt-get and dpkg, not root."""
    target = (work / "packages").resolve()
    target.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        if not (target / package).exists():
            subprocess.run(["apt-get", "-q", "download", package], cwd=target, check=True)
            (archive,) = target.glob(f"{package}_*.deb")
            subprocess.run(["dpkg", "-x", archive, target / package], check=True)
            archive.unlink()


if __name__ == "__main__":
    fetch(Path(sys.argv[1]))
    for name in ("devanagari", "latin"):
        for kind, sentences in load(name, Path(sys.argv[1]), Path(sys.argv[2]), "train").items():
            print(name, kind, len(sentences), "sentences,", sum(map(len, sentences)), "characters")
