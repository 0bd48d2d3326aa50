"""Sliding windows: when one is complete, and why one is refused. Scripted samples, no clock."""

from __future__ import annotations

import random

import numpy as np
import pytest

from engines.window_input import AUX_DIM, aux_row, aux_rows
from monitor.quality import Gates
from monitor.types import Reason, Refusal, Window
from monitor.windows import WindowBuilder, commonest
from tests.scripted import FEATURE_DIM, ns, sample

RATE = 15.0
Out = list[tuple[int, Window | Refusal]]


def feed(
    builder: WindowBuilder,
    count: int,
    *,
    rate: float = RATE,
    start: int = 0,
    start_s: float = 0.0,
    track_id: int = 1,
    repeat_every: int = 0,
    **changes: object,
) -> Out:
    """Push `count` samples at `rate`; returns (index, what came out). `repeat_every` n: n looks stay, then change."""
    out: Out = []
    for step in range(count):
        index = start + step
        look = index // repeat_every if repeat_every else index
        result = builder.push(track_id, sample(index, start_s + step / rate, look=look, **changes))
        if result is not None:
            out.append((index, result))
    return out


def windows(out: Out) -> list[Window]:
    return [w for _, w in out if isinstance(w, Window)]


def reasons(out: Out) -> list[tuple[Reason, ...]]:
    return [r.reasons for _, r in out if isinstance(r, Refusal)]


def test_the_first_window_comes_when_the_ring_is_full_and_then_every_hop() -> None:
    out = feed(WindowBuilder(), 60)
    assert [index for index, _ in out] == [31, 36, 41, 46, 51, 56]
    assert len(windows(out)) == 6


def test_a_window_holds_the_last_samples_in_order_with_the_auxiliary_features_behind() -> None:
    window = windows(feed(WindowBuilder(), 37))[-1]
    assert window.seqs.tolist() == list(range(5, 37))
    assert window.media_ns[-1] == ns(36 / RATE)
    assert window.features.shape == (32, FEATURE_DIM + AUX_DIM)
    assert window.features[:, 0].tolist() == list(range(5, 37))
    assert window.features[7, FEATURE_DIM:] == pytest.approx(aux_row(1 / RATE, 120.0, 2.3, 120.0), abs=1e-5)
    assert window.quality.rate_hz == pytest.approx(15.0)
    assert window.quality.judged_share == 1.0


def test_a_window_does_not_depend_on_what_went_before_it() -> None:
    late = windows(feed(WindowBuilder(), 37))[-1]
    alone = windows(feed(WindowBuilder(), 32, start=5, start_s=5 / RATE))[-1]
    assert np.allclose(late.features, alone.features, atol=1e-5)


def test_while_the_ring_first_fills_nothing_is_refused() -> None:
    assert feed(WindowBuilder(), 31) == []


def test_a_source_of_ten_pictures_a_second_is_judged_over_a_longer_window() -> None:
    out = feed(WindowBuilder(), 60, rate=10.0)
    assert reasons(out) == []
    assert windows(out)[0].media_ns[-1] - windows(out)[0].media_ns[0] == ns(3.1)


def test_a_source_of_eight_pictures_a_second_is_refused_and_says_so() -> None:
    out = feed(WindowBuilder(), 60, rate=8.0)
    assert windows(out) == []
    assert set(reasons(out)) == {(Reason.RATE_TOO_LOW,)}


def test_a_source_of_two_pictures_a_second_does_not_warm_up_for_ever() -> None:
    out = feed(WindowBuilder(), 30, rate=2.0)
    assert windows(out) == []
    assert set(reasons(out)) == {(Reason.RATE_TOO_LOW,)}
    assert out[0][0] / 2.0 == pytest.approx(4.5), "four seconds of patience"


def test_a_short_hiccup_does_not_break_a_window() -> None:
    builder = WindowBuilder()
    feed(builder, 40)
    out = feed(builder, 10, start=40, start_s=39 / RATE + 0.3)
    assert len(windows(out)) == 2


def test_after_a_gap_no_window_spans_it_and_the_reason_is_given_until_full_again() -> None:
    builder = WindowBuilder()
    feed(builder, 40)
    gap_end_s = 39 / RATE + 0.5
    out = feed(builder, 60, start=40, start_s=gap_end_s)
    first_window = windows(out)[0]
    assert first_window.media_ns[0] == ns(gap_end_s)
    before = [r for i, r in out if i < first_window.seqs[-1]]
    assert {r.reasons for r in before if isinstance(r, Refusal)} == {(Reason.GAP,)}
    assert 4 <= len(before) <= 7, "one a hop"
    assert before[0].start_ns == ns(39 / RATE), "the refused time begins where the hole began"


def test_a_gap_of_seconds_is_told_with_the_first_picture_after_it() -> None:
    builder = WindowBuilder()
    feed(builder, 40)
    result = builder.push(1, sample(40, 39 / RATE + 3.0))
    assert isinstance(result, Refusal)
    assert result.reasons == (Reason.GAP,)


def test_a_gap_before_the_ring_was_ever_full_is_still_warming_up() -> None:
    builder = WindowBuilder()
    assert feed(builder, 10) == []
    assert feed(builder, 20, start=10, start_s=1.5) == []


def test_a_clock_that_goes_back_starts_the_window_anew() -> None:
    builder = WindowBuilder()
    feed(builder, 40)
    out = feed(builder, 40, start=40, start_s=0.5)
    assert windows(out)[0].seqs[0] == 40


def test_after_a_cut_nothing_of_the_person_before_is_left_in_a_window() -> None:
    builder = WindowBuilder()
    feed(builder, 40)
    builder.cut(1)
    out = feed(builder, 45, start=40, start_s=40 / RATE)
    assert set(reasons(out)) == {(Reason.CUT,)}
    assert windows(out)[0].seqs[0] == 40


def test_a_cut_of_an_unknown_person_is_nothing() -> None:
    builder = WindowBuilder()
    builder.cut(7)
    assert len(builder) == 0


def test_who_left_and_comes_back_under_the_same_number_starts_from_nothing() -> None:
    builder = WindowBuilder()
    feed(builder, 31)
    builder.end(1)
    assert feed(builder, 31, start=31, start_s=31 / RATE) == []


def test_a_face_turned_away_for_most_of_a_window_is_refused_with_the_commonest_reason_first() -> None:
    builder = WindowBuilder()
    feed(builder, 16)
    feed(builder, 9, start=16, start_s=16 / RATE, yaw_deg=70.0)
    out = feed(builder, 7, start=25, start_s=25 / RATE, luma=5.0)
    assert reasons(out) == [(Reason.FACE_TURNED_AWAY, Reason.TOO_DARK)]
    assert out[0][1].quality is not None
    assert out[0][1].quality.judged_share == pytest.approx(0.5)


def test_a_quick_look_aside_does_not_stop_the_judging() -> None:
    builder = WindowBuilder()
    feed(builder, 24)
    out = feed(builder, 9, start=24, start_s=24 / RATE, yaw_deg=70.0)
    assert len(windows(out)) == 1


def test_a_standstill_is_refused_as_frozen() -> None:
    builder = WindowBuilder()
    feed(builder, 20)
    out = feed(builder, 14, start=0, start_s=20 / RATE, repeat_every=1000)
    assert reasons(out) == [(Reason.FROZEN,)]


def test_a_freeze_of_half_a_second_is_not_yet_a_standstill() -> None:
    builder = WindowBuilder()
    feed(builder, 20)
    feed(builder, 8, start=0, start_s=20 / RATE, repeat_every=1000)
    out = feed(builder, 10, start=40, start_s=28 / RATE)
    assert len(windows(out)) == 2


def test_a_camera_of_seven_pictures_inside_a_fifteen_hertz_stream_is_slow_and_not_frozen() -> None:
    out = feed(WindowBuilder(), 64, repeat_every=2)
    assert windows(out) == []
    assert set(reasons(out)) == {(Reason.RATE_TOO_LOW,)}
    refused = out[0][1]
    assert refused.quality is not None
    assert refused.quality.rate_hz == pytest.approx(7.5, abs=0.5)


def test_a_camera_of_ten_pictures_inside_a_fifteen_hertz_stream_is_judged() -> None:
    builder = WindowBuilder()
    out: Out = []
    for index in range(64):
        result = builder.push(1, sample(index, index / 15, look=index * 10 // 15))
        out += [(index, result)] if result is not None else []
    assert reasons(out) == []
    assert len(windows(out)) == 7
    assert all(w.quality.rate_hz == pytest.approx(10.0, abs=0.4) for w in windows(out))


def test_two_people_never_share_a_ring() -> None:
    builder = WindowBuilder()
    out: Out = []
    for index in range(40):
        for track_id in (1, 2):
            result = builder.push(track_id, sample(index * 10 + track_id, index / RATE))
            out += [(index, result)] if result is not None else []
    assert {w.track_id for w in windows(out)} == {1, 2}
    for window in windows(out):
        assert {int(s) % 10 for s in window.seqs} == {window.track_id}


def test_the_one_not_seen_for_longest_is_forgotten_when_too_many_are_remembered() -> None:
    builder = WindowBuilder(max_tracks=3)
    for track_id in range(1, 4):
        feed(builder, 20, track_id=track_id)
    feed(builder, 1, track_id=1, start=20, start_s=20 / RATE)
    feed(builder, 1, track_id=4)
    assert len(builder) == 3
    assert len(windows(feed(builder, 11, track_id=1, start=21, start_s=21 / RATE))) == 1, "1 was kept"
    assert feed(builder, 31, track_id=2, start=20, start_s=20 / RATE) == [], "2 was forgotten"


@pytest.mark.parametrize("seed", range(12))
def test_any_stream_gives_whole_windows_at_most_one_a_hop_and_the_same_every_time(seed: int) -> None:
    def run() -> list[tuple[str, int, tuple[object, ...]]]:
        random_ = random.Random(seed)
        builder = WindowBuilder(max_tracks=4)
        at_s, told = 0.0, []
        last_out: dict[int, int] = {}
        pushes: dict[int, int] = {}
        for index in range(1200):
            at_s += random_.choice([1 / 15] * 12 + [0.2, 0.34, 0.36, 2.0, -1.0])
            track_id = random_.choice([1, 1, 1, 2, 3, 4, 5, 6]) if seed % 2 else 1
            if random_.random() < 0.01:
                builder.cut(track_id)
            if random_.random() < 0.003:
                builder.end(track_id)
            yaw = 80.0 if random_.random() < 0.2 else 0.0
            look = index // random_.choice([1, 1, 1, 4])
            result = builder.push(track_id, sample(index, at_s, look=look, yaw_deg=yaw))
            pushes[track_id] = pushes.get(track_id, 0) + 1
            assert len(builder) <= 4
            if isinstance(result, Window):
                steps_s = np.diff(result.media_ns) / 1e9
                assert len(result.seqs) == 32
                assert steps_s.min() > 0
                assert steps_s.max() <= Gates().max_gap_s
                assert np.isfinite(result.features).all()
                assert pushes[track_id] - last_out.get(track_id, -99) >= 5
            if result is not None:
                last_out[track_id] = pushes[track_id]
                what = tuple(result.seqs) if isinstance(result, Window) else result.reasons
                told.append((type(result).__name__, track_id, what))
            if isinstance(result, Refusal):
                assert result.reasons
                assert result.start_ns <= result.end_ns
        return told

    assert run() == run()


def test_auxiliary_features_are_scaled_and_bounded() -> None:
    assert aux_row(1 / 15, 96.0, 2.5, 128.0).tolist() == pytest.approx([2 / 3, 0.0, 0.0, 0.0], abs=1e-6)
    assert aux_row(0.1, 192.0, 3.0, 64.0).tolist() == pytest.approx([1.0, 1.0, 0.5, -0.5], abs=1e-6)
    extreme = aux_row(1e9, 0.0, -3.0, 255.0)
    assert extreme.dtype == np.float32
    assert np.abs(extreme).max() < 4.0


def test_the_first_step_of_a_window_takes_the_step_time_of_the_second() -> None:
    times_ns = [ns(t) for t in (7.0, 7.1, 7.4)]
    rows = aux_rows(times_ns, [96, 96, 96], [2.5] * 3, [128] * 3)
    assert rows[:, 0].tolist() == pytest.approx([1.0, 1.0, 3.0], abs=1e-5)
    assert aux_rows([5], [96], [2.5], [128])[0, 0] == pytest.approx(10 / 15)


def test_the_commonest_reasons_lead_and_rare_ones_are_left_out() -> None:
    many = [Reason.TOO_DARK] * 8 + [Reason.FACE_BLURRED] * 9 + [Reason.FACE_TOO_SMALL]
    assert commonest(many) == (Reason.FACE_BLURRED, Reason.TOO_DARK)
    assert commonest([Reason.TOO_DARK, Reason.FACE_TOO_SMALL]) == (Reason.FACE_TOO_SMALL, Reason.TOO_DARK)
    assert commonest([]) == ()


@pytest.mark.parametrize("bad", [{"steps": 1}, {"hop_frames": 0}, {"max_tracks": 0}])
def test_a_builder_that_could_never_give_a_window_is_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="WindowBuilder"):
        WindowBuilder(**bad)


def test_whoever_leaves_before_a_window_is_full_is_judged_on_what_was_seen() -> None:
    builder = WindowBuilder()
    assert windows(feed(builder, 20)) == []
    window = builder.flush(1)
    assert window is not None
    assert window.features.shape == (32, FEATURE_DIM + AUX_DIM)
    assert window.features[:20, 0].tolist() == list(range(20))
    assert window.features[20:24, 0].tolist() == [18, 17, 16, 15]
    assert window.media_ns[-1] == ns(19 / RATE)
    assert window.quality.judged_share == pytest.approx(20 / 32)
    assert builder.flush(1) is None, "once"


def test_a_glimpse_a_refused_face_or_a_person_already_judged_is_not_flushed() -> None:
    glimpse, small, judged = WindowBuilder(), WindowBuilder(), WindowBuilder()
    feed(glimpse, 11)
    feed(small, 20, face_px=30.0)
    feed(judged, 40)
    assert [b.flush(1) for b in (glimpse, small, judged)] == [None, None, None]
