"""How each class walks. In: a random generator and a class. Out: one person's Gait, in degrees, metres and cycle fractions.

Severity is a continuous number: 0 is a normal gait, 1, 2, 3 are the centres of early, mild and severe. A person's severity scatters
around the class's centre by SEVERITY_SD, and every parameter scatters again, so that neighbouring classes overlap.

The tables are rounded readings of the published trends below, not a fit to anybody's data:

    stride, cadence, knee and hip curves of healthy adults    Perry and Burnfield, Gait Analysis, 2nd ed., 2010;
                                                              Winter, Biomechanics and Motor Control of Human Gait, 2nd ed., 1991
    knee osteoarthritis: slower, shorter strides, a stiffer   Astephen et al., J Orthop Res 26:332, 2008;
      knee in stance and swing, unloading of the bad side     Muendermann et al., Arthritis Rheum 52:2835, 2005;
                                                              Mills et al., Arthritis Care Res 65:1643, 2013
    trunk leaning over the bad knee                           Hunt et al., Osteoarthritis Cartilage 16:591, 2008
    Parkinson: short strides at a normal or quick cadence     Morris et al., Brain 117:1169, 1994
    Parkinson: small and uneven arm swing from early on       Lewek et al., Gait Posture 31:256, 2010
    Parkinson: stoop, bent elbows and knees                   Doherty et al., Lancet Neurol 10:538, 2011
    Parkinson: freezing and hastening                         Giladi and Nieuwboer, Mov Disord 23 (S2):S423, 2008
    hemiparesis: stiff knee, leg swung outwards, bent arm     Olney and Richards, Gait Posture 4:136, 1996
    canes, crutches, frames: slow gait, load on the aid       Bateni and Maki, Arch Phys Med Rehabil 86:134, 2005
"""

from dataclasses import dataclass, replace

import numpy as np

CLASSES = ("Normal", "KOA_Early", "KOA_Mild", "KOA_Severe", "PD_Early", "PD_Mild", "PD_Severe",
           "Disabled_Assistive", "Disabled_NonAssistive")

# Centres are 1 apart, so 2.4 deviations lie between a centre and the border to the next class.
SEVERITY_SD = 0.21
# Scatter of each parameter among people of one severity, as a part of the distance that the table spans.
PERSON_SD = 0.06


@dataclass(frozen=True)
class Gait:
    """One person's way of walking. Pairs are (left, right)."""

    stride_m: float                             # for a height of 1.72 m
    cadence: float                              # steps a minute
    knee_swing: tuple = (61.0, 61.0)            # peak flexion in swing
    knee_stance: tuple = (17.0, 17.0)           # peak flexion under load
    knee_rest: tuple = (3.0, 3.0)               # never straighter than this
    stance: tuple = (0.62, 0.62)                # part of the cycle on the ground
    arm_swing: tuple = (24.0, 24.0)             # amplitude at the shoulder
    elbow: tuple = (18.0, 18.0)
    lean: float = 3.0                           # trunk, forwards
    stoop: float = 0.0                          # shoulders and head, forwards beyond the trunk
    sway: tuple = (1.0, 1.0)                    # trunk, sideways over the standing leg
    circumduction: tuple = (0.0, 0.0)           # outward swing of the leg
    foot_drop: tuple = (0.0, 0.0)               # toes hanging in swing
    foot: float = 1.0                           # how much the foot rolls; near 0 it shuffles
    hip_bias: tuple = (0.0, 0.0)
    dip: float = 0.0                            # metres that the pelvis sinks over the right leg
    freezes: bool = False
    hastening: float = 0.0                      # growth of the cadence a second
    aid: str | None = None                      # "cane", "crutches", "frame", "rollator"
    aid_side: int = 0                           # hand that holds a cane: 0 left, 1 right


# Rows: parameter; columns: severity 0, 1, 2, 3. "bad" is the affected side, "good" the other.
KOA = {
    "stride": (1.40, 1.24, 1.06, 0.80), "cadence": (113, 108, 101, 88),
    "swing_bad": (61, 53, 43, 31), "swing_good": (61, 59, 56, 52), "load_bad": (17, 12, 8, 3), "load_good": (17, 16, 14, 12),
    "rest_bad": (3, 4, 7, 12), "uneven": (0.0, 0.03, 0.07, 0.12), "sway_bad": (1, 4, 8, 13), "lean": (3, 4, 6, 9),
    "arm": (24, 22, 19, 15),
}
PD = {
    "stride": (1.40, 1.16, 0.86, 0.50), "cadence": (113, 114, 116, 121), "swing": (61, 57, 50, 40), "rest": (3, 7, 13, 21),
    "arm_bad": (24, 12, 5, 1), "arm_good": (24, 19, 11, 4), "elbow_bad": (18, 34, 54, 75), "elbow_good": (18, 26, 42, 65),
    "lean": (3, 8, 15, 24), "stoop": (0, 7, 15, 26), "foot": (1.0, 0.8, 0.5, 0.2),
}


def draw(rng: np.random.Generator, label: int) -> Gait:
    """A person of class `label`, an index of CLASSES."""
    name = CLASSES[label]
    if name.startswith("Disabled"):
        gait = _impaired(rng, milder=name == "Disabled_Assistive")
        return _with_aid(rng, gait) if name == "Disabled_Assistive" else gait
    centre = {"Early": 1, "Mild": 2, "Severe": 3}.get(name.split("_")[-1], 0)
    severity = float(np.clip(rng.normal(centre, SEVERITY_SD), 0, 3.4))
    # A normal gait may lie a little towards either condition.
    family = name.split("_")[0] if centre else ("KOA", "PD")[rng.integers(2)]
    return (_koa if family == "KOA" else _pd)(rng, severity)


def _koa(rng, severity: float) -> Gait:
    at, bad = _reader(rng, KOA, severity), int(rng.integers(2))
    uneven = max(0.0, at("uneven"))
    return Gait(
        stride_m=at("stride"), cadence=at("cadence"), lean=at("lean"), arm_swing=(at("arm"), at("arm")),
        knee_swing=_sides(bad, at("swing_bad"), at("swing_good")), knee_stance=_sides(bad, at("load_bad"), at("load_good")),
        knee_rest=_sides(bad, at("rest_bad"), 3.0), stance=_sides(bad, 0.62 - uneven, 0.62 + uneven / 2),
        sway=_sides(bad, at("sway_bad"), 1.0), elbow=(18 + rng.normal(0, 5),) * 2)


def _pd(rng, severity: float) -> Gait:
    at, bad = _reader(rng, PD, severity), int(rng.integers(2))
    rest, swing = at("rest"), at("swing")
    return Gait(
        stride_m=at("stride"), cadence=at("cadence"), lean=at("lean"), stoop=at("stoop"), foot=float(np.clip(at("foot"), 0, 1.1)),
        knee_swing=(swing, swing), knee_stance=(17 - rest / 3, 17 - rest / 3), knee_rest=(rest, rest),
        arm_swing=_sides(bad, max(0, at("arm_bad")), max(0, at("arm_good"))), elbow=_sides(bad, at("elbow_bad"), at("elbow_good")),
        freezes=bool(severity > 1.6 and rng.random() < 0.4 * (severity - 1.6)),
        hastening=float(max(0.0, rng.normal(0, 0.06))) if severity > 1.5 else 0.0)


def _impaired(rng, milder: bool) -> Gait:
    """One of four patterns. `milder`: as of somebody whom an aid helps."""
    bad, part = int(rng.integers(2)), rng.uniform(0.45, 0.8) if milder else rng.uniform(0.8, 1.15)
    gait = Gait(stride_m=rng.normal(0.82, 0.1), cadence=rng.normal(86, 8), lean=rng.normal(6, 3))
    kind = rng.integers(4)
    if kind == 0:  # hemiparesis
        return replace(
            gait, knee_swing=_sides(bad, 61 - 42 * part, 58), knee_stance=_sides(bad, 6, 17), circumduction=_sides(bad, 17 * part, 0),
            arm_swing=_sides(bad, 3, 20), elbow=_sides(bad, 18 + 70 * part, 18), stance=_sides(bad, 0.62 - 0.11 * part, 0.68),
            foot_drop=_sides(bad, 14 * part, 0), sway=_sides(1 - bad, 9 * part, 2))
    if kind == 1:  # foot drop, lifted over the ground
        return replace(
            gait, knee_swing=_sides(bad, 61 + 30 * part, 60), hip_bias=_sides(bad, 14 * part, 0), foot_drop=_sides(bad, 42 * part, 0),
            stance=_sides(bad, 0.59, 0.65), arm_swing=(18, 18))
    if kind == 2:  # one leg shorter: the body sinks over it
        return replace(
            gait, dip=float(0.10 * part * (1 if bad else -1)), sway=_sides(bad, 15 * part, 3), stance=_sides(bad, 0.62 - 0.09 * part, 0.66),
            arm_swing=(17, 17), knee_swing=_sides(bad, 45, 62))
    # spastic: bent knees, on the toes, trunk from side to side
    rest = 18 + 18 * part
    return replace(
        gait, knee_rest=(rest, rest), knee_swing=(58, 58), knee_stance=(5, 5), foot_drop=(24 * part, 24 * part), sway=(12 * part, 12 * part),
        arm_swing=(26, 26), elbow=(60 * part, 60 * part), hip_bias=(10, 10))


def _with_aid(rng, gait: Gait) -> Gait:
    aid = str(rng.choice(["cane", "crutches", "frame", "rollator"], p=[0.4, 0.2, 0.25, 0.15]))
    slower = {"cane": 1.0, "crutches": 1.0, "frame": 0.7, "rollator": 0.9}[aid]
    bad = int(gait.stance[1] < gait.stance[0])
    lean = gait.lean + {"cane": 2, "crutches": 6, "frame": 14, "rollator": 12}[aid]
    return replace(gait, aid=aid, aid_side=1 - bad, stride_m=gait.stride_m * slower, cadence=gait.cadence * (0.8 + 0.2 * slower), lean=lean)


def _reader(rng, table: dict, severity: float):
    """Parameter name -> value at this severity, with the person's scatter."""
    def at(name):
        row = np.array(table[name], float)
        value = np.interp(severity, range(4), row) + max(0.0, severity - 3) * (row[3] - row[2])
        return float(value + rng.normal(0, PERSON_SD) * np.abs(row[3] - row[0]))
    return at


def _sides(bad: int, affected: float, other: float) -> tuple:
    return (other, affected) if bad else (affected, other)
