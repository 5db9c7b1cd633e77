"""Exact int8 matrix products on x86 CPUs, as operators of PyTorch.

import gemmill_torch
model = gemmill_torch.convert(model)
y = model(x)
"""

from .convert import LinearInt8, convert
from .operators import (
    int8_mm,
    int8_mm_packed,
    linear_int8,
    pack_int8,
    pack_weight,
    quantize_weight,
    set_int8_mm_cache,
    unpack_weight,
)

__all__ = [
    "LinearInt8",
    "convert",
    "int8_mm",
    "int8_mm_packed",
    "linear_int8",
    "pack_int8",
    "pack_weight",
    "quantize_weight",
    "set_int8_mm_cache",
    "unpack_weight",
]
