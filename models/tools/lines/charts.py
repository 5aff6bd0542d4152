"""Pictures for the card. In: a run's record, a table of confidences. Out: PNG files."""

from pathlib import Path

import cv2
import numpy as np

INK, FAINT = (40, 40, 40), (210, 210, 210)
COLOURS = ((180, 90, 30), (40, 120, 40), (40, 40, 190))
FONT, SMALL = cv2.FONT_HERSHEY_SIMPLEX, 0.42
WIDE, HIGH, EDGE = 460, 240, 52


def curves(path: Path, record: dict) -> None:
    """Two panels over lines seen: the loss per character, the error rates on held-out faces; both on a logarithmic scale."""
    checks = record["checks"]
    names = [n for n in ("test-clean", "test-scan") if any(n in c for c in checks)]
    loss = _panel("loss per character", {"train": record["loss"]})
    rates = _panel("character error rate, held-out faces", {n: [[c["lines"], c[n]] for c in checks if n in c] for n in names})
    cv2.imwrite(str(path), np.hstack([loss, rates]))


def reliability(path: Path, bins: list[tuple[float, float, int]], error: float) -> None:
    """`bins`: mean confidence, share of right characters, characters. `error`: the expected calibration error."""
    panel = np.full((HIGH + 2 * EDGE, HIGH + 2 * EDGE + 120, 3), 255, np.uint8)
    cv2.rectangle(panel, (EDGE, EDGE), (EDGE + HIGH, EDGE + HIGH), FAINT, 1)
    cv2.line(panel, (EDGE, EDGE + HIGH), (EDGE + HIGH, EDGE), FAINT, 1, cv2.LINE_AA)
    cv2.putText(panel, f"right over confidence, expected error {error:.3f}", (EDGE - 40, EDGE - 16), FONT, 0.5, INK, 1, cv2.LINE_AA)
    points = np.array([[EDGE + HIGH * c, EDGE + HIGH * (1 - r)] for c, r, _ in bins], np.int32)
    cv2.polylines(panel, [points], False, COLOURS[0], 2, cv2.LINE_AA)
    most = max(n for _, _, n in bins)
    for (x, y), (_, _, n) in zip(points, bins):
        cv2.circle(panel, (int(x), int(y)), 2 + round(5 * (n / most) ** 0.5), COLOURS[0], -1, cv2.LINE_AA)
    for value in (0, 0.5, 1):
        at = int(HIGH * value)
        cv2.putText(panel, f"{value:g}", (EDGE + at - 8, EDGE + HIGH + 20), FONT, SMALL, INK, 1, cv2.LINE_AA)
        cv2.putText(panel, f"{value:g}", (EDGE - 30, EDGE + HIGH - at + 4), FONT, SMALL, INK, 1, cv2.LINE_AA)
    cv2.imwrite(str(path), panel)


def _panel(title: str, series: dict[str, list]) -> np.ndarray:
    panel = np.full((HIGH + 2 * EDGE, WIDE + 2 * EDGE, 3), 255, np.uint8)
    cv2.rectangle(panel, (EDGE, EDGE), (EDGE + WIDE, EDGE + HIGH), FAINT, 1)
    cv2.putText(panel, title, (EDGE, EDGE - 16), FONT, 0.5, INK, 1, cv2.LINE_AA)
    every = [point for points in series.values() for point in points]
    if not every:
        return panel
    last = max(x for x, _ in every)
    low, high = (np.log10(max(1e-4, f(y for _, y in every))) for f in (min, max))
    low, high = np.floor(low), max(np.ceil(high), np.floor(low) + 1)
    for power in range(int(low), int(high) + 1):
        y = round(EDGE + HIGH * (high - power) / (high - low))
        cv2.line(panel, (EDGE, y), (EDGE + WIDE, y), FAINT, 1)
        cv2.putText(panel, f"{10.0 ** power:g}", (6, y + 4), FONT, SMALL, INK, 1, cv2.LINE_AA)
    cv2.putText(panel, f"{last} lines seen", (EDGE + WIDE - 150, EDGE + HIGH + 20), FONT, SMALL, INK, 1, cv2.LINE_AA)
    for i, (name, points) in enumerate(series.items()):
        if not points:
            continue
        drawn = [[EDGE + WIDE * x / last, EDGE + HIGH * (high - np.log10(max(1e-4, y))) / (high - low)] for x, y in points]
        cv2.polylines(panel, [np.array(drawn, np.int32)], False, COLOURS[i], 2, cv2.LINE_AA)
        cv2.putText(panel, f"{name}: ends at {points[-1][1]:.3g}", (EDGE + 8 + 200 * i, EDGE + HIGH + 40), FONT, SMALL, COLOURS[i], 1, cv2.LINE_AA)
    return panel
