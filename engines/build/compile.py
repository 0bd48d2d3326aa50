"""The child process that compiles one engine, so that a compiler that crashes takes nobody along.

    python -m engines.build.compile REQUEST.json

It reads the request, writes the engine beside it, and says on standard output, one JSON object a line, how far it is
and at the end the engine's sha256. It exits with 0, or with 1 and the reason as the last line of standard error.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from engines.build.recipe import Recipe
from engines.errors import EngineError
from engines.golden import DEFAULT_SEED, golden_inputs
from engines.precision import HalfGraph, report, to_half
from engines.runtimes import Array
from engines.runtimes.tensorrt_kind import KINDS

BACKGROUND_NICENESS = 10


def say(progress: float, text: str) -> None:
    """One line for the parent: how far, 0..1, and what is done now."""
    print(json.dumps({"progress": round(progress, 3), "text": text}), flush=True)


def probe_inputs(path: Path) -> dict[str, Array]:
    """What the precision of a graph is measured on: the pictures or the window of the golden output."""
    import onnx

    (given,) = onnx.load(str(path)).graph.input
    shape = [dim.dim_value for dim in given.type.tensor_type.shape.dim]
    if given.type.tensor_type.elem_type == onnx.TensorProto.UINT8:
        return {given.name: golden_inputs(DEFAULT_SEED, shape[1], 1, 1)[0]}
    return {given.name: golden_inputs(DEFAULT_SEED, 4, shape[1], shape[2])[1]}


def compile_engine(recipe: Recipe, graph: Path, timings: Path) -> tuple[bytes, HalfGraph]:
    """The serialised engine. Raises EngineError."""
    kind = KINDS[recipe.library]
    say(0.0, "writing half precision")
    inputs = probe_inputs(graph)
    half = to_half(graph, inputs)
    say(0.2, f"compiling with {kind.title} {recipe.library_version} for {recipe.capability}")
    library = kind.load()
    logger = _Log(library)
    builder = library.Builder(logger.native)
    network = builder.create_network(_strongly_typed(library))
    parser = library.OnnxParser(network, logger.native)
    if not parser.parse(half.content):
        raise EngineError(f"{graph.name}: not parsed: {'; '.join(str(parser.get_error(0)).split())}")
    config = builder.create_builder_config()
    if kind.ahead_of_time:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(library.ComputeCapability, recipe.capability.upper()), 0)
    profile = builder.create_optimization_profile()
    for name, array in inputs.items():
        profile.set_shape(name, *((batch, *array.shape[1:]) for batch in recipe.batches))
    config.add_optimization_profile(profile)
    config.progress_monitor = _monitor(library)
    measured = None if kind.ahead_of_time else _timings(config, timings)  # RTX engines are timed where they run.
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise EngineError(f"{graph.name}: not compiled: {logger.last or 'no reason was given'}")
    if measured is not None:
        timings.write_bytes(bytes(measured.serialize()))
    return bytes(engine), half


def _strongly_typed(library: Any) -> int:
    """TensorRT 10 has to be told that the graph's precision counts; the later ones know no other way."""
    return 1 << int(library.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def _timings(config: Any, file: Path) -> Any:
    """What earlier builds measured, which spares measuring it again; None where the library takes none."""
    measured = config.create_timing_cache(file.read_bytes() if file.exists() else b"")
    return measured if measured is not None and config.set_timing_cache(measured, ignore_mismatch=False) else None


class _Log:
    """Keeps the last complaint of the library, which is the reason of a build that gave nothing."""

    def __init__(self, library: Any) -> None:
        self.last = ""
        keeper = self

        class Native(library.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                library.ILogger.__init__(self)

            def log(self, severity: Any, text: str) -> None:
                if severity in (library.ILogger.ERROR, library.ILogger.INTERNAL_ERROR):
                    keeper.last = " ".join(str(text).split())

        self.native = Native()


def _monitor(library: Any) -> Any:
    """Turns the library's phases into progress: the outermost one counts."""

    class Monitor(library.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            library.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                self.steps[phase_name] = max(num_steps, 1)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self.steps:
                say(0.2 + 0.75 * min((step + 1) / self.steps[phase_name], 1.0), phase_name)
            return True

        def phase_finish(self, phase_name: str) -> None:
            self.steps.pop(phase_name, None)

    return Monitor()


def main() -> int:
    """Compile what the request asks for."""
    folder = Path(sys.argv[1]).parent
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if request["background"] and hasattr(os, "nice"):
        os.nice(BACKGROUND_NICENESS)
    try:
        recipe = Recipe.from_json(request["recipe"])
        engine, half = compile_engine(recipe, Path(request["graph"]), folder / "timings")
        (folder / "precision.txt").write_text(report(half) + "\n", encoding="utf-8")
        (folder / "engine").write_bytes(engine)
    except (EngineError, OSError, ImportError, ValueError) as error:
        print(f"{' '.join(str(error).split())}", file=sys.stderr)
        return 1
    worst = max((layer.added for layer in half.layers), default=0.0)
    kept = [layer.name for layer in half.layers if layer.kept]
    print(
        json.dumps(
            {
                "sha256": hashlib.sha256(engine).hexdigest(),
                "outputs": dict(half.outputs),
                "worst_layer": float(np.float32(worst)),
                "kept_fp32": kept,
            }
        ),
        flush=True,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
