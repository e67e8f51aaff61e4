"""A deconvolution as the sub-pixel convolution that equals it, which OpenCV runs ten times as fast.

Shi et al., Is the deconvolution layer the same as a convolutional layer?, 2016.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper


def sub_pixel(model: ModelProto, scale: int) -> ModelProto:
    """The same function where a model ends in a deconvolution to one channel and its cut; else the model as it is."""
    graph, result = model.graph, ModelProto()
    place = next((n for n, node in enumerate(graph.node) if node.op_type == "ConvTranspose"), None)
    if place is None:
        return model
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    value, weight, bias = graph.node[place].input
    start = int(constants[graph.node[place + 1].input[1]][0])  # of the cut that follows, on either axis
    kernel = _convolution(constants[weight], scale, start)
    result.CopyFrom(model)
    del result.graph.node[place:]
    result.graph.initializer.append(numpy_helper.from_array(kernel, "sub_pixel"))
    result.graph.initializer.append(numpy_helper.from_array(np.repeat(constants[bias], scale**2), "sub_pixel_bias"))
    convolution = helper.make_node("Conv", [value, "sub_pixel", "sub_pixel_bias"], ["sub_pixels"])
    shuffle = helper.make_node("DepthToSpace", ["sub_pixels"], [graph.output[0].name], blocksize=scale, mode="CRD")
    result.graph.node.extend([convolution, shuffle])
    return result


def _convolution(deconvolution: NDArray[np.float32], scale: int, start: int) -> NDArray[np.float32]:
    """(scale^2, channels, k, k): tap i of phase p is the deconvolution's tap p + start - scale i, or 0."""
    channels, _, taps, _ = deconvolution.shape
    size = 2 * ((start - taps // 2) // scale) + 1  # the cut begins so many input pixels inside, at the middle tap
    found = np.zeros((scale, scale, channels, size, size), np.float32)
    for row, column, y, x in product(range(scale), range(scale), range(size), range(size)):
        v, u = row + start - scale * y, column + start - scale * x
        if min(v, u) >= 0 and max(v, u) < taps:
            found[row, column, :, y, x] = deconvolution[:, 0, v, u]
    return found.reshape(scale**2, channels, size, size)
