"""The GPU's memory and its queue of work, by the driver API of `cuda-bindings`: what TensorRT leaves to its caller.

numpy -> pinned host buffer -> device buffer -> engine, replayed as a CUDA graph -> pinned host buffer -> numpy
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.errors import EngineError

_NON_BLOCKING = 1


@dataclass(frozen=True, slots=True)
class Gpu:
    """The first GPU of this machine."""

    name: str
    capability: str
    """Such as `sm86`."""
    driver: str
    """Versions of the driver, where the system tells, and of its CUDA."""


def missing_driver() -> str | None:
    """None where an NVIDIA driver is installed, else that sentence."""
    if ctypes.util.find_library("cuda") is None and ctypes.util.find_library("nvcuda") is None:
        return "no NVIDIA driver is installed here"
    return None


def missing_gpu() -> str | None:
    """None where a GPU can be asked for, else what is missing. Imports nothing."""
    fault = missing_driver()
    if fault is not None:
        return fault
    if importlib.util.find_spec("cuda") is None or importlib.util.find_spec("cuda.bindings") is None:
        return "the package cuda-bindings is not installed (pip install cuda-bindings)"
    return None


def find_gpu() -> Gpu:
    """The first GPU. Raises EngineError where there is none."""
    fault = missing_gpu()
    if fault is not None:
        raise EngineError(fault)
    from cuda.bindings import driver

    _call(driver.cuInit, 0)
    if _call(driver.cuDeviceGetCount) == 0:
        raise EngineError("no NVIDIA GPU is in this machine")
    device = _call(driver.cuDeviceGet, 0)
    kinds = driver.CUdevice_attribute
    major = _call(driver.cuDeviceGetAttribute, kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device)
    minor = _call(driver.cuDeviceGetAttribute, kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device)
    name = _call(driver.cuDeviceGetName, 256, device).split(b"\0")[0].decode(errors="replace")
    cuda = _call(driver.cuDriverGetVersion)
    versions = f"{_kernel_driver()} cuda {cuda // 1000}.{cuda % 1000 // 10}".strip()
    return Gpu(name, f"sm{major}{minor}", versions)


class Queue:
    """One stream of work on the first GPU with the buffers that belong to it. Call `enter` in every thread first."""

    def __init__(self) -> None:
        from cuda.bindings import driver

        self._driver = driver
        self._undo: list[Callable[[], object]] = []
        _call(driver.cuInit, 0)
        device = _call(driver.cuDeviceGet, 0)
        self._context = _call(driver.cuDevicePrimaryCtxRetain, device)
        self._undo.append(lambda: driver.cuDevicePrimaryCtxRelease(device))
        self.enter()
        self._stream = _call(driver.cuStreamCreate, _NON_BLOCKING)
        self._undo.append(lambda: driver.cuStreamDestroy(self._stream))

    @property
    def handle(self) -> int:
        """The stream as TensorRT takes it."""
        return int(self._stream)

    def enter(self) -> None:
        """Make the GPU current in the calling thread."""
        _call(self._driver.cuCtxSetCurrent, self._context)

    def device_buffer(self, size_bytes: int) -> int:
        """The address of so many bytes on the GPU."""
        pointer = _call(self._driver.cuMemAlloc, size_bytes)
        self._undo.append(lambda: self._driver.cuMemFree(pointer))
        return int(pointer)

    def host_buffer(self, size_bytes: int) -> npt.NDArray[np.uint8]:
        """So many bytes of pinned host memory, which the GPU reads and writes by itself; gone with `close`."""
        pointer = int(_call(self._driver.cuMemHostAlloc, size_bytes, 0))
        self._undo.append(lambda: self._driver.cuMemFreeHost(pointer))
        return np.ctypeslib.as_array((ctypes.c_uint8 * size_bytes).from_address(pointer))

    def upload(self, device: int, host: npt.NDArray[np.uint8], size_bytes: int) -> None:
        """Queue a copy to the GPU."""
        _call(self._driver.cuMemcpyHtoDAsync, device, host.ctypes.data, size_bytes, self._stream)

    def download(self, host: npt.NDArray[np.uint8], device: int, size_bytes: int) -> None:
        """Queue a copy from the GPU."""
        _call(self._driver.cuMemcpyDtoHAsync, host.ctypes.data, device, size_bytes, self._stream)

    def wait(self) -> None:
        """Until all that is queued is done."""
        _call(self._driver.cuStreamSynchronize, self._stream)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record what `work` queues as a CUDA graph; calling the result queues it all at once."""
        driver = self._driver
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        _call(driver.cuStreamBeginCapture, self._stream, mode)
        try:
            work()
        finally:
            graph = _call(driver.cuStreamEndCapture, self._stream)
        ready = _call(driver.cuGraphInstantiate, graph, 0)
        self._undo.append(lambda: driver.cuGraphDestroy(graph))
        self._undo.append(lambda: driver.cuGraphExecDestroy(ready))
        return lambda: _call(driver.cuGraphLaunch, ready, self._stream)

    def close(self) -> None:
        """Give everything back, in the opposite order. Closing twice is harmless."""
        if self._undo:
            self.enter()
        while self._undo:
            self._undo.pop()()


def _call(function: Callable[..., Any], *arguments: object) -> Any:
    """What the driver answers. Raises EngineError with its own name for what went wrong."""
    status, *values = function(*arguments)
    if int(status) != 0:
        raise EngineError(f"{getattr(function, '__name__', 'CUDA')}: {getattr(status, 'name', status)}")
    return values[0] if values else None


def _kernel_driver() -> str:
    try:
        return Path("/sys/module/nvidia/version").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
