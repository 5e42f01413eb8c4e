"""What compression without data and without fine-tuning does to real networks, beside the usual ways to do it at equal bytes.

    python benchmarks/fidelity.py --images imagenet-val.zip [--networks mobilenet-v1] [--ratios 8 12] [--methods opq "w = 1"]
                                  [--write benchmarks/FIDELITY.md] [--plots docs]

--images: a folder or zip archive of photographs with ImageNet's labels (see images.py); then top-1 and top-5 are told. Without
it, or without labels, answers are compared with the dense network's only, on the few sample photographs of scikit-image.

The first call downloads the networks. All networks of 500 photographs take some hours.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import opq
from benchmarks import baselines, fidelity_plots, onnxruntime_int8
from benchmarks.candidates import Candidate, Solution, Subject
from benchmarks.fidelity_scores import Scores, score
from benchmarks.fidelity_tables import Row, markdown, tables
from benchmarks.imagenet_networks import NETWORKS, Network
from benchmarks.images import Images, load_images
from benchmarks.kmeans_codebooks import kmeans
from opq.cli.tables import format_table, progress
from opq.threads import available_cores

Array = npt.NDArray[np.float64]

_BATCH = 25
_TUNING = 50  # photographs that a method with several settings is tuned on, spread over all
_CALIBRATION = 32


@dataclass(frozen=True)
class Method:
    """A way to compress: a network and a number of bytes -> the settings that reach it.

    sized       the bytes can be chosen; otherwise it runs once
    repairable  its result can be given opq's repairs
    """

    solve: Callable[[Subject, float], list[Solution]]
    sized: bool = True
    repairable: bool = True


METHODS = {
    "opq": Method(baselines.compressed),
    "uniform rate": Method(partial(baselines.compressed, weighting="rate")),
    "w = 1": Method(partial(baselines.compressed, weighting="one")),
    "uniform sparsity": Method(baselines.uniform_sparsity),
    "global magnitude": Method(baselines.global_magnitude),
    "k-means": Method(kmeans),
    "per-channel int8": Method(partial(baselines.per_channel_max_abs, 8), sized=False),
    "per-channel int4": Method(partial(baselines.per_channel_max_abs, 4), sized=False),
    "ONNX Runtime int8": Method(onnxruntime_int8.static_int8, sized=False, repairable=False),
}


class Judge:
    """One network's dense answers to the photographs, and what others' answers differ from them."""

    def __init__(self, network: Network, model: opq.Model, images: Images, threads: int) -> None:
        self._network, self._images, self._threads = network, images, threads
        labelled = images.labels is not None and network.first_class is not None
        self._labels = images.labels + network.first_class if labelled else None
        self._dense = self._answers(Candidate(model, model.dense_bytes), np.arange(len(images)))
        self._tuning = np.unique(np.linspace(0, len(images) - 1, min(_TUNING, len(images))).astype(np.int64))
        self.dense_scores = self._score(self._dense, np.arange(len(images)))

    def scores(self, candidate: Candidate) -> Scores:
        """On all photographs."""
        chosen = np.arange(len(self._images))
        return self._score(self._answers(candidate, chosen), chosen)

    def tuning_divergence(self, candidate: Candidate) -> float:
        """On the few photographs that settings are chosen by."""
        return self._score(self._answers(candidate, self._tuning), self._tuning).divergence.mean

    def _score(self, answers: Array, chosen: npt.NDArray[np.int64]) -> Scores:
        return score(self._dense[chosen], answers, None if self._labels is None else self._labels[chosen])

    def _answers(self, candidate: Candidate, chosen: npt.NDArray[np.int64]) -> Array:
        source = candidate.runnable
        if isinstance(source, bytes):
            run = onnxruntime_int8.runner(source, self._threads)
        else:
            session = opq.Session(source, threads=self._threads)
            name = session.get_inputs()[0].name
            run = lambda inputs: session.run(None, {name: inputs})[0]  # noqa: E731
        batches = [chosen[i : i + _BATCH] for i in range(0, len(chosen), _BATCH)]
        outputs = [run(self._network.prepare(self._images.pixels[batch])) for batch in batches]
        return self._network.log_probabilities(np.concatenate(outputs))


def main() -> None:
    """Measure and print, and write the files that are named."""
    args = parsed()
    images = load_images(args.images, args.count)
    if args.images is not None and images.labels is None:
        progress(f"{args.images}: no labels (123_name.jpg, or 1000 folders): agreement instead of accuracy")
    rows: list[Row] = []
    for name in args.networks:
        rows += measure_network(name, images, args)
        print("\n\n".join(f"{title}\n\n{format_table(header, cells)}" for title, header, cells in tables(rows, name)))
        # After every network, since all of them take hours.
        plots = fidelity_plots.draw(rows, args.plots) if args.plots is not None else {}
        if args.write is not None:
            args.write.write_text(markdown(rows, images, args.threads, plots, args.write.parent))


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, metavar="DIR_OR_ZIP")
    parser.add_argument("--count", type=int, default=500, help="photographs, spread over all of them (default: %(default)s)")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--ratios", nargs="+", type=float, default=[6.0, 8.0, 12.0, 16.0, 24.0])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--repairs", nargs="+", default=["with", "without"], choices=["with", "without"])
    parser.add_argument("--threads", type=int, default=min(2, available_cores()))
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the tables as Markdown")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw a PNG per network; needs matplotlib")
    args = parser.parse_args()
    if args.plots is not None and find_spec("matplotlib") is None:
        parser.error("--plots needs matplotlib: pip install 'opq[plot]'")
    return args


def measure_network(name: str, images: Images, args: argparse.Namespace) -> list[Row]:
    """The rows of one network: the dense one, then every method at every ratio, with opq's repairs and without."""
    progress(f"{name}: dense")
    network = NETWORKS[name]
    path = network.path()
    model = opq.load_onnx(path)
    judge = Judge(network, model, images, args.threads)
    subject = Subject(model, path, network.prepare(images.pixels[:: max(1, len(images) // _CALIBRATION)][:_CALIBRATION]))
    dense = Candidate(model, model.dense_bytes, 0.0, 1.0, 1.0)
    rows = [Row(name, "dense", "", None, None, model.dense_bytes, dense, judge.dense_scores, 0.0)]
    for method_name in args.methods:
        method = METHODS[method_name]
        for ratio in args.ratios if method.sized else [None]:
            at = "" if ratio is None else f" at {ratio:g}x"
            progress(f"{name}: {method_name}{at}")
            try:
                solutions = method.solve(subject, model.dense_bytes / (ratio or 1.0))
                for repaired in repairs(method, model, args.repairs):
                    setting, candidate, seconds = best(solutions, repaired, judge)
                    scores = judge.scores(candidate)
                    rows.append(Row(name, method_name, setting, ratio, repaired, model.dense_bytes, candidate, scores, seconds))
            except opq.BudgetError as error:
                progress(f"{name}: {method_name}{at}: {error}")
    return rows


def repairs(method: Method, model: opq.Model, wanted: list[str]) -> list[bool | None]:
    """With and without, or None where there is no such choice: no statistics of a BatchNorm, or another tool's file."""
    if not method.repairable or not model.moments:
        return [None]
    return [choice == "with" for choice in wanted]


def best(solutions: list[Solution], repaired: bool | None, judge: Judge) -> tuple[str, Candidate, float]:
    """The setting that does best on the tuning photographs, the network it makes, and the seconds that took."""
    results = []
    for solution in solutions:
        start = time.perf_counter()
        candidate = solution.finish(bool(repaired))
        seconds = solution.seconds + time.perf_counter() - start
        divergence = judge.tuning_divergence(candidate) if len(solutions) > 1 else 0.0
        results.append((divergence, solution.setting, candidate, seconds))
    return min(results, key=lambda result: result[0])[1:]


if __name__ == "__main__":
    main()
