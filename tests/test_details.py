"""A report that is JSON but not what it should be: the network loads, runs and is inspected as without it."""

import contextlib
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import small_network

import opq
from opq.cli import main
from opq.reference import container

SECTIONS = {k: bytes(v) for k, v in container.read_container(small_network().to_bytes()).items()}
KNOWN = ["threshold", "predicted_bits", "predicted_error", "real_error"]


def file_with(report):
    text = report if isinstance(report, bytes) else json.dumps(report).encode()
    return container.write_container({**SECTIONS, b"REPT": text})


def inspected(path, *options):
    """What `opq inspect` prints."""
    with contextlib.redirect_stdout(io.StringIO()) as output:
        assert main(["inspect", str(path), *options]) == 0
    return output.getvalue()


def strict_json(text):
    """NaN and Infinity, which Python's reader takes, are not JSON."""
    return json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} in JSON"))


def check(data, path):
    path.write_bytes(data)
    model = opq.load(path)
    opq.Session(path)
    assert model.to_bytes() == data
    report = strict_json(inspected(path, "--json"))
    assert report["layers"][0]["name"] == "c1.weight"
    text = inspected(path)
    assert "file rate" in text
    assert all(line.isprintable() for line in text.splitlines())
    return report


ODD = [
    {"dense_bytes": value}
    for value in ("big", [1], None, True, -1, 1.5, 10**400, {"a": 1}, float("nan"))
] + [
    {"budget": value}
    for value in ("ratio", [4.0], None, 7, {"ratio": "4"}, {"ratio": [4]}, {"ratio": None}, {"ratio": 10**400}, {"a\nb": 1})
] + [
    {"layers": value}
    for value in ([], "c1.weight", None, 3, {"c1.weight": None}, {"c1.weight": [1]}, {"c1.weight": "x"}, {"absent": {}})
] + [
    {"layers": {"c1.weight": {key: value}}}
    for key in KNOWN
    for value in ("0.5", [0.5], {}, None, True, 10**400, -(10**400), float("inf"), float("nan"), 1e308)
]  # fmt: skip


@pytest.mark.parametrize("report", ODD, ids=lambda report: json.dumps(report)[:60])
def test_odd_reports(report, tmp_path):
    check(file_with(report), tmp_path / "odd.opq")


@pytest.mark.parametrize(
    "text", [b'{"dense_bytes": ' + b"9" * 5000 + b"}", b'{"layers": {"a": ' + b"[" * 99999 + b"}}", b"{,}"]
)
def test_what_is_no_json(text, tmp_path, capsys):
    (tmp_path / "odd.opq").write_bytes(file_with(text))
    assert main(["inspect", str(tmp_path / "odd.opq")]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "odd.opq: section 'REPT' is not JSON" in line


def test_sound_entries_are_kept(tmp_path):
    """Beside odd ones, and with entries that this version does not know."""
    layers = {"c1.weight": {"threshold": 0.25, "real_error": "x", "note": ["kept"]}, "fc.weight": 1}
    details = {"dense_bytes": 1000, "budget": {"ratio": 4, "bits": "x"}, "layers": layers, "note": [None]}
    data = file_with(details)
    assert opq.load(data).details == {
        "dense_bytes": 1000, "budget": {"ratio": 4}, "layers": {"c1.weight": {"threshold": 0.25, "note": ["kept"]}},
        "note": [None],
    }  # fmt: skip
    report = check(data, tmp_path / "odd.opq")
    assert report["totals"]["dense_bytes"] == 1000
    assert report["budget"] == {"ratio": 4}
    assert report["layers"][0]["threshold"] == 0.25
    assert report["layers"][0]["real_error"] is None
    assert "ratio 4" in inspected(tmp_path / "odd.opq")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*KNOWN, "ratio", "\x1b"]), inner, max_size=3),
    max_leaves=8,
)
REPORTS = st.fixed_dictionaries(
    {},
    optional={
        "dense_bytes": VALUES,
        "budget": VALUES,
        "layers": VALUES | st.dictionaries(st.sampled_from(["c1.weight", "fc.weight"]), VALUES),
        "other": VALUES,
    },
)


@given(REPORTS)
def test_any_report(tmp_path_factory, report):
    check(file_with(report), tmp_path_factory.mktemp("report") / "odd.opq")
