"""linear_bf16's hardware_dot: bit by bit against the instructions' chains; names, errors, layers, files,
torch.compile.

Which instructions are tested depends on the CPU: tests of one that it lacks are SKIPPED, with what is missing."""

from __future__ import annotations

import copy
import io
import os
import subprocess
import sys
import sysconfig
import warnings
from pathlib import Path

import pytest
import torch
from chains import GROUPS, chain, hardware_chain, same_bits
from kinds import KINDS
from torch import Tensor, nn

from gemmill_torch import (
    LinearBf16,
    LinearF16,
    LinearInt8,
    convert,
    linear_bf16,
    linear_f16,
    pack_float_weight,
    resolve_hardware_dot,
)

INSTRUCTIONS = list(GROUPS)
NAMES = ["off", "auto", *INSTRUCTIONS]
FLOATS = [torch.float32, torch.bfloat16, torch.float16]


def missing(name: str) -> str | None:
    """Why this CPU, or the tier that it is held to, cannot have an instruction."""
    try:
        assert resolve_hardware_dot(name) == name
    except RuntimeError as error:
        return str(error)
    return None


def here(name: str) -> str:
    """The name of an instruction that is there; otherwise the test is skipped."""
    if reason := missing(name):
        warnings.warn(f"SKIPPED: {name}: {reason}", stacklevel=2)
        pytest.skip(f"SKIPPED: {name}: {reason}")
    return name


def test_instructions_that_the_cpu_names_are_there() -> None:
    if os.environ.get("GEMMILL_TIER"):
        pytest.skip("GEMMILL_TIER holds products to a tier")
    flags = Path("/proc/cpuinfo").read_text().split("flags", 1)[1].split("\n", 1)[0].split()
    vectors = {"avx512f", "avx512bw", "avx512dq", "avx512vl"}
    for name, needed in (
        ("avx512-bf16", vectors | {"avx512_bf16"}),
        ("amx-bf16", vectors | {"avx512_vnni", "amx_tile", "amx_int8", "amx_bf16"}),
    ):
        if needed <= set(flags):
            assert resolve_hardware_dot(name) == name
        else:
            assert missing(name)


@pytest.mark.parametrize("name", INSTRUCTIONS)
@pytest.mark.parametrize("x_type", FLOATS)
@pytest.mark.parametrize("kind", KINDS)
def test_bits(name: str, x_type: torch.dtype, kind) -> None:  # noqa: ANN001
    here(name)
    for m, n, k in (1, 1, 1), (1, 33, 65), (3, 5, 7), (7, 64, 40), (16, 31, 257), (33, 100, 300), (40, 64, 128):
        x, weight = kind(m, k).to(x_type), kind(n, k)
        packed = pack_float_weight(weight)
        for bias in None, torch.randn(n), kind(n, 1)[:, 0].to(x_type):
            expected = hardware_chain(name, x, weight, bias)
            same_bits(linear_bf16(x, packed, bias, n, hardware_dot=name), expected)
    for x, weight in (torch.empty(3, 0), torch.empty(5, 0)), (torch.empty(0, 7), torch.randn(5, 7)):
        y = linear_bf16(x.to(x_type), pack_float_weight(weight), None, 5, hardware_dot=name)
        same_bits(y, torch.zeros(x.shape[0], 5, dtype=x_type))


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_rows_do_not_depend_on_the_batch(name: str) -> None:
    here(name)
    n, k = 200, 333
    packed, bias = pack_float_weight(torch.randn(n, k)), torch.randn(n)
    threads = torch.get_num_threads()
    for x_type in FLOATS:
        x = torch.randn(4, 33, k).to(x_type)
        y = linear_bf16(x, packed, bias, n, name)
        assert y.shape == (4, 33, n) and y.dtype == x_type
        for rows in 1, 2, 5, 33:
            same_bits(linear_bf16(x[2, :rows], packed, bias, n, name), y[2, :rows])
        try:
            for count in 1, 3:
                torch.set_num_threads(count)
                same_bits(linear_bf16(x, packed, bias, n, name), y)
                same_bits(linear_bf16(x[1, 7], packed, bias, n, name), y[1, 7])
        finally:
            torch.set_num_threads(threads)
        # Strides, too: rows that cannot be read where they lie.
        spread = torch.empty(4, 33, 2 * k, dtype=x_type)
        spread[..., ::2] = x
        same_bits(linear_bf16(spread[..., ::2], packed, bias, n, name), y)
        same_bits(linear_bf16(x.transpose(0, 1), packed, bias, n, name), y.transpose(0, 1))


def test_instructions_differ() -> None:
    """So that the tests of bits tell which one was used."""
    x, weight = torch.randn(16, 512), torch.randn(32, 512)
    chains = [chain(x, weight.bfloat16(), None), *(hardware_chain(name, x, weight, None) for name in INSTRUCTIONS)]
    for i in range(3):
        for other in chains[:i]:
            assert not torch.equal(chains[i], other)


def test_off_has_the_bits_of_before() -> None:
    x, weight, bias = torch.randn(9, 100), torch.randn(33, 100), torch.randn(33)
    packed = pack_float_weight(weight)
    expected = chain(x, weight.bfloat16(), bias)
    same_bits(torch.ops.gemmill.linear_bf16(x, packed, bias, 33), expected)
    # An instruction with the same weights, between them.
    for hardware_dot in None, "off", "auto", "off", None:
        y = linear_bf16(x, packed, bias, 33, hardware_dot)
        if hardware_dot != "auto":
            same_bits(y, expected)
    assert resolve_hardware_dot("off") == resolve_hardware_dot(None) == "off"


def test_auto_is_one_of_the_others() -> None:
    chosen = resolve_hardware_dot()
    print(f"auto: {chosen}")
    assert chosen == resolve_hardware_dot("auto") and chosen in ("off", *INSTRUCTIONS)
    if not missing("amx-bf16"):
        assert chosen == "amx-bf16"
    elif missing("avx512-bf16"):
        assert chosen == "off"
    for m in 1, 20:
        x, weight, bias = torch.randn(m, 300), torch.randn(64, 300), torch.randn(64)
        expected = chain(x, weight.bfloat16(), bias) if chosen == "off" else hardware_chain(chosen, x, weight, bias)
        same_bits(linear_bf16(x, pack_float_weight(weight), bias, 64, "auto"), expected)


def test_names_that_are_none() -> None:
    x, weight = torch.randn(2, 16), torch.randn(8, 16)
    packed = pack_float_weight(weight)
    for name in "avx512", "AMX-BF16", "best", "none", "":
        message = f"expected hardware_dot to be one of {', '.join(NAMES)}, but it is {name}$"
        for call in (
            lambda name=name: torch.ops.gemmill.linear_bf16(x, packed, None, 8, name),
            lambda name=name: linear_bf16(x, packed, None, 8, hardware_dot=name),
            lambda name=name: linear_bf16(x.to("meta"), packed.to("meta"), None, 8, hardware_dot=name),
            lambda name=name: resolve_hardware_dot(name),
            lambda name=name: LinearBf16.from_linear(nn.Linear(16, 8), name),
            lambda name=name: convert(nn.Linear(16, 8), dtype=torch.bfloat16, hardware_dot=name),
            lambda name=name: convert(nn.Linear(16, 8), hardware_dot=name),
        ):
            with pytest.raises(ValueError, match=message):
                call()


def test_only_for_bfloat16() -> None:
    for arguments in {}, {"dtype": torch.float16}, {"dtype": "int4"}:
        for name in "auto", "avx512-bf16", "amx-bf16":
            with pytest.raises(ValueError, match="hardware_dot is for torch.bfloat16, but dtype is "):
                convert(nn.Linear(16, 8), hardware_dot=name, **arguments)
        for name in None, "off":
            assert not hasattr(convert(nn.Linear(16, 8), hardware_dot=name, **arguments), "hardware_dot")
    half = pack_float_weight(torch.randn(8, 16), torch.float16)
    with pytest.raises(RuntimeError, match="packed as"):
        linear_bf16(torch.randn(2, 16), half, None, 8, "auto")
    with pytest.raises(TypeError):
        linear_f16(torch.randn(2, 16), half, None, 8, hardware_dot="auto")


# On every CPU: no tier up to AVX2 has the instructions, and the portable one has them only if it is named.
HELD = """
import gemmill_torch as g, torch
packed, x = g.pack_float_weight(torch.randn(8, 16)), torch.randn(2, 16)
assert g.resolve_hardware_dot() == "off"
assert torch.equal(g.linear_bf16(x, packed, None, 8, "auto"), g.linear_bf16(x, packed, None, 8))
layer = g.convert(torch.nn.Linear(16, 8), dtype=torch.bfloat16, hardware_dot="amx-bf16")
for name, call in (
    ("avx512-bf16", lambda: g.linear_bf16(x, packed, None, 8, "avx512-bf16")),
    ("amx-bf16", lambda: g.linear_bf16(x, packed, None, 8, "amx-bf16")),
    ("amx-bf16", lambda: g.resolve_hardware_dot("amx-bf16")),
    ("amx-bf16", lambda: layer(x)),
):
    try:
        call()
    except RuntimeError as error:
        assert name in str(error) and TIER in str(error), error
        print(error)
    else:
        raise AssertionError(f"{name} was not refused")
layer.hardware_dot = "off"
assert torch.equal(layer(x), g.linear_bf16(x, layer.packed, layer.bias, 8))
"""


@pytest.mark.parametrize("tier", ["portable", "avx2"])
def test_what_is_missing_is_named(tier: str) -> None:
    environment = {**os.environ, "GEMMILL_TIER": tier}
    subprocess.run([sys.executable, "-c", f"TIER = {tier!r}\n{HELD}"], check=True, env=environment)


def test_what_this_cpu_lacks_is_named() -> None:
    packed, x = pack_float_weight(torch.randn(8, 16)), torch.randn(2, 16)
    lacking = [name for name in INSTRUCTIONS if missing(name)]
    if not lacking:
        warnings.warn("SKIPPED: this CPU has all instructions", stacklevel=1)
        pytest.skip("SKIPPED: this CPU has all instructions")
    for name in lacking:
        with pytest.raises(RuntimeError, match=f"linear_bf16: .*{name}"):
            linear_bf16(x, packed, None, 8, name)


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(40, 64), nn.ReLU(), nn.Linear(64, 64, bias=False), nn.GELU(), nn.Linear(64, 10)
    ).eval()


def saved(what: object) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(what, file)
    file.seek(0)
    return file


def layer_by_layer(model: nn.Sequential, x: Tensor, hardware_dot: str | None) -> Tensor:
    for layer in model:
        if isinstance(layer, LinearBf16):
            x = linear_bf16(x, layer.packed, layer.bias, layer.out_features, hardware_dot)
        else:
            x = layer(x)
    return x


@pytest.mark.parametrize("hardware_dot", [None, *NAMES])
def test_convert_and_files(hardware_dot: str | None) -> None:
    """Layers have the names of instructions that the CPU lacks, too."""
    name = hardware_dot or "off"
    model, x = network(), torch.randn(20, 40)
    converted = convert(model, dtype=torch.bfloat16, hardware_dot=hardware_dot)
    assert [type(m) for m in converted] == [LinearBf16, nn.ReLU, LinearBf16, nn.GELU, LinearBf16]
    assert f"in_features=40, out_features=64, bias=True, hardware_dot={name}" in repr(converted)
    other = convert(network(), dtype=torch.bfloat16, hardware_dot="auto" if name == "off" else "off")
    other.load_state_dict(torch.load(saved(converted.state_dict()), weights_only=True))
    copies = [other, torch.load(saved(converted), weights_only=False), copy.deepcopy(converted)]
    for loaded in copies:
        assert [loaded[i].hardware_dot for i in (0, 2, 4)] == [name] * 3
        assert torch.equal(loaded[0].packed, converted[0].packed)
    assert LinearBf16.from_linear(model[0], hardware_dot).hardware_dot == name
    assert copy.deepcopy(converted).to("meta")(x.to("meta")).shape == (20, 10)
    if name in INSTRUCTIONS:
        here(name)
    y = converted(x)
    assert torch.equal(y, layer_by_layer(converted, x, resolve_hardware_dot(name)))
    torch.testing.assert_close(y, model(x), atol=4e-2, rtol=4e-2)
    for loaded in copies:
        assert torch.equal(loaded(x), y)
    assert torch.equal(converted(x[3:4]), y[3:4])


def test_state_of_0_1() -> None:
    """State dicts and pickled layers that know nothing of the option: they keep their bits."""
    converted, x = convert(network(), dtype=torch.bfloat16), torch.randn(5, 40)
    y = converted(x)
    state = {key: value for key, value in converted.state_dict().items() if "_extra_state" not in key}
    assert sorted(state) == ["0.bias", "0.packed", "2.packed", "4.bias", "4.packed"]
    other = convert(network(), dtype=torch.bfloat16, hardware_dot="auto")
    other.load_state_dict(state)
    assert other[0].hardware_dot == "off" and torch.equal(other(x), y)
    assert len(state) == 5
    layer = LinearBf16.from_linear(nn.Linear(40, 8))
    del layer.__dict__["hardware_dot"]
    same_bits(torch.load(saved(layer), weights_only=False)(x), linear_bf16(x, layer.packed, layer.bias, 8))
    # Nothing that belongs to a layer is missing unnoticed.
    with pytest.raises(RuntimeError, match="0.packed"):
        other.load_state_dict({key: value for key, value in state.items() if key != "0.packed"})


def test_state_with_an_unknown_name() -> None:
    layer = LinearBf16.from_linear(nn.Linear(40, 8))
    state = {**layer.state_dict(), "_extra_state": {"hardware_dot": "avx10-bf16"}}
    with pytest.raises(ValueError, match="one of off, auto, .* but it is avx10-bf16"):
        layer.load_state_dict(state)
    assert layer.hardware_dot == "off"


def test_layers_of_other_types_have_no_such_state() -> None:
    for layer in LinearF16.from_linear(nn.Linear(40, 8)), LinearInt8.from_linear(nn.Linear(40, 8)):
        assert "hardware_dot" not in repr(layer)


HAS_COMPILER_HEADERS = (Path(sysconfig.get_paths()["include"]) / "Python.h").exists()


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.parametrize("hardware_dot", NAMES)
def test_compile(hardware_dot: str, backend: str) -> None:
    if hardware_dot in INSTRUCTIONS:
        here(hardware_dot)
    if backend == "inductor" and not HAS_COMPILER_HEADERS:
        warnings.warn("SKIPPED: torch.compile with inductor: Python.h is missing (python3-dev)", stacklevel=1)
        pytest.skip("SKIPPED: Python.h is missing")
    torch._dynamo.reset()
    # Nothing but gemmill's operators and ReLU, to the bit.
    converted = convert(network()[:3], dtype=torch.bfloat16, hardware_dot=hardware_dot)
    compiled = torch.compile(converted, backend=backend, fullgraph=True)
    with torch.no_grad():
        for rows in 1, 9, 33:
            x = torch.randn(rows, 40)
            assert torch.equal(compiled(x), converted(x))
        # A layer's option may change: it is traced anew.
        converted[0].hardware_dot = converted[2].hardware_dot = "off"
        assert torch.equal(compiled(x), layer_by_layer(converted, x, None))


@pytest.mark.parametrize("hardware_dot", NAMES)
def test_export(hardware_dot: str) -> None:
    """Traced on any CPU, and run on those that have the instruction."""
    converted = convert(network(), dtype=torch.bfloat16, hardware_dot=hardware_dot)
    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.export.export(converted, (torch.randn(6, 40),), dynamic_shapes=((batch, None),))
    assert f"'{hardware_dot}'" in program.graph_module.code
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    if hardware_dot in INSTRUCTIONS:
        here(hardware_dot)
    for rows in 1, 6, 33:
        x = torch.randn(rows, 40)
        assert torch.equal(loaded(x), converted(x))


def test_opcheck() -> None:
    op, packed, bias = torch.ops.gemmill.linear_bf16.default, pack_float_weight(torch.randn(8, 24)), torch.randn(8)
    for name in (None, "off", "auto", *(name for name in INSTRUCTIONS if not missing(name))):
        for x in torch.randn(5, 24), torch.randn(2, 3, 24), torch.randn(24).bfloat16(), torch.randn(0, 24).half():
            torch.library.opcheck(op, (x, packed, bias, 8, name))
            torch.library.opcheck(op, (x, packed, None, 8), {"hardware_dot": name})


ONE_THREAD = """
import os, torch, gemmill_torch as g
torch.set_num_threads(1)
threads = lambda: len(os.listdir("/proc/self/task"))
x, weight = torch.randn(512, 1024), torch.randn(1024, 1024)
before = threads()
packed = g.pack_float_weight(weight)
g.linear_bf16(x, packed, None, 1024, NAME)
g.linear_bf16(x[:1].bfloat16(), packed, None, 1024, NAME)
assert threads() == before, f"{before} threads became {threads()}"
"""


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_one_thread_starts_no_other(name: str) -> None:
    here(name)
    subprocess.run([sys.executable, "-c", f"NAME = {name!r}\n{ONE_THREAD}"], check=True)
