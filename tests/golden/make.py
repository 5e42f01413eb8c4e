"""Wrote the golden files, once. They are never written again: what a file once held, every later version must read.

A new codec or section gets files of its own, beside these. Run from the root: python tests/golden/make.py NAME...
"""

import sys
from pathlib import Path

import numpy as np

import opq
from opq import _core
from opq.compressed import CompressedModel, to_bytes
from opq.quantization import QuantizedTensor
from opq.reference import codec, container, tensor_section
from opq.reference.crc32c import crc32c

FOLDER = Path(__file__).parent


def codes(shape, levels, seed):
    rng = np.random.default_rng(seed)
    values = rng.laplace(size=shape) * np.exp(rng.normal(size=(shape[0],) + (1,) * (len(shape) - 1)))
    return np.clip(np.rint(values), -levels, levels).astype(np.int8)


def tensors(name):
    """One quantized tensor of every kind in the codec `name`, dense tensors, and the file that holds them."""
    scale = np.linspace(0.5, 2, 12, dtype=np.float32)
    contents = {
        "kernels": QuantizedTensor(codes((12, 8, 3, 3), 7, 0), 0.125, 7, scale, 0),
        "columns": QuantizedTensor(codes((30, 44), 127, 1), 0.5, 127),
        "zeros": QuantizedTensor(np.zeros((5, 6), np.int8), 1.0, 1),
        "float32": np.array([[1.1, -np.inf], [1e-40, 3e38]], dtype=np.float32),
        "float16": np.array([0.1, 65504, 6e-8], dtype=np.float16).astype(np.float32),
        "bfloat16": np.array([1e30, -(2.0**-120)], dtype=np.float32).view(np.uint32) & 0xFFFF0000,
        "int32": np.array([-5, 7], dtype=np.int32),
        "int64": np.array([[1 << 40]], dtype=np.int64),
    }
    contents["bfloat16"] = contents["bfloat16"].view(np.float32)

    def encode(values, levels, other):
        # Only the codec asked for is short enough to be taken.
        return codec.encode(values, levels, other) if other == name else bytes(1 << 20)

    directory, data = tensor_section.write_tensors(contents, encode)
    file = container.write_container({b"TENS": directory, b"DATA": data}, crc32c)
    arrays = {n: t.dequantize() if isinstance(t, QuantizedTensor) else t for n, t in contents.items()}
    return file, arrays


def network():
    """A small network, an input and the output that the reference gives."""
    sys.path.insert(0, str(FOLDER.parent))
    from networks import small_network

    model = small_network()
    file = to_bytes(model) if isinstance(model, CompressedModel) else model
    loaded = opq.Session(file, backend="reference")
    rng = np.random.default_rng(0)
    inputs = {
        a.name: rng.normal(size=[d if isinstance(d, int) else 2 for d in a.shape]).astype(np.float32)
        for a in loaded.get_inputs()
    }
    outputs = {f"output {i}": array for i, array in enumerate(loaded.run(None, inputs))}
    return file, {**{f"input {name}": array for name, array in inputs.items()}, **outputs}


def integers():
    rng = np.random.default_rng(0)
    return {
        "raw": rng.integers(-(2**31), 2**31, size=(3, 4), dtype=np.int32),
        "packed": rng.permutation(np.repeat(np.arange(-7, 8, dtype=np.int16), 6)).reshape(9, 10),
        "rans0": rng.choice(np.array([-50, -49, 60], dtype=np.int8), size=900),
        "grouped": codes((20, 8, 3, 3), 100, 2).astype(np.int32) * 1000,
    }


def main():
    for name in sys.argv[1:]:
        if name == "integers":
            for kind, array in integers().items():
                (FOLDER / f"integers-{kind}.bin").write_bytes(opq.codec.encode(array))
            np.savez(FOLDER / "integers.npz", **integers())
            continue
        file, arrays = network() if name == "network" else tensors(name)
        assert _core.Network(file).packed_bytes >= 0
        (FOLDER / f"{name}.opq").write_bytes(file)
        np.savez(FOLDER / f"{name}.npz", **arrays)


if __name__ == "__main__":
    main()
