"""int8_mm against int64 products: every kind of data, shape and stride; what it refuses; its cache of second
operands."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

import gemmill_torch
from gemmill_torch import int8_mm, int8_mm_packed, pack_int8


@pytest.fixture(autouse=True)
def _default_cache() -> Iterator[None]:
    gemmill_torch.set_int8_mm_cache(64 << 20)
    yield
    gemmill_torch.set_int8_mm_cache(64 << 20)


def expected(a: Tensor, b: Tensor) -> Tensor:
    """The int64 product, modulo 2^32 as int32."""
    return (a.long() @ b.long()).to(torch.int32)


def random(*shape: int) -> Tensor:
    return torch.randint(-128, 128, shape, dtype=torch.int8)


def corners(*shape: int) -> Tensor:
    return torch.tensor([-128, -127, 0, 127], dtype=torch.int8)[torch.randint(0, 4, shape)]


def constant(value: int, *shape: int) -> Tensor:
    return torch.full(shape, value, dtype=torch.int8)


SHAPES = [
    (1, 1, 1), (1, 1, 3), (2, 3, 4), (3, 17, 5), (5, 16, 31), (6, 33, 32), (7, 63, 65), (13, 64, 100), (16, 1, 300),
    (17, 2, 257),
    (4, 4, 129), (31, 100, 1), (64, 48, 480), (1, 4096, 64), (100, 130, 1025), (3, 7, 5000),
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("make", [random, corners], ids=["random", "corners"])
def test_equals_int64(shape: tuple[int, int, int], make) -> None:  # noqa: ANN001
    m, n, k = shape
    for a in make(m, k), make(k, m).t(), make(m, 2 * k)[:, ::2], make(2 * m, k + 3)[::2, 3:]:
        for b in (
            make(k, n),
            make(n, k).t(),
            make(k, 2 * n)[:, ::2],
            make(2 * k, n + 5)[::2, 5:],
            make(n + 1, k + 1).t()[1:, 1:],
        ):
            c = int8_mm(a, b)
            assert c.dtype == torch.int32 and c.is_contiguous()
            assert torch.equal(c, expected(a, b))
            assert torch.equal(int8_mm(a, b), c)  # by the cache
            assert torch.equal(int8_mm_packed(a, pack_int8(b), n), c)


def test_every_tail() -> None:
    for m, n, k in itertools.product(range(1, 9), range(1, 36, 2), [1, 2, 3, 4, 5, 31, 33, 64, 67]):
        a, b = corners(m, k), corners(k, n)
        assert torch.equal(int8_mm(a, b), expected(a, b)), (m, n, k)


@pytest.mark.parametrize("values", list(itertools.product([-128, -1, 0, 127], repeat=2)))
def test_constants(values: tuple[int, int]) -> None:
    """No pair of values that may saturate 16 bits does."""
    a, b = constant(values[0], 5, 1000), constant(values[1], 1000, 40)
    assert torch.equal(int8_mm(a, b), expected(a, b))
    b[::2] = 127
    a[:, 1::3] = -128
    assert torch.equal(int8_mm(a, b), expected(a, b))


def test_sums_wrap() -> None:
    """131072 * 128 * 128 = 2^31 is beyond int32, and the sum goes on modulo 2^32."""
    for k in 131071, 131072, 131073, 300_000:
        a, b = constant(-128, 2, k), constant(-128, k, 3)
        b[:, 1] = 127
        assert torch.equal(int8_mm(a, b), expected(a, b))
    assert int8_mm(constant(-128, 1, 131072), constant(-128, 131072, 1)).item() == -(2**31)


@pytest.mark.parametrize("shape", list(itertools.product([0, 3], repeat=3)))
def test_empty(shape: tuple[int, int, int]) -> None:
    m, n, k = shape
    a, b = random(m, k), random(k, n)
    assert torch.equal(int8_mm(a, b), expected(a, b))


def test_expanded() -> None:
    a, b = random(1, 50).expand(4, 50), random(50, 1).expand(50, 20)
    assert torch.equal(int8_mm(a, b), expected(a, b))


def test_drop_in() -> None:
    a, b = random(32, 64), random(48, 64).t()
    assert torch.equal(int8_mm(a, b), torch._int_mm(a, b))


@pytest.mark.parametrize("cache", [0, 64 << 20])
def test_changes_in_place_are_seen(cache: int) -> None:
    gemmill_torch.set_int8_mm_cache(cache)
    a, b = random(4, 300), random(300, 70)
    for view in b, b.t().contiguous().t():
        for i, j in (0, 0), (299, 69), (150, 3):
            int8_mm(a, view)
            view.data[i, j] ^= 1  # torch's version counter does not count this
            assert torch.equal(int8_mm(a, view), expected(a, view))


def test_cache_is_bounded() -> None:
    gemmill_torch.set_int8_mm_cache(100_000)
    a = random(3, 100)
    matrices = [random(100, 200) for _ in range(8)]
    for b in matrices * 2:
        assert torch.equal(int8_mm(a, b), expected(a, b))
    with pytest.raises(RuntimeError, match="at least 0"):
        gemmill_torch.set_int8_mm_cache(-1)


def test_memory_that_was_freed_is_no_match() -> None:
    a = random(2, 256)
    for _ in range(200):
        b = random(256, 64)
        assert torch.equal(int8_mm(a, b), expected(a, b))
        del b


def test_threads_share_operands() -> None:
    a, matrices = random(8, 128), [random(128, 64) for _ in range(4)]
    right = [expected(a, b) for b in matrices]
    wrong = []

    def work(seed: int) -> None:
        for i in range(200):
            j = (i * 7 + seed) % 4
            if not torch.equal(int8_mm(a, matrices[j]), right[j]):
                wrong.append((seed, i))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_packed_refusals() -> None:
    a, packed = random(2, 24), pack_int8(random(24, 8))
    for bad in (
        (a.int(), packed, 8),
        (a[:, :5], packed, 8),
        (a, packed, 9),
        (a, packed.int(), 8),
        (a, packed[:-1].clone(), 8),
    ):
        with pytest.raises(RuntimeError, match="int8_mm_packed: "):
            int8_mm_packed(*bad)
    with pytest.raises(RuntimeError, match="scales"):
        gemmill_torch.linear_int8(torch.randn(2, 24), packed, None, 8)
    with pytest.raises(RuntimeError, match="pack_int8: "):
        pack_int8(random(3))


def test_refusals() -> None:
    a, b = random(2, 3), random(3, 4)
    for bad in (
        (a.int(), b), (a, b.to(torch.uint8)), (a.float(), b.float()), (a, random(4, 4)), (a, random(3)),
        (random(1, 2, 3), b),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match="int8_mm: expected"):
            int8_mm(*bad)
    with pytest.raises((RuntimeError, NotImplementedError), match="device|backend|Meta"):
        int8_mm(a.to("meta"), b)
    with pytest.raises((RuntimeError, NotImplementedError)):
        int8_mm(a.to_sparse(), b)
    with pytest.raises((TypeError, RuntimeError)):
        int8_mm(a.numpy(), b)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        a, b = random(200, 300), random(300, 500)
        assert torch.equal(int8_mm(a, b), expected(a, b))
    finally:
        torch.set_num_threads(before)
