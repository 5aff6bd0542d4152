"""How good a model is, and how far int8 is from f32. In: graphs, the condition table. Out: figures.

Everything runs in onnxruntime, each clip with a condition drawn from the table. Where the weights are random the logits hardly
differ from clip to clip and one class may win everywhere, so that winners that agree show little; the report also takes each
class's mean over the clips off the logits and compares who wins then, and says how large the error is beside what clips change.
"""

import time

import numpy as np

import calibrate
from gait import walkers
from gait.gaits import CLASSES
from gait.network import MEAN, STD
from graph import Graph

SEED = 5


def inputs(frames: np.ndarray, condition: np.ndarray) -> dict:
    """`[16, 224, 224, 3] u8` RGB and `[768]` -> the network's inputs."""
    x = (frames.astype(np.float32) / 255 - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return {"clip": np.ascontiguousarray(x.transpose(3, 0, 1, 2)[None]), "condition": condition[None].astype(np.float32)}


class Answers:
    """Logits of several graphs for the same clips. `logits[i]`: `[clips, 9]` of graph i; `labels [clips]`; `seconds[i]`."""

    def __init__(self, graphs: list[Graph], table: np.ndarray, split: str, count: int):
        runners, self.seconds = [calibrate.session(g) for g in graphs], [0.0] * len(graphs)
        chooser, logits, labels = np.random.default_rng(SEED), [[] for _ in graphs], []
        for index in range(count):
            drawn = walkers.clip(split, index)
            feed = inputs(drawn.frames, table[chooser.integers(len(table))])
            labels.append(drawn.label)
            for i, runner in enumerate(runners):
                start = time.perf_counter()
                logits[i].append(runner.run(None, feed)[0][0])
                self.seconds[i] += time.perf_counter() - start
            if index % 50 == 49:
                right = [round(float((np.array(l).argmax(1) == labels).mean()), 3) for l in logits]
                print(f"{split}: {index + 1} of {count} clips, right {right}", flush=True)
        self.logits, self.labels = [np.array(l) for l in logits], np.array(labels)


def agreement(whole: np.ndarray, small: np.ndarray) -> dict:
    """int8 against f32; both logits are `[clips, classes]`."""
    p, q = softmax(whole), softmax(small)
    centred, centred_small = whole - whole.mean(axis=0), small - small.mean(axis=0)
    ordered = np.sort(whole, axis=1)
    return {
        "clips": len(whole),
        "agreement": round(float((whole.argmax(1) == small.argmax(1)).mean()), 4),
        "agreement_centred": round(float((centred.argmax(1) == centred_small.argmax(1)).mean()), 4),
        "probability_difference_mean": float(f"{np.abs(p - q).mean():.2g}"),
        "probability_difference_worst": float(f"{np.abs(p - q).max():.2g}"),
        "logit_error_to_spread": round(float((small - whole).std() / centred.std()), 4),
        "margin_median": float(f"{np.median(ordered[:, -1] - ordered[:, -2]):.2g}"),
        "classes_won_f32": {CLASSES[i]: int(n) for i, n in enumerate(np.bincount(whole.argmax(1), minlength=len(CLASSES))) if n},
    }


def accuracy(logits: np.ndarray, labels: np.ndarray) -> dict:
    """Share of clips that are right, also per class, and the confusion matrix: rows are true classes, columns what was said."""
    said = logits.argmax(1)
    confusion = np.zeros((len(CLASSES), len(CLASSES)), int)
    np.add.at(confusion, (labels, said), 1)
    family = np.array([0, 1, 1, 1, 2, 2, 2, 3, 4])
    return {
        "accuracy": round(float((said == labels).mean()), 4),
        "accuracy_of_condition": round(float((family[said] == family[labels]).mean()), 4),
        "accuracy_within_one_grade": round(float(_near(said, labels).mean()), 4),
        "per_class": {name: round(float(confusion[i, i] / max(1, confusion[i].sum())), 3) for i, name in enumerate(CLASSES)},
        "confusion": confusion.tolist(),
    }


def _near(said, labels) -> np.ndarray:
    """Right, or the next grade of the same condition, where Normal is grade 0 of both."""
    grade = {0: (None, 0), 1: ("k", 1), 2: ("k", 2), 3: ("k", 3), 4: ("p", 1), 5: ("p", 2), 6: ("p", 3), 7: ("a", 0), 8: ("n", 0)}
    def close(a, b):
        (fa, ga), (fb, gb) = grade[a], grade[b]
        if a == b:
            return True
        return abs(ga - gb) == 1 and (fa == fb or (0 in (a, b) and {fa, fb} & {"k", "p"} and not {fa, fb} & {"a", "n"}))
    return np.array([bool(close(int(a), int(b))) for a, b in zip(said, labels)])


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
