"""linear_int4 bit by bit against its formulas; packing; what is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from chains import chain, fma, same_bits
from torch import Tensor

import gemmill_torch
from gemmill_torch import linear_int4, pack_int4_weight, unpack_int4_weight

FLOATS = [torch.float32, torch.bfloat16, torch.float16]


def quantized(x: Tensor, weight: Tensor, bias: Tensor | None, group_size: int, scales: Tensor) -> Tensor:
    """Rows of x as int8; exact sums of a group times its scale, added by one chain; the row's scale and the bias last.

    weight is N x K, scales are N x groups.
    """
    a = x.float().numpy()
    scale = np.abs(a).max(1, keepdims=True, initial=0) / np.float32(127)
    scale = np.where(scale == 0, np.float32(0.1), np.maximum(scale, np.float32(2.0**-126)))
    q = np.rint(a * (np.float32(1) / scale)).clip(-127, 127).astype(np.int64)
    total = np.zeros((a.shape[0], weight.shape[0]), dtype=np.float32)
    for g, first in enumerate(range(0, a.shape[1], group_size)):
        part = slice(first, first + group_size)
        # Weights are small multiples of their scale: exactly.
        steps = torch.round(weight[:, part].double() / scales[:, g : g + 1].double()).long().numpy()
        total = fma((q[:, part] @ steps.T).astype(np.float32), scales[:, g].numpy(), total)
    y = total * scale if bias is None else fma(total, np.broadcast_to(scale, total.shape), bias.float().numpy())
    return torch.from_numpy(y).to(x.dtype)


def scales_of(packed: Tensor, n: int, k: int, group_size: int) -> Tensor:
    """N x groups: bfloat16 numbers behind the header of the bytes (src/quant/groupwise/bytes.rs)."""
    groups = -(-k // group_size)
    return packed[40 : 40 + 2 * groups * n].clone().view(torch.bfloat16).float().reshape(groups, n).t()


@pytest.mark.parametrize("group_size", [32, 64, 128])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("search", [True, False])
def test_bits(group_size: int, symmetric: bool, search: bool) -> None:
    for m, n, k in (1, 1, 1), (3, 5, 31), (2, 33, 129), (17, 40, 300):
        weight = torch.randn(n, k) * torch.rand(n, 1)
        packed = pack_int4_weight(weight, group_size, symmetric, search)
        real, scales = unpack_int4_weight(packed), scales_of(packed, n, k, group_size)
        assert real.shape == (n, k)
        step = scales.repeat_interleave(group_size, 1)[:, :k]
        # Half a step, and what rounding the scale adds: at most the highest weight's share of it.
        assert ((weight - real).abs() <= (0.5 + 15 / 255) * step + 1e-6).all() or search
        for x_type in FLOATS:
            x = torch.randn(m, k).to(x_type)
            for bias in None, torch.randn(n):
                same_bits(linear_int4(x, packed, bias, n), chain(x, real, bias))
                y = linear_int4(x, packed, bias, n, quantize_x=True)
                same_bits(y, quantized(x, real, bias, group_size, scales))
                same_bits(linear_int4(x[m // 2], packed, bias, n, quantize_x=True), y[m // 2])


def test_search_is_no_worse() -> None:
    weight = torch.randn(40, 512)
    error = [(unpack_int4_weight(pack_int4_weight(weight, search=s)) - weight).square().mean() for s in (True, False)]
    assert error[0] < error[1]


def test_empty_strided_and_saved() -> None:
    packed = pack_int4_weight(torch.randn(8, 64))
    assert linear_int4(torch.randn(0, 64), packed, None, 8).shape == (0, 8)
    assert linear_int4(torch.randn(2, 0, 64), packed, None, 8, True).shape == (2, 0, 8)
    assert torch.equal(linear_int4(torch.empty(3, 0), pack_int4_weight(torch.empty(5, 0)), None, 5), torch.zeros(3, 5))
    assert linear_int4(torch.randn(3, 5), pack_int4_weight(torch.empty(0, 5)), None, 0).shape == (3, 0)
    x = torch.randn(64, 6).t()
    for quantize_x in True, False:
        same_bits(linear_int4(x, packed, None, 8, quantize_x), linear_int4(x.contiguous(), packed, None, 8, quantize_x))
    weight = torch.randn(64, 40)
    assert torch.equal(pack_int4_weight(weight.t()), pack_int4_weight(weight.t().contiguous()))
    file = io.BytesIO()
    torch.save(packed, file)
    file.seek(0)
    same_bits(linear_int4(x, torch.load(file, weights_only=True), None, 8), linear_int4(x, packed, None, 8))


def test_refusals() -> None:
    packed, bias, x = pack_int4_weight(torch.randn(8, 64)), torch.randn(8), torch.randn(2, 64)
    for bad in (
        (x.double(), packed, bias, 8), (x, packed.float(), bias, 8), (x, packed, bias[:5], 8), (x, packed, bias, 9),
        (x[:, :7], packed, bias, 8), (x, packed[:-1].clone(), bias, 8), (x, packed ^ 1, bias, 8),
        (x, gemmill_torch.pack_float_weight(torch.randn(8, 64)), bias, 8), (x * torch.inf, packed, bias, 8, True),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match="linear_int4: "):
            linear_int4(*bad)
    for weight, size in (
        (torch.randn(3), 32),
        (torch.randn(3, 4), 16),
        (torch.full((3, 4), torch.nan), 32),
        (torch.ones(3, 4).int(), 32),
    ):
        with pytest.raises(RuntimeError, match="pack_int4_weight: "):
            pack_int4_weight(weight, size)


def test_opcheck_and_compile() -> None:
    ops = torch.ops.gemmill
    packed, bias = pack_int4_weight(torch.randn(8, 24)), torch.randn(8)
    torch.library.opcheck(ops.pack_int4_weight.default, (torch.randn(24, 8).t(), 32, False))
    torch.library.opcheck(ops.unpack_int4_weight.default, (packed,))
    for x in torch.randn(5, 24), torch.randn(2, 3, 24).bfloat16(), torch.randn(0, 24).half():
        for quantize_x in True, False:
            torch.library.opcheck(ops.linear_int4.default, (x, packed, bias, 8, quantize_x))
    compiled = torch.compile(lambda x: linear_int4(x, packed, bias, 8) + 1, backend="aot_eager", fullgraph=True)
    x = torch.randn(3, 24)
    assert torch.equal(compiled(x), linear_int4(x, packed, bias, 8) + 1)
