"""Stories of choosing a runtime, told with scripted ones on a clock of their own; the last with the real ones."""

from __future__ import annotations

import json
from pathlib import Path

import onnx_graphs
import pytest
from scripted_runtime import ScriptedRuntime, Stopwatch, write_scripted_detector

from engines import choice_memory
from engines.card import ModelCard
from engines.choose import Choice, choose
from engines.errors import EngineError, Unfit
from engines.runtimes import Precision, Runtime, all_runtimes
from engines.runtimes.onnx import OnnxRuntime


class Bench:
    """Scripted runtimes on one stopwatch, a card, and a memory file."""

    def __init__(self, folder: Path) -> None:
        self.card: ModelCard = write_scripted_detector(folder)
        self.memory_file = folder / "cache" / "runtimes.json"
        self.stopwatch = Stopwatch()
        self.runtimes: dict[str, ScriptedRuntime] = {}

    def add(self, name: str, encoder_ms: float = 10.0, head_ms: float = 1.0, **more: object) -> ScriptedRuntime:
        self.runtimes[name] = ScriptedRuntime(name, encoder_ms, head_ms, stopwatch=self.stopwatch, **more)
        return self.runtimes[name]

    def choose(self, wanted: str = "auto", *, threads: int = 2, remeasure: bool = False) -> Choice:
        return choose(
            self.card,
            wanted,
            threads,
            remeasure=remeasure,
            runtimes=tuple(self.runtimes.values()),
            memory_file=self.memory_file,
            timer=self.stopwatch,
        )

    def opened(self) -> dict[str, int]:
        """How many graphs each runtime has opened so far."""
        return {name: len(runtime.graphs) for name, runtime in self.runtimes.items()}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def _reasons(choice: Choice) -> dict[str, str]:
    return {one.name: one.reason for one in choice.candidates}


def test_the_fastest_is_taken_and_the_others_are_closed(bench: Bench) -> None:
    slow, fast = bench.add("slow", 17.4, 0.8), bench.add("fast", 6.1, 0.9)
    choice = bench.choose()
    assert choice.taken.name == "fast"
    assert choice.engine.name == "Scripted fast (2 threads)"
    assert _reasons(choice) == {"slow": "slower than fast, measured now", "fast": "the fastest, measured now"}
    assert [one.taken for one in choice.candidates] == [False, True]
    assert [one.encoder_ms for one in choice.candidates] == pytest.approx([17.4, 6.1])
    assert [one.head_ms for one in choice.candidates] == pytest.approx([0.8, 0.9])
    assert (slow.open_graphs, fast.open_graphs) == (0, 2)
    choice.engine.close()
    assert fast.open_graphs == 0


def test_one_window_costs_as_much_as_five_crops_may_save(bench: Bench) -> None:
    bench.add("quick encoder", encoder_ms=5.0, head_ms=30.0)
    bench.add("quick head", encoder_ms=9.0, head_ms=1.0)
    assert bench.choose().taken.name == "quick head"


def test_measuring_stays_within_its_budget(bench: Bench) -> None:
    bench.add("a", 10.0, 1.0)
    bench.add("b", 10.0, 1.0)
    bench.choose()
    assert bench.stopwatch.now_s < 2 * 0.45


def test_one_that_fails_the_golden_output_is_left_with_the_reason_however_fast(bench: Bench) -> None:
    wrong = bench.add("wrong", 1.0, shift=0.1)
    bench.add("right", 20.0)
    choice = bench.choose()
    assert choice.taken.name == "right"
    assert choice.taken.reason == "the only one that can, measured now"
    assert _reasons(choice)["wrong"].startswith("does not reproduce the golden output: ")
    assert choice.candidates[0].encoder_ms is None
    assert wrong.open_graphs == 0


def test_one_that_answers_nonsense_is_left(bench: Bench) -> None:
    bench.add("nonsense", 1.0, shift=float("inf"))
    bench.add("right", 20.0)
    assert "not finite" in _reasons(bench.choose())["nonsense"]


def test_missing_and_broken_ones_are_listed_with_their_reasons(bench: Bench) -> None:
    bench.add("absent", missing="the package absent is not installed")
    bench.add("broken", broken="libbroken.so: cannot open shared object file")
    bench.add("right")
    reasons = _reasons(bench.choose())
    assert reasons["absent"] == "the package absent is not installed"
    assert reasons["broken"] == "libbroken.so: cannot open shared object file"
    assert bench.runtimes["absent"].graphs == []


def test_where_none_can_every_reason_is_told(bench: Bench) -> None:
    bench.add("absent", missing="not installed")
    bench.add("broken", broken="no such library")
    wrong = bench.add("wrong", shift=1.0)
    with pytest.raises(EngineError) as caught:
        bench.choose()
    sentence = str(caught.value)
    for part in ("tiny-1", "absent: not installed", "broken: no such library", "wrong: does not reproduce"):
        assert part in sentence
    assert "\n" not in sentence
    assert wrong.open_graphs == 0
    assert not bench.memory_file.exists()


# ------------------------------------------------------------------------------------------ half precision


def test_half_precision_that_says_the_same_of_a_face_may_be_taken(bench: Bench) -> None:
    bench.add("half", 1.0, precision=Precision.FP16, picture_shift=0.009)
    bench.add("single", 20.0)
    assert bench.choose().taken.name == "half"


def test_half_precision_that_moves_the_logit_of_a_face_is_left_though_noise_does_not_tell(bench: Bench) -> None:
    half = bench.add("half", 1.0, precision=Precision.BF16, picture_shift=0.1)
    bench.add("single", 20.0)
    choice = bench.choose()
    assert choice.taken.name == "single"
    assert _reasons(choice)["half"].startswith("does not say of a face what Scripted single (2 threads) says: logit ")
    assert half.open_graphs == 0
    choice.engine.close()
    assert bench.runtimes["single"].open_graphs == 0
    assert bench.choose().taken.reason == "the only one that can, when last measured"  # it will not change its mind


def test_half_precision_alone_proves_nothing(bench: Bench) -> None:
    bench.add("half", 1.0, precision=Precision.FP16)
    with pytest.raises(EngineError, match="half: no runtime in single precision is at hand"):
        bench.choose()
    with pytest.raises(EngineError, match="runtime half: no runtime in single precision"):
        bench.choose("half")


def test_half_precision_asked_for_by_name_must_prove_itself_too(bench: Bench) -> None:
    half = bench.add("half", 1.0, precision=Precision.BF16, picture_shift=0.1)
    single = bench.add("single", 20.0)
    with pytest.raises(EngineError, match="runtime half: does not say of a face"):
        bench.choose("half")
    half.picture_shift = 0.0
    bench.choose("half").engine.close()
    assert (half.open_graphs, single.open_graphs) == (0, 0)


def test_single_precision_is_not_asked_about_pictures(bench: Bench) -> None:
    bench.add("odd", 1.0, picture_shift=0.1)
    bench.add("single", 20.0)
    assert bench.choose().taken.name == "odd"


def test_one_that_cannot_ever_here_is_not_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.add("a", 20.0)
    poor = bench.add("b", 5.0)

    def refuse(path: Path, threads: int) -> None:
        raise Unfit("no such instructions")

    monkeypatch.setattr(poor, "open", refuse)
    bench.choose()
    assert bench.choose().taken.reason == "the only one that can, when last measured"


# ------------------------------------------------------------------------------------------ asked for by name


def test_the_one_asked_for_is_taken_though_slower(bench: Bench) -> None:
    bench.add("fast", 1.0)
    bench.add("slow", 50.0)
    choice = bench.choose("slow")
    assert choice.taken.name == "slow"
    assert choice.taken.reason == "asked for by the setting 'runtime'"
    assert choice.taken.encoder_ms == pytest.approx(50.0)
    assert _reasons(choice)["fast"] == "not tried: the setting 'runtime' is 'slow'"
    assert bench.opened() == {"fast": 0, "slow": 2}


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ({"missing": "not installed"}, "runtime poor: not installed; set runtime to 'auto'"),
        ({"broken": "no such library"}, "runtime poor: no such library; set runtime"),
        ({"shift": 0.5}, "runtime poor: does not reproduce the golden output"),
        ({"shift": float("nan")}, "runtime poor: .*not finite"),
    ],
    ids=["missing", "broken", "wrong", "nonsense"],
)
def test_there_is_no_fallback_from_the_one_asked_for(bench: Bench, fault: dict, sentence: str) -> None:
    bench.add("good")
    poor = bench.add("poor", **fault)
    with pytest.raises(EngineError, match=sentence):
        bench.choose("poor")
    assert bench.opened()["good"] == 0
    assert poor.open_graphs == 0


def test_an_unknown_runtime_is_refused_with_the_known_ones(bench: Bench) -> None:
    bench.add("good")
    with pytest.raises(EngineError, match="runtime: found 'gpu', expected one of auto, good"):
        bench.choose("gpu")


class Absent(OnnxRuntime):
    """A runtime whose library is not here."""

    name = "cuda"

    def available(self) -> str | None:
        return "not at hand"


def test_one_that_is_not_at_hand_is_never_taken(bench: Bench) -> None:
    bench.add("good")
    runtimes: tuple[Runtime, ...] = (Absent(), *bench.runtimes.values())
    choice = choose(bench.card, runtimes=runtimes, memory_file=bench.memory_file, timer=bench.stopwatch)
    assert _reasons(choice)["cuda"] == "not at hand"
    with pytest.raises(EngineError, match="runtime cuda: not at hand"):
        choose(bench.card, "cuda", runtimes=runtimes, memory_file=bench.memory_file)


# ------------------------------------------------------------------------------------------ remembered


def test_the_second_start_opens_one_runtime_and_measures_nothing(bench: Bench) -> None:
    bench.add("slow", 20.0)
    bench.add("fast", 5.0)
    bench.add("absent", missing="not installed")
    first = bench.choose()
    before, started_s = bench.opened(), bench.stopwatch.now_s
    second = bench.choose()
    assert bench.opened() == {"slow": before["slow"], "fast": before["fast"] + 2, "absent": 0}
    assert bench.stopwatch.now_s - started_s == pytest.approx(4 * 0.005 + 0.001)  # the golden output, nothing else
    assert second.taken.name == "fast"
    assert _reasons(second) == {
        "slow": "slower than fast, when last measured",
        "fast": "the fastest, when last measured",
        "absent": "not installed",
    }
    assert [one.encoder_ms for one in second.candidates] == [one.encoder_ms for one in first.candidates]


def test_remeasuring_finds_what_has_become_faster(bench: Bench) -> None:
    bench.add("a", 20.0)
    bench.add("b", 5.0)
    assert bench.choose().taken.name == "b"
    bench.runtimes["a"].encoder_ms = 1.0
    assert bench.choose().taken.name == "b"
    assert bench.choose(remeasure=True).taken.name == "a"
    assert bench.choose().taken.name == "a"


def test_the_remembered_one_must_still_prove_itself(bench: Bench) -> None:
    bench.add("a", 20.0)
    fast = bench.add("b", 5.0)
    bench.choose()
    fast.shift = 1.0
    choice = bench.choose()
    assert choice.taken.name == "a"
    assert _reasons(choice)["b"].startswith("does not reproduce the golden output")


def test_one_that_should_work_and_did_not_is_tried_again_next_time(bench: Bench) -> None:
    bench.add("a", 20.0)
    fast = bench.add("b", 5.0, broken="out of memory")
    assert bench.choose().taken.name == "a"
    fast.broken = None
    assert bench.choose().taken.name == "b"


@pytest.mark.parametrize("change", ["version", "threads", "graph", "processor", "new runtime", "installed"])
def test_what_could_change_the_answer_is_measured_anew(
    bench: Bench, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.add("a", 20.0)
    bench.add("b", 5.0)
    bench.choose()
    bench.runtimes["a"].encoder_ms = 1.0
    threads = 2
    if change == "version":
        bench.runtimes["a"].library_version = "2.0"
    elif change == "threads":
        threads = 1
    elif change == "graph":
        (bench.card.folder / "encoder.onnx").write_bytes(b"another encoder")
        bench.card = onnx_graphs.make_card(bench.card.folder)
    elif change == "processor":
        monkeypatch.setattr(choice_memory, "processor", lambda: "another machine")
    elif change == "installed":
        bench.runtimes["b"].missing = "was removed"
    else:
        bench.add("c", 30.0)
    assert bench.choose(threads=threads).taken.name == "a"


def _entry(**fields: object) -> str:
    return json.dumps({"schema": "unmask.runtimes/1", "entries": {"KEY": fields}})


NONSENSE = {
    "empty": "",
    "not json": "{",
    "a list": "[]",
    "another schema": json.dumps({"schema": "x", "entries": {}}),
    "no entries": json.dumps({"schema": "unmask.runtimes/1"}),
    "entries a list": json.dumps({"schema": "unmask.runtimes/1", "entries": [1]}),
    "entry a number": json.dumps({"schema": "unmask.runtimes/1", "entries": {"KEY": 3}}),
    "note a number": _entry(a=3, b=4),
    "unknown field": _entry(a={"speed": 3}, b={"speed": 4}),
    "text for a time": _entry(a={"encoder_ms": "1", "head_ms": 1}, b={"encoder_ms": 5, "head_ms": 1}),
    "negative time": _entry(a={"encoder_ms": -1, "head_ms": 1}, b={"encoder_ms": 5, "head_ms": 1}),
    "not a number": _entry(a={"encoder_ms": float("nan"), "head_ms": 1}, b={"encoder_ms": 5, "head_ms": 1}),
    "a fault with times": _entry(a={"encoder_ms": 1, "head_ms": 1, "fault": "x"}, b={"fault": "y"}),
    "others' names": _entry(a={"encoder_ms": 1, "head_ms": 1}, z={"encoder_ms": 5, "head_ms": 1}),
    "one missing": _entry(a={"encoder_ms": 1, "head_ms": 1}),
    "all faulty": _entry(a={"fault": "x"}, b={"fault": "y"}),
    "deep": "[" * 100_000,
    "huge": " " * ((1 << 20) + 1),
}


@pytest.mark.parametrize("content", NONSENSE.values(), ids=NONSENSE.keys())
def test_a_memory_that_makes_no_sense_is_as_good_as_none(bench: Bench, content: str) -> None:
    bench.add("a", 20.0)
    bench.add("b", 5.0)
    bench.choose()
    (key,) = json.loads(bench.memory_file.read_text())["entries"]
    bench.memory_file.write_text(content.replace("KEY", key))
    choice = bench.choose()
    assert _reasons(choice) == {"a": "slower than b, measured now", "b": "the fastest, measured now"}
    assert bench.choose().taken.reason == "the fastest, when last measured"


def test_a_memory_that_is_not_text_is_as_good_as_none(bench: Bench) -> None:
    bench.add("a")
    bench.memory_file.parent.mkdir()
    bench.memory_file.write_bytes(b"\xff\xfe\x00")
    assert bench.choose().taken.reason == "the only one that can, measured now"


def test_where_nothing_can_be_kept_it_still_works(bench: Bench) -> None:
    bench.add("a")
    bench.memory_file.parent.write_text("a file where the folder should be")
    assert bench.choose().taken.name == "a"
    assert bench.choose().taken.reason == "the only one that can, measured now"


def test_the_memory_stays_small(bench: Bench) -> None:
    bench.add("a")
    for threads in range(1, 21):
        bench.choose(threads=threads)
    entries = json.loads(bench.memory_file.read_text())["entries"]
    assert len(entries) == 16
    assert bench.choose(threads=20).taken.reason.endswith("when last measured")
    assert bench.choose(threads=1).taken.reason.endswith("measured now")
    assert [path.name for path in bench.memory_file.parent.iterdir()] == ["runtimes.json"]


def test_the_memory_lies_in_the_users_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        choice_memory.platformdirs, "user_cache_dir", lambda *_a, **_k: str(tmp_path / "cache" / "unmask")
    )
    card = write_scripted_detector(tmp_path)
    choose(card, runtimes=[ScriptedRuntime("a")]).engine.close()
    assert (tmp_path / "cache" / "unmask" / "runtimes.json").is_file()


def test_the_processor_has_a_name() -> None:
    name, _, cores = choice_memory.processor().rpartition(", ")
    assert len(name) > 2
    assert cores.endswith(" cores")


# ------------------------------------------------------------------------------------------ real runtimes


def test_the_real_runtimes_of_this_machine_are_measured_and_one_is_taken(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    card = onnx_graphs.write_detector(tmp_path)
    first = choose(card, threads=1, memory_file=tmp_path / "memory.json")
    first.engine.close()
    assert first.taken.name in {"openvino", "onnx"}
    assert first.taken.encoder_ms is not None
    assert [one.name for one in first.candidates] == [one.name for one in all_runtimes()]
    second = choose(card, threads=1, memory_file=tmp_path / "memory.json")
    second.engine.close()
    assert second.taken.name == first.taken.name
    assert second.taken.reason.endswith("when last measured")
