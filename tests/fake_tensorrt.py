"""A stand-in for TensorRT and for the CUDA driver: the "engine" is the ONNX file itself, the GPU is this process.

Device memory is host memory, a stream runs at once, and while a stream is being captured nothing runs but is noted,
as on a GPU: code that reads too early, copies too much or replays for the wrong batch gives wrong numbers here too.
"""

from __future__ import annotations

import ctypes
import enum
import importlib.machinery
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest


class Memory:
    """Every allocation that has not been given back, and the recording under way."""

    def __init__(self) -> None:
        self.blocks: dict[int, Any] = {}
        self.recording: list[Callable[[], None]] | None = None
        self.launches = 0

    def take(self, size: int) -> int:
        block = (ctypes.c_uint8 * size)()
        self.blocks[ctypes.addressof(block)] = block
        return ctypes.addressof(block)

    def do(self, work: Callable[[], None]) -> None:
        if self.recording is None:
            work()
        else:
            self.recording.append(work)


class Status(enum.IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_OUT_OF_MEMORY = 2


def driver_module(memory: Memory, capability: tuple[int, int] = (8, 6)) -> types.ModuleType:
    """`cuda.bindings.driver` as far as it is used."""
    made = types.ModuleType("cuda.bindings.driver")
    ok = Status.CUDA_SUCCESS

    def free(pointer: int) -> tuple[Status]:
        del memory.blocks[int(pointer)]
        return (ok,)

    def copy(target: int, source: int, size: int, _stream: object) -> tuple[Status]:
        memory.do(lambda: ctypes.memmove(target, source, size) and None)
        return (ok,)

    def begin(_stream: object, _mode: object) -> tuple[Status]:
        assert memory.recording is None
        memory.recording = []
        return (ok,)

    def end(_stream: object) -> tuple[Status, list[Callable[[], None]]]:
        recorded, memory.recording = memory.recording, None
        assert recorded is not None
        return ok, recorded

    def launch(graph: list[Callable[[], None]], _stream: object) -> tuple[Status]:
        memory.launches += 1
        for work in graph:
            work()
        return (ok,)

    kinds = types.SimpleNamespace(
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR=0, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR=1
    )
    modes = types.SimpleNamespace(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL=1)
    calls: dict[str, Any] = {
        "CUdevice_attribute": kinds,
        "CUstreamCaptureMode": modes,
        "cuInit": lambda _flags: (ok,),
        "cuDeviceGetCount": lambda: (ok, 1),
        "cuDeviceGet": lambda index: (ok, index),
        "cuDeviceGetName": lambda _size, _device: (ok, b"Pretend GPU\0\0"),
        "cuDeviceGetAttribute": lambda kind, _device: (ok, capability[kind]),
        "cuDriverGetVersion": lambda: (ok, 13000),
        "cuDevicePrimaryCtxRetain": lambda _device: (ok, 1),
        "cuDevicePrimaryCtxRelease": lambda _device: (ok,),
        "cuCtxSetCurrent": lambda _context: (ok,),
        "cuStreamCreate": lambda _flags: (ok, 7),
        "cuStreamDestroy": lambda _stream: (ok,),
        "cuStreamSynchronize": lambda _stream: (ok,),
        "cuMemAlloc": lambda size: (ok, memory.take(size)),
        "cuMemHostAlloc": lambda size, _flags: (ok, memory.take(size)),
        "cuMemFree": free,
        "cuMemFreeHost": free,
        "cuMemcpyHtoDAsync": copy,
        "cuMemcpyDtoHAsync": copy,
        "cuStreamBeginCapture": begin,
        "cuStreamEndCapture": end,
        "cuGraphInstantiate": lambda graph, _flags: (ok, graph),
        "cuGraphLaunch": launch,
        "cuGraphDestroy": lambda _graph: (ok,),
        "cuGraphExecDestroy": lambda _graph: (ok,),
    }
    for name, call in calls.items():
        setattr(made, name, call)
    return made


class Context:
    """An execution context whose work is ONNX Runtime's."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = tuple(shape)
        return shape[0] <= 64

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shapes[name] if name in self.shapes else self._answer(zeros=True)[name].shape

    def execute_async_v3(self, _stream: int) -> bool:
        def work() -> None:
            for name, value in self._answer().items():
                ctypes.memmove(self.addresses[name], np.ascontiguousarray(value).ctypes.data, value.nbytes)

        self.engine.memory.do(work)
        return True

    def _answer(self, zeros: bool = False) -> dict[str, np.ndarray]:
        session = self.engine.session
        given = {}
        for one in session.get_inputs():
            dtype = np.dtype(np.uint8 if one.type == "tensor(uint8)" else np.float32)
            given[one.name] = np.zeros(self.shapes[one.name], dtype)
            if not zeros:
                ctypes.memmove(given[one.name].ctypes.data, self.addresses[one.name], given[one.name].nbytes)
        names = [one.name for one in session.get_outputs()]
        return dict(zip(names, session.run(names, given), strict=True))


class Engine:
    """An engine that is an ONNX file."""

    def __init__(self, content: bytes, memory: Memory) -> None:
        self.memory = memory
        self.session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        self._inputs = {one.name: one for one in self.session.get_inputs()}
        self._names = [*self._inputs, *(one.name for one in self.session.get_outputs())]
        self.num_io_tensors = len(self._names)

    def get_tensor_name(self, index: int) -> str:
        return self._names[index]

    def get_tensor_mode(self, name: str) -> int:
        return 1 if name in self._inputs else 2

    def get_tensor_dtype(self, name: str) -> type:
        return np.uint8 if name in self._inputs and self._inputs[name].type == "tensor(uint8)" else np.float32

    def get_tensor_profile_shape(self, name: str, _profile: int) -> list[tuple[int, ...]]:
        tail = tuple(self._inputs[name].shape[1:])
        return [(1, *tail), (8, *tail), (64, *tail)]

    def create_execution_context(self) -> Context:
        return Context(self)


def tensorrt_module(memory: Memory) -> types.ModuleType:
    """`tensorrt` as far as it is used to run an engine."""
    made: Any = types.ModuleType("tensorrt")

    class Logger:
        ERROR = 1

        def __init__(self, _level: int) -> None: ...

    class Runtime:
        def __init__(self, _logger: Logger) -> None: ...

        def deserialize_cuda_engine(self, content: bytes) -> Engine | None:
            return Engine(content, memory) if content[:4] != b"bad!" else None

    made.Logger, made.Runtime = Logger, Runtime
    made.TensorIOMode = types.SimpleNamespace(INPUT=1)
    made.nptype = lambda kind: kind
    return made


def install(patch: pytest.MonkeyPatch) -> Memory:
    """Make this process look like a machine with a GPU of SM 8.6 and TensorRT."""
    memory = Memory()
    driver = driver_module(memory)
    bindings = types.ModuleType("cuda.bindings")
    bindings.driver = driver  # type: ignore[attr-defined]
    modules = {"cuda": types.ModuleType("cuda"), "cuda.bindings": bindings, "cuda.bindings.driver": driver}
    for name, module in (modules | {"tensorrt": tensorrt_module(memory)}).items():
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        patch.setitem(sys.modules, name, module)
    patch.setattr(ctypes.util, "find_library", lambda name: "libcuda.so.1" if name == "cuda" else None)
    return memory


def engine_bytes(path: Path) -> bytes:
    """The stand-in's engine for an ONNX file."""
    return path.read_bytes()
