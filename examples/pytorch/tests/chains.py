"""Floating-point products by their definitions, in numpy."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def rounded_to_odd(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """a * b + c of float32 in float64, where the product is exact and the sum is rounded to odd: rounding that to
    float32 rounds once."""
    product, c = a.astype(np.float64) * b.astype(np.float64), c.astype(np.float64)
    total = product + c
    # What rounding took away: Knuth's two-sum.
    part = total - product
    lost = (product - (total - part)) + (c - part)
    even = (total.view(np.int64) & 1) == 0
    inexact = np.isfinite(total) & (lost != 0)
    return np.where(inexact & even, np.nextafter(total, np.where(lost > 0, np.inf, -np.inf)), total)


def fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """a * b + c in float32, rounded once."""
    with np.errstate(over="ignore"):
        return rounded_to_odd(a, b, c).astype(np.float32)


def chain(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The definition: one chain of fused multiply-adds in ascending order, the bias, one rounding to the type of x."""
    a, b = x.float().numpy(), weight.float().numpy()
    total = np.zeros((a.shape[0], b.shape[0]), dtype=np.float32)
    with np.errstate(invalid="ignore"):
        for k in range(a.shape[1]):
            total = fma(a[:, k : k + 1], b[:, k], total)
    return finished(total, bias, x.dtype)


def finished(total: np.ndarray, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    y = torch.from_numpy(total)
    return (y if bias is None else y + bias.float()).to(dtype)


# The smallest normal float32, and the least number that rounding to 24 bits makes as large.
NORMAL = 2.0**-126
TINY = NORMAL * (1 - 2.0**-25)


def flushed(x: np.ndarray, limit: float = NORMAL) -> np.ndarray:
    """Zero of the same sign for what is below the limit."""
    return np.where(np.abs(x) < limit, np.copysign(np.zeros_like(x), x), x)


def flushing_fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """fma of numbers that are not subnormal; zero for a result that is."""
    with np.errstate(over="ignore"):
        return flushed(rounded_to_odd(a, b, c), TINY).astype(np.float32)


# How many input features an instruction takes at a time.
GROUPS = {"avx512-bf16": 2, "amx-bf16": 32}


def hardware_chain(hardware_dot: str, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The definition of products by an instruction (docs/half.md, "Hardware dot products"): x rounded to bfloat16,
    groups of input features in ascending order, the last one filled up with zeros; then as `chain`."""
    padding = (0, -x.shape[1] % GROUPS[hardware_dot])
    a, b = (flushed(torch.nn.functional.pad(t.bfloat16().float(), padding).numpy()) for t in (x, weight))
    zeros = total = np.zeros((a.shape[0], b.shape[0]), dtype=np.float32)

    def add(k: int, to: np.ndarray) -> np.ndarray:
        return flushing_fma(a[:, k : k + 1], b[:, k], to)

    with np.errstate(invalid="ignore", over="ignore"):
        for first in range(0, a.shape[1], GROUPS[hardware_dot]):
            if hardware_dot == "avx512-bf16":
                total = add(first, add(first + 1, total))
                continue
            even = odd = zeros
            for k in range(first, first + 32, 2):
                even, odd = add(k, even), add(k + 1, odd)
            # A sum of numbers that are not subnormal is exact where it is.
            total = flushed(total + flushed(even + odd))
    return finished(total, bias, x.dtype)


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
