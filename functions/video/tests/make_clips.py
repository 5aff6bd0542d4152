"""Writes `clips/`: small clips by ffmpeg, and beside each the frames that ffmpeg decodes from it.

    apt-get install ffmpeg; pip install Pillow
    python functions/video/tests/make_clips.py

`clips/NAME.png` holds the frames of `clips/NAME` at FRAMES of their presentation order, one below the other, as `-pix_fmt rgb24`
makes them. Clips that are to be refused have none. Made with ffmpeg 5.1.9 and its libx264, libx265 and libvpx.
"""

import pathlib
import subprocess

from PIL import Image

FOLDER = pathlib.Path(__file__).parent / "clips"
SOURCE = "testsrc2=size={size}:rate=25:duration={seconds}"
# Of every clip, as far as it has them.
FRAMES = [0, 3, 8, 11]


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True)


def source(size="64x48", seconds=0.8):
    return ["-f", "lavfi", "-i", SOURCE.format(size=size, seconds=seconds)]


def x264(profile="high", **options):
    parameters = {"keyint": 10, "scenecut": 0, "threads": 1, **options}
    text = ":".join(f"{name.replace('_', '-')}={value}" for name, value in parameters.items())
    return ["-pix_fmt", "yuv420p", "-c:v", "libx264", "-profile:v", profile, "-crf", 28, "-x264-params", text]


def bitexact():
    return ["-fflags", "+bitexact", "-flags", "+bitexact", "-map_metadata", "-1"]


def encode(name, *arguments, size="64x48", seconds=0.8):
    ffmpeg(*source(size, seconds), *arguments, *bitexact(), FOLDER / name)


def copy(name, origin, *arguments, before=()):
    ffmpeg(*before, "-i", FOLDER / origin, "-c", "copy", *arguments, *bitexact(), FOLDER / name)


def reference(name):
    """The frames at FRAMES, one below the other."""
    path = FOLDER / name
    raw = path.with_suffix(".raw")
    # Else ffmpeg crops less at the left than the stream says.
    ffmpeg("-flags", "unaligned", "-i", path, "-vsync", "0", "-pix_fmt", "rgb24", "-f", "rawvideo", raw)
    probe = subprocess.run(
        ["ffmpeg", "-flags", "unaligned", "-i", path, "-vsync", "0", "-frames:v", "1", "-f", "image2pipe", "-c:v", "ppm", "-"], capture_output=True, check=True
    )
    width, height = map(int, probe.stdout.split(b"\n", 2)[1].split())
    data = raw.read_bytes()
    raw.unlink()
    size = width * height * 3
    frames = [data[at:at + size] for at in range(0, len(data), size)]
    chosen = [frames[i] for i in FRAMES if i < len(frames)]
    picture = Image.frombytes("RGB", (width, height * len(chosen)), b"".join(chosen))
    picture.save(FOLDER / (path.name + ".png"), optimize=True)
    print(f"{name}: {len(frames)} frames of {width} x {height}, {path.stat().st_size} bytes")


def main():
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.iterdir():
        path.unlink()
    encode("baseline.mp4", *x264("baseline"))
    encode("main.mp4", *x264("main", bframes=3, b_pyramid="normal"))
    encode("high.mp4", *x264(bframes=2, ref=4))
    encode("high.mov", *x264(bframes=2), "-f", "mov")
    encode("cropped.mp4", *x264(), size="58x42")
    encode("slices.mp4", *x264(slices=3))
    encode("weighted.mp4", "-vf", "fade=in:0:15", *x264(weightp=2, bframes=0))
    encode("open-gop.mp4", *x264(open_gop=1, bframes=2))
    encode("one-gop.mp4", *x264(keyint=250, bframes=2))
    encode("faststart.mp4", *x264(), "-movflags", "+faststart")
    encode("vfr.mp4", "-vf", "select=mod(n\\,3)", "-vsync", "vfr", *x264(bframes=2))
    encode("bt709.mp4", *x264(colorprim="bt709", transfer="bt709", colormatrix="bt709"), "-colorspace", "bt709")
    encode("full-range.mp4", *x264(), "-vf", "scale=out_range=full", "-pix_fmt", "yuvj420p")
    encode("fake-interlaced.mp4", *x264(fake_interlaced=1))
    encode("fragments.mp4", *x264(bframes=2), "-movflags", "frag_keyframe+empty_moov+default_base_moof")
    for angle in (90, 180, 270):
        copy(f"turned-{angle}.mp4", "high.mp4", "-metadata:s:v", f"rotate={angle}")
    copy("cropped-left.mp4", "high.mp4", "-bsf:v", "h264_metadata=crop_left=6:crop_top=10:crop_right=4:crop_bottom=2")
    copy("edited.mp4", "one-gop.mp4", before=("-ss", "0.3"))
    copy("in-band.mp4", "high.mp4", "-bsf:v", "h264_mp4toannexb", "-tag:v", "avc3")
    for path in sorted(FOLDER.glob("*.m??")):
        reference(path.name)

    encode("hevc.mp4", "-c:v", "libx265", "-x265-params", "log-level=none", "-tag:v", "hvc1", seconds=0.2)
    encode("vp9.mp4", "-c:v", "libvpx-vp9", seconds=0.2)
    encode("mpeg4.mp4", "-c:v", "mpeg4", seconds=0.2)
    encode("ten-bit.mp4", *x264("high10"), "-pix_fmt", "yuv420p10le", seconds=0.2)
    encode("chroma-422.mp4", *x264("high422"), "-pix_fmt", "yuv422p", seconds=0.2)
    encode("interlaced.mp4", *x264(interlaced=1), seconds=0.2)
    ffmpeg("-f", "lavfi", "-i", "sine=duration=0.2", "-c:a", "aac", *bitexact(), FOLDER / "audio.m4a")


main()
