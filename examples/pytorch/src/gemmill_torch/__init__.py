"""Matrix products of low precision on x86 CPUs, as operators of PyTorch: int8, exactly, and with weights of 16 and 4
bits.

import gemmill_torch
model = gemmill_torch.convert(model)  # or convert(model, dtype=torch.bfloat16), or "int4"
y = model(x)
"""

from .convert import LinearBf16, LinearF16, LinearInt4, LinearInt8, convert
from .operators import (
    int8_mm,
    int8_mm_packed,
    linear_bf16,
    linear_f16,
    linear_int4,
    linear_int8,
    pack_float_weight,
    pack_int4_weight,
    pack_int8,
    pack_weight,
    quantize_weight,
    resolve_hardware_dot,
    set_int8_mm_cache,
    unpack_float_weight,
    unpack_int4_weight,
    unpack_weight,
)

__all__ = [
    "LinearBf16",
    "LinearF16",
    "LinearInt4",
    "LinearInt8",
    "convert",
    "int8_mm",
    "int8_mm_packed",
    "linear_bf16",
    "linear_f16",
    "linear_int4",
    "linear_int8",
    "pack_float_weight",
    "pack_int4_weight",
    "pack_int8",
    "pack_weight",
    "quantize_weight",
    "resolve_hardware_dot",
    "set_int8_mm_cache",
    "unpack_float_weight",
    "unpack_int4_weight",
    "unpack_weight",
]
