"""Reading ONNX files: versions, external data, damage. Every error is one line that names the file."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper
from onnx_models import make_model, normal, operators
from small_onnx import small_network_model

from opq.errors import FormatError, UnsupportedError
from opq.graph import Graph
from opq.onnx_export import export_onnx
from opq.onnx_import import load_onnx


def linear_model(opset: int = 17) -> ModelProto:
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"], "fc", transB=1)]
    constants = {"w": normal((5, 4)), "b": normal((5,), seed=1)}
    return make_model(nodes, {"x": ("N", 4)}, {"y": ("N", 5)}, constants, opset)


def test_path_bytes_and_proto_give_the_same(tmp_path: Path) -> None:
    model = small_network_model()
    data = model.SerializeToString()
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    want = load_onnx(model)
    assert model.SerializeToString() == data, "the caller's model has been changed"
    for source in (str(path), path, data):
        got = load_onnx(source)
        assert got.graph == want.graph
        assert list(got.tensors) == list(want.tensors)
        for name, tensor in want.tensors.items():
            np.testing.assert_array_equal(got.tensors[name], tensor, strict=True)
    assert load_onnx(path).source == str(path)


def test_initializer_that_is_also_an_input() -> None:
    """The form of IR version 3: every initializer is listed among the inputs."""
    model = linear_model()
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, (5, 4)))
    assert [value.name for value in load_onnx(model).graph.inputs] == ["x"]


def test_weight_in_a_constant_node_counts_as_parameter() -> None:
    weight = onnx.numpy_helper.from_array(normal((5, 4)), "w")
    nodes = [helper.make_node("Constant", [], ["w"], value=weight), helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)]
    model = load_onnx(make_model(nodes, {"x": ("N", 4)}, {"y": None}, {}))
    assert list(model.tensors) == ["w"]
    assert model.dense_bytes == 80


@pytest.mark.parametrize("opset", [7, 8, 22, 23, 1000, -1])
def test_other_opsets_are_refused(opset: int) -> None:
    with pytest.raises(UnsupportedError, match=f"^ONNX model: opset {opset}: opq reads opsets 9 to 21$"):
        load_onnx(linear_model(opset))


@pytest.mark.parametrize("opset", range(9, 22))
def test_all_opsets_from_9_to_21_are_read(opset: int) -> None:
    assert operators(load_onnx(linear_model(opset))) == ["Linear"]


def test_unnamed_and_missing_dimensions() -> None:
    model = linear_model()
    model.graph.input[0].type.tensor_type.shape.dim[0].ClearField("dim_param")
    assert load_onnx(model).graph.inputs[0].shape == (None, 4)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(UnsupportedError, match="input 'x' \\(its rank is not known\\)"):
        load_onnx(model)


def test_input_types() -> None:
    nodes = [helper.make_node("Reshape", ["x", "s"], ["y"])]
    constants = {"s": np.array([-1])}
    for element_type in (TensorProto.INT64, TensorProto.INT32):
        model = make_model(nodes, {"x": (2, 2)}, {"y": None}, constants, input_types={"x": element_type, "y": element_type})
        assert load_onnx(model).graph.inputs[0].dtype in ("int32", "int64")
    model = make_model(nodes, {"x": (2, 2)}, {"y": None}, constants, input_types={"x": 2, "y": 2})
    with pytest.raises(UnsupportedError, match=r"on uint8 elements.*input 'x' \(not a tensor of float, int32 or int64\)"):
        load_onnx(model)


def test_external_data(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(linear_model(), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    model = load_onnx(path)
    np.testing.assert_array_equal(model.tensors["w"], normal((5, 4)), strict=True)
    with pytest.raises(FormatError, match="must be given as a path"):
        load_onnx(path.read_bytes())


def _external(location: str, offset: str = "0", length: str | None = None) -> Callable[[TensorProto], None]:
    def change(tensor: TensorProto) -> None:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        tensor.external_data.add(key="offset", value=offset)
        if length is not None:
            tensor.external_data.add(key="length", value=length)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_external("../secret"), "not inside the model's folder"),
        (_external("/etc/passwd"), "not inside the model's folder"),
        (_external("link"), "not inside the model's folder"),
        (_external(""), "not inside the model's folder"),
        (_external("."), "not inside the model's folder"),
        (_external("missing.bin"), "data file 'missing.bin' is missing"),
        (_external("short.bin", length="8"), "reshape"),
        (_external("short.bin", offset="11"), "beyond the end"),
        (_external("short.bin", offset="-1"), "beyond the end"),
        (_external("short.bin", length=str(10**18)), "beyond the end"),
        (_external("short.bin", offset="first"), "first"),
    ],
)
def test_external_data_that_is_refused(change: Callable[[TensorProto], None], message: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(80))
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "short.bin").write_bytes(bytes(10))
    model = linear_model()
    change(model.graph.initializer[0])
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(FormatError, match="tensor 'w'") as caught:
        load_onnx(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")


def _no_output(model: ModelProto) -> None:
    del model.graph.output[:]


def _reads_nothing(model: ModelProto) -> None:
    model.graph.node[0].input[0] = "nowhere"


def _two_makers(model: ModelProto) -> None:
    model.graph.node.append(model.graph.node[0])


def _same_initializer_twice(model: ModelProto) -> None:
    model.graph.initializer.append(model.graph.initializer[0])


def _negative_dimension(model: ModelProto) -> None:
    model.graph.initializer[0].dims[0] = -5


def _huge_dimension(model: ModelProto) -> None:
    model.graph.initializer[0].dims[0] = 2**60


def _too_little_data(model: ModelProto) -> None:
    model.graph.initializer[0].raw_data = b"1234"


def _unknown_attribute(model: ModelProto) -> None:
    model.graph.node[0].attribute[0].name = "transC"


def _attribute_of_another_type(model: ModelProto) -> None:
    model.graph.node[0].attribute[0].CopyFrom(helper.make_attribute("transB", 1.0))


@pytest.mark.parametrize(
    "damage",
    [
        _no_output, _reads_nothing, _two_makers, _same_initializer_twice, _negative_dimension, _huge_dimension,
        _too_little_data, _unknown_attribute, _attribute_of_another_type,
    ],
)  # fmt: skip
def test_inconsistent_model(damage: Callable[[ModelProto], None]) -> None:
    model = linear_model()
    damage(model)
    with pytest.raises(FormatError) as caught:
        load_onnx(model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\x00" * 100, b"not a model", b"\x08\x08"])
def test_file_that_is_no_model(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=f"^{path}: damaged, or not an ONNX file$"):
        load_onnx(path)


def test_every_truncation_is_refused() -> None:
    data = linear_model().SerializeToString()
    for length in range(len(data)):
        with pytest.raises((FormatError, UnsupportedError)) as caught:
            load_onnx(data[:length])
        assert "\n" not in str(caught.value)


@given(st.integers(0, 10**9), st.binary(min_size=1, max_size=4))
def test_changed_bytes_are_refused_or_read(where: int, replacement: bytes) -> None:
    data = bytearray(linear_model().SerializeToString())
    where %= len(data)
    data[where : where + len(replacement)] = replacement
    with contextlib.suppress(FormatError, UnsupportedError):
        load_onnx(bytes(data))


def test_missing_file() -> None:
    with pytest.raises(FileNotFoundError):
        load_onnx("/nowhere/net.onnx")


def test_message_when_the_onnx_package_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in sys.modules if name == "onnx" or name.startswith(("onnx.", "opq.onnx_"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'opq\[onnx\]'"):
        load_onnx("net.onnx")
    with pytest.raises(ImportError, match=r"pip install 'opq\[onnx\]'"):
        export_onnx(Graph((), (), ()), {}, tmp_path / "net.onnx")
