"""What docs/format.md demands of each operator's inputs and attributes, as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

# Sizes, strides and pads stay below this, so that a few of them can be multiplied and added in 64 bits.
SIZE_LIMIT = 2**31
MAX_INPUTS = 255


@dataclass(frozen=True)
class Rule:
    """An attribute's kind and its allowed values; `text` completes "must be ..."."""

    kind: type
    allows: Callable[[Any], bool]
    text: str

    def accepts(self, value: object) -> bool:
        """Whether `value` is of the kind and allowed."""
        # bool is an int to isinstance, but no kind of attribute of its own.
        return isinstance(value, self.kind) and not isinstance(value, bool) and self.allows(value)


@dataclass(frozen=True)
class Signature:
    """Numbers of inputs, attributes, and how the element types relate."""

    inputs: tuple[int, int] = (1, 1)
    attributes: Mapping[str, Rule] = field(default_factory=dict)
    required: int = 1  # inputs that may not be absent, from the first
    types: tuple[str, ...] = ("float32",)  # allowed types; all inputs and the output share one


def _all_ints(allows: Callable[[int], bool]) -> Callable[[tuple[object, ...]], bool]:
    return lambda values: all(type(v) is int and allows(v) for v in values)


def _choice(*names: str) -> Rule:
    return Rule(str, lambda v: v in names, "one of " + ", ".join(names))


FLAG = Rule(int, lambda v: v in (0, 1), "0 or 1")
AXIS = Rule(int, lambda v: True, "an integer")
COUNT = Rule(int, lambda v: 1 <= v < SIZE_LIMIT, "an integer from 1 to 2^31 - 1")
REAL = Rule(float, lambda v: v == v, "a float, not NaN")
AXES = Rule(tuple, _all_ints(lambda v: True), "integers")
COUNTS = Rule(tuple, _all_ints(lambda v: 1 <= v < SIZE_LIMIT), "integers from 1 to 2^31 - 1")
MARGINS = Rule(tuple, _all_ints(lambda v: 0 <= v < SIZE_LIMIT), "integers from 0 to 2^31 - 1")
SIGNED_MARGINS = Rule(
    tuple,
    lambda v: _all_ints(lambda n: abs(n) < SIZE_LIMIT)(v) and len(v) % 2 == 0 and len(v) <= 16,
    "two integers below 2^31 in size for each of up to 8 axes",
)
SHAPE = Rule(
    tuple,
    lambda v: _all_ints(lambda n: n >= -1)(v) and v.count(-1) <= 1 and len(v) <= 8,
    "at most 8 sizes, one of them -1 at most",
)
PERMUTATION = Rule(tuple, lambda v: AXES.allows(v) and sorted(v) == list(range(len(v))), "a permutation of the axes")

WINDOW = {
    "strides": COUNTS,
    "dilations": COUNTS,
    "pads": MARGINS,
    "auto_pad": _choice("NOTSET", "SAME_UPPER", "SAME_LOWER"),
}
POOL = {**WINDOW, "kernel_shape": COUNTS, "ceil_mode": FLAG}
ANY_TYPE = ("float32", "int32", "int64")

UNARY = Signature()
BINARY = Signature(inputs=(2, 2), required=2, types=ANY_TYPE)

SIGNATURES: dict[str, Signature] = {
    "Conv": Signature(inputs=(2, 4), required=2, attributes={**WINDOW, "group": COUNT}),
    "Linear": Signature(inputs=(2, 4), required=2),
    "MatMul": Signature(inputs=(2, 2), required=2),
    "Relu": UNARY,
    "Sigmoid": UNARY,
    "Tanh": UNARY,
    "HardSwish": UNARY,
    "LeakyRelu": Signature(attributes={"alpha": REAL}),
    "HardSigmoid": Signature(attributes={"alpha": REAL, "beta": REAL}),
    "Clip": Signature(attributes={"min": REAL, "max": REAL}),
    "Add": BINARY,
    "Sub": BINARY,
    "Mul": BINARY,
    "Div": BINARY,
    "MaxPool": Signature(attributes=POOL),
    "AveragePool": Signature(attributes={**POOL, "count_include_pad": FLAG}),
    "ReduceMean": Signature(attributes={"axes": AXES, "keepdims": FLAG}),
    "Softmax": Signature(attributes={"axis": AXIS}),
    "LRN": Signature(attributes={"size": COUNT, "alpha": REAL, "beta": REAL, "bias": REAL}),
    "Pad": Signature(
        attributes={
            "pads": SIGNED_MARGINS,
            "mode": _choice("constant", "edge", "reflect", "wrap"),
            "value": REAL,
        },
        types=ANY_TYPE,
    ),
    "Concat": Signature(inputs=(1, MAX_INPUTS), required=MAX_INPUTS, attributes={"axis": AXIS}, types=ANY_TYPE),
    "Flatten": Signature(attributes={"axis": AXIS}, types=ANY_TYPE),
    "Reshape": Signature(attributes={"shape": SHAPE, "allowzero": FLAG}, types=ANY_TYPE),
    "Squeeze": Signature(attributes={"axes": AXES}, types=ANY_TYPE),
    "Unsqueeze": Signature(attributes={"axes": AXES}, types=ANY_TYPE),
    "Transpose": Signature(attributes={"perm": PERMUTATION}, types=ANY_TYPE),
}
