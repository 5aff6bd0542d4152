"""Writes the clips of the project's tests: walkers that training has not seen, one file of each kind that the gait function takes.

Out: `tests/cases/gait/<name>/request.*` and `query.txt`. Needs ffmpeg for the film. Run in `models/tools`:

    python -m gait.render_cases
    UPDATE_CASES=1 cargo test -p ephemera-tests gait        writes what the function says of them: read it before it is committed
"""

import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from gait import walkers
from gait.gaits import CLASSES

ROOT = Path(__file__).resolve().parents[3] / "tests" / "cases" / "gait"
# One clip of each class follows another.
FIRST = 30_006
# A fixed time, so that archives have the same bytes whenever they are written.
EPOCH = (1980, 1, 1, 0, 0, 0)


def frames(name: str) -> np.ndarray:
    """`[16, 224, 224, 3] u8`, RGB."""
    clips = (walkers.clip("test", index) for index in range(FIRST, FIRST + len(CLASSES)))
    return next(clip.frames for clip in clips if CLASSES[clip.label] == name)


def jpeg(frame: np.ndarray, quality: int = 60) -> bytes:
    """A frame as a file."""
    return cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def resized(frame: np.ndarray, width: int, height: int) -> np.ndarray:
    """A frame in another size."""
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)


def film(clip: np.ndarray) -> tuple[str, bytes]:
    """H.264 in MP4, six frames a second."""
    place = ROOT / "film" / "request.mp4"
    size = f"{clip.shape[2]}x{clip.shape[1]}"
    x264 = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "26", "-x264-params", "threads=1"]
    plain = ["-fflags", "+bitexact", "-flags", "+bitexact", "-map_metadata", "-1"]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", "6", "-i", "-"]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *raw, *x264, *plain, place], input=clip.tobytes(), check=True)
    return "mp4", place.read_bytes()


def zipped(clip: np.ndarray) -> tuple[str, bytes]:
    """Stored and deflated, in an order that is not that of the names."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(zipfile.ZipInfo("walk/", EPOCH), b"")
        for i in reversed(range(len(clip))):
            entry = zipfile.ZipInfo(f"walk/frame{i}.jpg", EPOCH)
            entry.compress_type = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)[i % 2]
            archive.writestr(entry, jpeg(clip[i]))
        archive.writestr(zipfile.ZipInfo("__MACOSX/._frame0.jpg", EPOCH), b"no picture")
    return "zip", out.getvalue()


def tarred(clip: np.ndarray) -> tuple[str, bytes]:
    """Of several sizes and formats."""
    sizes = ((160, 120), (120, 160), (224, 224), (96, 96))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for i, frame in enumerate(clip):
            picture = resized(frame, *sizes[i % 4])
            data, extension = (jpeg(picture), "jpg") if i % 4 < 3 else (cv2.imencode(".webp", picture[..., ::-1])[1].tobytes(), "webp")
            entry = tarfile.TarInfo(f"{i:02}.{extension}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return "tar", out.getvalue()


def animation(clip: np.ndarray, kind: str, **options: object) -> tuple[str, bytes]:
    """A picture that moves, of 112 px."""
    pictures = [Image.fromarray(resized(frame, 112, 112)) for frame in clip]
    out = io.BytesIO()
    pictures[0].save(out, kind, save_all=True, append_images=pictures[1:], duration=150, **options)
    return kind, out.getvalue()


def stream(clip: np.ndarray) -> tuple[str, bytes]:
    """JPEGs one after the other."""
    return "mjpeg", b"".join(jpeg(frame) for frame in clip)


def main() -> None:
    """Writes every case anew."""
    for name, of, make in (
        ("film", "Normal", film),
        ("frames-in-a-zip", "PD_Severe", zipped),
        ("mixed-sizes-in-a-tar", "KOA_Severe", tarred),
        ("gif", "Disabled_Assistive", lambda clip: animation(clip, "gif")),
        ("webp", "PD_Mild", lambda clip: animation(clip, "webp", quality=70)),
        ("mjpeg-of-seven-frames", "KOA_Early", lambda clip: stream(clip[:7])),
        ("one-frame", "Disabled_NonAssistive", lambda clip: ("jpg", jpeg(clip[0]))),
    ):
        folder = ROOT / name
        folder.mkdir(parents=True, exist_ok=True)
        extension, data = make(frames(of))
        (folder / f"request.{extension}").write_bytes(data)
        (folder / "query.txt").write_text("clinical_condition=Normal\n")
        print(f"{name}: {of}, {len(data)} bytes")


if __name__ == "__main__":
    main()
