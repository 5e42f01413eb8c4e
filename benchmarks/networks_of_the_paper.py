"""AlexNet, MobileNet-V1 and ResNet-50 at 224x224 as ONNX models with synthetic weights.

Nobody can ship the trained weights of these networks here, so the weights are drawn from seeded Laplace
distributions, one scale per output channel: good for sizes and speeds, meaningless for accuracy.

    alexnet        the network of Krizhevsky et al. as Caffe trained it (groups, LRN)          60,965,224 parameters
    mobilenet-v1   1.0, ReLU6 after every BatchNorm, 1000 classes                               4,231,976
    resnet-50      v1.5: the 3x3 convolution of a bottleneck has the stride                    25,557,032

Running means and variances of BatchNorm are not counted above.

    python -m benchmarks.networks_of_the_paper resnet-50 -o resnet-50.onnx [--seed 0] [--sparsity 0.9]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import onnx

from benchmarks.synthetic_network import SyntheticNetwork


def alexnet(net: SyntheticNetwork, x: str) -> str:
    """Five convolutions, two of them normalized across channels, three fully connected layers."""
    x = net.relu(net.conv("conv1", x, 96, kernel=11, stride=4, padding=2))
    x = net.max_pool(net.lrn(x), kernel=3, stride=2)
    x = net.relu(net.conv("conv2", x, 256, kernel=5, padding=2, groups=2))
    x = net.max_pool(net.lrn(x), kernel=3, stride=2)
    x = net.relu(net.conv("conv3", x, 384, kernel=3, padding=1))
    x = net.relu(net.conv("conv4", x, 384, kernel=3, padding=1, groups=2))
    x = net.relu(net.conv("conv5", x, 256, kernel=3, padding=1, groups=2))
    x = net.flatten(net.max_pool(x, kernel=3, stride=2), features=256 * 6 * 6)
    x = net.dropout(net.relu(net.linear("fc6", x, 4096)))
    x = net.dropout(net.relu(net.linear("fc7", x, 4096)))
    return net.linear("fc8", x, 1000)


def mobilenet_v1(net: SyntheticNetwork, x: str) -> str:
    """One full convolution, then 13 pairs of a depthwise 3x3 and a pointwise convolution."""

    def unit(name: str, x: str, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> str:
        padding = kernel // 2
        x = net.conv(name, x, channels, kernel, stride, padding, groups, bias=False)
        return net.relu6(net.batch_norm(f"{name}.bn", x))

    x = unit("conv0", x, 32, kernel=3, stride=2)
    channels = 32
    widths = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
    for i, width in enumerate(widths, start=1):
        x = unit(f"block{i}.depthwise", x, channels, kernel=3, stride=2 if i in (2, 4, 6, 12) else 1, groups=channels)
        x = unit(f"block{i}.pointwise", x, width, kernel=1)
        channels = width
    x = net.flatten(net.global_average_pool(x), features=channels)
    return net.linear("fc", x, 1000)


def resnet_50(net: SyntheticNetwork, x: str) -> str:
    """16 bottlenecks (1x1, 3x3, 1x1 and a sum) in four stages."""

    def unit(name: str, x: str, channels: int, kernel: int, stride: int = 1, gamma: float = 1.0) -> str:
        x = net.conv(name, x, channels, kernel, stride, padding=kernel // 2, bias=False)
        return net.batch_norm(f"{name}.bn", x, gamma)

    x = net.relu(unit("conv1", x, 64, kernel=7, stride=2))
    x = net.max_pool(x, kernel=3, stride=2, padding=1)
    for stage, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), start=1):
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            stride = 2 if block == 0 and stage > 1 else 1
            y = net.relu(unit(f"{name}.conv1", x, width, kernel=1))
            y = net.relu(unit(f"{name}.conv2", y, width, kernel=3, stride=stride))
            y = unit(f"{name}.conv3", y, 4 * width, kernel=1, gamma=0.5)
            if block == 0:
                x = unit(f"{name}.downsample", x, 4 * width, kernel=1, stride=stride)
            x = net.residual(y, x)
    x = net.flatten(net.global_average_pool(x), features=2048)
    return net.linear("fc", x, 1000)


NETWORKS: dict[str, Callable[[SyntheticNetwork, str], str]] = {
    "alexnet": alexnet,
    "mobilenet-v1": mobilenet_v1,
    "resnet-50": resnet_50,
}


def build(name: str, batch: int | str = "N", seed: int = 0, sparsity: float = 0.0) -> onnx.ModelProto:
    """The network as an ONNX model (opset 13) from `input` [batch, 3, 224, 224] to `output` [batch, 1000].

    Args:
        name: a key of NETWORKS.
        batch: a number, or the name of a dynamic dimension.
        seed: equal seeds give equal models.
        sparsity: this fraction of the weights of every layer, the smallest ones, is set to zero, except in the first
            layer and in depthwise ones.
    """
    net = SyntheticNetwork(seed, sparsity)
    output = NETWORKS[name](net, net.input("input", channels=3))
    return net.model(name, inputs={"input": (batch, 3, 224, 224)}, outputs={output: ("output", (batch, 1000))})


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Writes a network of the paper with synthetic weights as ONNX.")
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("-o", "--output", required=True, help="the .onnx file to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sparsity", type=float, default=0.0, help="fraction of zeros, 0 to 1")
    options = parser.parse_args(arguments)
    onnx.save(build(options.network, seed=options.seed, sparsity=options.sparsity), options.output)


if __name__ == "__main__":
    main()
