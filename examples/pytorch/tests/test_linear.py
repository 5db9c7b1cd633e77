"""linear_int8 against the formula in float64; packing; what is refused."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from gemmill_torch import linear_int8, pack_weight, quantize_weight, unpack_weight


def layer(n: int, k: int, per_channel: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Packed weights, the real numbers that they stand for, and a bias."""
    q, scales = quantize_weight(torch.randn(n, k) * torch.rand(n, 1), per_channel)
    return pack_weight(q, scales), q.double() * scales.double().unsqueeze(1), torch.randn(n)


def dynamic_expected(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Rows quantized by their own range, extended to contain 0, as gemmill_quantization_choose has it."""
    low, high = x.amin(-1, keepdim=True).clamp(max=0), x.amax(-1, keepdim=True).clamp(min=0)
    scale = (high.double() - low.double()) / 255
    scale = torch.where(scale == 0, 0.1, scale).clamp(min=2.0**-126)
    return static_expected(x, weight, bias, scale, (-low.double() / scale).round().clamp(0, 255))


def static_expected(x: Tensor, weight: Tensor, bias: Tensor | None, scale, zero_point) -> Tensor:  # noqa: ANN001
    q = ((x.double() / scale).round() + zero_point).clamp(0, 255)
    y = ((q - zero_point) * scale) @ weight.t()
    return y if bias is None else y + bias.double()


def close(y: Tensor, expected: Tensor, step: Tensor | float, bits: float = 2e-6) -> None:
    """Within float rounding, and one step of an activation that lay between two integers."""
    assert y.shape == expected.shape
    assert ((y.double() - expected).abs() <= step + bits * expected.abs().amax()).all()


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (16, 64, 100), (7, 130, 257), (64, 48, 480)])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("per_channel", [True, False])
def test_dynamic(shape: tuple[int, int, int], with_bias: bool, per_channel: bool) -> None:
    m, n, k = shape
    packed, weight, bias = layer(n, k, per_channel)
    x = torch.randn(m, k) * 3
    given = bias if with_bias else None
    y = linear_int8(x, packed, given, n)
    assert y.dtype == torch.float32
    # Ties may fall either way: one step of the row's scale, by the largest weight.
    close(y, dynamic_expected(x, weight, given), 7 * x.abs().max().item() / 127 * weight.abs().max().item())
    error = (y.double() - dynamic_expected(x, weight, given)).abs().mean()
    assert error <= 1e-2 * dynamic_expected(x, weight, given).abs().mean() + 1e-6


def test_small_activations_keep_their_accuracy() -> None:
    """A small x, and small rows among others: their scales have no floor."""
    packed, weight, _ = layer(64, 512)
    x = torch.randn(4, 512) * torch.tensor([1e-5, 1.0, 1e-20, 1e-30]).unsqueeze(1)
    expected = x.double() @ weight.t()
    error = (linear_int8(x, packed, None, 64).double() - expected).norm(dim=1) / expected.norm(dim=1)
    assert (error < 0.02).all(), error


def test_sums_beyond_32_bits_are_exact() -> None:
    k = 66_400
    packed = pack_weight(torch.full((1, k), 127, dtype=torch.int8), torch.tensor([1 / 127]))
    y = linear_int8(torch.ones(2, k), packed, None, 1)
    assert torch.allclose(y, torch.full((2, 1), float(k)), rtol=1e-5)


@pytest.mark.parametrize("zero_point", [0, 128, 255])
def test_static_is_exact(zero_point: int) -> None:
    """With a power of two as the scale and inputs on the grid, results are those of exact integers."""
    n, k = 33, 257
    q = torch.randint(-127, 128, (n, k), dtype=torch.int8)
    packed = pack_weight(q, torch.full((n,), 0.25))
    x = (torch.randint(0, 256, (9, k)) - zero_point) * 0.5
    y = linear_int8(x, packed, None, n, 0.5, zero_point)
    assert torch.equal(y.double(), x.double() @ (q.double() * 0.25).t())


def test_batches_and_rows_are_bitwise_equal() -> None:
    packed, _, bias = layer(48, 96)
    x = torch.randn(4, 5, 96)
    y = linear_int8(x, packed, bias, 48)
    assert y.shape == (4, 5, 48)
    for i in range(4):
        for j in range(5):
            assert torch.equal(linear_int8(x[i, j], packed, bias, 48), y[i, j])


def test_strides() -> None:
    packed, _, bias = layer(40, 64)
    base = torch.randn(6, 8, 128)
    for x in (
        base[..., ::2],
        base[..., :64],
        base.transpose(0, 1)[..., 64:],
        base[:, :1, :64].expand(6, 8, 64),
        base[0, 0, :64],
    ):
        assert torch.equal(linear_int8(x, packed, bias, 40), linear_int8(x.contiguous(), packed, bias, 40))
    x = torch.randn(64, 10).t()
    assert torch.equal(linear_int8(x, packed, bias, 40), linear_int8(x.contiguous(), packed, bias, 40))
    odd = torch.randn(80)[::2]
    assert torch.equal(linear_int8(x, packed, odd, 40), linear_int8(x, packed, odd.contiguous(), 40))


@pytest.mark.parametrize("shape", [(0, 16), (3, 0, 16), (0, 0, 16)])
def test_no_rows(shape: tuple[int, ...]) -> None:
    packed, _, bias = layer(8, 16)
    assert linear_int8(torch.randn(shape), packed, bias, 8).shape == (*shape[:-1], 8)


def test_no_features() -> None:
    packed = pack_weight(torch.empty(5, 0, dtype=torch.int8), torch.ones(5))
    bias = torch.randn(5)
    assert torch.equal(linear_int8(torch.empty(3, 0), packed, bias, 5), bias.expand(3, 5))
    packed = pack_weight(torch.empty(0, 5, dtype=torch.int8), torch.ones(0))
    assert linear_int8(torch.randn(3, 5), packed, torch.empty(0), 0).shape == (3, 0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("quantization", [(), (0.03, 120)])
@pytest.mark.parametrize("rows", [(2, 7), (1,), (64,)])
def test_16_bits(dtype: torch.dtype, quantization: tuple[float, int], rows: tuple[int, ...]) -> None:
    """x and y are read and written as they are: y is the float32 result of the same numbers, rounded once."""
    packed, _, bias = layer(64, 128)
    x = (torch.randn(*rows, 128) * 2).to(dtype)
    with torch.profiler.profile() as profile:
        y = linear_int8(x, packed, bias, 64, *quantization)
    called = {event.key for event in profile.key_averages()}
    assert "gemmill::linear_int8" in called and not called & {"aten::to", "aten::_to_copy", "aten::copy_"}, called
    assert y.dtype == dtype
    assert torch.equal(y, linear_int8(x.float(), packed, bias, 64, *quantization).to(dtype))
    assert torch.equal(
        linear_int8(x, packed, bias.to(dtype), 64, *quantization),
        linear_int8(x, packed, bias.to(dtype).float(), 64, *quantization),
    )
    assert torch.equal(linear_int8(x.mT.contiguous().mT if x.dim() > 1 else x, packed, bias, 64, *quantization), y)


def test_packing_keeps_weights() -> None:
    for q in (
        torch.randint(-128, 128, (37, 50), dtype=torch.int8),
        torch.randint(-128, 128, (50, 37), dtype=torch.int8).t(),
    ):
        scales = torch.rand(37) + 0.1
        packed = pack_weight(q, scales)
        assert packed.dtype == torch.uint8 and packed.dim() == 1
        weight, again = unpack_weight(packed)
        assert torch.equal(weight, q) and torch.equal(again, scales)
        assert torch.equal(pack_weight(q.contiguous(), scales), packed)
    q, scales = quantize_weight(torch.tensor([[1.0, -2.0], [0.0, 0.0]]))
    assert q.tolist() == [[64, -127], [0, 0]] and torch.equal(scales, torch.tensor([2 / 127, 1.0]))


def test_files_and_copies() -> None:
    packed, _, bias = layer(24, 32)
    x = torch.randn(5, 32)
    y = linear_int8(x, packed, bias, 24)
    file = io.BytesIO()
    torch.save(packed, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    for other in loaded, packed.clone(), torch.cat([torch.zeros(3, dtype=torch.uint8), packed])[3:]:
        assert torch.equal(linear_int8(x, other, bias, 24), y)


def test_replaced_bytes_are_seen() -> None:
    x = torch.randn(5, 32)
    first, second = layer(24, 32)[0], layer(24, 32)[0]
    expected = linear_int8(x, second.clone(), None, 24)
    linear_int8(x, first, None, 24)
    if first.shape == second.shape:
        first.data.copy_(second)  # torch's version counter does not count this
        assert torch.equal(linear_int8(x, first, None, 24), expected)
    first.resize_(second.shape).copy_(second)
    assert torch.equal(linear_int8(x, first, None, 24), expected)
    with torch.inference_mode():
        inference = layer(24, 32)[0]
        linear_int8(x, inference, None, 24)
        inference.resize_(second.shape).copy_(second)
        assert torch.equal(linear_int8(x, inference, None, 24), expected)


def test_replaced_bias_is_seen() -> None:
    packed, _, bias = layer(24, 32)
    x = torch.randn(5, 32)
    for i in range(20):
        bias.data[i] += 1
        plain = linear_int8(x, packed, None, 24)
        assert torch.allclose(linear_int8(x, packed, bias, 24), plain + bias, atol=1e-5)


def test_freed_weights_are_no_match() -> None:
    """Storages come and go at the same addresses."""
    x = torch.randn(2, 16)
    for _ in range(300):
        packed, weight, _ = layer(8, 16)
        y = linear_int8(x, packed, None, 8)
        error = (y.double() - dynamic_expected(x, weight, None)).abs().max()
        assert error <= 0.1 * weight.abs().max() + 1e-3
        del packed


def test_refusals() -> None:
    packed, _, bias = layer(8, 16)
    x = torch.randn(2, 16)
    for bad in (
        (x.double(), packed, bias, 8), (x.int(), packed, bias, 8), (x, packed.float(), bias, 8),
        (x, packed.view(1, -1), bias, 8),
        (x, packed, bias.double(), 8), (x, packed, bias[:5], 8), (x, packed, bias, 9), (x[:, :7], packed, bias, 8),
        (torch.tensor(1.0), packed, bias, 8), (x, packed, bias, 8, 0.1, 256), (x, packed, bias, 8, 0.1, -1),
        (x, packed.repeat_interleave(2)[::2], bias, 8),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match="linear_int8: "):
            linear_int8(*bad)
    for scale in 0.0, -1.0, float("nan"), float("inf"):
        with pytest.raises(RuntimeError, match="linear_int8: "):
            linear_int8(x, packed, bias, 8, scale)
    for damaged in packed[:-1], packed[:3], packed[:0], torch.zeros_like(packed), packed ^ 1:
        with pytest.raises(RuntimeError, match="linear_int8: "):
            linear_int8(x, damaged.clone(), bias, 8)
    with pytest.raises(RuntimeError, match="linear_int8: "):
        linear_int8(torch.full((2, 16), float("inf")), packed, bias, 8)
    with pytest.raises((RuntimeError, NotImplementedError), match="device|backend|Meta"):
        linear_int8(x, packed.to("meta"), bias, 8)
    with pytest.raises(RuntimeError, match="pack_weight: "):
        pack_weight(torch.zeros(3, 4, dtype=torch.int8), torch.ones(2))
    with pytest.raises(RuntimeError, match="pack_weight: "):
        pack_weight(torch.zeros(3, 4, dtype=torch.int8), torch.zeros(3))
    with pytest.raises(RuntimeError, match="quantize_weight: "):
        quantize_weight(torch.full((3, 4), float("nan")))


ONE_THREAD = """
import os, torch, gemmill_torch as g
torch.set_num_threads(1)
threads = lambda: len(os.listdir("/proc/self/task"))
a, b = torch.zeros(512, 1024, dtype=torch.int8), torch.zeros(1024, 1024, dtype=torch.int8)
x, packed = torch.randn(512, 1024), g.pack_weight(b, torch.ones(1024))
before = threads()
g.int8_mm(a, b)
g.linear_int8(x, packed, None, 1024)
g.linear_int8(x[:1], packed, None, 1024)
assert threads() == before, f"{before} threads became {threads()}"
"""


def test_one_thread_starts_no_other() -> None:
    subprocess.run([sys.executable, "-c", ONE_THREAD], check=True)


PACKING = """
import os, torch, gemmill_torch as g
threads = lambda: len(os.listdir("/proc/self/task"))
torch.set_num_threads(2)
torch.ones(1 << 20).add(1)  # torch's own threads
b = torch.zeros(1024, 1024, dtype=torch.int8)
before = threads()
packed, other = g.pack_weight(b, torch.ones(1024)), g.pack_int8(b)
g.unpack_weight(packed)
g.int8_mm(b[:1], b)
g.int8_mm_packed(b[:1], other, 1024)
g.linear_int8(torch.ones(1, 1024), packed, None, 1024)
assert threads() == before, f"{before} threads became {threads()}"
"""


def test_packing_starts_no_threads() -> None:
    """So that a process that forks afterwards has none that the child lacks."""
    subprocess.run([sys.executable, "-c", PACKING], check=True)
