"""Products on torch's threads: the same bits with any number of them, and none of the library's own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

import gemmill_torch as g

# Large enough for several threads, with one row.
N, K = 2100, 1030


@pytest.fixture(autouse=True)
def _restored_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def products(x: Tensor, a: Tensor, packed: dict[str, Tensor]) -> list[Tensor]:
    return [
        g.int8_mm_packed(a, packed["int8_mm"], N),
        g.linear_int8(x, packed["int8"], None, N),
        g.linear_bf16(x, packed["bf16"], None, N),
        g.linear_int4(x, packed["int4"], None, N),
        g.linear_int4(x, packed["int4"], None, N, True),
    ]


def packed_weights() -> dict[str, Tensor]:
    weight = torch.randn(N, K)
    return {
        "int8_mm": g.pack_int8(torch.randint(-128, 128, (K, N), dtype=torch.int8)),
        "int8": g.pack_weight(*g.quantize_weight(weight)),
        "bf16": g.pack_float_weight(weight),
        "int4": g.pack_int4_weight(weight, search=False),
    }


def test_bits() -> None:
    packed = packed_weights()
    for rows in 1, 2, 9, 15, 16, 40:
        x, a = torch.randn(rows, K), torch.randint(-128, 128, (rows, K), dtype=torch.int8)
        torch.set_num_threads(1)
        expected = products(x, a, packed)
        # Back and forth: options are kept by thread.
        for threads in 2, 5, 2, 3:
            torch.set_num_threads(threads)
            for y, want in zip(products(x, a, packed), expected, strict=True):
                assert torch.equal(y, want), f"{rows} rows, {threads} threads"


NO_OTHER_THREADS = """
import os, sys, torch
sys.path.insert(0, sys.argv[2])
from test_threads import K, products
packed = torch.load(sys.argv[1])
threads = lambda: len(os.listdir("/proc/self/task"))
x, a = torch.randn(40, K), torch.randint(-128, 128, (40, K), dtype=torch.int8)
torch.set_num_threads(1)
products(x, a, packed)  # loads them
torch.set_num_threads(3)
torch.randn(1 << 22).add_(1)  # starts torch's threads
before = threads()
assert before > 2, before
for rows in 1, 9, 40:
    products(x[:rows], a[:rows], packed)
assert threads() == before, f"{before} threads became {threads()}"
"""


def test_no_other_threads(tmp_path: Path) -> None:
    file = tmp_path / "packed"
    torch.save(packed_weights(), file)
    subprocess.run([sys.executable, "-c", NO_OTHER_THREADS, str(file), str(Path(__file__).parent)], check=True)


FORK = """
import copy, multiprocessing, sys, torch
from torch import nn
import gemmill_torch as g
torch.set_num_threads(1)
torch.manual_seed(1)
layer, x = nn.Linear(512, 512).eval(), torch.randn(64, 512)
kinds = [dict(dtype="int4"), dict(dtype="int4", quantize_x=True), dict(dtype=torch.int8), dict(dtype=torch.bfloat16)]
convert = lambda: [g.convert(copy.deepcopy(layer), **kind) for kind in kinds]
with torch.no_grad():
    before = convert()
    expected = [converted(x) for converted in before]
    def child():
        for converted, want in zip(before + convert(), expected * 2, strict=True):
            assert torch.equal(converted(x), want)
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(60)
    if process.is_alive():
        process.kill()
        sys.exit("the child hangs")
    sys.exit(process.exitcode)
"""


def test_a_forked_child() -> None:
    """Layers that were converted in the parent, and those of its own."""
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=120)
