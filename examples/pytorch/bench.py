"""gemmill's operators against torch's own, on this CPU and in one run.

    python bench.py [--threads 1 2] [--seconds 0.3]

Sides take turns, and the fastest run of each counts. What CPUs without AVX-512 would do, as far as torch can be held to it:

    ONEDNN_MAX_CPU_ISA=AVX2 FBGEMM_ENABLE_INSTRUCTIONS=AVX2 GEMMILL_TIER=avx2 python bench.py
"""

from __future__ import annotations

import argparse
import math
import os
import time
import warnings
from collections.abc import Callable

import torch

import gemmill_torch

SHAPES = [(16, 1024, 1024), (64, 1024, 480), (128, 3072, 768), (256, 1024, 1024), (1, 4096, 1024)]


def fastest(sides: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """The fastest run of each side in microseconds: sides take turns for `seconds` each."""
    best = dict.fromkeys(sides, math.inf)
    end = time.perf_counter() + seconds * len(sides)
    rounds = 0
    while rounds < 3 or time.perf_counter() < end:
        rounds += 1
        for name, run in sides.items():
            # The first run after another side's finds its own operands elsewhere.
            for _ in range(2 if rounds > 1 else 3):
                start = time.perf_counter()
                run()
                best[name] = min(best[name], time.perf_counter() - start)
    return {name: 1e6 * s for name, s in best.items()}


def mean(ratios: list[float]) -> float:
    return math.exp(sum(math.log(r) for r in ratios) / len(ratios))


def int8_mm(seconds: float) -> None:
    print("\nint8_mm and torch._int_mm, us (B as torch.nn.Linear has it, K-major; `new B`: packed in every call)")
    print(f"{'m, n, k':>16} {'torch':>9} {'no oneDNN':>9} {'gemmill':>9} {'new B':>9} {'ratio':>7} {'no oneDNN':>9}")
    ratios, plain_ratios = [], []
    for m, n, k in SHAPES:
        a = torch.randint(-128, 128, (m, k), dtype=torch.int8)
        b = torch.randint(-128, 128, (n, k), dtype=torch.int8).t()
        us = fastest({"torch": lambda: torch._int_mm(a, b), "gemmill": lambda: gemmill_torch.int8_mm(a, b)}, seconds)
        gemmill_torch.set_int8_mm_cache(0)
        us["new"] = fastest({"new": lambda: gemmill_torch.int8_mm(a, b)}, seconds / 2)["new"]
        gemmill_torch.set_int8_mm_cache(64 << 20)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with torch.backends.mkldnn.flags(enabled=False):
                us["plain"] = fastest({"plain": lambda: torch._int_mm(a, b)}, 0)["plain"]
        ratios.append(us["torch"] / us["gemmill"])
        plain_ratios.append(us["plain"] / us["gemmill"])
        print(
            f"{f'{m}, {n}, {k}':>16} {us['torch']:9.1f} {us['plain']:9.0f} {us['gemmill']:9.1f} {us['new']:9.1f}"
            f" {ratios[-1]:7.2f} {plain_ratios[-1]:9.1f}"
        )
    print(f"{'geometric mean':>16} {'':39} {mean(ratios):7.2f} {mean(plain_ratios):9.1f}")


def linear(per_channel: bool, seconds: float) -> None:
    kind = "per channel" if per_channel else "per tensor"
    print(f"\nlinear_int8 and quantized.linear_dynamic (fbgemm), us: f32 in and out, weights {kind}")
    print(f"{'m, n, k':>16} {'f32':>9} {'fbgemm':>9} {'gemmill':>9} {'static':>9} {'ratio':>7}")
    ratios = []
    for m, n, k in SHAPES:
        x, layer = torch.randn(m, k), torch.nn.Linear(k, n)
        weight = layer.weight.detach()
        scales = gemmill_torch.quantize_weight(weight, per_channel)[1]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if per_channel:
                q = torch.quantize_per_channel(weight, scales, torch.zeros(n, dtype=torch.int64), 0, torch.qint8)
            else:
                q = torch.quantize_per_tensor(weight, scales.item(), 0, torch.qint8)
        fbgemm = torch.ops.quantized.linear_prepack(q, layer.bias.detach())
        ours = gemmill_torch.LinearInt8.from_linear(layer, per_channel)
        dynamic = (x, ours.packed, ours.bias, n)
        sides = {
            "f32": lambda: torch.nn.functional.linear(x, weight, layer.bias),
            "fbgemm": lambda: torch.ops.quantized.linear_dynamic(x, fbgemm, False),
            "gemmill": lambda: torch.ops.gemmill.linear_int8(*dynamic),
            "static": lambda: torch.ops.gemmill.linear_int8(*dynamic, 0.03, 128),
        }
        with torch.no_grad():
            us = fastest(sides, seconds)
        ratios.append(us["fbgemm"] / us["gemmill"])
        print(
            f"{f'{m}, {n}, {k}':>16} {us['f32']:9.1f} {us['fbgemm']:9.1f} {us['gemmill']:9.1f} {us['static']:9.1f} {ratios[-1]:7.2f}"
        )
    print(f"{'geometric mean':>16} {'':39} {mean(ratios):7.2f}")


def overhead(seconds: float) -> None:
    """What an operator takes beyond the library's call, which the extension times itself, back to back."""
    layer = gemmill_torch.LinearInt8.from_linear(torch.nn.Linear(64, 64))
    x, packed, bias = torch.randn(1, 64), layer.packed, layer.bias
    a, b = torch.zeros(1, 64, dtype=torch.int8), torch.zeros(64, 64, dtype=torch.int8)
    sides = {
        "linear_int8": lambda: torch.ops.gemmill.linear_int8.default(x, packed, bias, 64),
        "int8_mm": lambda: torch.ops.gemmill.int8_mm.default(a, b),
        "torch.add": lambda: torch.add(x, x),
    }
    us = fastest(sides, seconds)
    runs = 20_000
    library = min(torch.ops.gemmill.time_linear_int8(x, packed, bias, runs) for _ in range(5)) / runs * 1e6
    print("\n1 x 64 x 64 with one thread, us of a call from Python")
    print(
        f"linear_int8 {us['linear_int8']:.2f}, of which the library's call {library:.2f}: overhead {us['linear_int8'] - library:.2f}"
    )
    print(f"int8_mm {us['int8_mm']:.2f}; torch.add of 64 numbers {us['torch.add']:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--seconds", type=float, default=0.3, help="for each side of each measurement")
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.backends.quantized.engine = "fbgemm"
    for threads in args.threads:
        torch.set_num_threads(threads)
        print(f"\n== {threads} threads; {torch.__version__}, tier {torch.ops.gemmill.tier()}", *held())
        int8_mm(args.seconds)
        linear(True, args.seconds)
        linear(False, args.seconds)
        if threads == 1:
            overhead(args.seconds)


def held() -> list[str]:
    """The settings of the environment that hold the sides to older instructions."""
    return [
        f"{name}={os.environ[name]}"
        for name in ("ONEDNN_MAX_CPU_ISA", "FBGEMM_ENABLE_INSTRUCTIONS", "GEMMILL_TIER")
        if name in os.environ
    ]


if __name__ == "__main__":
    main()
