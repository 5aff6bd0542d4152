"""Writes clips for tests. In: a folder. Out: a folder per class with 16 JPEG frames of 224 px, of walkers that training has not seen.

    python -m gait.render_cases OUT [FIRST]
"""

import sys
from pathlib import Path

import cv2

from gait import walkers
from gait.gaits import CLASSES

FIRST = 30_006
CLIP_BYTES = 60_000


def main() -> None:
    """A clip per class, as good as CLIP_BYTES allow."""
    first = int(sys.argv[2]) if len(sys.argv) > 2 else FIRST
    for index in range(first, first + len(CLASSES)):
        drawn = walkers.clip("test", index)
        place = Path(sys.argv[1]) / CLASSES[drawn.label]
        place.mkdir(parents=True, exist_ok=True)
        for quality in range(90, 20, -6):
            files = [cv2.imencode(".jpg", f[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes() for f in drawn.frames]
            if sum(map(len, files)) <= CLIP_BYTES:
                break
        for i, data in enumerate(files):
            (place / f"frame-{i:02}.jpg").write_bytes(data)
        print(place.name, index, f"quality {quality}, {sum(map(len, files))} bytes")


if __name__ == "__main__":
    main()
