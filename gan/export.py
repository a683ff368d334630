"""Export of a trained generator to ONNX, for programs without torch. It needs the extra `onnx`."""

from __future__ import annotations

import importlib.util
from typing import Final

import torch
from torch import Tensor, nn

from gan.data import margins
from gan.layers import spectral_norm
from gan.sample import TrainedGenerator
from gan.spec import image_size

_LIBRARIES: Final = ("onnx", "onnxscript")


class OnnxUnavailableError(Exception):
    """The libraries that write ONNX are not installed. The text says how to install them."""


class _CroppedGenerator(nn.Module):
    """The exported function: (z, class_ids) -> images in [-1, 1], cropped to the size of the data set."""

    def __init__(self, generator: TrainedGenerator) -> None:
        super().__init__()
        self.network = spectral_norm.without_spectral_norm(generator.network)
        self.height, self.width = generator.info.height, generator.info.width
        size = image_size(generator.spec, generator.info)
        self.left, _, self.top, _ = margins(self.height, self.width, size)

    def forward(self, z: Tensor, class_ids: Tensor | None = None) -> Tensor:
        images: Tensor = self.network(z, class_ids)
        return images[:, :, self.top : self.top + self.height, self.left : self.left + self.width]


def to_onnx(generator: TrainedGenerator) -> bytes:
    """Return `generator` as an ONNX model.

    Inputs: z (N, z_dim) float32 and, for a conditional generator, class_ids (N,) int64. Output: images (N, C, H, W)
    float32 in [-1, 1]. N is dynamic. Raises `OnnxUnavailableError` if the extra `onnx` is not installed.
    """
    if missing := [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]:
        raise OnnxUnavailableError(
            f"The export to ONNX needs {' and '.join(missing)}. Install it with `pip install 'gantry[onnx]'`."
        )
    z = torch.zeros(2, generator.spec.generator.z_dim)
    inputs: tuple[Tensor, ...] = (z,)
    names = ["z"]
    if generator.spec.conditional:
        inputs, names = (z, torch.zeros(2, dtype=torch.int64)), ["z", "class_ids"]
    count = torch.export.Dim("N")
    program = torch.onnx.export(
        _CroppedGenerator(generator).eval(),
        inputs,
        dynamo=True,
        input_names=names,
        output_names=["images"],
        dynamic_shapes=tuple({0: count} for _ in inputs),
        verbose=False,
    )
    assert program is not None
    model: bytes = program.model_proto.SerializeToString()
    return model
