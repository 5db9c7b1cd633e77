"""Seeds: every test draws from its own, which is printed where it fails; GEMMILL_TEST_SEED takes its place."""

from __future__ import annotations

import os
import zlib

import pytest
import torch


@pytest.fixture(autouse=True)
def seed(request: pytest.FixtureRequest) -> int:
    """The seed, by the test's name if none is given."""
    chosen = int(os.environ.get("GEMMILL_TEST_SEED") or zlib.crc32(request.node.name.encode()))
    print(f"GEMMILL_TEST_SEED={chosen}")
    torch.manual_seed(chosen)
    return chosen
