"""Draws a dressed person. In: projected joints and a Look. Out: pixels, in place.

All positions are in pixels with fractions; drawing is by OpenCV with SHIFT bits of sub-pixel precision and antialiasing.
"""

from dataclasses import dataclass

import cv2
import numpy as np

SHIFT = 4
FINE = 1 << SHIFT

# Half widths of limbs as parts of the body's height: at the upper and at the lower joint.
WIDTHS = {"thigh": (0.048, 0.034), "shank": (0.032, 0.022), "upper_arm": (0.026, 0.021), "forearm": (0.020, 0.015)}
SHADE_FAR = 0.72

# Where an aid stands on the floor, ahead of the hand, as a part of the body's height.
TIP_AHEAD = {"cane": 0.06, "crutches": 0.06, "frame": 0.26, "rollator": 0.26}
BACK_AHEAD = -0.16


@dataclass(frozen=True)
class Look:
    """Colours are RGB, 0..=255."""

    skin: tuple
    hair: tuple
    top: tuple
    legs: tuple
    shoes: tuple
    aid: tuple
    sleeves: float          # 0 bare arms, 0.5 short, 1 long
    hem: float              # where the legs' cloth ends: 0.5 above the knee, 1 at the ankle
    skirt: float            # 0 none, else its hem as a part of the leg
    coat: float             # 0 none, else its hem as a part of the thigh
    loose: float            # factor on cloth widths
    hair_long: bool
    stripe: tuple | None    # colour of a stripe around the chest
    light: int              # side from which light falls: -1 or 1


def draw_look(rng: np.random.Generator) -> Look:
    """Clothes, skin and hair of one person."""
    tone = rng.uniform(0, 1)
    skin = np.array([236, 200, 175]) * (1 - tone) + np.array([86, 56, 40]) * tone + rng.normal(0, 6, 3)
    dress = rng.random()
    return Look(
        skin=_rgb(skin), hair=_rgb(_HAIR[rng.integers(len(_HAIR))] + rng.normal(0, 10, 3)), top=_cloth(rng), legs=_cloth(rng),
        shoes=_cloth(rng), aid=_rgb(_METAL[rng.integers(len(_METAL))] + rng.normal(0, 12, 3)), sleeves=float(rng.choice([0.0, 0.5, 1.0], p=[0.15, 0.4, 0.45])),
        hem=float(rng.choice([0.45, 0.55, 0.8, 1.0], p=[0.1, 0.15, 0.1, 0.65])), skirt=float(rng.uniform(0.4, 0.7)) if dress < 0.12 else 0.0,
        coat=float(rng.uniform(0.2, 0.6)) if 0.12 < dress < 0.25 else 0.0, loose=float(rng.uniform(0.95, 1.4)), hair_long=bool(rng.random() < 0.3),
        stripe=_cloth(rng) if rng.random() < 0.2 else None, light=int(rng.choice([-1, 1])))


_HAIR = np.array([[30, 25, 22], [70, 45, 30], [120, 85, 50], [190, 160, 110], [170, 170, 170], [215, 215, 215]], float)
_METAL = np.array([[180, 182, 186], [90, 92, 96], [35, 35, 38], [120, 80, 45], [200, 60, 50], [60, 90, 170]], float)


def person(picture: np.ndarray, at: dict, scale: float, look: Look, girth: float, aid: str | None, aid_side: int, near: int, floor) -> None:
    """`at`: joint -> (x, y). `scale`: pixels of the body's height. `near`: the side (0 left, 1 right) that faces the camera.

    `floor`: function from a joint's name and metres ahead of it to the pixel on the floor there, for the tips of aids.
    """
    far = 1 - near
    if aid in ("frame", "rollator"):
        _frame(picture, at, scale, look, far, aid, floor, SHADE_FAR)
    _arm(picture, at, scale, look, girth, far, SHADE_FAR)
    if aid and (aid == "crutches" or (aid == "cane" and aid_side == far)):
        _stick(picture, at, scale, look, far, aid, floor, SHADE_FAR)
    _leg(picture, at, scale, look, girth, far, SHADE_FAR)
    _leg(picture, at, scale, look, girth, near, 1.0)
    _trunk(picture, at, scale, look, girth, near)
    _head(picture, at, scale, look)
    if aid in ("frame", "rollator"):
        _frame(picture, at, scale, look, near, aid, floor, 1.0)
    if aid and (aid == "crutches" or (aid == "cane" and aid_side == near)):
        _stick(picture, at, scale, look, near, aid, floor, 1.0)
    _arm(picture, at, scale, look, girth, near, 1.0)


def _leg(picture, at, scale, look, girth, side, shade) -> None:
    hip, knee, ankle = at[f"hip{side}"], at[f"knee{side}"], at[f"ankle{side}"]
    heel, toe = at[f"heel{side}"], at[f"toe{side}"]
    skin, cloth = _shaded(look.skin, shade), _shaded(look.legs, shade)
    wide = [w * scale * girth for w in (*WIDTHS["thigh"], *WIDTHS["shank"])]
    loose = look.loose if not look.skirt else 1.0
    bare = look.skirt > 0
    _limb(picture, knee, ankle, wide[2], wide[3], skin, look.light)
    _limb(picture, hip, knee, wide[0], wide[1], skin if bare else cloth, look.light)
    if not bare:
        if look.hem > 0.5:
            end = knee + (ankle - knee) * (look.hem - 0.5) * 2
            _limb(picture, knee, end, wide[2] * loose, (wide[3] if look.hem > 0.9 else wide[2]) * loose, cloth, look.light)
        _limb(picture, hip, knee if look.hem >= 0.5 else hip + (knee - hip) * 0.75, wide[0] * min(loose, 1.15), wide[1] * loose, cloth, look.light)
    shoe = _shaded(look.shoes, shade)
    r = 0.018 * scale
    top = heel + (ankle - heel) * 0.75
    _polygon(picture, [heel + (heel - toe) * 0.08, toe, toe + (top - heel) * 0.45, top + (toe - heel) * 0.35, top - (toe - heel) * 0.08], shoe)
    _limb(picture, heel, toe, r, r * 0.8, shoe, 0)


def _arm(picture, at, scale, look, girth, side, shade) -> None:
    shoulder, elbow, hand = at[f"shoulder{side}"], at[f"elbow{side}"], at[f"hand{side}"]
    skin, cloth = _shaded(look.skin, shade), _shaded(look.top, shade * 0.93)
    wide = [w * scale * girth for w in (*WIDTHS["upper_arm"], *WIDTHS["forearm"])]
    loose = min(look.loose, 1.25)
    _limb(picture, elbow, hand, wide[2], wide[3], skin, look.light)
    _disc(picture, hand, 0.022 * scale, skin)
    _limb(picture, shoulder, elbow, wide[0], wide[1], skin, look.light)
    if look.sleeves > 0:
        end = elbow if look.sleeves >= 1 else shoulder + (elbow - shoulder) * 0.6
        if look.sleeves >= 1:
            _limb(picture, elbow, elbow + (hand - elbow) * 0.85, wide[2] * loose, wide[3] * loose, cloth, look.light)
        _limb(picture, shoulder, end, wide[0] * loose, wide[1] * loose, cloth, look.light)


def _trunk(picture, at, scale, look, girth, near) -> None:
    pelvis, waist, chest = at["pelvis"], at["waist"], at["chest"]
    # A trunk seen from the side is about 0.6 as thick as it is broad; the projected shoulders and hips give the breadth.
    depth = 0.062 * scale * girth
    low, mid, high = (max(depth * k, np.linalg.norm(a - b) * 0.62) for k, a, b in (
        (1.05, at["hip0"], at["hip1"]), (1.0, at["hip0"], at["hip1"]), (1.12, at["shoulder0"], at["shoulder1"])))
    if look.skirt or look.coat:
        part = look.skirt or look.coat * 0.5
        cloth = look.legs if look.skirt else look.top
        ends = []
        for side in (0, 1):
            hip, knee, ankle = at[f"hip{side}"], at[f"knee{side}"], at[f"ankle{side}"]
            ends.append(hip + (knee - hip) * min(1, part * 2) + (ankle - knee) * max(0, part * 2 - 1))
        ends.sort(key=lambda p: p[0])
        flare = np.array([0.045 * scale * girth * look.loose, 0])
        across = np.array([low * 1.1, 0])
        _polygon(picture, [pelvis - across, ends[0] - flare, ends[1] + flare, pelvis + across], _shaded(cloth, 0.95))
    _limb(picture, waist, pelvis, mid, low, look.legs if not look.coat else look.top, look.light)
    _limb(picture, chest, waist, high, mid, look.top, look.light)
    _limb(picture, waist, waist + (pelvis - waist) * 0.6, mid, mid, look.top, look.light)
    if look.stripe:
        _limb(picture, chest + (waist - chest) * 0.35, chest + (waist - chest) * 0.6, high * 0.95, high * 0.9, look.stripe, 0)
    _limb(picture, chest, at["neck"], 0.032 * scale, 0.03 * scale, look.skin, 0)


def _head(picture, at, scale, look) -> None:
    head, neck = at["head"], at["neck"]
    axis = head - neck
    angle = float(np.degrees(np.arctan2(axis[0], -axis[1])))
    size = (0.052 * scale, 0.068 * scale)
    if look.hair_long:
        _ellipse(picture, neck * 0.5 + head * 0.5, (0.05 * scale, 0.075 * scale), angle, look.hair)
    _ellipse(picture, head, size, angle, look.skin)
    back = np.array([-axis[1], axis[0]]) / (np.linalg.norm(axis) + 1e-6)
    ahead = at["ahead"]
    side = -np.sign(back @ ahead) if abs(back @ ahead) > 1e-3 else 0.0
    _ellipse(picture, head + axis * 0.3 + back * side * 0.016 * scale, (size[0] * 0.97, size[1] * 0.72), angle, look.hair)


def _stick(picture, at, scale, look, side, aid, floor, shade) -> None:
    hand = at[f"hand{side}"]
    tip = floor(f"hand{side}", TIP_AHEAD[aid])
    wide = max(0.7, 0.011 * scale)
    _limb(picture, hand, tip, wide, wide, _shaded(look.aid, shade), 0)
    if aid == "crutches":
        _limb(picture, hand, hand + (hand - tip) * 0.28, wide, wide, _shaded(look.aid, shade), 0)
    else:
        _limb(picture, hand - at["ahead"] * 0.03, hand + at["ahead"] * 0.035, wide * 1.2, wide * 1.2, _shaded(look.aid, shade * 0.8), 0)


def _frame(picture, at, scale, look, side, aid, floor, shade) -> None:
    hand, colour, wide = at[f"hand{side}"], _shaded(look.aid, shade), max(0.7, 0.010 * scale)
    back, front = floor(f"hand{side}", BACK_AHEAD), floor(f"hand{side}", TIP_AHEAD[aid])
    top = hand + at["ahead"] * 0.12
    for a, b in ((hand, back), (top, front), (hand - at["ahead"] * 0.03, top), (hand * 0.45 + back * 0.55, top * 0.45 + front * 0.55)):
        _limb(picture, a, b, wide, wide, colour, 0)
    if aid == "rollator":
        for wheel in (back, front):
            _disc(picture, wheel + (hand - back) * 0.07, 0.035 * scale, (40, 40, 42))


def _limb(picture, a, b, ra: float, rb: float, colour, light: int) -> None:
    """A tapered capsule from `a` (radius `ra`) to `b` (radius `rb`), brighter on the side that the light hits."""
    line = b - a
    length = float(np.hypot(*line))
    across = np.array([-line[1], line[0]]) / length if length > 1e-3 else np.array([1.0, 0.0])
    _disc(picture, a, ra, colour)
    _disc(picture, b, rb, colour)
    _polygon(picture, [a + across * ra, b + across * rb, b - across * rb, a - across * ra], colour)
    if light and ra > 1.5:
        if across[0] * light < 0:
            across = -across
        bright = tuple(min(255.0, c * 1.16 + 6) for c in colour)
        _polygon(picture, [a + across * ra * 0.9, b + across * rb * 0.9, b + across * rb * 0.35, a + across * ra * 0.35], bright)


def _polygon(picture, points, colour) -> None:
    cv2.fillConvexPoly(picture, np.rint(np.array(points) * FINE).astype(np.int32), colour, cv2.LINE_AA, SHIFT)


def _disc(picture, centre, radius: float, colour) -> None:
    cv2.circle(picture, (round(centre[0] * FINE), round(centre[1] * FINE)), round(max(0.3, radius) * FINE), colour, -1, cv2.LINE_AA, SHIFT)


def _ellipse(picture, centre, axes, angle: float, colour) -> None:
    cv2.ellipse(picture, (round(centre[0] * FINE), round(centre[1] * FINE)), (round(axes[0] * FINE), round(axes[1] * FINE)),
                angle, 0, 360, colour, -1, cv2.LINE_AA, SHIFT)


def _shaded(colour, factor: float) -> tuple:
    return tuple(float(c) * factor for c in colour)


def _rgb(values) -> tuple:
    return tuple(float(v) for v in np.clip(values, 5, 250))


def _cloth(rng) -> tuple:
    value = rng.uniform(20, 235)
    return _rgb(value + rng.normal(0, 38, 3))
