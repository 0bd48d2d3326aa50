"""The judgement drawn into the picture: the overlay's colours and meanings, no meaning by colour alone, no crash."""

from __future__ import annotations

import time

import numpy as np
import pytest

from gui import heat, style
from gui.style import Mood
from monitor.types import Reason, State, UInt8Array, Verdict, WhereMap
from monitor.webrtc import draw as drawing
from monitor.webrtc.draw import DrawOptions, draw, words

BOX = (200.0, 120.0, 340.0, 300.0)


def verdict(
    state: State,
    suspicion: float | None = None,
    *,
    box: tuple[float, float, float, float] | None = BOX,
    reasons: tuple[Reason, ...] = (),
    where: WhereMap | None = None,
    track_id: int = 1,
) -> Verdict:
    return Verdict(track_id, state, suspicion, reasons, (), 1.0, 0, 0, 0, box_px=box, where=where)


def grey(width: int = 640, height: int = 480) -> UInt8Array:
    return np.full((height, width, 3), 120, np.uint8)


def count(image: UInt8Array, colour: tuple[int, int, int]) -> int:
    return int((image == np.array(colour, np.uint8)).all(-1).sum())


def test_the_colours_are_the_overlays() -> None:
    moods = {State.NO_SIGN: Mood.NO_SIGN, State.UNCERTAIN: Mood.UNCERTAIN, State.SUSPECT: Mood.SUSPECT}
    for state in State:
        mark = style.DARK.mark(moods.get(state, Mood.CANNOT_TELL))
        assert bytes(drawing.STATE_COLOUR[state]).hex() == mark.removeprefix("#")
    assert bytes(drawing.PANEL).hex() == style.DARK.panel.removeprefix("#")
    assert (drawing.WEAK, drawing.STRONG, drawing.COVER) == (heat.WEAK, heat.STRONG, heat.COVER)
    assert (drawing.LINE_SHARE, drawing.LINE_MIN) == (heat.LINE_SHARE, heat.LINE_MIN)
    assert np.array_equal(drawing.RAMP, heat.RAMP)


@pytest.mark.parametrize("state", list(State))
def test_red_means_suspect_and_nothing_else(state: State) -> None:
    image = draw(grey(), [verdict(state, 0.5)], ("a name",))
    assert count(image, drawing.STATE_COLOUR[state]) > 200
    assert (count(image, drawing.STATE_COLOUR[State.SUSPECT]) > 0) is (state is State.SUSPECT)


def test_states_differ_without_their_colours() -> None:
    """The same pictures with the state's colours made one: still told apart by shape or by words."""
    shown = []
    for state in State:
        image = draw(grey(), [verdict(state, None if state in (State.WARMING_UP, State.CANNOT_TELL) else 0.5)], ())
        image[(image == np.array(drawing.STATE_COLOUR[state], np.uint8)).all(-1)] = 255
        shown.append(image)
    for number, one in enumerate(shown):
        for other in shown[number + 1 :]:
            assert int((one != other).any(-1).sum()) > 60


def test_what_is_said_of_a_person() -> None:
    assert words(verdict(State.SUSPECT, 0.971)) == ("Person 1 · Strong signs", "suspicion 97 %")
    assert words(verdict(State.NO_SIGN, 0.0001)) == ("Person 1 · No sign", "suspicion under 1 %")
    assert words(verdict(State.WARMING_UP)) == ("Person 1 · Getting ready", "no score yet")
    turned = verdict(State.CANNOT_TELL, reasons=(Reason.FACE_TURNED_AWAY, Reason.TOO_DARK))
    assert words(turned) == ("Person 1 · Cannot tell", "the face is turned too far to the side")
    assert words(verdict(State.CANNOT_TELL)) == ("Person 1 · Cannot tell", "no fresh reading")


def test_the_picture_is_a_copy_with_even_sides_within_the_limit() -> None:
    image = grey(1919, 1079)
    before = image.copy()
    image.setflags(write=False)
    drawn = draw(image, [verdict(State.NO_SIGN, 0.1, box=(800.0, 300.0, 1100.0, 700.0))], ("x",))
    assert drawn.shape[1] == drawing.MAX_SIDE_PX
    assert drawn.shape[0] % 2 == 0
    assert np.array_equal(image, before)
    assert count(drawn[150:351, 400:551], drawing.STATE_COLOUR[State.NO_SIGN]) > 200  # the box is scaled along


def where(peak: float) -> WhereMap:
    rows, columns = np.mgrid[:18, :18]
    return WhereMap(1, 0, (peak * np.exp(-((rows - 9) ** 2 + (columns - 9) ** 2) / 8)).astype(np.float32), ())


@pytest.mark.parametrize("state", list(State))
def test_the_map_is_drawn_where_it_was_asked_for_and_only_on_a_face_with_signs(state: State) -> None:
    one = verdict(state, 0.9, where=where(0.9))
    plain, mapped = draw(grey(), [one], ()), draw(grey(), [one], (), DrawOptions(where=True))
    centre = mapped[200:221, 260:281]
    drawn = state in (State.UNCERTAIN, State.SUSPECT)
    assert (not np.array_equal(plain, mapped)) is drawn
    assert (int(centre[..., 0].mean()) > int(centre[..., 2].mean()) + 40) is drawn  # the ramp ends in yellow


def test_a_weak_map_leaves_the_face_as_it_is() -> None:
    one = verdict(State.UNCERTAIN, 0.6, where=where(0.1))
    assert np.array_equal(draw(grey(), [one], ()), draw(grey(), [one], (), DrawOptions(where=True)))


@pytest.mark.parametrize(
    "box",
    [
        (-500.0, -500.0, 5000.0, 5000.0),
        (-90.0, -90.0, 10.0, 10.0),
        (630.0, 470.0, 900.0, 900.0),
        (5000.0, 5000.0, 5100.0, 5100.0),
        (300.0, 200.0, 300.0, 200.0),
        (0.0, 0.0, 1e30, 1e30),
    ],
)
@pytest.mark.parametrize("size", [(640, 480), (64, 48), (3, 2)])
def test_no_box_is_too_strange(box: tuple[float, float, float, float], size: tuple[int, int]) -> None:
    people = [verdict(state, 0.5, box=box, where=where(1.0)) for state in State]
    drawn = draw(grey(*size), people, ("one", "two", "three", "four"), DrawOptions(where=True))
    assert drawn.dtype == np.uint8
    assert drawn.shape[0] % 2 == drawn.shape[1] % 2 == 0


def test_a_name_may_be_anything_and_costs_no_more_than_its_line() -> None:
    began = time.monotonic()
    draw(grey(), [], ("\x00\n\u202e\U0001f600" * 5000, "Анна Müller"))
    assert time.monotonic() - began < 10


def test_without_a_picture_it_says_so() -> None:
    assert not np.array_equal(draw(None, [], ()), draw(None, [], ("a name",)))
    assert draw(None, [verdict(State.NO_SIGN, 0.1)], ()).shape == (360, 640, 3)


def test_people_without_a_place_are_left_out() -> None:
    assert np.array_equal(draw(grey(), [verdict(State.SUSPECT, 0.9, box=None)], ()), grey())
