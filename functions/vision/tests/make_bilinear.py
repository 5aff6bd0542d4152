"""Writes `bilinear.txt`: what OpenCV makes of pictures of noise, for `bilinear.rs`.

    pip install opencv-python-headless numpy
    python functions/vision/tests/make_bilinear.py

A line for each case: sides from and to, a seed, and the result's bytes in hexadecimal, or their FNV-1a hash where they are many.
The picture is noise that both sides can make: the upper bytes of a linear congruential generator.
"""

import pathlib
import random

import cv2
import numpy

SIDES = [
    (5, 4, 3, 3), (3, 3, 7, 5), (1, 1, 4, 3), (9, 1, 4, 1), (1, 9, 1, 4), (8, 6, 4, 3), (8, 6, 4, 6), (12, 6, 4, 2),
    (4, 3, 8, 6), (7, 7, 6, 6), (2, 11, 5, 1), (16, 9, 1, 1),
    (1280, 720, 224, 224), (1080, 1920, 224, 224), (448, 448, 224, 224), (100, 75, 224, 224), (641, 479, 224, 224),
]


def noise(width, height, seed):
    state, out = seed, bytearray()
    for _ in range(width * height * 3):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        out.append(state >> 24)
    return numpy.frombuffer(bytes(out), numpy.uint8).reshape(height, width, 3)


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def main():
    rng = random.Random(5)
    sides = SIDES + [tuple(rng.randint(1, 40) for _ in range(4)) for _ in range(40)]
    lines = [f"# OpenCV {cv2.__version__}, by make_bilinear.py"]
    for seed, (width, height, to_width, to_height) in enumerate(sides, 1):
        out = cv2.resize(noise(width, height, seed), (to_width, to_height), interpolation=cv2.INTER_LINEAR).tobytes()
        text = out.hex() if len(out) <= 128 else "fnv:" + fnv(out)
        lines.append(f"{width} {height} {to_width} {to_height} {seed} {text}")
    pathlib.Path(__file__).with_name("bilinear.txt").write_text("\n".join(lines) + "\n")


main()
