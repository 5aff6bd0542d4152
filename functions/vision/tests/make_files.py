"""Writes the small pictures of tests/files, each in another variant: `python make_files.py`.

Needs Pillow 13 with libtiff and libwebp, and `tiffcp` (libtiff-tools) and `cjpeg` (libjpeg-turbo-progs). Their pixels are those of tests/formats.rs.
"""

import io
import pathlib
import struct
import subprocess
import zlib

from PIL import Image

WIDTH, HEIGHT = 20, 12
FOLDER = pathlib.Path(__file__).parent / "files"


def build(mode, value):
    image = Image.new(mode, (WIDTH, HEIGHT))
    for y in range(HEIGHT):
        for x in range(WIDTH):
            image.putpixel((x, y), value(x, y))
    return image


bilevel = build("1", lambda x, y: 0 if (x * x + 3 * y) % 7 < 3 else 255)
grey = build("L", lambda x, y: x * 12)
colour = build("RGB", lambda x, y: (x * 12, y * 20, 128))
clear = build("RGBA", lambda x, y: (x * 12, y * 20, 0, 255 if x < 10 else 0))
wide = build("I;16", lambda x, y: x * 12 * 257)
palette = build("RGB", lambda x, y: ((x // 8) * 100, (y // 8) * 200, 50)).quantize(8)
inks = build("CMYK", lambda x, y: (x * 12, y * 20, 0, 30))
grey_alpha = build("LA", lambda x, y: (x * 12, 255 if x < 10 else 0))


def save(name, image, **options):
    image.save(FOLDER / name, **options)


def exif(orientation):
    data = Image.Exif()
    data[0x0112] = orientation
    return data.tobytes()


def png(colour_type, depth, rows, *chunks, interlace=0):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour_type, 0, 0, interlace)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + b"".join(chunk(kind, data) for kind, data in chunks)
        + chunk(b"IDAT", zlib.compress(b"".join(rows), 9))
        + chunk(b"IEND", b"")
    )


def rows(channels, pixel, step=(1, 1), start=(0, 0), wide_samples=False):
    for y in range(start[1], HEIGHT, step[1]):
        row = b""
        for x in range(start[0], WIDTH, step[0]):
            for v in pixel(x, y)[:channels]:
                row += struct.pack(">H", v * 257) if wide_samples else bytes([v])
        if row:
            yield b"\0" + row


def tiff(name, source, *arguments):
    subprocess.run(["tiffcp", *arguments, FOLDER / source, FOLDER / name], check=True)


def cjpeg(name, image, *arguments):
    ppm = io.BytesIO()
    image.save(ppm, "PPM")
    made = subprocess.run(["cjpeg", "-quality", "95", *arguments], input=ppm.getvalue(), capture_output=True, check=True)
    (FOLDER / name).write_bytes(made.stdout)


def main():
    FOLDER.mkdir(exist_ok=True)
    save("grey.jpg", grey, quality=95)
    save("colour-444.jpg", colour, quality=95, subsampling=0)
    save("colour-422.jpg", colour, quality=95, subsampling=1)
    save("colour-420.jpg", colour, quality=95, subsampling=2)
    save("progressive-444.jpg", colour, quality=95, subsampling=0, progressive=True)
    save("progressive-420.jpg", colour, quality=95, subsampling=2, progressive=True)
    save("progressive-grey.jpg", grey, quality=95, progressive=True)
    save("rgb.jpg", colour, quality=95, keep_rgb=True)
    save("cmyk.jpg", inks, quality=95)
    save("restarts.jpg", colour, quality=95, subsampling=2, restart_marker_blocks=1)

    cjpeg("colour-411.jpg", colour, "-sample", "4x1")
    cjpeg("colour-440.jpg", colour, "-sample", "1x2")
    cjpeg("colour-odd.jpg", colour, "-sample", "2x2,1x2,2x1")
    cjpeg("colour-third.jpg", colour, "-sample", "3x1,1x1,1x1")
    scans = FOLDER / "scans.txt"
    scans.write_text("0;\n1;\n2;\n")
    cjpeg("colour-scans.jpg", colour, "-sample", "2x2", "-scans", scans)
    scans.unlink()
    cjpeg("progressive-restarts.jpg", colour, "-sample", "2x1", "-progressive", "-restart", "1")
    cjpeg("arithmetic.jpg", colour, "-arithmetic")

    save("bilevel.png", bilevel)
    save("grey.png", grey)
    save("colour.png", colour, exif=exif(6))
    save("clear.png", clear)
    save("palette.png", palette)
    save("wide.png", wide)
    save("grey-alpha.png", grey_alpha)
    passes = [
        ((8, 8), (0, 0)), ((8, 8), (4, 0)), ((4, 8), (0, 4)), ((4, 4), (2, 0)),
        ((2, 4), (0, 2)), ((2, 2), (1, 0)), ((1, 2), (0, 1)),
    ]
    pixel = colour.load()
    at = lambda x, y: pixel[x, y]
    data = [r for step, start in passes for r in rows(3, at, step, start)]
    (FOLDER / "interlaced.png").write_bytes(png(2, 8, data, interlace=1))
    data = [r for step, start in passes for r in rows(3, at, step, start, True)]
    (FOLDER / "interlaced-wide.png").write_bytes(png(2, 16, data, interlace=1))
    data = list(rows(3, at, wide_samples=True))
    (FOLDER / "colour-wide.png").write_bytes(png(2, 16, data))

    for compression in ["raw", "group3", "group4", "tiff_ccitt", "packbits", "tiff_lzw", "tiff_adobe_deflate"]:
        save(f"bilevel-{compression}.tif", bilevel, compression=None if compression == "raw" else compression)
    tiff("bilevel-group3-2d.tif", "bilevel-raw.tif", "-c", "g3:2d:fill")
    tiff("bilevel-group4-reversed.tif", "bilevel-raw.tif", "-c", "g4", "-f", "lsb2msb")
    tiff("bilevel-group4-strips.tif", "bilevel-raw.tif", "-c", "g4", "-r", "5")
    for name, image in [("grey", grey), ("colour", colour), ("palette", palette), ("cmyk", inks)]:
        save(f"{name}-lzw.tif", image, compression="tiff_lzw")
    save("wide.tif", wide)
    save("clear.tif", clear)
    save("turned.tif", colour, tiffinfo={274: 8})
    save("grey-jpeg.tif", grey, compression="jpeg", quality=95)
    save("colour-jpeg.tif", colour, compression="jpeg", quality=95)
    tiff("grey-predicted.tif", "grey-lzw.tif", "-c", "lzw:2", "-r", "5")
    tiff("colour-predicted.tif", "colour-lzw.tif", "-c", "zip:2")
    tiff("wide-predicted.tif", "wide.tif", "-c", "zip:2", "-B")
    tiff("colour-planes.tif", "colour-lzw.tif", "-p", "separate", "-r", "5", "-c", "packbits")
    tiff("colour-tiles.tif", "colour-lzw.tif", "-t", "-w", "16", "-l", "16", "-c", "lzw")
    tiff("bilevel-tiles.tif", "bilevel-raw.tif", "-t", "-w", "16", "-l", "16", "-c", "g4")
    tiff("colour-jpeg-tiles.tif", "colour-lzw.tif", "-t", "-w", "16", "-l", "16", "-c", "jpeg:r:95")
    tiff("big.tif", "colour-lzw.tif", "-8", "-c", "zip")
    subprocess.run(["tiffcp", *(FOLDER / f"{n}.tif" for n in ["bilevel-group4", "grey-lzw", "turned"]), FOLDER / "pages.tif"], check=True)

    save("lossy.webp", colour, quality=95)
    save("lossless.webp", colour, lossless=True, exif=exif(6))
    save("clear.webp", clear, lossless=True, exact=True)
    save("colour.bmp", colour)
    save("grey.bmp", grey)
    save("bilevel.bmp", bilevel)
    save("palette.bmp", palette)
    save("palette.gif", palette)
    save("bilevel.gif", bilevel, interlace=1)
    frame = io.BytesIO()
    palette.save(frame, "GIF", save_all=True, append_images=[bilevel.convert("P")])
    (FOLDER / "frames.gif").write_bytes(frame.getvalue())


main()
