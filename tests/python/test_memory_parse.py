"""Sizes as people write them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgemoe.memory import format_size, parse_size


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("4GiB", 4 << 30),
        ("1.5GB", 1_500_000_000),
        ("512M", 512 << 20),
        ("512m", 512 << 20),
        (" 2 k ", 2048),
        ("1TiB", 1 << 40),
        ("100", 100),
        ("100B", 100),
        (".5KiB", 512),
        ("0.1GB", 100_000_000),
        ("auto", 0),
        (" AUTO ", 0),
        (4096, 4096),
        (np.int64(4096), 4096),
    ],
)
def test_a_size_is_understood(text: Any, n_bytes: int) -> None:
    assert parse_size(text) == n_bytes


@pytest.mark.parametrize("text", ["", "GiB", "-1", "1e9", "4 gigs", "1..5G", "nan", "0", "0GiB", "0.1B", "٤GiB", 0, -5])
def test_what_is_no_size_is_a_value_error(text: Any) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize("text", [2**64, "99999999999GiB"])
def test_a_size_beyond_64_bits_is_a_value_error(text: Any) -> None:
    with pytest.raises(ValueError, match="less than"):
        parse_size(text)


@pytest.mark.parametrize("size", [1.5, None, True, b"4GiB"])
def test_other_types_are_a_type_error(size: Any) -> None:
    with pytest.raises(TypeError):
        parse_size(size)


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (265 << 20, "265 MiB"),
        (1 << 30, "1.0 GiB"),
        (3 << 40, "3.0 TiB"),
    ],
)
def test_sizes_are_shown_in_few_figures(n_bytes: int, text: str) -> None:
    assert format_size(n_bytes) == text
