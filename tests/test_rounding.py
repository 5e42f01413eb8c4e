"""Which dense tensors `compress` rounds to 16 bits, by how much, and that the file holds what the model in memory holds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from networks import conv

import opq
from opq.graph import Graph, Node, ValueInfo
from opq.onnx_export import export_onnx
from opq.quantization import QuantizedTensor
from opq.reference.half_precision import HALVES, exact_half, round_to
from opq.rounding import rounded

UNITS = {"float16": 2.0**-11, "bfloat16": 2.0**-8}


def network(scale=None):
    """Conv with scale and bias, an elementwise constant, Linear with a bias that Add reads as well."""
    rng = np.random.default_rng(0)
    tensors = {
        "c.weight": rng.laplace(size=(16, 3, 3, 3)),
        "c.scale": rng.lognormal(size=16) if scale is None else scale,
        "c.bias": rng.normal(size=16),
        "constant": rng.normal(size=(16, 1, 1)),
        "fc.weight": rng.laplace(size=(10, 16)),
        "fc.bias": rng.normal(size=10),
    }
    nodes = (
        conv("c", "x", "a", "c.scale", "c.bias", kernel=3),
        Node("Mul", "m", ("a", "constant"), ("b",)),
        Node("ReduceMean", "mean", ("b",), ("d",), {"axes": (2, 3), "keepdims": 0}),
        Node("Linear", "fc", ("d", "fc.weight", "", "fc.bias"), ("e",)),
        Node("Add", "twice", ("e", "fc.bias"), ("y",)),
    )
    graph = Graph((ValueInfo("x", "float32", ("N", 3, 8, 8)),), (ValueInfo("y", "float32", ("N", 10)),), nodes)
    tensors = {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
    return opq.Model(graph, tensors, 4 * sum(t.size for t in tensors.values()), "test")


def storage(result):
    """How the dense tensors lie in the file."""
    return {name: result.entries[name].codec for name, t in result.items() if not isinstance(t, QuantizedTensor)}


RAW = dict.fromkeys(("c.scale", "c.bias", "constant", "fc.bias"), "raw")


@pytest.mark.parametrize(
    ("dense", "expected"),
    [
        ("auto", {**RAW, "c.scale": "float16", "c.bias": "float16"}),
        ("float32", RAW),
        ("float16", dict.fromkeys(RAW, "float16")),
        ("bfloat16", dict.fromkeys(RAW, "bfloat16")),
    ],
)
def test_what_is_rounded(dense, expected):
    model = network()
    result = opq.compress(model, bits=4, dense=dense)
    assert storage(result) == expected
    for name, codec in expected.items():
        want = model.tensors[name] if codec == "raw" else round_to(model.tensors[name], codec)
        np.testing.assert_array_equal(result[name], want)
    again = opq.compressed.from_bytes(result.to_bytes())
    for name, tensor in result.dense_tensors().items():
        np.testing.assert_array_equal(again.dense_tensors()[name], tensor, strict=True)
    assert result["fc.weight"].scale is not None
    assert exact_half(result["fc.weight"].scale) is not None


def test_auto_is_the_default_and_others_are_named():
    assert opq.compress(network(), bits=4).to_bytes() == opq.compress(network(), bits=4, dense="auto").to_bytes()
    with pytest.raises(ValueError, match="dense 'float8' is unknown: expected 'auto', 'float32', 'float16', 'bfloat16'"):
        opq.compress(network(), bits=4, dense="float8")


def test_the_outputs_of_a_layer_move_by_the_unit_of_float16():
    """|dy| <= 2^-11 (|scale * conv(x)| + |bias|) and the rounding of float32, here the same terms again at 2^-20."""
    model = network()
    x = np.random.default_rng(1).normal(size=(2, 3, 8, 8)).astype(np.float32)
    first = Graph(model.graph.inputs, (ValueInfo("a", "float32", (None, 16, 6, 6)),), model.graph.nodes[:1])
    layer = opq.Model(first, {name: model.tensors[name] for name in ("c.weight", "c.scale", "c.bias")}, 4, "test")
    [a], [b] = (opq.Session(opq.compress(layer, bits=4, dense=dense)).run(None, {"x": x}) for dense in ("float32", "auto"))
    bias = layer.tensors["c.bias"].reshape(-1, 1, 1)
    terms = np.abs(a - bias) + np.abs(bias)
    assert (a != b).any()
    assert (np.abs(a - b) <= (2.0**-11 + 2.0**-20) * terms).all()


def test_scales_beyond_the_range_stay_float32():
    for value in (65520, 1e20, 3e-8):
        scale = np.full(16, value, np.float32)
        for dense in ("auto", "float16"):
            assert storage(opq.compress(network(scale), bits=4, dense=dense))["c.scale"] == "raw"
    scale[0] = 1  # beside which the others are nothing
    result = opq.compress(network(scale), bits=4)
    np.testing.assert_array_equal(result["c.scale"], np.float16(scale))
    assert storage(result)["c.scale"] != "raw"


def test_mappings_keep_their_floats_unless_asked():
    """Nothing says what a vector in a mapping is for; but one that 16 bits hold takes 16."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.laplace(size=(40, 60)), "double": rng.normal(size=9), "half": rng.normal(size=9).astype(np.float16),
        "huge": np.array([1e30, 1.1], np.float32), "count": np.arange(3), "empty": np.zeros((0, 4), np.float32),
    }  # fmt: skip
    kept = {"double": "raw", "half": "float16", "huge": "raw", "count": "raw", "empty": "bfloat16"}
    auto = opq.compress(weights, bits=4)
    assert storage(auto) == storage(opq.compress(weights, bits=4, dense="float32")) == kept
    np.testing.assert_array_equal(auto["half"], weights["half"].astype(np.float32), strict=True)
    assert storage(opq.compress(weights, bits=4, dense="float16")) == {**kept, "double": "float16"}
    everything = opq.compress(weights, bits=4, dense="bfloat16")
    assert storage(everything) == {**kept, "double": "bfloat16", "half": "bfloat16", "huge": "bfloat16"}
    assert np.isfinite(everything["huge"]).all()


@pytest.mark.parametrize("half", HALVES)
@given(hnp.arrays(np.float32, st.integers(0, 8), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_rounding_keeps_the_values_or_does_nothing(half, values):
    result = rounded(values, half)
    if result is values:
        exact = round_to(values, half).astype(np.float64)
        error, magnitude = np.abs(exact - values), np.abs(values).astype(np.float64)
        assert ((error > UNITS[half] * magnitude) & (error > 2.0**-20 * magnitude.max())).any()
    else:
        np.testing.assert_array_equal(result, round_to(values, half))
        assert np.isfinite(result).all()
        np.testing.assert_array_less(
            np.abs(result.astype(np.float64) - values),
            UNITS[half] * np.abs(values.astype(np.float64)) + 2.0**-20 * np.abs(values).max(initial=0) + 1e-300,
        )


@given(hnp.arrays(np.float32, st.integers(0, 20), elements=st.floats(2.0**-14, 65504, width=32)), st.integers(0, 2**32))
def test_ordinary_values_are_always_rounded(values, seed):
    values = values * np.random.default_rng(seed).choice(np.array([-1, 0, 1], np.float32), values.shape)
    np.testing.assert_array_equal(rounded(values, "float16"), values.astype(np.float16).astype(np.float32))


def test_exported_weights_are_those_of_the_file(tmp_path):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    result = opq.compress(network(), bits=4)
    result.save(tmp_path / "n.opq")
    loaded = opq.load(tmp_path / "n.opq")
    for name, model in (("memory", result), ("file", loaded)):
        export_onnx(model.graph, model.dense_tensors(), tmp_path / f"{name}.onnx")
    assert (tmp_path / "memory.onnx").read_bytes() == (tmp_path / "file.onnx").read_bytes()
    x = np.random.default_rng(2).normal(size=(3, 3, 8, 8)).astype(np.float32)
    [a] = onnxruntime.InferenceSession(str(tmp_path / "file.onnx"), providers=["CPUExecutionProvider"]).run(None, {"x": x})
    for model in (result, loaded):
        [b] = opq.Session(model).run(None, {"x": x})
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
