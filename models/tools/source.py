"""Fetches the two source networks. In: a pinned wheel from the package index. Out: ONNX files in a folder.

The wheel is only unpacked, never installed or imported: it is a carrier of the two ONNX files.
"""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

PACKAGE = "rapidocr==3.10.0"
WHEEL = "rapidocr-3.10.0-py3-none-any.whl"
WHEEL_SHA256 = "2fc34e26cd0f48514804a94f8832283039c7334076bff60768b1fed9ad068050"

# Path inside the wheel -> SHA-256 of the file.
DETECTOR = "rapidocr/models/PP-OCRv6_det_small.onnx"
RECOGNISER = "rapidocr/models/PP-OCRv6_rec_small.onnx"
FILES = {
    DETECTOR: "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
    RECOGNISER: "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
}


def fetch(work: Path) -> dict[str, Path]:
    """Downloads and unpacks what is not in `work` yet; returns path inside the wheel -> path on disk.

    Raises ValueError when a file's SHA-256 is not the pinned one.
    """
    work.mkdir(parents=True, exist_ok=True)
    wheel = work / WHEEL
    if not wheel.exists():
        pin = work / "source.txt"
        pin.write_text(f"{PACKAGE} --hash=sha256:{WHEEL_SHA256}\n")
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
             "--require-hashes", "--requirement", str(pin), "--dest", str(work)],
            check=True,
        )
    check(wheel, WHEEL_SHA256)
    with zipfile.ZipFile(wheel) as archive:
        for name, digest in FILES.items():
            archive.extract(name, work)
            check(work / name, digest)
    return {name: work / name for name in FILES}


def check(path: Path, expected: str) -> None:
    """Raises ValueError unless the file's SHA-256 is `expected` (hexadecimal)."""
    actual = sha256(path)
    if actual != expected:
        raise ValueError(f"{path.name}: sha256 is {actual}, expected {expected}")


def sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
