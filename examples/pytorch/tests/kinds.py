"""Kinds of numbers that products are tested with."""

from __future__ import annotations

import torch
from torch import Tensor


def gaussian(*shape: int) -> Tensor:
    return torch.randn(shape)


def cancelling(*shape: int) -> Tensor:
    """Large numbers of both signs beside small ones."""
    sign = torch.tensor([1.0, -1.0])[torch.randint(0, 2, shape)]
    return sign * torch.tensor([1e4, 1.0, 1e-3])[torch.randint(0, 3, shape)] * (1 + torch.rand(shape))


def subnormal(*shape: int) -> Tensor:
    """Products that are subnormal numbers of float32 or zero, and weights that are subnormal as float16."""
    return torch.randn(shape) * torch.tensor([1e-21, 1e-7, 6e-8])[torch.randint(0, 3, shape)]


def smallest(*shape: int) -> Tensor:
    """Products and sums on both sides of the smallest normal float32."""
    return torch.randn(shape) * 2.0**-63


def huge(*shape: int) -> Tensor:
    """Sums that overflow; infinities of both signs; NaN."""
    values = torch.tensor([3e38, -3e38, 6e4, -6e4, 1.0, 0.0, torch.inf, -torch.inf, torch.nan])
    return values[torch.randint(0, len(values), shape).clamp(max=torch.randint(3, 9, (shape[0], 1)))]


def signed_zeros(*shape: int) -> Tensor:
    return torch.tensor([0.0, -0.0, 1.0, -1.0])[torch.randint(0, 4, shape)]


KINDS = [gaussian, cancelling, subnormal, smallest, huge, signed_zeros]
