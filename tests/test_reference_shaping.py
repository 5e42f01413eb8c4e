"""The reference operators that move elements."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opq.graph import Attribute, Node
from opq.reference.operators import evaluate

Array = npt.NDArray[Any]
DTYPES = ["float32", "int32", "int64"]


def run(op: str, *inputs: Array, **attributes: Attribute) -> Array:
    return evaluate(Node(op, "tested", (), ("y",), attributes), inputs)


def count(*shape: int, dtype: str = "float32") -> Array:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_element_types_are_kept(dtype: str) -> None:
    x = count(2, 3, dtype=dtype)
    results = [
        run("Concat", x, x, axis=0),
        run("Flatten", x, axis=1),
        run("Reshape", x, shape=(6,), allowzero=0),
        run("Squeeze", x, axes=()),
        run("Unsqueeze", x, axes=(0,)),
        run("Transpose", x, perm=(1, 0)),
        run("Pad", x, pads=(0, 1, 1, 0), mode="constant", value=-3.0),
        run("Pad", x, pads=(0, 1, 1, 0), mode="edge", value=0.5),
    ]
    assert {result.dtype.name for result in results} == {dtype}
    assert results[6][0, 0] == -3


@given(st.data())
def test_pad_is_numpys_pad(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    pads = data.draw(st.tuples(*[st.integers(0, 9)] * 4))
    x = count(*shape)
    margins = ((pads[0], pads[2]), (pads[1], pads[3]))
    modes: list[Literal["edge", "reflect", "wrap"]] = ["edge", "reflect", "wrap"]
    for mode in modes:
        np.testing.assert_array_equal(run("Pad", x, pads=pads, mode=mode, value=0.0), np.pad(x, margins, mode))
    constant = np.pad(x, margins, "constant", constant_values=2.5)
    np.testing.assert_array_equal(run("Pad", x, pads=pads, mode="constant", value=2.5), constant)


@given(st.integers(0, 5), st.integers(-7, 7), st.integers(-7, 7))
def test_negative_constant_pads_remove(n: int, begin: int, end: int) -> None:
    x = count(n)
    if n + min(begin, 0) + min(end, 0) < 0:
        with pytest.raises(ValueError, match="remove more"):
            run("Pad", x, pads=(begin, end), mode="constant", value=9.0)
        return
    kept = x[max(0, -begin) : n - max(0, -end)]
    expected = [9.0] * max(0, begin) + kept.tolist() + [9.0] * max(0, end)
    assert run("Pad", x, pads=(begin, end), mode="constant", value=9.0).tolist() == expected


@pytest.mark.parametrize(
    ("shape", "wanted", "allowzero", "result"),
    [
        ((2, 3, 4), (0, -1), 0, (2, 12)),
        ((2, 3, 4), (4, 0, -1), 0, (4, 3, 2)),
        ((2, 3), (), 0, None),
        ((), (1, 1), 0, (1, 1)),
        ((1,), (), 0, ()),
        ((0, 3), (3, 0), 1, (3, 0)),
        ((0, 3), (3, 0), 0, None),  # 0 copies axis 1
        ((2, 3), (4, -1), 0, None),
        ((2, 3), (2, 3, 0), 0, None),
        ((0, 3), (0, -1), 0, None),  # any size would do
        ((0, 3), (-1, 3), 0, (0, 3)),
    ],
)
def test_reshape(shape: tuple[int, ...], wanted: tuple[int, ...], allowzero: int, result: tuple[int, ...] | None) -> None:
    x = count(*shape)
    if result is None:
        with pytest.raises(ValueError, match="node 'tested'"):
            run("Reshape", x, shape=wanted, allowzero=allowzero)
    else:
        y = run("Reshape", x, shape=wanted, allowzero=allowzero)
        assert y.shape == result
        np.testing.assert_array_equal(y.ravel(), x.ravel())


def test_shapes() -> None:
    x = count(1, 2, 1, 3)
    assert run("Flatten", x, axis=0).shape == (1, 6)
    assert run("Flatten", x, axis=-1).shape == (2, 3)
    assert run("Flatten", x, axis=4).shape == (6, 1)
    assert run("Squeeze", x, axes=()).shape == (2, 3)
    assert run("Squeeze", x, axes=(-2,)).shape == (1, 2, 3)
    assert run("Unsqueeze", count(2), axes=(-1, 0)).shape == (1, 2, 1)
    np.testing.assert_array_equal(run("Transpose", x, perm=(3, 1, 0, 2)), x.transpose(3, 1, 0, 2))
    np.testing.assert_array_equal(run("Concat", x, x, axis=-3), np.concatenate([x, x], 1))


@pytest.mark.parametrize(
    ("op", "inputs", "attributes"),
    [
        ("Concat", [count(2, 2), count(2)], {"axis": 0}),
        ("Concat", [count(2, 2), count(3, 3)], {"axis": 0}),
        ("Concat", [count(2), count(2, dtype="int32")], {"axis": 0}),
        ("Concat", [count(2)], {"axis": 1}),
        ("Flatten", [count(2, 2)], {"axis": 3}),
        ("Squeeze", [count(2, 1)], {"axes": (0,)}),
        ("Unsqueeze", [count(2)], {"axes": (0, -3)}),
        ("Unsqueeze", [count(1, 1, 1, 1, 1, 1, 1, 1)], {"axes": (0,)}),
        ("Transpose", [count(2, 2)], {"perm": (0,)}),
        ("Pad", [count(2, 2)], {"pads": (1, 1), "mode": "edge", "value": 0.0}),
        ("Pad", [count(2)], {"pads": (-1, 1), "mode": "edge", "value": 0.0}),
        ("Pad", [count(0)], {"pads": (1, 1), "mode": "wrap", "value": 0.0}),
        ("Pad", [count(2, dtype="int32")], {"pads": (1, 1), "mode": "constant", "value": 0.5}),
        ("Pad", [count(2, dtype="int32")], {"pads": (1, 1), "mode": "constant", "value": 2.0**31}),
    ],
)
def test_what_does_not_fit_is_refused(op: str, inputs: list[Array], attributes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"^node 'tested' \({op}\): [^\n]+$"):
        run(op, *inputs, **attributes)
