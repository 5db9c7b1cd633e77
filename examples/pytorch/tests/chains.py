"""Floating-point products by their definition, in numpy."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """a * b + c in float32, rounded once: the product is exact in float64, the sum is rounded to odd, then to
    float32."""
    product, c = a.astype(np.float64) * b.astype(np.float64), c.astype(np.float64)
    total = product + c
    # What rounding took away: Knuth's two-sum.
    part = total - product
    lost = (product - (total - part)) + (c - part)
    even = (total.view(np.int64) & 1) == 0
    inexact = np.isfinite(total) & (lost != 0)
    total = np.where(inexact & even, np.nextafter(total, np.where(lost > 0, np.inf, -np.inf)), total)
    with np.errstate(over="ignore"):
        return total.astype(np.float32)


def chain(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The definition: one chain of fused multiply-adds in ascending order, the bias, one rounding to the type of x."""
    a, b = x.float().numpy(), weight.float().numpy()
    total = np.zeros((a.shape[0], b.shape[0]), dtype=np.float32)
    with np.errstate(invalid="ignore"):
        for k in range(a.shape[1]):
            total = fma(a[:, k : k + 1], b[:, k], total)
    y = torch.from_numpy(total)
    return (y if bias is None else y + bias.float()).to(x.dtype)


def same_bits(y: Tensor, expected: Tensor) -> None:
    assert y.shape == expected.shape and y.dtype == expected.dtype
    bits = {4: torch.int32, 2: torch.int16}[y.element_size()]
    # Which NaN a NaN is, is not specified.
    assert torch.equal(y.isnan(), expected.isnan())
    y, expected = (
        y.nan_to_num(0, posinf=torch.inf, neginf=-torch.inf),
        expected.nan_to_num(0, posinf=torch.inf, neginf=-torch.inf),
    )
    assert torch.equal(y.contiguous().view(bits), expected.contiguous().view(bits))
