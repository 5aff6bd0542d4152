"""Writes `files/`: small animations and archives, and beside each animation the frames that Pillow makes of it.

    apt-get install ffmpeg; pip install Pillow
    python functions/video/tests/make_files.py

Frame i of every archive and stream is of one colour, red 20 i. `files/NAME.png` holds the frames of an animation one below the other,
laid over white. Made with Pillow 12.
"""

import io
import pathlib
import subprocess
import tarfile
import zipfile

from PIL import Image, ImageDraw, ImageSequence

FOLDER = pathlib.Path(__file__).parent / "files"
SIZE = (24, 16)
FRAMES = 6


def plain(i):
    return Image.new("RGB", SIZE, (20 * i, 128, 60))


def encoded(i, form="PNG"):
    out = io.BytesIO()
    plain(i).save(out, form)
    return out.getvalue()


def moving(i, mode="RGBA"):
    """A square that moves, one that is half transparent, on nothing."""
    image = Image.new("RGBA", SIZE, (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    draw.rectangle((2 * i, i, 2 * i + 7, i + 6), (200, 30 * i, 40, 255))
    draw.rectangle((20 - 3 * i, 8, 23 - 3 * i, 12), (10, 90, 250, 128 if mode == "RGBA" else 255))
    return image


def opaque(i):
    image = Image.new("RGBA", SIZE, (250, 240, 200, 255))
    image.alpha_composite(moving(i))
    return image.convert("RGB")


def reference(name, first=0):
    frames = []
    with Image.open(FOLDER / name) as image:
        for frame in ImageSequence.Iterator(image):
            white = Image.new("RGBA", frame.size, "white")
            white.alpha_composite(frame.convert("RGBA"))
            frames.append(white.convert("RGB"))
    frames = frames[first:]
    stack = Image.new("RGB", (SIZE[0], SIZE[1] * len(frames)))
    for i, frame in enumerate(frames):
        stack.paste(frame, (0, i * SIZE[1]))
    stack.save(FOLDER / f"{name}.png")
    print(name, len(frames))


def reference_ffmpeg(name):
    """The same by ffmpeg, which restores what was before two frames in turn that ask for it, as the standard says."""
    command = ["ffmpeg", "-v", "error", "-f", "apng", "-i", FOLDER / name, "-vsync", "0", "-f", "rawvideo", "-pix_fmt", "rgba", "-"]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    stack = Image.frombytes("RGBA", (SIZE[0], len(data) // SIZE[0] // 4), data)
    white = Image.new("RGBA", stack.size, "white")
    white.alpha_composite(stack)
    white.convert("RGB").save(FOLDER / f"{name}.png")


def animation(name, frames, first=0, **options):
    frames[0].save(FOLDER / name, save_all=True, append_images=frames[1:], duration=40, loop=0, **options)
    reference(name, first)


def main():
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.iterdir():
        path.unlink()
    hard = [moving(i, "RGB") for i in range(FRAMES)]
    soft = [moving(i) for i in range(FRAMES)]
    flat = [opaque(i) for i in range(FRAMES)]
    animation("keep.gif", [f.quantize(16) for f in flat])
    animation("clear.gif", hard, disposal=2)
    animation("restore.gif", hard, disposal=[1, 3, 3, 2, 1, 1])
    animation("one.gif", flat[:1])
    animation("lossless.webp", soft, lossless=True, exact=True)
    animation("opaque.webp", flat, lossless=True)
    animation("lossy.webp", soft, quality=90)
    for name, disposal, blend in [("keep", 0, 1), ("clear", 1, 1), ("restore", [0, 2, 2, 1, 0, 0], 1), ("replace", 0, 0)]:
        # Laid over others, half transparent pixels come out of Pillow otherwise than PNG's standard says.
        animation(f"{name}.apng", hard if blend else soft, format="PNG", disposal=disposal, blend=blend)
    reference_ffmpeg("restore.apng")
    animation("opaque.apng", flat, format="PNG")
    # A first picture that is not part of the animation; Pillow counts it.
    animation("extra.apng", flat, first=1, format="PNG", default_image=True)

    # Natural order is not the order in the archive, nor that of bytes.
    names = [f"walk/frame{i}.png" for i in (10, 2, 1, 20, 3, 100)]
    colours = [3, 1, 0, 4, 2, 5]
    others = [("__MACOSX/walk/._frame1.png", b"x"), ("walk/.DS_Store", b"x"), ("walk/notes.txt", b"x")]
    for name, method in [("stored", zipfile.ZIP_STORED), ("deflated", zipfile.ZIP_DEFLATED)]:
        with zipfile.ZipFile(FOLDER / f"{name}.zip", "w", method) as archive:
            archive.mkdir("walk")
            for entry, colour in zip(names, colours):
                archive.writestr(zipfile.ZipInfo(entry), encoded(colour), method)
            for entry, data in others:
                archive.writestr(zipfile.ZipInfo(entry), data)
    with zipfile.ZipFile(FOLDER / "streamed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, colour in zip(names, colours):
            with archive.open(zipfile.ZipInfo(entry), "w", force_zip64=True) as out:
                out.write(encoded(colour, "WEBP"))
    long = "a-folder-with-a-name-that-is-long/" * 4
    for name, form in [("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT), ("ustar", tarfile.USTAR_FORMAT)]:
        with tarfile.open(FOLDER / f"{name}.tar", "w", format=form) as archive:
            for entry, colour in zip(names, colours):
                data = encoded(colour)
                info = tarfile.TarInfo((long if form != tarfile.USTAR_FORMAT else "") + entry)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
            info = tarfile.TarInfo("walk/notes.txt")
            info.size = 1
            archive.addfile(info, io.BytesIO(b"x"))
    stream = [encoded(i, "JPEG") for i in range(FRAMES)]
    (FOLDER / "joined.mjpeg").write_bytes(b"".join(stream))
    parts = [b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + frame + b"\r\n" for frame in stream]
    (FOLDER / "multipart.mjpeg").write_bytes(b"".join(parts).split(b"\r\n\r\n", 1)[1])


main()
