"""The recognisers in PyTorch: three shapes of about one cost. In: `[N, 1, 48, W] f32`. Out: logits `[N, W / 4, classes]`.

All are convolutions with ReLU, so the engine fuses every layer. A step is four pixels wide, half of PP-OCRv6's: Devanagari has up to one code
point per six pixels at this height, and CTC needs a step for each and one between equal ones.

    dense       3x3 convolutions, few channels, one convolution a residual unit
    separable   depthwise 3x3 and pointwise, inverted residuals, squeeze-and-excitation in the lower half
    temporal    height collapsed early, then one-dimensional convolutions

    python -m lines.network      MMAC at 48x320 and parameters of each
"""

import torch
from torch import nn
from torch.nn import functional

from lines.characters import PACKS, characters
from lines.draw import HEIGHT

# Pixels of a step of the output.
STEP = 4
# The limits for a pack: at 48x320, head and all.
MOST_MMAC, MOST_PARAMETERS = 350, 2_000_000
_NORM = {"eps": 1e-5, "momentum": 0.05}


class Conv(nn.Sequential):
    """Convolution without bias, normalisation, ReLU unless it is linear."""

    def __init__(self, inner: int, outer: int, kernel=3, stride=1, groups: int = 1, linear: bool = False, pad=None):
        kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
        pad = tuple(k // 2 for k in kernel) if pad is None else pad
        layers = [nn.Conv2d(inner, outer, kernel, stride, pad, groups=groups, bias=False), nn.BatchNorm2d(outer, **_NORM)]
        super().__init__(*layers, *([] if linear else [nn.ReLU(inplace=True)]))


class Unit(nn.Module):
    """`relu(x + conv(x))`, one convolution."""

    def __init__(self, channels: int, kernel=3):
        super().__init__()
        self.conv = Conv(channels, channels, kernel, linear=True)

    def forward(self, x):
        return functional.relu(x + self.conv(x), inplace=True)


class Excite(nn.Module):
    """Squeeze-and-excitation with a hard sigmoid, over the whole line."""

    def __init__(self, channels: int):
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(channels, channels // 4, 1), nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x):
        gate = self.expand(functional.relu(self.reduce(functional.adaptive_avg_pool2d(x, 1))))
        return x * functional.hardsigmoid(gate)


class Inverted(nn.Module):
    """Pointwise up, depthwise, pointwise down; with the input added where shapes allow."""

    def __init__(self, inner: int, outer: int, factor: float, kernel=3, stride=1, excite: bool = False):
        super().__init__()
        wide = int(inner * factor)
        self.body = nn.Sequential(
            Conv(inner, wide, 1), Conv(wide, wide, kernel, stride, groups=wide), Excite(wide) if excite else nn.Identity(),
            Conv(wide, outer, 1, linear=True))
        self.added = inner == outer and stride == 1

    def forward(self, x):
        return x + self.body(x) if self.added else self.body(x)


def dense() -> tuple[nn.Sequential, int]:
    return nn.Sequential(
        Conv(1, 24, 3, 2), Conv(24, 48, 3, 2), Unit(48), Unit(48),
        Conv(48, 96, 3, (2, 1)), Unit(96),
        Conv(96, 128, 3, (2, 1)), Unit(128),
        Conv(128, 192, (3, 1), pad=(0, 0)), Unit(192, (1, 5)), Unit(192, (1, 5))), 192


def separable() -> tuple[nn.Sequential, int]:
    return nn.Sequential(
        Conv(1, 24, 3, 2), Inverted(24, 40, 4, 3, 2), Inverted(40, 40, 4), Inverted(40, 40, 4),
        Inverted(40, 80, 4, 3, (2, 1), True), Inverted(80, 80, 4, 3, 1, True), Inverted(80, 80, 4, 3, 1, True),
        Inverted(80, 128, 4, 3, (2, 1), True), Inverted(128, 128, 4, 3, 1, True),
        Conv(128, 192, (3, 1), pad=(0, 0)), Inverted(192, 192, 3, (1, 7)), Inverted(192, 192, 3, (1, 7)), nn.ReLU()), 192


def temporal() -> tuple[nn.Sequential, int]:
    return nn.Sequential(
        Conv(1, 24, 3, 2), Conv(24, 48, 3, 2), Unit(48),
        Conv(48, 96, 3, (2, 1)), Conv(96, 224, (6, 1), pad=(0, 0)),
        *[Unit(224, (1, 5)) for _ in range(6)]), 224


SHAPES = {"dense": dense, "separable": separable, "temporal": temporal}


class Recogniser(nn.Module):
    """A shape and a linear head over the classes of a pack."""

    def __init__(self, shape: str, classes: int, dropout: float = 0.1):
        super().__init__()
        self.body, width = SHAPES[shape]()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        # A residual branch begins small, so that depth does not slow the first steps.
        for module in self.modules():
            if isinstance(module, Unit):
                nn.init.constant_(module.conv[1].weight, 0.3)

    def forward(self, x):
        steps = self.body(x).squeeze(2).transpose(1, 2)
        return self.head(self.dropout(steps))


def count(model: Recogniser, width: int = 320) -> tuple[int, int]:
    """Multiplications of one line `[1, 3, 48, width]` as exported (three colours), and parameters of the convolutions and the head."""
    total = [0]

    def add(layer, given, made):
        weight = layer.weight.numel() * (3 if isinstance(layer, nn.Conv2d) and layer.in_channels == 1 else 1)
        places = made.shape[2] * made.shape[3] if made.dim() == 4 else made.shape[1]
        total[0] += weight * places

    layers = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    hooks = [layer.register_forward_hook(add) for layer in layers]
    was = model.training
    with torch.no_grad():
        model.eval()(torch.zeros(1, 1, HEIGHT, width))
    model.train(was)
    for hook in hooks:
        hook.remove()
    return total[0], sum(p.numel() for p in model.parameters())


def main() -> None:
    """The table."""
    for pack in PACKS:
        for shape in SHAPES:
            macs, parameters = count(Recogniser(shape, len(characters(pack)) + 1))
            print(f"{pack:12}{shape:12}{macs / 1e6:7.0f} MMAC{parameters / 1e6:7.2f} M parameters")


if __name__ == "__main__":
    main()
