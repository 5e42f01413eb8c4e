"""The pictures: what is drawn, in which files, and that names from files stay text."""

import re
import sys
from html.parser import HTMLParser
from xml.dom import minidom

import numpy as np
import pytest
from commands import failure, run_command

pytest.importorskip("matplotlib")

import opq
from opq.pareto import ParetoFront, ParetoPoint
from opq.plotting import (
    check_picture,
    draw_histogram,
    draw_layers,
    draw_pareto,
    inline_svg,
    layers_height,
    new_figure,
    save_figure,
)
from opq.plotting.histogram import layer_weights
from opq.plotting.style import label, size_label

HOSTILE = ["<script>alert(1)</script>", 'a & \'b\' "c" id="x" url(#y)', "$\\frac{$", "line\nbreak\x1b[31m", "層 🙂", "n" * 300]


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(0)
    return {name: rng.laplace(size=(16, 40 * (i + 1))).astype(np.float32) for i, name in enumerate([*HOSTILE, "fc"])}


@pytest.fixture(scope="module")
def model(weights):
    return opq.compress(weights, sparsity=0.6, bits=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, weights, model):
    """A folder with weights.npz, weights.opq: names that an .npz file takes."""
    path = tmp_path_factory.mktemp("plotting")
    opq.compress({"fc": weights["fc"], "<b>&": weights[HOSTILE[0]]}, ratio=8).save(path / "weights.opq")
    np.savez(path / "weights.npz", **{"fc": weights["fc"], "<b>&": weights[HOSTILE[0]]})
    return path


def layers_figure(report, **options):
    figure = new_figure(13.0, layers_height(report))
    draw_layers(figure, report, "net.opq", **options)
    return figure


def texts(svg):
    elements = minidom.parseString(svg).getElementsByTagName("text")
    return [
        "".join(part.data for part in element.childNodes if part.nodeType == part.TEXT_NODE).strip() for element in elements
    ]


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF"), (".SVG", b"<?xml")])
def test_files_by_their_ending_are_the_same_every_time(model, tmp_path, suffix, start):
    paths = [tmp_path / f"{i}{suffix}" for i in range(2)]
    for path in paths:
        save_figure(layers_figure(model.report), str(path))
    one, other = (path.read_bytes() for path in paths)
    assert one.startswith(start)
    assert one == other
    assert sorted(tmp_path.iterdir()) == paths


def test_unknown_endings():
    for path in ("a.gif", "png", "a.png.txt"):
        with pytest.raises(ValueError, match=r"expected \.png, \.svg or \.pdf"):
            check_picture(path)


def test_without_matplotlib_one_line_says_what_to_install(monkeypatch, folder, capsys):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for arguments in (
        ["plot", folder / "weights.opq", "-o", folder / "x.png"],
        ["pareto", folder / "weights.npz", "-o", folder / "x.png"],
        ["compress", folder / "weights.npz", "-o", folder / "x.opq", "--bits", 4, "--report", folder / "x.html"],
    ):
        assert "pip install 'opq[plot]'" in failure(capsys, *arguments)
        assert not list(folder.glob("x.*"))


def test_layers_show_every_layer_and_its_numbers(model):
    report = model.report
    drawn = texts(inline_svg(layers_figure(report), "p"))
    total = sum(layer["real_error"] for layer in report["layers"])
    for layer in report["layers"]:
        assert label(layer["name"], 60) in drawn
        for text in (f"{100 * layer['sparsity']:.1f} %", f"{layer['real_bits']:.2f}", size_label(layer["bytes"])):
            assert text in drawn
        assert f"{100 * layer['real_error'] / total:.1f} %" in drawn


def test_rows_are_in_the_order_of_the_report_and_the_marked_one_stands_out(model):
    report = model.report
    axes = layers_figure(report, marked="fc").axes[0]
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    assert names == [label(layer["name"], 60) for layer in report["layers"]]
    assert axes.yaxis_inverted()
    assert [tick.get_fontweight() == "bold" for tick in axes.get_yticklabels()] == [name == "fc" for name in names]


def test_errors_that_the_file_does_not_tell(model):
    bare = opq.CompressedModel(None, model.tensors)
    assert "not in the file" in texts(inline_svg(layers_figure(bare.report), "p"))


def test_very_many_layers_make_no_endless_picture(model):
    report = model.report
    report["layers"] = [{**report["layers"][0], "name": str(i)} for i in range(1500)]
    assert layers_height(report) == 250.0
    figure = layers_figure(report)
    assert len(figure.axes[0].get_yticks()) == 750


def test_threshold_divides_the_histogram(weights, model):
    for layer in model.report["layers"]:
        shown = layer_weights(layer["name"], weights[layer["name"]], model[layer["name"]], layer["threshold"])
        magnitude = np.abs(shown.values)
        # The report rounds the threshold to four digits.
        assert magnitude[shown.pruned].max() <= 1.001 * shown.threshold
        assert magnitude[~shown.pruned].min() >= 0.999 * shown.threshold
        codes = model[layer["name"]].codes.ravel()
        inner = np.abs(codes) < shown.levels
        inner &= np.abs(codes) > 1
        assert (np.abs(magnitude[inner] / shown.step - np.abs(codes[inner])) <= 0.5001).all()


def test_repaired_scales_do_not_move_the_histogram(weights, model):
    tensor = model["fc"]
    repaired = opq.QuantizedTensor(tensor.codes, tensor.step, tensor.levels, tensor.scale * np.float32(1.25), tensor.axis)
    before, after = (layer_weights("fc", weights["fc"], t, 1.0) for t in (tensor, repaired))
    np.testing.assert_array_equal(before.values, after.values)


def test_histogram_counts_all_weights_and_draws_levels_and_borders(weights, model):
    layer = layer_weights("fc", weights["fc"], model["fc"], 1.5)
    figure = new_figure(12.0, 4.0)
    draw_histogram(figure, layer)
    whole, near = figure.axes
    everything, zeros = (patch.get_data().values.sum() for patch in whole.patches)
    assert everything == layer.values.size
    assert zeros == layer.pruned.sum()
    levels, borders, threshold = (
        next(c for c in near.collections if c.get_label().startswith(text)) for text in ("level", "border", "threshold")
    )
    end = near.get_xlim()[1]
    places = [path.vertices[0, 0] for path in levels.get_paths()]
    np.testing.assert_allclose(places, [k * layer.step for k in range(-7, 8) if abs(k) * layer.step <= end])
    assert sorted(path.vertices[0, 0] for path in threshold.get_paths()) == [-1.5, 1.5]
    for path in borders.get_paths():
        x = abs(path.vertices[0, 0])
        assert x > 1.5
        assert x / layer.step % 1.0 == pytest.approx(0.5)


def test_histogram_without_a_threshold_and_of_one_magnitude(weights):
    signs = np.sign(weights["fc"])
    tensor = opq.compress({"fc": signs}, bits=2)["fc"]
    figure = new_figure(12.0, 4.0)
    draw_histogram(figure, layer_weights("fc", signs, tensor, None))
    assert not [c for c in figure.axes[1].collections if c.get_label().startswith("threshold")]
    inline_svg(figure, "p")
    zeros = opq.compress({"fc": 0.0 * signs}, bits=2)["fc"]
    draw_histogram(new_figure(12.0, 4.0), layer_weights("fc", 0.0 * signs, zeros, 0.0))


def test_layer_weights_of_another_shape(model):
    with pytest.raises(ValueError, match=r"'fc': the weights have shape \(2, 2\)"):
        layer_weights("fc", np.ones((2, 2), np.float32), model["fc"], None)


def point(size, error):
    return ParetoPoint(size, 1e6 / size, error, 0.5)


def test_pareto_draws_both_kinds_of_points_and_the_chosen_one():
    front = ParetoFront(10**6, (point(2e5, 1e-3), point(1e4, 0.9)), (point(1.9e5, 2e-3),), point(8e4, 0.25))
    figure = new_figure(8.0, 5.0)
    draw_pareto(figure, front, "<net>")
    curve, real, chosen = figure.axes[0].lines
    assert curve.get_xydata().tolist() == [[2e5, 1e-3], [1e4, 0.9]]
    assert real.get_xydata().tolist() == [[1.9e5, 2e-3]]
    assert chosen.get_xydata().tolist() == [[8e4, 0.25]]
    drawn = texts(inline_svg(figure, "p"))
    assert {"<net>", "100 kB", "20x"} <= set(drawn)
    assert any("80 kB, 12.5x smaller" in text for text in drawn)


@pytest.mark.parametrize("errors", [(0.0, 0.0), (1e-3, 1e-3)])
def test_pareto_of_a_single_size(errors):
    figure = new_figure(8.0, 5.0)
    draw_pareto(figure, ParetoFront(10**6, tuple(point(5e4, e) for e in errors), (), None), "net")
    assert any(text.endswith("kB") for text in texts(inline_svg(figure, "p")))


class Page(HTMLParser):
    """Tags, ids and links of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.links, self.text = set(), [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.ids += [value for key, value in attributes if key == "id"]
        self.links += [value for key, value in attributes if key in ("src", "href", "xlink:href", "data", "action")]
        assert not [key for key, _ in attributes if key.startswith("on")]

    def handle_data(self, data):
        self.text.append(data)


def test_report_page_is_one_file_that_loads_and_runs_nothing(folder, capsys):
    page = folder / "report.html"
    source, target = folder / "weights.npz", folder / "again.opq"
    run_command(capsys, "compress", source, "-o", target, "--ratio", 8, "--report", page, "--quiet")
    text = page.read_text(encoding="utf-8")
    read = Page(text)
    assert not read.tags & {"script", "link", "img", "iframe", "object", "b"}
    assert len(read.ids) == len(set(read.ids)) > 0
    assert all(link[0] == "#" and link[1:] in read.ids for link in read.links)
    clips = re.findall(r"url\(([^)]*)\)", text)
    assert clips
    assert all(clip[0] == "#" and clip[1:] in read.ids for clip in clips)
    assert "@import" not in text
    assert text.count("<svg") == 3
    report = opq.load(target).report
    for shown in ("<b>&", "fc", "again.opq", f"{report['totals']['file_bytes']:,} bytes", "ratio", "8.0", str(source)):
        assert any(shown in part for part in read.text), shown


def test_report_page_of_every_kind_of_budget(folder, capsys, tmp_path):
    for options in (["--bits", 4], ["--sparsity", 0.5, "--bits", 3], ["--size", "2kB", "--rounding", "rate"]):
        page = tmp_path / "page.html"
        run_command(capsys, "compress", folder / "weights.npz", "-o", tmp_path / "w.opq", *options, "--report", page, "--quiet")
        assert page.read_text(encoding="utf-8").count("<svg") == 3
        page.unlink()


def test_report_page_never_replaces_source_or_output(folder, capsys, tmp_path):
    source, target = folder / "weights.npz", tmp_path / "w.opq"
    for page in (source, target):
        line = failure(capsys, "compress", source, "-o", target, "--bits", 4, "--report", page)
        assert "the source or the output" in line
    assert not target.exists()


def test_hostile_names_stay_text_in_every_picture(model, weights):
    figures = [layers_figure(model.report, marked=HOSTILE[0])]
    for name in HOSTILE:
        figures.append(new_figure(12.0, 4.0))
        draw_histogram(figures[-1], layer_weights(name, weights[name], model[name], 1.0))
    for figure in figures:
        svg = inline_svg(figure, "p")
        assert not minidom.parseString(svg).getElementsByTagName("script")
        assert all(text.isprintable() for text in texts(svg))
        assert svg.startswith("<svg")
    drawn = texts(inline_svg(figures[0], "p"))
    assert {HOSTILE[0], HOSTILE[1], HOSTILE[2], r"line\nbreak\x1b[31m"} <= set(drawn)


def test_command_plot(folder, capsys):
    picture = folder / "layers.png"
    assert f"wrote {picture}" in run_command(capsys, "plot", folder / "weights.opq", "-o", picture).err
    plain = picture.read_bytes()
    run_command(capsys, "plot", folder / "weights.opq", "-o", picture, "--layer", "fc", "--weights", folder / "weights.npz")
    assert len(picture.read_bytes()) > len(plain)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--layer", "fc"], "go together"),
        (["--weights", "weights.npz"], "go together"),
        (["--layer", "absent", "--weights", "weights.npz"], "'absent'"),
        (["--layer", "fc", "--weights", "other.npz"], "no tensor 'fc'"),
        (["--layer", "fc", "--weights", "shape.npz"], "shape.npz: layer 'fc'"),
        (["-o", "layers.bmp"], "'.bmp' is unknown"),
    ],
)
def test_command_plot_fails_with_one_line(folder, capsys, monkeypatch, options, words):
    monkeypatch.chdir(folder)
    np.savez("other.npz", a=np.ones((2, 2), np.float32))
    np.savez("shape.npz", fc=np.ones((2, 2), np.float32))
    assert words in failure(capsys, "plot", "weights.opq", "-o", "x.png", *options)
    assert not (folder / "x.png").exists()


def test_command_plot_of_a_file_without_layers(capsys, tmp_path):
    opq.CompressedModel(None, {"d": np.ones(3, np.float32)}).save(tmp_path / "d.opq")
    assert "no tensor is quantized" in failure(capsys, "plot", tmp_path / "d.opq", "-o", tmp_path / "d.png")


def test_labels():
    assert label("short", 60) == "short"
    assert label("abcdefghij", 5) == "ab…ij"
    assert label("abcdefghij", 6) == "abc…ij"
    assert len(label("x" * 100, 44)) == 44
    assert [size_label(size) for size in (0, 999, 1000, 1956100, 999_600, 2.5e9)] == [
        "0 B", "999 B", "1 kB", "1.96 MB", "1 MB", "2.5 GB",
    ]  # fmt: skip
