"""Conversion of models to weights of 4 bits: layers, files, torch.compile, torch.export; what is refused."""

from __future__ import annotations

import copy
import io
import re

import pytest
import torch
from torch import Tensor, nn

from gemmill_torch import LinearInt4, convert, linear_int4, pack_int4_weight, unpack_int4_weight


def network() -> nn.Sequential:
    """Numbers of features that groups divide, and that none does."""
    return nn.Sequential(
        nn.Linear(40, 64), nn.ReLU(), nn.Linear(64, 131, bias=False), nn.GELU(), nn.Linear(131, 10)
    ).eval()


def similarity(y: Tensor, expected: Tensor) -> float:
    assert y.shape == expected.shape
    return nn.functional.cosine_similarity(y.flatten().float(), expected.flatten().float(), dim=0).item()


def saved(what: object) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(what, file)
    file.seek(0)
    return file


@pytest.mark.parametrize("quantize_x", [False, True])
@pytest.mark.parametrize("group_size", [None, 32, 64, 128])
def test_convert(group_size: int | None, quantize_x: bool) -> None:
    model, x = network(), torch.randn(20, 40)
    y = model(x)
    converted = convert(model, dtype="int4", group_size=group_size, quantize_x=quantize_x)
    assert [type(m) for m in converted] == [LinearInt4, nn.ReLU, LinearInt4, nn.GELU, LinearInt4]
    assert torch.equal(model(x), y)
    assert similarity(converted(x), y) > 0.97
    assert f"activations: {'int8 per row' if quantize_x else 'float'}" in repr(converted)
    for layer, linear in zip((converted[0], converted[2], converted[4]), (model[0], model[2], model[4]), strict=True):
        assert torch.equal(layer.packed, pack_int4_weight(linear.weight, group_size or 128))
        x_of_layer = torch.randn(3, linear.in_features)
        expected = linear_int4(x_of_layer, layer.packed, linear.bias, linear.out_features, quantize_x)
        assert torch.equal(layer(x_of_layer), expected)
    for x_type in torch.bfloat16, torch.float16:
        low = converted(x.to(x_type))
        assert low.dtype == x_type
        assert similarity(low, y) > 0.97
    assert torch.equal(converted(x[:1]), converted(x)[:1])


def test_one_layer_and_its_settings() -> None:
    linear = nn.Linear(300, 20)
    layer = LinearInt4.from_linear(linear, 32, quantize_x=True, symmetric=False, search=False)
    assert layer.quantize_x and torch.equal(layer.packed, pack_int4_weight(linear.weight, 32, False, False))
    errors = []
    for group_size in 32, 128:
        converted = convert(linear, dtype="int4", group_size=group_size)
        errors.append((unpack_int4_weight(converted.packed) - linear.weight).square().mean().item())
    assert errors[0] < errors[1]
    shared = nn.Linear(8, 8)
    converted = convert(
        nn.Sequential(shared, nn.ReLU(), shared, nn.Linear(8, 3)), dtype="int4", skip=lambda name, _: name == "3"
    )
    assert converted[0] is converted[2] and isinstance(converted[0], LinearInt4) and type(converted[3]) is nn.Linear


@pytest.mark.parametrize("quantize_x", [False, True])
def test_files_and_copies(quantize_x: bool) -> None:
    x = torch.randn(9, 40)
    converted = convert(network(), dtype="int4", group_size=32, quantize_x=quantize_x)
    y = converted(x)
    # Another size of groups, and so another number of bytes; the other kind of activations.
    other = convert(network(), dtype="int4", quantize_x=not quantize_x)
    assert not torch.equal(other(x), y)
    other.load_state_dict(torch.load(saved(converted.state_dict()), weights_only=True))
    assert torch.equal(other(x), y) and other[0].quantize_x == quantize_x
    assert torch.equal(torch.load(saved(converted), weights_only=False)(x), y)
    assert torch.equal(copy.deepcopy(converted)(x), y)
    assert torch.equal(converted.share_memory()(x), y)
    assert converted.to("meta")(x.to("meta")).shape == (9, 10)


@pytest.mark.parametrize("quantize_x", [False, True])
def test_compile_and_export(quantize_x: bool) -> None:
    torch._dynamo.reset()
    converted = convert(network(), dtype="int4", quantize_x=quantize_x)
    compiled = torch.compile(converted, backend="aot_eager", fullgraph=True)
    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.export.export(converted, (torch.randn(6, 40),), dynamic_shapes=((batch, None),))
    assert "gemmill.linear_int4" in program.graph_module.code
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    with torch.no_grad():
        for rows in 1, 6, 33:
            x = torch.randn(rows, 40)
            assert torch.equal(compiled(x), converted(x))
            assert torch.equal(program.module()(x), converted(x)) and torch.equal(loaded(x), converted(x))


def test_transformer_encoder() -> None:
    layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
    model, x = nn.TransformerEncoder(layer, 2).eval(), torch.randn(3, 10, 64)
    converted = convert(model, dtype="int4", group_size=32)
    assert isinstance(converted.layers[1].linear1, LinearInt4)
    with torch.no_grad():
        assert similarity(converted(x), model(x)) > 0.98


def test_refusals() -> None:
    for arguments, message in (
        ({"dtype": "int4", "calibrate": lambda m: None}, "calibrate and per_channel are for int8"),
        ({"dtype": "int4", "per_channel": False}, "calibrate and per_channel are for int8"),
        ({"dtype": "int4", "group_size": 48}, "group_size to be 32, 64 or 128, but it is 48"),
        ({"dtype": "int4", "group_size": 0}, "group_size to be 32, 64 or 128, but it is 0"),
        ({"group_size": 32}, "are for int4"),
        ({"quantize_x": True}, "are for int4"),
        ({"dtype": torch.bfloat16, "quantize_x": True}, "are for int4"),
        ({"dtype": "int2"}, "expected dtype to be .*, but it is 'int2'"),
        ({"dtype": torch.float32}, "but it is torch.float32"),
    ):
        with pytest.raises(ValueError, match=message):
            convert(network(), **arguments)
    broken = network()
    with torch.no_grad():
        broken[0].weight[3, 5] = torch.inf
    with pytest.raises(RuntimeError, match=re.escape("pack_int4_weight: ")):
        convert(broken, dtype="int4")
