"""linear_bf16 and linear_f16: bit by bit against chains of fused multiply-adds, against float64; packing; what is
refused."""

from __future__ import annotations

import copy
import io
import subprocess
import sys

import pytest
import torch
from chains import chain, same_bits
from kinds import KINDS, cancelling, gaussian
from torch import nn

import gemmill_torch
from gemmill_torch import (
    LinearBf16,
    LinearF16,
    convert,
    linear_bf16,
    linear_f16,
    pack_float_weight,
    unpack_float_weight,
)

OPS = {torch.bfloat16: linear_bf16, torch.float16: linear_f16}
WEIGHTS = list(OPS)
FLOATS = [torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", WEIGHTS)
@pytest.mark.parametrize("x_type", FLOATS)
@pytest.mark.parametrize("kind", KINDS)
def test_bits(dtype: torch.dtype, x_type: torch.dtype, kind) -> None:  # noqa: ANN001
    for m, n, k in (1, 1, 1), (1, 33, 65), (3, 5, 7), (7, 64, 40), (16, 31, 257), (33, 100, 300):
        x, weight = kind(m, k).to(x_type), kind(n, k)
        packed = pack_float_weight(weight, dtype)
        rounded = weight.to(dtype)
        for bias in None, torch.randn(n), kind(n, 1)[:, 0].to(x_type):
            same_bits(OPS[dtype](x, packed, bias, n), chain(x, rounded, bias))


@pytest.mark.parametrize("dtype", WEIGHTS)
@pytest.mark.parametrize("x_type", FLOATS)
def test_error_bound(dtype: torch.dtype, x_type: torch.dtype) -> None:
    """K * 2^-24 of the sum of magnitudes, and a rounding to the type of x: docs/accuracy.md."""
    m, n, k = 20, 96, 1024
    for kind in gaussian, cancelling:
        x, weight, bias = (kind(m, k) / 1000).to(x_type), kind(n, k) / k, torch.randn(n)
        y = OPS[dtype](x, pack_float_weight(weight, dtype), bias, n).double()
        rounded = weight.to(dtype).double()
        exact = x.double() @ rounded.t() + bias.double()
        summed = x.double().abs() @ rounded.t().abs() + bias.double().abs()
        step = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}[x_type]
        assert ((y - exact).abs() <= (k + 2) * 2.0**-24 * summed + step * exact.abs() * 1.01 + 1e-7).all()


@pytest.mark.parametrize("dtype", WEIGHTS)
def test_rows_do_not_depend_on_the_batch(dtype: torch.dtype) -> None:
    n, k = 200, 333
    packed, bias = pack_float_weight(torch.randn(n, k), dtype), torch.randn(n)
    for x_type in FLOATS:
        x = torch.randn(4, 33, k).to(x_type)
        y = OPS[dtype](x, packed, bias, n)
        assert y.shape == (4, 33, n) and y.dtype == x_type
        threads = torch.get_num_threads()
        for rows in 1, 2, 5, 33:
            same_bits(OPS[dtype](x[2, :rows], packed, bias, n), y[2, :rows])
        for some in 1, 3:
            torch.set_num_threads(some)
            same_bits(OPS[dtype](x, packed, bias, n), y)
        torch.set_num_threads(threads)
        same_bits(OPS[dtype](x[1, 7], packed, bias, n), y[1, 7])


def test_strides() -> None:
    packed, bias = pack_float_weight(torch.randn(40, 64)), torch.randn(40)
    for x_type in FLOATS:
        base = torch.randn(6, 8, 128).to(x_type)
        for x in (
            base[..., ::2],
            base[..., :64],
            base.transpose(0, 1)[..., 64:],
            base[:, :1, :64].expand(6, 8, 64),
            base[0, 0, :64],
            torch.randn(64, 10).to(x_type).t(),
        ):
            same_bits(linear_bf16(x, packed, bias, 40), linear_bf16(x.contiguous(), packed, bias, 40))
    x, odd = torch.randn(5, 64), torch.randn(80)[::2]
    same_bits(linear_bf16(x, packed, odd, 40), linear_bf16(x, packed, odd.contiguous(), 40))
    weight = torch.randn(64, 40)
    assert torch.equal(pack_float_weight(weight.t()), pack_float_weight(weight.t().contiguous()))
    assert torch.equal(pack_float_weight(weight[::2]), pack_float_weight(weight[::2].contiguous()))


@pytest.mark.parametrize("shape", [(0, 16), (3, 0, 16), (0, 0, 16)])
def test_no_rows(shape: tuple[int, ...]) -> None:
    packed = pack_float_weight(torch.randn(8, 16))
    assert linear_bf16(torch.randn(shape), packed, torch.randn(8), 8).shape == (*shape[:-1], 8)


def test_no_features() -> None:
    bias = torch.randn(5)
    for op, dtype in (linear_bf16, torch.bfloat16), (linear_f16, torch.float16):
        packed = pack_float_weight(torch.empty(5, 0), dtype)
        assert torch.equal(op(torch.empty(3, 0), packed, bias, 5), bias.expand(3, 5))
        assert torch.equal(op(torch.empty(3, 0), packed, None, 5), torch.zeros(3, 5))
        packed = pack_float_weight(torch.empty(0, 5), dtype)
        assert op(torch.randn(3, 5), packed, torch.empty(0), 0).shape == (3, 0)


@pytest.mark.parametrize("dtype", WEIGHTS)
def test_packing_rounds_as_torch_does(dtype: torch.dtype) -> None:
    for kind in KINDS:
        for source in FLOATS:
            weight = kind(37, 50).to(source)
            packed = pack_float_weight(weight, dtype)
            assert packed.dtype == torch.uint8 and packed.dim() == 1
            same_bits(unpack_float_weight(packed), weight.to(dtype).float())
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype).reshape(256, 256)
    same_bits(unpack_float_weight(pack_float_weight(every, dtype)), every.float())


def test_files_copies_and_replaced_bytes() -> None:
    x, bias = torch.randn(5, 32), torch.randn(24)
    packed, second = pack_float_weight(torch.randn(24, 32)), pack_float_weight(torch.randn(24, 32))
    y = linear_bf16(x, packed, bias, 24)
    file = io.BytesIO()
    torch.save(packed, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    for other in loaded, packed.clone(), torch.cat([torch.zeros(3, dtype=torch.uint8), packed])[3:]:
        same_bits(linear_bf16(x, other, bias, 24), y)
    packed.data.copy_(second)  # torch's version counter does not count this
    same_bits(linear_bf16(x, packed, bias, 24), linear_bf16(x, second, bias, 24))
    for i in range(20):
        bias.data[i] += 1
        same_bits(linear_bf16(x, packed, bias, 24), chain(x, unpack_float_weight(packed), bias))


@pytest.mark.parametrize("dtype", WEIGHTS)
def test_refusals(dtype: torch.dtype) -> None:
    op = OPS[dtype]
    packed, bias, x = pack_float_weight(torch.randn(8, 16), dtype), torch.randn(8), torch.randn(2, 16)
    for bad in (
        (x.double(), packed, bias, 8), (x.int(), packed, bias, 8), (x, packed.float(), bias, 8),
        (x, packed.view(1, -1), bias, 8),
        (x, packed, bias.double(), 8), (x, packed, bias[:5], 8), (x, packed, bias.view(2, 4), 8), (x, packed, bias, 9),
        (x[:, :7], packed, bias, 8), (torch.tensor(1.0), packed, bias, 8),
        (x, packed.repeat_interleave(2)[::2], bias, 8),
        (x.to_sparse(), packed, bias, 8),
    ):  # fmt: skip
        with pytest.raises((RuntimeError, NotImplementedError), match="linear_b?f16"):
            op(*bad)
    for damaged in packed[:-1], packed[:3], packed[:0], torch.zeros_like(packed), packed ^ 1:
        with pytest.raises(RuntimeError, match="linear_b?f16: "):
            op(x, damaged.clone(), bias, 8)
    other = pack_float_weight(torch.randn(8, 16), next(d for d in WEIGHTS if d != dtype))
    with pytest.raises(RuntimeError, match="packed as"):
        op(x, other, bias, 8)
    int8 = gemmill_torch.pack_weight(torch.zeros(8, 16, dtype=torch.int8), torch.ones(8))
    with pytest.raises(RuntimeError, match="floating-point weights"):
        op(x, int8, bias, 8)
    with pytest.raises((RuntimeError, NotImplementedError), match="device|backend|Meta"):
        op(x, packed.to("meta"), bias, 8)
    for weight, to in (
        (torch.randn(3, 4, 5), dtype),
        (torch.randn(3, 4).double(), dtype),
        (torch.randn(3, 4), torch.float32),
    ):
        with pytest.raises(RuntimeError, match="pack_float_weight: "):
            pack_float_weight(weight, to)


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(40, 64), nn.ReLU(), nn.Linear(64, 64, bias=False), nn.GELU(), nn.Linear(64, 10)
    ).eval()


@pytest.mark.parametrize(("dtype", "layer"), [(torch.bfloat16, LinearBf16), (torch.float16, LinearF16)])
def test_convert(dtype: torch.dtype, layer: type) -> None:
    model, x = network(), torch.randn(20, 40)
    y = model(x)
    converted = convert(model, dtype=dtype)
    assert [type(m) for m in converted] == [layer, nn.ReLU, layer, nn.GELU, layer]
    assert "in_features=40, out_features=64, bias=True" in repr(converted)
    assert torch.equal(model(x), y)
    torch.testing.assert_close(converted(x), y, atol=2e-2, rtol=2e-2)
    for x_type in torch.bfloat16, torch.float16:
        low = converted(x.to(x_type))
        assert low.dtype == x_type
        torch.testing.assert_close(low.float(), y, atol=4e-2, rtol=4e-2)
    weight = model[0].weight.detach().to(dtype)
    same_bits(unpack_float_weight(convert(copy.deepcopy(model).to(dtype), dtype=dtype)[0].packed), weight.float())
    file = io.BytesIO()
    torch.save(converted.state_dict(), file)
    file.seek(0)
    other = convert(network(), dtype=dtype)
    assert not torch.equal(other(x), converted(x))
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(x), converted(x))
    assert torch.equal(copy.deepcopy(converted)(x), converted(x))
    assert converted.to("meta")(x.to("meta")).shape == (20, 10)


def test_convert_refuses_what_is_for_int8() -> None:
    for arguments in ({"calibrate": lambda m: None}, {"per_channel": False}):
        with pytest.raises(ValueError, match="int8"):
            convert(network(), dtype=torch.bfloat16, **arguments)
    with pytest.raises(ValueError, match="float32"):
        convert(network(), dtype=torch.float32)


def test_transformer_encoder() -> None:
    layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
    model, x = nn.TransformerEncoder(layer, 2).eval(), torch.randn(3, 10, 64)
    with torch.no_grad():
        similarity = nn.functional.cosine_similarity(
            convert(model, dtype=torch.bfloat16)(x).flatten(), model(x).flatten(), dim=0
        )
    assert similarity > 0.9999


@pytest.mark.parametrize("dtype", WEIGHTS)
def test_compile_and_export(dtype: torch.dtype) -> None:
    torch._dynamo.reset()
    converted = convert(network(), dtype=dtype)
    compiled = torch.compile(converted, backend="aot_eager", fullgraph=True)
    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.export.export(converted, (torch.randn(6, 40),), dynamic_shapes=((batch, None),))
    assert f"gemmill.{OPS[dtype].__name__}" in program.graph_module.code
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    with torch.no_grad():
        for rows in 1, 6, 33:
            x = torch.randn(rows, 40)
            assert torch.equal(compiled(x), converted(x))
            assert torch.equal(program.module()(x), converted(x)) and torch.equal(loaded(x), converted(x))


def test_opcheck() -> None:
    ops = torch.ops.gemmill
    bias = torch.randn(8)
    for dtype, op in (torch.bfloat16, ops.linear_bf16.default), (torch.float16, ops.linear_f16.default):
        packed = pack_float_weight(torch.randn(8, 24), dtype)
        torch.library.opcheck(ops.pack_float_weight.default, (torch.randn(24, 8).t(), dtype))
        torch.library.opcheck(ops.unpack_float_weight.default, (packed,))
        for x in torch.randn(5, 24), torch.randn(2, 3, 24), torch.randn(24), torch.randn(0, 24), torch.randn(24, 5).t():
            torch.library.opcheck(op, (x, packed, bias, 8))
            torch.library.opcheck(op, (x.bfloat16(), packed, None, 8))
            torch.library.opcheck(op, (x.half(), packed, bias.half(), 8))


ONE_THREAD = """
import os, torch, gemmill_torch as g
torch.set_num_threads(1)
threads = lambda: len(os.listdir("/proc/self/task"))
x, weight = torch.randn(512, 1024), torch.randn(1024, 1024)
before = threads()
packed = g.pack_float_weight(weight)
g.linear_bf16(x, packed, None, 1024)
g.linear_bf16(x[:1].bfloat16(), packed, None, 1024)
assert threads() == before, f"{before} threads became {threads()}"
"""


def test_one_thread_starts_no_other() -> None:
    subprocess.run([sys.executable, "-c", ONE_THREAD], check=True)
