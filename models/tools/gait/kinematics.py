"""A walking skeleton. In: a Gait, a Body, times. Out: joint positions in metres.

Axes: x forwards, y to the walker's left, z up; the floor is z = 0. Segment lengths are parts of the height (Drillis and Contini, 1966,
as in Winter's book). Joint curves are a few smooth bumps that follow Perry and Burnfield's; the pelvis is as high as the lower foot
allows.
"""

from dataclasses import dataclass

import numpy as np

from gait.gaits import Gait

THIGH, SHANK, FOOT, ANKLE = 0.245, 0.246, 0.152, 0.039
TRUNK, NECK, HEAD = 0.288, 0.052, 0.13
UPPER_ARM, FOREARM, HAND = 0.186, 0.146, 0.07
HIPS, SHOULDERS = 0.095, 0.115

# Foot against the floor over the cycle: toes up at contact, flat, heel off, toes trailing.
FOOT_AT = (0.0, 0.12, 0.40, 0.50, 0.62, 0.75, 0.86, 0.95, 1.0)
FOOT_PITCH = (18, 0, 0, -15, -50, -25, 0, 18, 18)
STANCE = 0.62


@dataclass(frozen=True)
class Body:
    """`height_m`; `girth`: thickness of limbs and trunk, 1 for a lean adult."""

    height_m: float
    girth: float


def joints(gait: Gait, body: Body, rng: np.random.Generator, times: np.ndarray) -> dict[str, np.ndarray]:
    """Joint name -> `[T, 3]`. Names of limbs end in 0 (left) or 1 (right). `rng` draws start, freezing and small variation."""
    h = body.height_m
    stride = max(0.2, gait.stride_m) * h / 1.72
    phase = _phase(gait, rng, times)
    x = (phase - phase[0]) * stride
    legs = [_leg(gait, side, phase + 0.5 * side, stride, h) for side in (0, 1)]
    swayed = np.radians(_sway(gait, phase))

    lowest = np.minimum(*[np.minimum(leg["heel"][:, 2], leg["toe"][:, 2]) for leg in legs])
    height = -lowest - max(0.0, abs(gait.dip)) * _over(gait, phase)
    found = {}
    for side, leg in enumerate(legs):
        shift = np.stack([x, np.full_like(x, (1 - 2 * side) * HIPS * h), height], axis=1)
        for name, at in leg.items():
            found[f"{name}{side}"] = at + shift
            found[f"{name}{side}"][:, 2] = np.maximum(found[f"{name}{side}"][:, 2], 0.0)
    pelvis = np.stack([x, np.zeros_like(x), height], axis=1)
    found |= _upper(gait, body, pelvis, swayed, phase)
    return found


def _phase(gait: Gait, rng, times) -> np.ndarray:
    """Cycles walked at each time; freezing stops them, hastening adds to them."""
    fine = np.linspace(0, times[-1], 400)
    rate = np.full_like(fine, gait.cadence / 120) * (1 + gait.hastening * fine)
    rate *= 1 + 0.04 * np.interp(fine, np.linspace(0, times[-1], 6), rng.standard_normal(6))
    if gait.freezes:
        start = rng.uniform(0.1, 0.6) * times[-1]
        frozen = (fine > start) & (fine < start + rng.uniform(0.5, 1.3))
        rate[frozen] *= 0.05
    walked = np.concatenate([[0], np.cumsum((rate[1:] + rate[:-1]) / 2 * np.diff(fine))])
    phase = rng.uniform() + np.interp(times, fine, walked)
    if gait.freezes:
        # Knees tremble while the feet stick.
        shaking = np.interp(times, fine, frozen.astype(float))
        phase = phase + 0.03 * shaking * np.sin(2 * np.pi * 5 * times)
    return phase


def _curve_phase(gait: Gait, side: int, phase) -> np.ndarray:
    """Phase of the joint curves: a side with a short stance goes through that part of the curves faster."""
    p, stance = np.mod(phase, 1), gait.stance[side]
    return np.where(p < stance, p / stance * STANCE, STANCE + (p - stance) / (1 - stance) * (1 - STANCE))


def _leg(gait: Gait, side: int, phase, stride: float, h: float) -> dict[str, np.ndarray]:
    """Positions relative to the hip joint."""
    p = _curve_phase(gait, side, phase)
    reach = np.arcsin(np.clip(stride / (4 * (THIGH + SHANK) * h), 0, 0.85))
    in_swing = _bump(p, 0.78, 0.13)
    rest = gait.knee_rest[side]
    knee = rest + gait.knee_stance[side] * _bump(p, 0.14, 0.07) + max(0.0, gait.knee_swing[side] - rest) * _bump(p, 0.73, 0.115)
    hip = np.degrees(reach) * np.cos(2 * np.pi * (p + 0.05)) + 5 + rest / 2 + gait.hip_bias[side] * in_swing
    foot = np.interp(p, FOOT_AT, FOOT_PITCH) * gait.foot * min(1.0, stride / 1.2) - gait.foot_drop[side] * np.maximum(in_swing, 0.3)
    out = np.radians(gait.circumduction[side]) * in_swing * (1 - 2 * side)

    hip, knee, foot = np.radians(hip), np.radians(knee), np.radians(foot)
    knee_at = THIGH * h * _down(hip)
    ankle = knee_at + SHANK * h * _down(hip - knee)
    heel = ankle + h * (ANKLE * _down(foot) - 0.04 * _forward(foot))
    toe = heel + FOOT * h * _forward(foot)
    found = {"hip": np.zeros_like(ankle), "knee": knee_at, "ankle": ankle, "heel": heel, "toe": toe}
    # Swinging outwards turns the whole leg about the walking direction.
    return {name: np.stack([a[:, 0], -a[:, 2] * np.sin(out), a[:, 2] * np.cos(out)], axis=1) for name, a in found.items()}


def _upper(gait: Gait, body: Body, pelvis, swayed, phase) -> dict[str, np.ndarray]:
    h = body.height_m
    lean = np.radians(gait.lean + 1.5 * np.cos(4 * np.pi * phase))
    stoop = lean + np.radians(gait.stoop)
    up = lambda angle: np.stack([np.sin(angle), -np.sin(swayed) * np.cos(angle), np.cos(swayed) * np.cos(angle)], axis=1)
    waist = pelvis + 0.55 * TRUNK * h * up(lean)
    chest = waist + 0.45 * TRUNK * h * up(stoop)
    head_angle = lean + np.radians(1.3 * gait.stoop)
    neck = chest + NECK * h * up(head_angle)
    head = neck + HEAD / 2 * h * up(lean + np.radians(0.8 * gait.stoop))
    found = {"pelvis": pelvis, "waist": waist, "chest": chest, "neck": neck, "head": head}
    for side in (0, 1):
        turn = np.radians(0.25 * gait.arm_swing[side]) * np.cos(2 * np.pi * (phase + 0.5 + 0.5 * side))
        out = (1 - 2 * side) * SHOULDERS * h * (0.75 + 0.25 * body.girth)
        shoulder = chest + np.stack([out * np.sin(turn) * (1 - 2 * side), out * np.cos(turn), np.sin(swayed) * out], axis=1)
        # The arm goes with the other leg, and hangs from a leaning trunk.
        swing = gait.arm_swing[side] * np.cos(2 * np.pi * (phase + 0.5 + 0.5 * side)) - 2
        bent = gait.elbow[side] + 0.45 * np.maximum(0, swing)
        shoulder_angle = np.radians(swing - 0.15 * (gait.elbow[side] - 18) + 0.2 * gait.stoop)
        elbow, hand = _arm(h, shoulder, shoulder_angle, np.radians(bent))
        if gait.aid and (gait.aid != "cane" or gait.aid_side == side):
            elbow, hand = _holding(gait, h, pelvis, shoulder, side, phase)
        found |= {f"shoulder{side}": shoulder, f"elbow{side}": elbow, f"hand{side}": hand}
    return found


def _arm(h: float, shoulder, angle, bent) -> tuple:
    elbow = shoulder + UPPER_ARM * h * _down(angle)
    return elbow, elbow + (FOREARM + HAND / 2) * h * _down(angle + bent)


def _holding(gait: Gait, h: float, pelvis, shoulder, side: int, phase) -> tuple:
    """Elbow and hand of an arm that rests on an aid."""
    ahead = {"cane": 0.17, "crutches": 0.12, "frame": 0.24, "rollator": 0.20}[gait.aid] * h
    if gait.aid in ("cane", "crutches"):
        ahead = ahead + 0.06 * h * np.cos(2 * np.pi * (phase + 0.5 * (1 - side)))
    hand = np.stack([pelvis[:, 0] + ahead, pelvis[:, 1] + (1 - 2 * side) * 0.13 * h, np.full(len(pelvis), 0.475 * h)], axis=1)
    # Two segments of fixed length between shoulder and hand, the elbow behind their line.
    line = hand - shoulder
    length = np.linalg.norm(line, axis=1, keepdims=True)
    upper, lower = UPPER_ARM * h, (FOREARM + HAND / 2) * h
    length = np.clip(length, 1e-3, (upper + lower) * 0.999)
    along = (upper ** 2 - lower ** 2 + length ** 2) / (2 * length)
    aside = np.sqrt(np.maximum(0, upper ** 2 - along ** 2))
    line = line / np.linalg.norm(line, axis=1, keepdims=True)
    back = np.stack([line[:, 2], np.zeros(len(line)), -line[:, 0]], axis=1)
    back *= np.where(back[:, :1] > 0, -1, 1)
    elbow = shoulder + along * line + aside * back
    return elbow, shoulder + line * length


def _sway(gait: Gait, phase) -> np.ndarray:
    """Sideways lean of the trunk, positive to the left."""
    left, right = (_bump(np.mod(phase + 0.5 * side, 1), 0.3, 0.18) for side in (0, 1))
    return gait.sway[0] * left - gait.sway[1] * right


def _over(gait: Gait, phase) -> np.ndarray:
    return _bump(np.mod(phase + (0.5 if gait.dip > 0 else 0), 1), 0.3, 0.16)


def _bump(p, centre: float, width: float) -> np.ndarray:
    """A periodic bell of height 1 over the cycle."""
    away = np.mod(p - centre + 0.5, 1) - 0.5
    return np.exp(-((away / width) ** 2))


def _down(angle) -> np.ndarray:
    """Unit vector that hangs down at 0 and points forwards at 90 degrees."""
    return np.stack([np.sin(angle), np.zeros_like(angle), -np.cos(angle)], axis=1)


def _forward(angle) -> np.ndarray:
    """Unit vector that points forwards at 0 and up at 90 degrees."""
    return np.stack([np.cos(angle), np.zeros_like(angle), np.sin(angle)], axis=1)
