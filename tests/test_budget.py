"""Budgets of every type of number; what is none is a BudgetError in one line that names the argument."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import opq
from opq.budget import parse_budget, parse_size

LIMITS = {"size": 10**15, "ratio": 10**9, "sparsity": 1, "bits": 8}


def budget(**given):
    arguments = dict.fromkeys(LIMITS) | given
    if "sparsity" in given:
        arguments["bits"] = 4
    return parse_budget(1000, **arguments)


def refused(name, value, words=""):
    with pytest.raises(opq.BudgetError, match=f"^{name} .*{words}") as caught:
        budget(**{name: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize(
    "value",
    [10**400, -(10**400), 10**5000, Fraction(10**400, 3), float("inf"), -float("inf"), 1e300, -1, np.float32(np.inf)],
    ids=lambda value: "large" if isinstance(value, int) else str(value)[:9],
)
def test_values_out_of_range(name, value):
    refused(name, value, "out of range")


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("value", [float("nan"), True, np.True_, 1j, [1], Decimal(2), b"2", np.ones((2, 2))], ids=repr)
def test_values_that_are_no_numbers(name, value):
    refused(name, value, "not a number")


@pytest.mark.parametrize("text", ["", "MB", "2 XB", "-2MB", "1e400", "9" * 400, "0", "nan", "2MB\n2"])
def test_sizes_that_are_none(text):
    with pytest.raises(opq.BudgetError, match="size"):
        parse_size(text)


@pytest.mark.parametrize("number", [int, float, Fraction, np.int32, np.uint64, np.float32, np.float64])
def test_every_type_of_number(number):
    assert budget(size=number(512)).bytes == 512
    assert budget(ratio=number(8)).bytes == 125
    assert budget(sparsity=number(1)).sparsity == 1
    assert budget(bits=number(3)).bits == 3


def test_compress_and_allocate_refuse_them_alike():
    weights = {"w": np.random.default_rng(0).normal(size=(8, 8))}
    for call in (opq.compress, opq.allocate):
        for name in ("size", "ratio", "bits"):
            with pytest.raises(opq.BudgetError, match=name):
                call(weights, **{name: 10**400})
