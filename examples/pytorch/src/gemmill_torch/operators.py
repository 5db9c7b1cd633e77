"""The operators, loaded from the extension, with the shapes that torch.compile and torch.export trace them by."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

torch.ops.load_library(next(Path(__file__).parent.glob("_operators*.so")))

_ops = torch.ops.gemmill


def int8_mm(a: Tensor, b: Tensor) -> Tensor:
    """C = A B: int8 matrices with any strides, int32 sums that are exact modulo 2^32. A drop-in for torch._int_mm.

    B is packed on the fly. Its packed form is kept with a copy, and used again for as long as B has the copy's content:
    see set_int8_mm_cache. Where B never changes, int8_mm_packed saves the comparison.
    """
    return _ops.int8_mm(a, b)


def pack_int8(b: Tensor) -> Tensor:
    """An int8 matrix, K x N with any strides, as bytes that every CPU can load: what int8_mm_packed takes."""
    return _ops.pack_int8(b)


def int8_mm_packed(a: Tensor, packed: Tensor, n: int) -> Tensor:
    """int8_mm with a second operand of n columns from pack_int8."""
    return _ops.int8_mm_packed(a, packed, n)


def set_int8_mm_cache(size: int) -> None:
    """How many bytes int8_mm may keep of second operands and their packed forms: 64 MiB at first, 0 to keep nothing."""
    _ops.set_int8_mm_cache(size)


def quantize_weight(weight: Tensor, per_channel: bool = True) -> tuple[Tensor, Tensor]:
    """int8 weights, from -127 to 127, and scales of a layer's N x K weights: one for each output feature, or one for
    all."""
    return _ops.quantize_weight(weight, per_channel)


def pack_weight(weight: Tensor, scales: Tensor) -> Tensor:
    """A layer's int8 weights, N x K, and their N scales, or one, as bytes that every CPU can load: what linear_int8
    takes."""
    return _ops.pack_weight(weight, scales)


def unpack_weight(packed: Tensor) -> tuple[Tensor, Tensor]:
    """What pack_weight was given."""
    return _ops.unpack_weight(packed)


def linear_int8(
    x: Tensor,
    packed: Tensor,
    bias: Tensor | None,
    out_features: int,
    x_scale: float | None = None,
    x_zero_point: int = 0,
) -> Tensor:
    """y = x W^T + bias in 8-bit integers, of the type of x: float32, bfloat16 or float16.

    Activations are quantized to uint8 on the fly, by x_scale and x_zero_point, or each row by its own range without
    them.
    """
    return _ops.linear_int8(x, packed, bias, out_features, x_scale, x_zero_point)


def pack_float_weight(weight: Tensor, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """A layer's weights, N x K, rounded to bfloat16 or float16, as bytes that every CPU can load: what linear_bf16 and
    linear_f16 take."""
    return _ops.pack_float_weight(weight, dtype)


def unpack_float_weight(packed: Tensor) -> Tensor:
    """The weights as pack_float_weight rounded them, in float32, which has them exactly."""
    return _ops.unpack_float_weight(packed)


HARDWARE_DOTS = ("off", "auto", "avx512-bf16", "amx-bf16")


def check_hardware_dot(name: str | None) -> str:
    """The name, "off" for None; a ValueError unless it is one of HARDWARE_DOTS."""
    if name is not None and name not in HARDWARE_DOTS:
        raise ValueError(f"expected hardware_dot to be one of {', '.join(HARDWARE_DOTS)}, but it is {name}")
    return name or "off"


def resolve_hardware_dot(hardware_dot: str | None = "auto") -> str:
    """The name of what hardware_dot stands for on this CPU: "off", or an instruction that it has."""
    return _ops.resolve_hardware_dot(hardware_dot)


def linear_bf16(
    x: Tensor, packed: Tensor, bias: Tensor | None, out_features: int, hardware_dot: str | None = None
) -> Tensor:
    """y = x W^T + bias with bfloat16 weights and float32 sums, of the type of x: float32, bfloat16 or float16.

    Sums are one chain of fused multiply-adds in ascending order of input features: a row has the same bits in every
    batch.
    hardware_dot: "avx512-bf16" or "amx-bf16" has this instruction multiply, an error if the CPU lacks it; "auto" the
    best one that the CPU has, if any pays; None and "off" none. With an instruction, x is rounded to bfloat16 and sums
    are rounded in the instruction's order: bits are those of its name, in every batch and on every CPU that has it.
    """
    return _ops.linear_bf16(x, packed, bias, out_features, hardware_dot)


def linear_f16(x: Tensor, packed: Tensor, bias: Tensor | None, out_features: int) -> Tensor:
    """linear_bf16 with float16 weights, which no hardware_dot is for."""
    return _ops.linear_f16(x, packed, bias, out_features)


def pack_int4_weight(weight: Tensor, group_size: int = 128, symmetric: bool = True, search: bool = True) -> Tensor:
    """A layer's weights, N x K, in 4 bits, as bytes that every CPU can load: what linear_int4 takes.

    Every group_size (32, 64 or 128) input features of an output feature have a scale, and a zero point unless
    symmetric. Scales are searched for the least squared error, or just cover the weights without search.
    """
    return _ops.pack_int4_weight(weight, group_size, symmetric, search)


def unpack_int4_weight(packed: Tensor) -> Tensor:
    """The real weights, in float32, that pack_int4_weight has chosen."""
    return _ops.unpack_int4_weight(packed)


def linear_int4(x: Tensor, packed: Tensor, bias: Tensor | None, out_features: int, quantize_x: bool = False) -> Tensor:
    """y = x W^T + bias with weights of 4 bits, of the type of x: float32, bfloat16 or float16.

    Weights become float32, exactly, unless quantize_x: then each row of x becomes int8 by its largest magnitude, and
    sums within a group are exact integers.
    """
    return _ops.linear_int4(x, packed, bias, out_features, quantize_x)


def _on_one_device(*tensors: Tensor | None) -> None:
    devices = {t.device for t in tensors if t is not None}
    torch._check(len(devices) == 1, lambda: f"expected all tensors on the same device, but found {devices}")


@torch.library.register_fake("gemmill::int8_mm")
def _(a: Tensor, b: Tensor) -> Tensor:
    _on_one_device(a, b)
    torch._check(a.dtype == torch.int8 and b.dtype == torch.int8, lambda: "int8_mm: expected int8")
    torch._check(a.dim() == 2 and b.dim() == 2, lambda: "int8_mm: expected matrices")
    torch._check(a.size(1) == b.size(0), lambda: f"int8_mm: expected the same inner size, not {a.shape}, {b.shape}")
    return a.new_empty((a.size(0), b.size(1)), dtype=torch.int32)


@torch.library.register_fake("gemmill::pack_int8")
def _(b: Tensor) -> Tensor:
    torch._check(b.dtype == torch.int8 and b.dim() == 2, lambda: "pack_int8: expected an int8 matrix")
    return b.new_empty((torch.library.get_ctx().new_dynamic_size(),), dtype=torch.uint8)


@torch.library.register_fake("gemmill::int8_mm_packed")
def _(a: Tensor, packed: Tensor, n: int) -> Tensor:
    _on_one_device(a, packed)
    torch._check(a.dtype == torch.int8 and a.dim() == 2, lambda: "int8_mm_packed: expected an int8 matrix")
    torch._check(packed.dtype == torch.uint8 and packed.dim() == 1, lambda: "int8_mm_packed: expected packed weights")
    return a.new_empty((a.size(0), n), dtype=torch.int32)


@torch.library.register_fake("gemmill::linear_int8")
def _(
    x: Tensor,
    packed: Tensor,
    bias: Tensor | None,
    out_features: int,
    x_scale: float | None = None,
    x_zero_point: int = 0,
) -> Tensor:
    return _linear("linear_int8", x, packed, bias, out_features)


@torch.library.register_fake("gemmill::quantize_weight")
def _(weight: Tensor, per_channel: bool = True) -> tuple[Tensor, Tensor]:
    torch._check(weight.dim() == 2, lambda: "quantize_weight: expected a matrix")
    n, k = weight.shape
    scales = weight.new_empty((n if per_channel else 1,), dtype=torch.float32)
    return weight.new_empty((k, n), dtype=torch.int8).t(), scales


@torch.library.register_fake("gemmill::pack_weight")
def _(weight: Tensor, scales: Tensor) -> Tensor:
    _on_one_device(weight, scales)
    torch._check(weight.dim() == 2 and scales.dim() == 1, lambda: "pack_weight: expected a matrix and scales")
    return weight.new_empty((torch.library.get_ctx().new_dynamic_size(),), dtype=torch.uint8)


@torch.library.register_fake("gemmill::unpack_weight")
def _(packed: Tensor) -> tuple[Tensor, Tensor]:
    size = torch.library.get_ctx().new_dynamic_size
    n, k, scales = size(), size(), size()
    return packed.new_empty((k, n), dtype=torch.int8).t(), packed.new_empty((scales,), dtype=torch.float32)


@torch.library.register_fake("gemmill::linear_bf16")
def _(x: Tensor, packed: Tensor, bias: Tensor | None, out_features: int, hardware_dot: str | None = None) -> Tensor:
    check_hardware_dot(hardware_dot)
    return _linear("linear_bf16", x, packed, bias, out_features)


@torch.library.register_fake("gemmill::linear_f16")
def _(x: Tensor, packed: Tensor, bias: Tensor | None, out_features: int) -> Tensor:
    return _linear("linear_f16", x, packed, bias, out_features)


def _linear(op: str, x: Tensor, packed: Tensor, bias: Tensor | None, out_features: int) -> Tensor:
    _on_one_device(x, packed, bias)
    types = (torch.float32, torch.bfloat16, torch.float16)
    torch._check(x.dtype in types, lambda: f"{op}: expected floats, not {x.dtype}")
    torch._check(x.dim() >= 1, lambda: f"{op}: expected x to have a dimension")
    torch._check(packed.dtype == torch.uint8 and packed.dim() == 1, lambda: f"{op}: expected packed weights")
    return x.new_empty((*x.shape[:-1], out_features))


@torch.library.register_fake("gemmill::pack_float_weight")
def _(weight: Tensor, dtype: torch.dtype) -> Tensor:
    torch._check(weight.dim() == 2, lambda: "pack_float_weight: expected a matrix")
    return weight.new_empty((torch.library.get_ctx().new_dynamic_size(),), dtype=torch.uint8)


@torch.library.register_fake("gemmill::unpack_float_weight")
def _(packed: Tensor) -> Tensor:
    size = torch.library.get_ctx().new_dynamic_size
    n, k = size(), size()
    return packed.new_empty((k, n), dtype=torch.float32).t()


@torch.library.register_fake("gemmill::linear_int4")
def _(x: Tensor, packed: Tensor, bias: Tensor | None, out_features: int, quantize_x: bool = False) -> Tensor:
    return _linear("linear_int4", x, packed, bias, out_features)


@torch.library.register_fake("gemmill::pack_int4_weight")
def _(weight: Tensor, group_size: int = 128, symmetric: bool = True, search: bool = True) -> Tensor:
    torch._check(weight.dim() == 2, lambda: "pack_int4_weight: expected a matrix")
    return weight.new_empty((torch.library.get_ctx().new_dynamic_size(),), dtype=torch.uint8)


@torch.library.register_fake("gemmill::unpack_int4_weight")
def _(packed: Tensor) -> Tensor:
    size = torch.library.get_ctx().new_dynamic_size
    n, k = size(), size()
    return packed.new_empty((k, n), dtype=torch.float32).t()
