"""Two pictures for the card. In: numbers. Out: PNG files."""

from pathlib import Path

import cv2
import numpy as np

INK, FAINT = (40, 40, 40), (210, 210, 210)
COLOURS = ((180, 90, 30), (40, 120, 40), (40, 40, 190))
FONT, SMALL = cv2.FONT_HERSHEY_SIMPLEX, 0.42


def confusion(path: Path, counts: np.ndarray, names) -> None:
    """Rows are true classes, columns answers; each cell holds its count and is darker the larger its part of the row."""
    cell, left, top = 52, 190, 40
    wide = left + cell * len(names) + 10
    picture = np.full((top + cell * len(names) + 10, wide, 3), 255, np.uint8)
    cv2.putText(picture, "true class, and answers in the same order:", (6, 24), FONT, 0.5, INK, 1, cv2.LINE_AA)
    for r, name in enumerate(names):
        y = top + r * cell
        cv2.putText(picture, name, (6, y + 31), FONT, SMALL, INK, 1, cv2.LINE_AA)
        for c in range(len(names)):
            x, part = left + c * cell, counts[r, c] / max(1, counts[r].sum())
            shade = int(255 - 190 * part)
            cv2.rectangle(picture, (x, y), (x + cell - 2, y + cell - 2), (255, shade, shade) if r == c else (shade, shade, 255), -1)
            if counts[r, c]:
                cv2.putText(picture, str(counts[r, c]), (x + 14, y + 31), FONT, 0.5, INK, 1, cv2.LINE_AA)
    cv2.imwrite(str(path), picture)


def curves(path: Path, logs: dict) -> None:
    """A panel for each stage of training: loss over steps and, where there is one, the share of right answers."""
    wide, high, edge = 420, 220, 44
    panels = []
    for stage, rows in logs.items():
        values = np.array(rows, float).reshape(len(rows), -1)
        panel = np.full((high + 2 * edge, wide + 2 * edge, 3), 255, np.uint8)
        cv2.rectangle(panel, (edge, edge), (edge + wide, edge + high), FAINT, 1)
        cv2.putText(panel, f"{stage}: {len(rows)} steps", (edge, edge - 14), FONT, 0.5, INK, 1, cv2.LINE_AA)
        span = max(1, len(values) // 60)
        smooth = values[:len(values) // span * span].reshape(-1, span, values.shape[1]).mean(axis=1)
        for i in range(values.shape[1]):
            highest = 1.0 if i == 1 else float(smooth[:, i].max())
            points = np.stack([edge + np.linspace(0, wide, len(smooth)), edge + high * (1 - smooth[:, i] / highest)], axis=1)
            cv2.polylines(panel, [points.astype(np.int32)], False, COLOURS[i], 2, cv2.LINE_AA)
            label = f"{'loss' if i == 0 else 'right'}, ends at {smooth[-1, i]:.3g} of {highest:.3g}"
            cv2.putText(panel, label, (edge + 8 + 205 * i, edge + high + 20), FONT, SMALL, COLOURS[i], 1, cv2.LINE_AA)
        panels.append(panel)
    cv2.imwrite(str(path), np.hstack(panels))
