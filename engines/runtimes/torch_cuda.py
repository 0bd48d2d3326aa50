"""The two networks on an NVIDIA GPU through torch: for GPUs that no TensorRT here builds for, such as SM90.

    ONNX file -> weights -> modules of engines.network -> half precision -> one CUDA graph a batch size

The weights come out of the ONNX file that every runtime reads; no pickle is opened. On the CPU the same code runs in
single precision without CUDA graphs, which is how it is tested. Never run on a GPU.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engines.errors import EngineError
from engines.runtimes import Array, CheckedGraph, Graph, Precision, TensorSpec, check_threads, one_line
from engines.runtimes.tensorrt import SIZES
from engines.runtimes.tensorrt_device import missing_driver

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class TorchRuntime:
    """torch on one device; `cpu` is for tests."""

    device: str = "cuda"
    name: str = "cuda"
    title: str = "torch CUDA"
    precision: Precision = Precision.FP16

    def available(self) -> str | None:
        for module in ("torch", "onnx"):
            if importlib.util.find_spec(module) is None:
                return f"the package {module} is not installed (pip install 'unmask[cuda]')"
        if self.device == "cpu":
            return None
        if "+cpu" in self.version():
            return f"torch {self.version()} is built for the CPU alone (pip install 'unmask[cuda]')"
        return missing_driver()

    def version(self) -> str:
        try:
            return importlib.metadata.version("torch")
        except importlib.metadata.PackageNotFoundError:
            return ""

    def open(self, path: Path, threads: int) -> Graph:
        """Raises EngineError where torch, the GPU or the file is not there, or the graph is not one of ours."""
        label = f"{self.title}, {path.name}"
        check_threads(label, threads)
        try:
            import torch

            if self.device != "cpu" and not torch.cuda.is_available():
                raise EngineError("torch finds no NVIDIA GPU")
            module, spec, outputs = load_module(path)
            return _TorchGraph(label, module, torch.device(self.device), spec, outputs)
        except Exception as error:  # ImportError of a broken install, or one of the library's own types.
            raise EngineError(f"{label}: cannot be opened: {one_line(error)}") from error


def load_module(path: Path) -> tuple[torch.nn.Module, TensorSpec, tuple[str, ...]]:
    """An ONNX file of ours as a module in single precision, its input, its outputs. Raises EngineError, OSError.

    Batch normalisation is already part of the convolutions in the file and is taken out of the module.
    """
    import onnx

    graph = onnx.load(str(path)).graph
    (given,) = graph.input
    kind = onnx.helper.tensor_dtype_to_np_dtype(given.type.tensor_type.elem_type)
    shape = tuple(dim.dim_value or None for dim in given.type.tensor_type.shape.dim)
    spec = TensorSpec(given.name, np.dtype(kind), shape)
    outputs = tuple(one.name for one in graph.output)
    weights = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    if (spec.name, outputs) == ("crops", ("feature", "logit", "where")):
        module = _encoder(graph, weights)
    elif (spec.name, outputs) == ("window", ("logit", "frame_logits")):
        module = _head(graph, weights)
    else:
        raise EngineError(f"found input {spec.name} and outputs {', '.join(outputs)}: neither encoder nor head")
    return module.eval().requires_grad_(False), spec, outputs


def _encoder(graph: Any, weights: dict[str, Array]) -> torch.nn.Module:
    from torch import nn

    from engines.network import Encoder, ExportEncoder

    made = ExportEncoder(Encoder())
    plain: list[nn.Conv2d] = []
    for block in [one for one in made.encoder.backbone.modules() if isinstance(one, nn.Sequential)]:
        for index in range(len(block) - 1):
            conv, norm = block[index], block[index + 1]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                conv.bias = nn.Parameter(norm.bias.detach().clone())
                block[index + 1] = nn.Identity()
                plain.append(conv)
    found: dict[str, Array] = {name: array for name, array in weights.items() if not name.startswith("onnx::")}
    folded = [node for node in graph.node if node.op_type == "Conv" and node.input[1] not in found]
    if len(folded) != len(plain):
        raise EngineError(f"found {len(folded)} folded convolutions, expected {len(plain)}")
    names = {id(module): name for name, module in made.named_modules()}
    for node, conv in zip(folded, plain, strict=True):
        found[f"{names[id(conv)]}.weight"] = weights[node.input[1]]
        found[f"{names[id(conv)]}.bias"] = weights[node.input[2]]
    return _filled(made, found)


def _head(graph: Any, weights: dict[str, Array]) -> torch.nn.Module:
    from engines.network import Head

    found = {name: array for name, array in weights.items() if not name.startswith("onnx::")}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] not in found and node.input[1] in weights:
            found[f"{node.name.strip('/').rpartition('/')[0]}.weight"] = weights[node.input[1]].T
    return _filled(Head(), found)


def _filled(module: torch.nn.Module, weights: dict[str, Array]) -> torch.nn.Module:
    """The module with these weights: all of them, and none left over. Raises EngineError."""
    import torch

    own = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    given = {name: tuple(array.shape) for name, array in weights.items()}
    if own != given:
        odd = sorted(name for name in own.keys() | given.keys() if own.get(name) != given.get(name))
        raise EngineError(f"the weights do not fit the network: {', '.join(odd[:3])}")
    module.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()})
    return module


class _TorchGraph(CheckedGraph):
    def __init__(
        self, label: str, module: torch.nn.Module, device: torch.device, spec: TensorSpec, outputs: tuple[str, ...]
    ) -> None:
        import torch

        super().__init__(label, (spec,), outputs)
        self._device = device
        self._module: torch.nn.Module | None = module.to(device)
        self._replays: dict[int, Callable[[torch.Tensor], tuple[torch.Tensor, ...]]] = {}
        backbone = getattr(getattr(module, "encoder", None), "backbone", None)
        if device.type != "cpu" and backbone is not None:
            # The encoder normalises in single precision and goes on in half; the head is too small to gain anything.
            module.half().to(memory_format=torch.channels_last)
            backbone.register_forward_pre_hook(lambda _module, given: (given[0].half(),))

    def _run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        import torch

        array = inputs[self.input_names[0]]
        parts: list[tuple[Array, ...]] = []
        with torch.inference_mode():
            for start in range(0, len(array), SIZES[-1]):
                given = torch.from_numpy(array[start : start + SIZES[-1]])
                found = self._forward(given)
                parts.append(tuple(one[: len(given)].float().cpu().numpy().copy() for one in found))
        return {name: np.concatenate([part[i] for part in parts]) for i, name in enumerate(self._output_names)}

    def _forward(self, given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        assert self._module is not None
        if self._device.type == "cpu":
            return tuple(self._module(given))
        size = next(size for size in SIZES if size >= len(given))
        if size not in self._replays:
            self._replays[size] = _recorded(self._module, given.new_zeros((size, *given.shape[1:])), self._device)
        return self._replays[size](given)

    def _release(self) -> None:
        self._module = None
        self._replays.clear()


def _recorded(
    module: torch.nn.Module, example: torch.Tensor, device: torch.device
) -> Callable[[torch.Tensor], tuple[torch.Tensor, ...]]:
    """The module for one batch size as a CUDA graph, fed through pinned memory."""
    import torch

    pinned = example.pin_memory()
    inside = example.to(device)
    stream = torch.cuda.Stream(device)
    with contextlib.ExitStack() as side:
        side.enter_context(torch.cuda.stream(stream))
        for _ in range(3):  # Libraries choose their kernels and get their memory, which no recording may contain.
            module(inside)
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = tuple(module(inside))

    def replay(given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        pinned[: len(given)].copy_(given)
        inside.copy_(pinned, non_blocking=True)
        graph.replay()
        return outputs  # Read by `.cpu()`, which waits for the graph.

    return replay
