"""The example for ImageNet, end to end on a folder of its layout: four classes have images, the network is a small one."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: make .venv/.frameworks")
pytest.importorskip("PIL", reason="Pillow is not installed")
import torch
from PIL import Image

import opq
from benchmarks.distillation import fine_tuned, student
from benchmarks.imagenet_networks import NETWORKS, GraphBuilder, Network, _minus_one_to_one
from examples import finetune_imagenet

IMAGES = {"train": 6, "val": 2}


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("imagenet"), np.random.default_rng(0)
    for part, count in IMAGES.items():
        for i in range(1000):
            folder = root / part / f"n{i:08}"
            folder.mkdir(parents=True)
            if i in (0, 3, 500, 999):
                colour = np.random.default_rng(i).uniform(0, 255, size=3)
                for k in range(count):
                    pixels = np.clip(colour + rng.normal(0, 20, size=(240 + k, 230, 3)), 0, 255).astype(np.uint8)
                    Image.fromarray(pixels).save(folder / f"{folder.name}_{k}.JPEG")
    return root


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A network of MobileNet-V1's operators."""
    rng, builder = np.random.default_rng(1), GraphBuilder()

    def norm(channels):
        ones, zeros = np.ones(channels), np.zeros(channels)
        return {"gamma": ones, "beta": zeros + 0.1, "mean": zeros, "variance": ones, "epsilon": 1e-3}

    def convolution(x, name, shape, stride, group=1):
        weight = rng.laplace(size=shape) / np.sqrt(np.prod(shape[1:]))
        attributes = {"strides": [stride, stride], "group": group, "auto_pad": "SAME_UPPER"}
        return builder.relu6(builder.conv_norm(x, name, weight, norm(shape[0]), **attributes))

    x = convolution("image", "first", (8, 3, 3, 3), 2)
    x = convolution(x, "depthwise", (8, 1, 3, 3), 2, group=8)
    x = convolution(x, "pointwise", (64, 8, 1, 1), 1)
    builder.classifier(x, 0.1 * rng.laplace(size=(1001, 64)), np.zeros(1001))
    path = tmp_path_factory.mktemp("network") / "small.onnx"
    builder.save(path, 1001)
    return path


@pytest.fixture(autouse=True)
def network(monkeypatch, small):
    monkeypatch.setitem(NETWORKS, "mobilenet-v1", Network(lambda: small, _minus_one_to_one, 1))
    monkeypatch.setattr(finetune_imagenet, "WARM_UP", 2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(imagenet, folder, *options):
    finetune_imagenet.main([
        str(imagenet), "--ratio", "6", "--epochs", "3", "--batch", "8", "--workers", "0", "--rate", "0.02",
        "--weight-rate", "0.1", "--run", str(folder), *options,
    ])  # fmt: skip


def test_a_training_that_was_stopped_ends_with_the_same_file(tmp_path, imagenet, monkeypatch, capsys):
    run(imagenet, tmp_path / "whole")
    lines = capsys.readouterr().out.splitlines()
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in lines if line.startswith("epoch")]
    assert len(losses) == 3
    assert losses[2] < losses[0]

    train_epoch = finetune_imagenet.train_epoch

    def stopped(module, adam, images, epoch, args):
        loss = train_epoch(module, adam, images, epoch, args)
        if epoch == 1:
            raise KeyboardInterrupt
        return loss

    with monkeypatch.context() as patch:
        patch.setattr(finetune_imagenet, "train_epoch", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(imagenet, tmp_path / "stopped")
    assert not (tmp_path / "stopped" / "network.opq").exists()
    capsys.readouterr()
    run(imagenet, tmp_path / "stopped", "--resume")
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")] == lines[3:5]
    whole, resumed = (tmp_path / name / "network.opq" for name in ("whole", "stopped"))
    assert resumed.read_bytes() == whole.read_bytes()
    fixed = opq.FixedCompression.load(tmp_path / "whole" / "fixed.opq")
    assert opq.FixedCompression.load(whole) == fixed
    first = opq.compress(opq.load_onnx(NETWORKS["mobilenet-v1"].path()), fixed=fixed)
    assert any(not np.array_equal(opq.load(whole)[name].codes, first[name].codes) for name in fixed)


def test_nothing_to_resume(tmp_path, imagenet):
    with pytest.raises(SystemExit, match="no checkpoint to resume from"):
        run(imagenet, tmp_path, "--resume")


def test_a_checkpoint_of_another_training(tmp_path, imagenet):
    run(imagenet, tmp_path, "--epochs", "1")
    with pytest.raises(SystemExit, match="is of another training"):
        run(imagenet, tmp_path, "--resume", "--batch", "4", "--epochs", "1")


def test_a_folder_of_another_layout(tmp_path):
    (tmp_path / "train" / "n01440764").mkdir(parents=True)
    with pytest.raises(SystemExit, match="1 folders, expected 1000"):
        run(tmp_path, tmp_path / "run")


def test_labels_are_the_folders_places(imagenet):
    images = finetune_imagenet.Folder(imagenet / "val")
    assert [images[i][1] for i in range(len(images))] == [1, 1, 4, 4, 501, 501, 1000, 1000]
    assert images[0][0].shape == (3, 224, 224)


def test_the_student_starts_as_the_file_and_ends_as_it(small):
    model = opq.load_onnx(small)
    first = opq.compress(model, ratio=6, rounding="nearest")
    fixed = opq.FixedCompression.of(first)
    module = student(model, first, fixed)
    x = torch.rand(2, 3, 224, 224) * 2 - 1
    for compressed in (first, None):
        compressed = fine_tuned(model, module, fixed) if compressed is None else compressed
        session = opq.Session(compressed)
        [y] = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(module(x).numpy(), y, rtol=0, atol=2e-3)
            for parameter in module.parameters():
                parameter.mul_(1.05)
