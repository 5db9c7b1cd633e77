"""Classifies handwritten digits by a small network, in float32 and with int8 layers, and compares the accuracies.

`python digits.py` trains the network on examples/data/digits.bin, converts it, and measures both on digits that
training has not seen. It fails if they differ by more than half a percentage point.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

import gemmill_torch

DATA = Path(__file__).parent.parent / "data" / "digits.bin"
TOLERANCE = 0.5
HELD_OUT = 597


def load() -> tuple[Tensor, Tensor]:
    """Pixels from 0 to 1, 64 for each digit, and labels, shuffled; see examples/data/README.md."""
    digits = torch.frombuffer(bytearray(DATA.read_bytes()), dtype=torch.uint8).view(-1, 65)
    digits = digits[torch.randperm(len(digits))]
    return digits[:, :64].float() / 16, digits[:, 64].long()


def train(model: nn.Module, pixels: Tensor, labels: Tensor) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(40):
        for batch in torch.randperm(len(labels)).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(pixels[batch]), labels[batch]).backward()
            optimizer.step()


def accuracy(model: nn.Module, pixels: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return 100 * (model(pixels).argmax(1) == labels).float().mean().item()


def main() -> int:
    torch.manual_seed(1)
    pixels, labels = load()
    held_out = pixels[:HELD_OUT], labels[:HELD_OUT]
    pixels, labels = pixels[HELD_OUT:], labels[HELD_OUT:]
    print(f"{len(labels)} digits to train on, {HELD_OUT} held out")

    model = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 10))
    train(model, pixels, labels)
    models = {
        "f32": model,
        "int8, activations by row": gemmill_torch.convert(model),
        "int8, activations calibrated": gemmill_torch.convert(model, calibrate=lambda m: m(pixels[:256])),
    }
    accuracies = {name: accuracy(m, *held_out) for name, m in models.items()}
    for name, percent in accuracies.items():
        print(f"{name:30} {percent:.2f} % right")
    if max(abs(percent - accuracies["f32"]) for percent in accuracies.values()) > TOLERANCE:
        print(f"the accuracies differ by more than {TOLERANCE} percentage points", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
