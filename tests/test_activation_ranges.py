"""Ranges of activations: from BatchNorm's statistics, or from the network's own values on inputs."""

import numpy as np
import pytest
from commands import failure, run_command
from networks import quantized
from small_onnx import save_small_network
from test_repair import trained

import opq
from opq.activation_ranges import ranges_from_data, ranges_from_moments
from opq.graph import Graph, Node, ValueInfo
from opq.moments import propagate
from opq.reference import execution


def test_ranges_from_batch_norm_reach_five_deviations_of_the_widest_channel():
    network, _ = trained()
    ranges = ranges_from_moments(network)
    relus = [node for node in network.graph.nodes if node.op == "Relu"]
    outputs = {info.name for info in network.graph.outputs}
    assert set(ranges) == {node.outputs[0] for node in relus} - outputs  # a layer takes in its Relu: nothing else is there
    moments = propagate(network.graph, network.moments)
    for node in relus:
        if node.outputs[0] in ranges:
            before = moments[node.inputs[0]]
            assert ranges[node.outputs[0]].lo == 0.0
            expected = (before.mean + 5.0 * np.sqrt(before.variance)).max()
            assert abs(ranges[node.outputs[0]].hi - expected) <= 2.0**-8 * expected  # bfloat16


def dense(network):
    """The network as it is, in the form of a compressed one."""
    return opq.CompressedModel(network.graph, network.tensors)


def test_a_generator_of_inputs_is_read_once():
    network, x = trained()
    inputs = [{"x": x[:40]}, {"x": x[40:]}]
    listed, generated = (opq.compress(network, ratio=4, calibration=each) for each in (inputs, iter(inputs)))
    assert listed.to_bytes() == generated.to_bytes()


def test_ranges_from_data_end_where_the_values_end():
    network, x = trained()
    ranges = ranges_from_data(dense(network), [{"x": x[:40]}, {"x": x[40:]}])
    values = dict(zip(ranges, execution.run(network.graph, network.tensors, {"x": x}, list(ranges)), strict=True))
    assert "x" in ranges
    assert set(ranges_from_moments(network)) < set(ranges)
    for name, range_ in ranges.items():
        least, most = min(0.0, float(values[name].min())), max(0.0, float(values[name].max()))
        assert least * (1 + 2.0**-8) <= range_.lo <= 0.0 <= range_.hi <= most * (1 + 2.0**-8)
        assert np.mean((values[name] < 1.01 * range_.lo) | (values[name] > 1.01 * range_.hi)) < 1e-3
    assert ranges == ranges_from_data(dense(network), {"x": x})


def linear_network():
    """x [N, positions, 6] -> Linear -> Relu -> Linear: axis 1 may differ from run to run."""
    rng = np.random.default_rng(0)
    tensors = {f"w{i}": rng.normal(size=(6, 6)).astype(np.float32) for i in range(2)}
    nodes = (
        Node("Linear", "a", ("x", "w0"), ("a",)),
        Node("Relu", "r", ("a",), ("r",)),
        Node("Linear", "b", ("r", "w1"), ("y",)),
    )
    info = ValueInfo("x", "float32", ("N", "T", 6)), ValueInfo("y", "float32", ("N", "T", 6))
    return opq.Model(Graph((info[0],), (info[1],), nodes), tensors, 4 * 72, "test")


def test_inputs_of_other_lengths_calibrate_together():
    network, rng = linear_network(), np.random.default_rng(1)
    inputs = [{"x": rng.normal(size=(2, length, 6)).astype(np.float32)} for length in (3, 5, 3, 1)]
    ranges = ranges_from_data(dense(network), inputs)
    most = max(execution.run(network.graph, network.tensors, given, ["r"])[0].max() for given in inputs)
    assert 0.0 < ranges["r"].hi <= most * (1 + 2.0**-8)


def test_what_is_no_number_does_not_count():
    network = dense(linear_network())
    x = np.ones((1, 2, 6), np.float32)
    bad = np.full((1, 2, 6), np.nan, np.float32)
    assert ranges_from_data(network, [{"x": bad}, {"x": x}]) == ranges_from_data(network, {"x": x})
    assert ranges_from_data(network, {"x": bad}) == {}


def test_errors_of_calibration():
    network = linear_network()
    with pytest.raises(ValueError, match="calibration has no inputs"):
        opq.compress(network, ratio=4, calibration=[])
    with pytest.raises(ValueError, match="there is no input 'z'"):
        opq.compress(network, ratio=4, calibration={"z": np.ones(3)})
    with pytest.raises(ValueError, match="needs a network, not a mapping"):
        opq.compress({"w": np.ones((4, 4))}, bits=4, calibration={"x": np.ones(3)})


def test_the_file_holds_ranges_and_int8_stays_near_float32(tmp_path):
    network, x = trained()
    for calibration in (None, {"x": x}):
        result = opq.compress(network, ratio=4, calibration=calibration)
        assert result.ranges == (ranges_from_moments(network) if calibration is None else ranges_from_data(result, calibration))
        assert result.file_bytes == len(
            opq.CompressedModel(result.graph, result.tensors, result.details, result.ranges).to_bytes()
        )
        result.save(tmp_path / "n.opq")
        exact, near = (
            opq.Session(tmp_path / "n.opq", precision=precision, backend="reference").run(None, {"x": x[:8]})[0]
            for precision in ("float32", "int8")
        )
        assert np.mean((near - exact) ** 2) < 1e-3 * np.mean(exact**2)


def test_fine_tuned_files_hold_ranges():
    network, x = trained()
    fixed = opq.FixedCompression.of(opq.compress(network, ratio=4))
    assert opq.compress(network, fixed=fixed).ranges == ranges_from_moments(network)
    assert "x" in opq.compress(network, fixed=fixed, calibration={"x": x}).ranges


def test_calibration_on_the_command_line(tmp_path, capsys):
    save_small_network(tmp_path / "n.onnx")
    [info] = opq.load_onnx(tmp_path / "n.onnx").graph.inputs
    shape = [d if isinstance(d, int) else 2 for d in info.shape]
    np.savez(tmp_path / "x.npz", **{info.name: np.random.default_rng(0).normal(size=shape).astype(np.float32)})
    source, output = tmp_path / "n.onnx", tmp_path / "n.opq"
    run_command(capsys, "compress", source, "-o", output, "--bits", 4, "--quiet", "--calibration", tmp_path / "x.npz")
    assert info.name in opq.load(output).ranges
    np.savez(tmp_path / "other.npz", z=np.ones(3))
    assert "'z'" in failure(capsys, "compress", source, "-o", output, "--bits", 4, "--calibration", tmp_path / "other.npz")


def test_a_layer_of_large_sums_stays_on_floats():
    from opq.reference.integer.layers import is_integer_layer

    tensor = quantized(np.random.default_rng(0), (2, 3), 7, 0.0)
    assert is_integer_layer(tensor)
    codes = np.broadcast_to(np.int8(127), (1, 33200)).copy()  # 255 * 127 * 33200 > 2^30
    assert not is_integer_layer(opq.QuantizedTensor(codes, 0.5, 127))
