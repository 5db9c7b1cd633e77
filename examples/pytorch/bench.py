"""gemmill's operators against torch's own, on this CPU and in one run.

    python bench.py [--threads 1 2] [--seconds 0.3] [--only int8_mm linear_int8 linear_bf16 linear_f16 linear_int4
    overhead]

Sides take turns, and the fastest run of each counts. What CPUs without AVX-512 would do, as far as torch can be held to
it:

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
    print(
        "\nint8_mm, us, B K-major as in torch.nn.Linear: torch._int_mm with oneDNN; int8_mm with the same B again, "
        "with a new B,"
    )
    print("int8_mm_packed. Ratios: torch to the same B, torch to packed, torch without oneDNN to the same B")
    print(
        f"{'m, n, k':>15} {'torch':>9} {'same B':>9} {'new B':>9} {'packed':>9} {'ratio':>7} {'packed':>7} "
        f"{'no oneDNN':>9}"
    )
    ratios = [int8_mm_row(m, n, k, seconds) for m, n, k in SHAPES]
    same, packed, plain = (mean([r[i] for r in ratios]) for i in range(3))
    print(f"{'geometric mean':>15} {'':39} {same:7.2f} {packed:7.2f} {plain:9.1f}")


def int8_mm_row(m: int, n: int, k: int, seconds: float) -> tuple[float, float, float]:
    a = torch.randint(-128, 128, (m, k), dtype=torch.int8)
    b = torch.randint(-128, 128, (n, k), dtype=torch.int8).t()
    packed = gemmill_torch.pack_int8(b)
    sides = {
        "torch": lambda: torch._int_mm(a, b),
        "same": lambda: torch.ops.gemmill.int8_mm(a, b),
        "packed": lambda: torch.ops.gemmill.int8_mm_packed(a, packed, n),
    }
    us = fastest(sides, seconds)
    gemmill_torch.set_int8_mm_cache(0)
    us |= fastest({"new": sides["same"]}, seconds)
    gemmill_torch.set_int8_mm_cache(64 << 20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.backends.mkldnn.flags(enabled=False):
            us |= fastest({"plain": sides["torch"]}, 0)
    ratios = us["torch"] / us["same"], us["torch"] / us["packed"], us["plain"] / us["same"]
    times = " ".join(f"{us[side]:9.1f}" for side in ("torch", "same", "new", "packed"))
    print(f"{f'{m}, {n}, {k}':>15} {times} {ratios[0]:7.2f} {ratios[1]:7.2f} {ratios[2]:9.1f}")
    return ratios


def linear(per_channel: bool, seconds: float) -> None:
    kind = "per channel" if per_channel else "per tensor"
    print(f"\nlinear_int8 and quantized.linear_dynamic with fbgemm, us: f32 in and out, gaussian weights {kind}")
    print(f"{'m, n, k':>15} {'f32':>9} {'fbgemm':>9} {'by row':>9} {'static':>9} {'ratio':>7}")
    ratio = mean([linear_row(m, n, k, per_channel, seconds) for m, n, k in SHAPES])
    print(f"{'geometric mean':>15} {'':39} {ratio:7.2f}")


def linear_row(m: int, n: int, k: int, per_channel: bool, seconds: float) -> float:
    x, weight, bias = torch.randn(m, k), torch.randn(n, k) * 0.02, torch.randn(n)
    ours, scales = gemmill_torch.quantize_weight(weight, per_channel)
    packed = gemmill_torch.pack_weight(ours, scales)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if per_channel:
            q = torch.quantize_per_channel(weight, scales, torch.zeros(n, dtype=torch.int64), 0, torch.qint8)
        else:
            q = torch.quantize_per_tensor(weight, scales.item(), 0, torch.qint8)
    fbgemm = torch.ops.quantized.linear_prepack(q, bias)
    sides = {
        "f32": lambda: torch.nn.functional.linear(x, weight, bias),
        "fbgemm": lambda: torch.ops.quantized.linear_dynamic(x, fbgemm, False),
        "by row": lambda: torch.ops.gemmill.linear_int8(x, packed, bias, n),
        "static": lambda: torch.ops.gemmill.linear_int8(x, packed, bias, n, 0.03, 128),
    }
    us = fastest(sides, seconds)
    times = " ".join(f"{us[side]:9.1f}" for side in sides)
    print(f"{f'{m}, {n}, {k}':>15} {times} {us['fbgemm'] / us['by row']:7.2f}")
    return us["fbgemm"] / us["by row"]


def half(dtype: torch.dtype, seconds: float) -> None:
    name = "bf16" if dtype == torch.bfloat16 else "f16"
    print(
        f"\ntorch's {name} linear and linear_{name}, us: weights {name}; x {name}, or float32. Ratios: torch to gemmill"
    )
    print(f"{'m, n, k':>15} {'f32':>9} {name:>9} {'x ' + name:>9} {'x f32':>9} {'ratio':>7} {'x f32':>7}")
    ratios = [half_row(m, n, k, dtype, seconds) for m, n, k in SHAPES]
    low, full = (mean([r[i] for r in ratios]) for i in range(2))
    print(f"{'geometric mean':>15} {'':39} {low:7.2f} {full:7.2f}")


def half_row(m: int, n: int, k: int, dtype: torch.dtype, seconds: float) -> tuple[float, float]:
    x, weight, bias = torch.randn(m, k), torch.randn(n, k) * 0.02, torch.randn(n)
    low_x, low_weight, low_bias = (t.to(dtype) for t in (x, weight, bias))
    op = torch.ops.gemmill.linear_bf16 if dtype == torch.bfloat16 else torch.ops.gemmill.linear_f16
    packed = gemmill_torch.pack_float_weight(weight, dtype)
    sides = {
        "f32": lambda: torch.nn.functional.linear(x, weight, bias),
        "torch": lambda: torch.nn.functional.linear(low_x, low_weight, low_bias),
        "low": lambda: op(low_x, packed, low_bias, n),
        "full": lambda: op(x, packed, bias, n),
    }
    us = fastest(sides, seconds)
    times = " ".join(f"{us[side]:9.1f}" for side in sides)
    ratios = us["torch"] / us["low"], us["torch"] / us["full"]
    print(f"{f'{m}, {n}, {k}':>15} {times} {ratios[0]:7.2f} {ratios[1]:7.2f}")
    return ratios


def linear_int4(seconds: float) -> None:
    print("\ntorch's int4 product and linear_int4 of bf16 x, as it is and as int8, us. Ratios: torch to both")
    print(f"{'m, n, k':>15} {'bf16':>9} {'torch':>9} {'float':>9} {'int8 x':>9} {'ratio':>7} {'int8 x':>7}")
    ratios = [linear_int4_row(m, n, k, seconds) for m, n, k in SHAPES]
    exact, quantized = (mean([r[i] for r in ratios]) for i in range(2))
    print(f"{'geometric mean':>15} {'':39} {exact:7.2f} {quantized:7.2f}")


def linear_int4_row(m: int, n: int, k: int, seconds: float) -> tuple[float, float]:
    group = 128 if k % 128 == 0 else 32
    x, weight = torch.randn(m, k).bfloat16(), torch.randn(n, k) * 0.02
    q = torch.ops.aten._convert_weight_to_int4pack_for_cpu(torch.randint(0, 16, (n, k), dtype=torch.int32), 1)
    scales_and_zeros = torch.rand(k // group, n, 2).bfloat16()
    packed, low = gemmill_torch.pack_int4_weight(weight, group, search=False), weight.bfloat16()
    sides = {
        "bf16": lambda: torch.nn.functional.linear(x, low),
        "torch": lambda: torch.ops.aten._weight_int4pack_mm_for_cpu(x, q, group, scales_and_zeros),
        "float": lambda: torch.ops.gemmill.linear_int4(x, packed, None, n),
        "int8": lambda: torch.ops.gemmill.linear_int4(x, packed, None, n, True),
    }
    us = fastest(sides, seconds)
    times = " ".join(f"{us[side]:9.1f}" for side in sides)
    ratios = us["torch"] / us["float"], us["torch"] / us["int8"]
    print(f"{f'{m}, {n}, {k}':>15} {times} {ratios[0]:7.2f} {ratios[1]:7.2f}")
    return ratios


def overhead(seconds: float) -> None:
    """What an operator takes beyond the library's call, which the extension times itself, back to back: with one
    thread."""
    if torch.get_num_threads() != 1:
        return
    layer = gemmill_torch.LinearInt8.from_linear(torch.nn.Linear(64, 64))
    x, packed, bias = torch.randn(1, 64), layer.packed, layer.bias
    half = gemmill_torch.pack_float_weight(torch.randn(64, 64))
    a, b = torch.zeros(1, 64, dtype=torch.int8), torch.zeros(64, 64, dtype=torch.int8)
    sides = {
        "linear_int8": lambda: torch.ops.gemmill.linear_int8.default(x, packed, bias, 64),
        "linear_bf16": lambda: torch.ops.gemmill.linear_bf16.default(x, half, bias, 64),
        "int8_mm": lambda: torch.ops.gemmill.int8_mm.default(a, b),
        "torch.add": lambda: torch.add(x, x),
    }
    with torch.inference_mode():
        us = fastest(sides, seconds)
    runs = 20_000
    print("\n1 x 64 x 64 with one thread, us of a call from Python, in inference mode")
    for name, time_runs, weights in (
        ("linear_int8", torch.ops.gemmill.time_linear_int8, packed),
        ("linear_bf16", torch.ops.gemmill.time_linear_bf16, half),
    ):
        library = min(time_runs(x, weights, bias, runs) for _ in range(5)) / runs * 1e6
        print(f"{name} {us[name]:.2f}, of which the library's call {library:.2f}: overhead {us[name] - library:.2f}")
    print(f"int8_mm {us['int8_mm']:.2f}; torch.add of 64 numbers {us['torch.add']:.2f}")


def linear_int8(seconds: float) -> None:
    for per_channel in True, False:
        linear(per_channel, seconds)


PARTS = {
    "int8_mm": int8_mm,
    "linear_int8": linear_int8,
    "linear_bf16": lambda seconds: half(torch.bfloat16, seconds),
    "linear_f16": lambda seconds: half(torch.float16, seconds),
    "linear_int4": linear_int4,
    "overhead": overhead,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--seconds", type=float, default=0.3, help="for each side of each measurement")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="what to measure")
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.backends.quantized.engine = "fbgemm"
    for threads in args.threads:
        torch.set_num_threads(threads)
        print(f"\n== {threads} threads; {torch.__version__}, tier {torch.ops.gemmill.tier()}", *held())
        for part in args.only:
            PARTS[part](args.seconds)


def held() -> list[str]:
    """The settings of the environment that hold the sides to older instructions."""
    names = "ONEDNN_MAX_CPU_ISA", "FBGEMM_ENABLE_INSTRUCTIONS", "GEMMILL_TIER"
    return [f"{name}={os.environ[name]}" for name in names if name in os.environ]


if __name__ == "__main__":
    main()
