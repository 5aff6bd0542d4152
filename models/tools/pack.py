"""Prunes the recogniser's head to a language pack. In: clean Graph and the source's characters. Out: fewer classes.

The source's classes: 0 the CTC blank, i + 1 the i-th line of its `character` metadata, the last one space. A pack keeps
the blank first; which characters it keeps is decided here and nowhere else.
"""

import unicodedata

import numpy as np
import onnx

from graph import Graph

# Single characters beside letters, digits and ASCII. Those that the source does not know are left out.
PUNCTUATION = "¡¿«»‹›„“”‚‘’–—―‖…•·†‡§¶ªº′″‥※"
SIGNS = "©®™°±×÷¬µ¹²³¼½¾⁰⁴⁵⁶⁷⁸⁹⁺⁻₀₁₂₃₄₅₆₇₈₉‰¦¨¯´¸¤℃℉№"
MATHEMATICS = "−∙√∞∂∆∏∑∫∈∅∇∧∨∩∪≈≠≡≤≥←↑→↓↔⇒⇔⋅"
MARKS = "■□●○◆◊▲△▼▽★☆✓✔✗✘☐☑♀♂♪♭♯♠♣♥♦"
EXTRA = frozenset(PUNCTUATION + SIGNS + MATHEMATICS + MARKS)

# Classes that training never showed all decayed to one column (weights and bias): 4,398 of them lie within 0.005 of it.
# Up to this distance a class still looks like its neighbours and cannot win; beyond 0.1 lies what is read in practice.
UNTRAINED_RADIUS = 0.05


def source_characters(path) -> list[str]:
    """Characters of classes 1.. of the source recogniser, the final space included."""
    metadata = {p.key: p.value for p in onnx.load(path, load_external_data=False).metadata_props}
    return [*metadata["character"].split("\n"), " "]


def wanted(character: str) -> bool:
    """Whether the `latin` pack wants a character, if the source can tell it apart."""
    if len(character) != 1:
        return False
    if "\x20" <= character <= "\x7e" or character in EXTRA:
        return True
    name = unicodedata.name(character, "")
    kind = unicodedata.category(character)
    letter = kind in ("Ll", "Lu", "Lt") and name.startswith(("LATIN ", "GREEK "))
    # Above the Letterlike Symbols there are only full-width doubles of signs that are kept anyway.
    return letter or (kind == "Sc" and character < "\u2100")


def trained(weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Which of the classes were ever seen in training: `weight` `[K, classes]`, `bias` `[classes]` -> bool `[classes]`.

    The column that the others decayed to is found as the median of the twentieth with the smallest norms.
    """
    columns = np.vstack([weight, bias])
    norms = np.linalg.norm(columns, axis=0)
    decayed = np.median(columns[:, norms < np.quantile(norms, 0.05)], axis=1)
    return np.linalg.norm(columns - decayed[:, None], axis=0) > UNTRAINED_RADIUS


def latin(graph: Graph, characters: list[str]) -> list[str]:
    """Keeps the classes of the `latin` pack in the last MatMul and Add; returns the characters of classes 1.. ."""
    head = next(n for n in reversed(graph.nodes) if n.op_type == "MatMul")
    (add,) = graph.consumers()[head.output[0]]
    weight, bias = graph.weights[head.input[1]], graph.weights[add.input[1]]
    if weight.shape[1] != len(characters) + 1:
        raise ValueError(f"{weight.shape[1]} classes, expected {len(characters)} characters and a blank")
    seen = trained(weight, bias)
    kept = [i for i, c in enumerate(characters, start=1) if wanted(c) and seen[i]]
    columns = [0, *kept]
    graph.weights[head.input[1]] = weight[:, columns]
    graph.weights[add.input[1]] = bias[columns]
    (output,) = graph.outputs
    graph.outputs[output][-1] = len(columns)
    return [characters[i - 1] for i in kept]
