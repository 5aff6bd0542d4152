"""The student network, f32. In: normalised clips and condition embeddings. Out: logits of the nine classes.

State-dict names and shapes are those of the service that this replaces: `visual_encoder.{0,1,4,5,8,9}`, `clinical_proj`,
`classifier.{0,3}`.
"""

import torch
from torch import nn

FRAMES, SIZE, CONDITION, CELLS = 16, 224, 768, 7
CHANNELS = (16, 32, 64)
PROJECTED, HIDDEN = 128, 256

# Per channel R, G, B on a 0..=1 scale: ImageNet's, as the service has them.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Student(nn.Module):
    """`clip [N, 3, 16, S, S]`, `condition [N, 768]` -> `[N, 9]`. S is 224 when deployed; any S from 56 trains the same weights."""

    def __init__(self, classes: int = 9, dropout: float = 0.5):
        super().__init__()
        layers, narrow = [], 3
        for wide in CHANNELS:
            layers += [nn.Conv3d(narrow, wide, 3, padding=1), nn.BatchNorm3d(wide), nn.ReLU(), nn.MaxPool3d((1, 2, 2))]
            narrow = wide
        self.visual_encoder = nn.Sequential(*layers)
        self.clinical_proj = nn.Linear(CONDITION, PROJECTED)
        self.classifier = nn.Sequential(
            nn.Linear(CHANNELS[-1] * FRAMES * CELLS * CELLS + PROJECTED, HIDDEN), nn.ReLU(), nn.Dropout(dropout), nn.Linear(HIDDEN, classes))

    def features(self, clip: torch.Tensor) -> torch.Tensor:
        """What the head reads of a clip, `[N, 50176]`, in the order channel, frame, row, column."""
        maps = self.visual_encoder(clip)
        return nn.functional.adaptive_avg_pool3d(maps, (maps.shape[2], CELLS, CELLS)).flatten(1)

    def head(self, features: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Logits from `features` and the condition."""
        return self.classifier(torch.cat([features, self.clinical_proj(condition)], dim=1))

    def forward(self, clip: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(clip), condition)


def normalise(clips: torch.Tensor) -> torch.Tensor:
    """`[N, T, S, S, 3] u8` RGB -> `[N, 3, T, S, S] f32`."""
    mean, std = (torch.tensor(v, device=clips.device).view(1, 3, 1, 1, 1) for v in (MEAN, STD))
    return (clips.permute(0, 4, 1, 2, 3).float() / 255 - mean) / std
