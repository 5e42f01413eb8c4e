"""opq.torch with PyTorch itself: training moves weights alone, and the file holds the trained module."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: make .venv/.frameworks")
import torch
from torch import nn

import opq
import opq.torch
from opq.fixed_layer import FixedLayer
from opq.quantization import QuantizedTensor
from opq.reference.bounds import gamma


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, 3, stride=2),
        nn.BatchNorm2d(12), nn.ReLU(), nn.Flatten(), nn.Linear(108, 64), nn.ReLU(),
        nn.Linear(64, 5),
    )  # fmt: skip


def train(module, steps=6, rate=0.02, seed=1):
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(module.parameters(), rate)
    for _ in range(steps):
        x = torch.randn(32, 2, 8, 8, generator=generator)
        labels = torch.randint(0, 5, (32,), generator=generator)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(module(x), labels)
        loss.backward()
        optimizer.step()


def weights(module):
    return {name: array for name, array in opq.torch._arrays(module).items() if array.ndim > 1}


@pytest.mark.parametrize("options", [{"ratio": 8}, {"sparsity": 0.6, "bits": 3, "channel_scale": "none"}, {"bits": 2}])
def test_training_moves_codes_and_neither_masks_nor_codebooks(tmp_path, options):
    module = network()
    untouched = weights(module)
    fixed = opq.torch.fix(module, **options)
    fixed.save(tmp_path / "before.opq")
    for name, w in untouched.items():
        np.testing.assert_array_equal(module.get_submodule(name[0]).weight.detach(), fixed.project(name, w))
    first = opq.torch.compressed(module)
    train(module)
    module.eval()
    opq.torch.save(module, tmp_path / "after.opq")
    assert opq.torch.fixed_compression(module) == fixed == opq.FixedCompression.load(tmp_path / "before.opq")
    assert opq.FixedCompression.load(tmp_path / "after.opq") == fixed
    loaded, state = opq.load(tmp_path / "after.opq"), weights(module)
    for name in fixed:
        np.testing.assert_array_equal(loaded[name].dequantize(), module.get_submodule(name[0]).weight.detach())
        np.testing.assert_array_equal(loaded[name].codes, fixed.codes(name, state[name]))
        np.testing.assert_array_equal(state[name][~fixed[name].mask], untouched[name][~fixed[name].mask])
        assert not np.array_equal(loaded[name].codes, first[name].codes)


def test_the_file_of_the_folded_network_computes_what_was_trained():
    """BatchNorm is separate in training, scales and biases in the file."""
    pytest.importorskip("onnxscript", reason="onnxscript is not installed: make .venv/.frameworks")
    module = network()
    fixed = opq.torch.fix(module, sparsity=0.5, bits=4)
    train(module)
    module.eval()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    x = torch.randn(7, 2, 8, 8)
    result = opq.torch.compressed(module, (x[:1],), dense="float32")
    assert opq.FixedCompression.of(result) == fixed
    assert {node.op for node in result.graph.nodes} == {"Conv", "Relu", "Reshape", "Linear"}
    expected, limit = module(x).detach().numpy(), bound(module, x)
    np.testing.assert_array_less(np.abs(run(result, x) - expected), limit)
    with torch.no_grad():  # the bound would notice one code
        module[9].parametrizations.weight.original[torch.from_numpy(fixed["9.weight"].mask)] *= -1.0
    assert (np.abs(run(opq.torch.compressed(module, (x,)), x) - expected) > limit).mean() > 0.9
    assert state.keys() == module.state_dict().keys(), "exporting leaves the module as it was"


def run(model, x):
    return opq.Session(model).run(None, {model.graph.inputs[0].name: x.numpy()})[0]


def bound(module, x):
    """Of |result - result|, both with at most n roundings on every path from an input or constant to an output.

    Each is off by at most gamma(n) times the network of the magnitudes, whose ReLU does nothing.
    """
    value, n = x.double().abs(), 0
    for layer in module:
        if isinstance(layer, nn.BatchNorm2d):
            scale = layer.weight.double().abs() / torch.sqrt(layer.running_var.double() + layer.eps)
            shift = layer.bias.double().abs() + layer.running_mean.double().abs() * scale
            value, n = value * scale[:, None, None] + shift[:, None, None], n + 10
        elif isinstance(layer, (nn.Conv2d, nn.Linear)):
            weight, bias = layer.weight.double().abs(), None if layer.bias is None else layer.bias.double().abs()
            convolve = isinstance(layer, nn.Conv2d)
            value = (
                nn.functional.conv2d(value, weight, bias, layer.stride, layer.padding)
                if convolve else nn.functional.linear(value, weight, bias)
            )  # fmt: skip
            n += weight[0].numel() + 5
        elif isinstance(layer, nn.Flatten):
            value = value.flatten(1)
    return 2 * gamma(n) * value.detach().numpy()


@pytest.mark.parametrize("scale", [None, np.array([0.3, 1.0, 2.5], np.float32)])
def test_projection_and_gradient_are_those_of_numpy(scale):
    rng = np.random.default_rng(0)
    w = (3.0 * rng.normal(size=(3, 2000))).astype(np.float32)
    w[:, :50] = np.float32(0.7) * rng.integers(0, 18, size=(3, 50)) / np.float32(2)  # at and near the ties
    layer = FixedLayer(rng.random(w.shape) < 0.6, float(np.float32(0.7)), 3, scale, None if scale is None else 0)
    fixed = opq.FixedCompression.of({"w": QuantizedTensor(layer.mask.astype(np.int8), layer.step, 3, scale, layer.axis)})
    projection, g = opq.torch.Projection(layer), rng.normal(size=w.shape).astype(np.float32)
    tensor = torch.from_numpy(w).requires_grad_()
    result = projection(tensor)
    result.backward(torch.from_numpy(g))
    np.testing.assert_array_equal(result.detach(), fixed.project("w", w))
    np.testing.assert_array_equal(tensor.grad, fixed.gradient("w", w, g))
    assert 0 < np.count_nonzero((tensor.grad.numpy() == 0) & layer.mask) < layer.mask.sum() / 2


def test_a_state_dict_goes_on_bit_for_bit(tmp_path):
    module = network()
    fixed = opq.torch.fix(module, ratio=8)
    train(module)
    torch.save(module.state_dict(), tmp_path / "state.pt")
    fixed.save(tmp_path / "fixed.opq")
    other = network(seed=5)
    opq.torch.fix(other, fixed=opq.FixedCompression.load(tmp_path / "fixed.opq"))
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for m in (module, other):
        train(m, seed=2)
    assert opq.torch.compressed(other).to_bytes() == opq.torch.compressed(module).to_bytes()


def test_other_types_keep_the_codebook():
    module = network()
    fixed = opq.torch.fix(module, ratio=8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        train(module, steps=2)
    assert opq.torch.fixed_compression(module) == fixed
    module.bfloat16()
    assert module[7].weight.dtype == torch.bfloat16
    assert opq.torch.fixed_compression(module) == fixed
    assert opq.FixedCompression.of(opq.torch.compressed(module)) == fixed


def test_the_layout_of_the_weights_stays():
    module = network().to(memory_format=torch.channels_last)
    opq.torch.fix(module, ratio=8)
    assert module[3].weight.is_contiguous(memory_format=torch.channels_last)
    assert not module[3].weight.is_contiguous()


def test_a_compiled_module_computes_the_same():
    module = network()
    opq.torch.fix(module, sparsity=0.5, bits=3)
    compiled = torch.compile(module[7], backend="aot_eager")
    x, gradients = torch.randn(4, 108), []
    for call in (module[7], compiled):
        module.zero_grad()
        call(x).square().sum().backward()
        gradients.append(module[7].parametrizations.weight.original.grad.clone())
    assert torch.equal(*gradients)


def test_errors_leave_the_module_as_it_was():
    module = network()
    keys = list(module.state_dict())
    fixed = opq.FixedCompression.of(opq.compress(weights(module), bits=3))
    tied = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    tied[1].weight = tied[0].weight
    cases = [
        (lambda: opq.torch.fix(module, ratio=5000), "cannot be reached"),
        (lambda: opq.torch.fix(module, fixed=fixed, ratio=2), "leave out ratio"),
        (lambda: opq.torch.fix(nn.Linear(3, 4), fixed=fixed), "has no parameter '0.weight'"),
        (lambda: opq.torch.fix(nn.Sequential(nn.Linear(3, 4)), fixed=fixed), r"'0.weight' has shape \(4, 3\)"),
        (lambda: opq.torch.fix(tied, bits=3), "parameter '0.weight' is '1.weight' as well: add both to skip"),
        (lambda: opq.torch.compressed(module), "nothing to fix"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
    assert list(module.state_dict()) == keys
    opq.torch.fix(module, fixed=fixed)
    with pytest.raises(ValueError, match="has a parametrization already"):
        opq.torch.fix(module, fixed=fixed)
