"""Files written once: every later version reads them and finds the same (tests/golden/make.py)."""

from pathlib import Path

import numpy as np
import pytest

import opq
from opq import _core
from opq.compressed import from_bytes
from opq.quantization import QuantizedTensor

GOLDEN = Path(__file__).parent / "golden"


def expected(name):
    with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as archive:
        return dict(archive)


@pytest.mark.parametrize("name", ["packed", "rans0", "grouped"])
def test_tensors_of_every_codec(name):
    data = (GOLDEN / f"{name}.opq").read_bytes()
    model = from_bytes(data)
    tensors = expected(name)
    assert list(model.tensors) == list(tensors)
    for key, tensor in model.tensors.items():
        coded = isinstance(tensor, QuantizedTensor)
        assert model.entries[key].codec == (name if coded else key if key in ("float16", "bfloat16") else "raw")
        array = tensor.dequantize() if coded else tensor
        assert array.dtype == tensors[key].dtype
        np.testing.assert_array_equal(array, tensors[key], err_msg=key)
    assert _core.Network(data).packed_bytes >= 0  # the core reads every tensor as well


@pytest.mark.parametrize("backend", ["core", "reference"])
def test_a_network_runs_as_it_did(backend):
    values = expected("network")
    session = opq.Session(GOLDEN / "network.opq", backend=backend, threads=1)
    inputs = {key.removeprefix("input "): array for key, array in values.items() if key.startswith("input ")}
    for i, output in enumerate(session.run(None, inputs)):
        np.testing.assert_allclose(output, values[f"output {i}"], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("backend", ["core", "reference"])
@pytest.mark.parametrize("codec", ["raw", "packed", "rans0", "grouped"])
def test_integer_arrays_of_every_codec(codec, backend):
    data = (GOLDEN / f"integers-{codec}.bin").read_bytes()
    assert data[2] % 4 == ["raw", "packed", "rans0", "grouped"].index(codec)
    array = expected("integers")[codec]
    result = opq.codec.decode(data, backend=backend)
    assert result.dtype == array.dtype
    np.testing.assert_array_equal(result, array)


def test_the_encoder_still_writes_these_bytes():
    """No need of the format, but a change of the encoder's choices should not come unnoticed."""
    for codec, array in expected("integers").items():
        assert opq.codec.encode(array) == (GOLDEN / f"integers-{codec}.bin").read_bytes()


def test_a_file_of_a_newer_format_says_so():
    data = bytearray((GOLDEN / "network.opq").read_bytes())
    data[8] = 2
    data[28:32] = _core.crc32c(bytes(data[:28])).to_bytes(4, "little")
    for read in (from_bytes, _core.Network):
        with pytest.raises(opq.FormatError, match="version") as error:
            read(bytes(data))
        assert "\n" not in str(error.value)
