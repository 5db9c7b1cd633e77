"""Conversion of models, files, torch.compile, torch.export, opcheck."""

from __future__ import annotations

import copy
import io
import sysconfig
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import gemmill_torch
from gemmill_torch import LinearInt8, convert


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(40, 64), nn.ReLU(), nn.Linear(64, 64, bias=False), nn.GELU(), nn.Linear(64, 10)
    ).eval()


def similar(y: Tensor, expected: Tensor) -> None:
    assert y.shape == expected.shape
    assert nn.functional.cosine_similarity(y.flatten().float(), expected.flatten().float(), dim=0) > 0.995


def test_convert_leaves_the_model_alone() -> None:
    model, x = network(), torch.randn(20, 40)
    y = model(x)
    converted = convert(model)
    assert [type(m) for m in converted] == [LinearInt8, nn.ReLU, LinearInt8, nn.GELU, LinearInt8]
    assert torch.equal(model(x), y)
    similar(converted(x), y)
    assert "activations: per row" in repr(converted)
    assert convert(model, inplace=True) is model
    assert torch.equal(model(x), converted(x))


def test_convert_one_layer() -> None:
    linear = nn.Linear(30, 20)
    x = torch.randn(4, 30)
    similar(convert(linear)(x), linear(x))


def test_calibration() -> None:
    model, x = network(), torch.randn(200, 40)
    converted = convert(model, calibrate=lambda m: m(x))
    assert isinstance(converted[0].x_scale, float) and 0 < converted[0].x_zero_point < 255
    similar(converted(x), model(x))
    with pytest.raises(ValueError, match="did not run"):
        convert(model, calibrate=lambda m: None)


def test_skipped_shared_and_per_tensor() -> None:
    model = network()
    converted = convert(model, skip=lambda name, linear: name == "4", per_channel=False)
    assert type(converted[4]) is nn.Linear and converted[4] is not model[4]
    shared = nn.Linear(8, 8)
    converted = convert(nn.Sequential(shared, nn.ReLU(), shared))
    assert converted[0] is converted[2] and isinstance(converted[0], LinearInt8)


def test_bfloat16_models() -> None:
    model, x = network().bfloat16(), torch.randn(20, 40).bfloat16()
    for converted in convert(model), convert(model.float()).bfloat16():
        y = converted(x)
        assert y.dtype == torch.bfloat16
        similar(y, model.float()(x.float()))
        model.bfloat16()


def test_transformer_encoder() -> None:
    layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
    model, x = nn.TransformerEncoder(layer, 2).eval(), torch.randn(3, 10, 64)
    converted = convert(model)
    assert isinstance(converted.layers[1].linear1, LinearInt8)
    with torch.no_grad():
        similar(converted(x), model(x))


@pytest.mark.parametrize("calibrated", [False, True])
def test_files(calibrated: bool) -> None:
    model, x = network(), torch.randn(9, 40)
    calibrate = (lambda m: m(x)) if calibrated else None
    converted = convert(model, calibrate=calibrate)
    y = converted(x)
    file = io.BytesIO()
    torch.save(converted.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    other = convert(network(), calibrate=calibrate)
    assert not torch.equal(other(x), y)
    other.load_state_dict(state)
    assert torch.equal(other(x), y)
    file = io.BytesIO()
    torch.save(converted, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(x), y)
    assert torch.equal(copy.deepcopy(converted)(x), y)
    assert torch.equal(converted.share_memory()(x), y)


HAS_COMPILER_HEADERS = (Path(sysconfig.get_paths()["include"]) / "Python.h").exists()


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compile(backend: str) -> None:
    if backend == "inductor" and not HAS_COMPILER_HEADERS:
        warnings.warn("SKIPPED: torch.compile with inductor: Python.h is missing (python3-dev)", stacklevel=1)
        pytest.skip("Python.h is missing")
    torch._dynamo.reset()
    for converted in convert(network()), convert(network(), calibrate=lambda m: m(torch.randn(50, 40))):
        compiled = torch.compile(converted, backend=backend, fullgraph=True)
        with torch.no_grad():
            for rows in 5, 9, 33:
                x = torch.randn(rows, 40)
                # GELU is vectorised differently.
                torch.testing.assert_close(compiled(x), converted(x), atol=2e-2, rtol=2e-2)
            # The model without GELU: nothing but gemmill's operators and ReLU, to the bit.
            head, x = converted[:3], torch.randn(17, 40)
            assert torch.equal(torch.compile(head, backend=backend, fullgraph=True)(x), head(x))


def test_compile_int8_mm() -> None:
    a, b = torch.randint(-128, 128, (7, 64), dtype=torch.int8), torch.randint(-128, 128, (32, 64), dtype=torch.int8)
    compiled = torch.compile(lambda a, b: gemmill_torch.int8_mm(a, b.t()) + 1, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(a, b).long(), a.long() @ b.long().t() + 1)


def test_export() -> None:
    converted, x = convert(network()), torch.randn(6, 40)
    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.export.export(converted, (x,), dynamic_shapes=((batch, None),))
    assert "gemmill.linear_int8" in program.graph_module.code
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    for rows in 1, 6, 50:
        x = torch.randn(rows, 40)
        assert torch.equal(program.module()(x), converted(x))
        assert torch.equal(loaded(x), converted(x))


def test_opcheck() -> None:
    ops = torch.ops.gemmill
    a, b = torch.randint(-128, 128, (4, 24), dtype=torch.int8), torch.randint(-128, 128, (24, 6), dtype=torch.int8)
    for args in (a, b), (a, b.t().contiguous().t()), (a[:0], b), (a[:, :0], b[:0]), (a[::2], b[:, ::2]):
        torch.library.opcheck(ops.int8_mm.default, args)
    q, scales = ops.quantize_weight(torch.randn(8, 24))
    packed, bias = ops.pack_weight(q, scales), torch.randn(8)
    torch.library.opcheck(ops.quantize_weight.default, (torch.randn(8, 24),))
    torch.library.opcheck(ops.quantize_weight.default, (torch.randn(24, 8).t(), False))
    torch.library.opcheck(ops.pack_weight.default, (q, scales))
    torch.library.opcheck(ops.pack_int8.default, (b,))
    torch.library.opcheck(ops.int8_mm_packed.default, (a, ops.pack_int8(b), 6))
    torch.library.opcheck(ops.unpack_weight.default, (packed,))
    for x in (
        torch.randn(5, 24),
        torch.randn(2, 3, 24),
        torch.randn(24),
        torch.randn(0, 24),
        torch.randn(5, 24).bfloat16(),
    ):
        torch.library.opcheck(ops.linear_int8.default, (x, packed, bias, 8))
        torch.library.opcheck(ops.linear_int8.default, (x, packed, None, 8, 0.1, 3))
    torch.library.opcheck(ops.linear_int8.default, (torch.randn(24, 5).t(), packed, bias, 8))


def test_meta_tensors_have_shapes() -> None:
    model = convert(network())
    x = torch.randn(3, 5, 40, device="meta")
    assert model.to("meta")(x).shape == (3, 5, 10)
