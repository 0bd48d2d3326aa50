"""Who is who, as stories: a scripted face finder stands in for MediaPipe, pictures are painted cards."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from monitor.faces import Detection, Tile, merge, plan_tiles
from monitor.perceive import TURN_S, Perceived, Perceiver
from monitor.types import FaceObservation, Frame, Reason

RATE_HZ = 15.0
SIZE = (720, 1280)


def _card(seed: int, size: int = 200) -> np.ndarray:
    """A steady picture that looks like nobody else's: coarse coloured squares."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return np.kron(coarse, np.ones((size // 6 + 1, size // 6 + 1, 1), np.uint8))[:size, :size]


@dataclass
class Person:
    """A painted card at a place; `shown` False hides the face from the finder."""

    seed: int
    x: float
    y: float
    face_px: float = 120.0
    shown: bool = True


@dataclass
class World:
    """Draws people and answers as the face finder would."""

    people: list[Person]
    background: int = 40
    pattern: int = 0
    """Seed of a coarse coloured background, 0 for a plain one."""
    card_scale: float = 1.7
    reads: int = 0
    fail_reads: set[int] = field(default_factory=set)

    def frame(self, seq: int) -> Frame:
        image = np.full((*SIZE, 3), self.background, np.uint8)
        image[:, ::7] += 9
        if self.pattern:
            image[:] = _card(self.pattern, 1400)[: SIZE[0], : SIZE[1]]
        for person in self.people:
            side = int(person.face_px * self.card_scale)
            card = _card(person.seed, side)
            x0, y0 = int(person.x - side / 2), int(person.y - side / 2)
            x1, y1 = max(x0, 0), max(y0, 0)
            part = card[y1 - y0 :, x1 - x0 :][: SIZE[0] - y1, : SIZE[1] - x1]
            image[y1 : y1 + part.shape[0], x1 : x1 + part.shape[1]] = part
        return Frame("world", seq, int(seq / RATE_HZ * 1e9), int(seq / RATE_HZ * 1e9), image)

    def _box(self, person: Person) -> np.ndarray:
        half = person.face_px / 2
        return np.array([person.x - half, person.y - half, person.x + half, person.y + half], np.float32)

    # What the perceiver calls of a FaceFinder.
    def scan(self, image: np.ndarray, tiles: list[Tile]) -> list[Detection]:
        return [Detection(self._box(p), 0.9) for p in self.people if p.shown] if tiles else []

    def read(self, image: np.ndarray, box_px: np.ndarray) -> FaceObservation | None:
        self.reads += 1
        centre = (box_px[:2] + box_px[2:]) / 2
        near = [
            p
            for p in self.people
            if p.shown and np.hypot(p.x - centre[0], p.y - centre[1]) < max(p.face_px, box_px[2] - box_px[0]) * 0.6
        ]
        if not near:
            return None
        person = min(near, key=lambda p: np.hypot(p.x - centre[0], p.y - centre[1]))
        box = self._box(person)
        landmarks = np.zeros((478, 3), np.float32)
        landmarks[:, :2] = box[:2] + np.random.default_rng(0).random((478, 2)).astype(np.float32) * person.face_px
        landmarks[0, :2], landmarks[1, :2] = box[:2], box[2:]
        return FaceObservation(box, 1.0, landmarks, np.eye(4, dtype=np.float32))

    def close(self) -> None:
        pass


class Film:
    """Runs a world through a perceiver and remembers who was where."""

    def __init__(self, world: World, **options: object) -> None:
        self.world = world
        self.perceiver = Perceiver(Path("unused"), finder=world, **options)  # type: ignore[arg-type]
        self.seq = 0

    def play(self, samples: int) -> list[Perceived]:
        out = []
        for _ in range(samples):
            out.append(self.perceiver.step(self.world.frame(self.seq)))
            self.seq += 1
        return out

    def skip(self, samples: int) -> None:
        self.seq += samples


def _at(perceived: Perceived, person: Person) -> int | None:
    for face in perceived.faces:
        box = face.observation.box_px
        if abs((box[0] + box[2]) / 2 - person.x) < 10 and abs((box[1] + box[3]) / 2 - person.y) < 10:
            return face.track_id
    return None


def test_a_person_keeps_one_id_through_motion() -> None:
    person = Person(1, 200, 360)
    film = Film(World([person]))
    ids = set()
    for step in range(60):
        person.x = 200 + 12 * step
        ids |= {face.track_id for face in film.play(1)[0].faces}
    assert ids == {1}


def test_a_person_who_walks_past_a_patterned_wall_keeps_the_id() -> None:
    person = Person(1, 200, 360)
    film = Film(World([person], pattern=5, card_scale=1.35))
    seen = []
    for step in range(90):
        person.x = 200 + 9 * step
        seen += [face.track_id for face in film.play(1)[0].faces]
    assert set(seen) == {1}
    assert len(seen) >= 86


def test_a_cut_is_told_of_everybody_who_was_there() -> None:
    world = World([Person(1, 640, 360, 240)])
    film = Film(world)
    first = film.play(10)[-1].faces[0].track_id
    world.people = [Person(1, 640, 360, 240), Person(2, 200, 200, 200), Person(3, 1050, 200, 200)]
    world.pattern = 11
    after = film.play(1)[0]
    assert after.cut
    assert [s.cut for s in after.statuses if s.track_id == first] == [True]
    assert not any(s.cut for s in film.play(1)[0].statuses)


def test_a_failed_look_for_landmarks_is_no_waiting() -> None:
    person = Person(1, 600, 360)
    film = Film(World([person]), budget_ms=60.0)
    film.play(10)
    person.shown = False
    assert [s.reason for s in film.play(1)[0].statuses] == [Reason.NO_FACE]


def test_an_empty_picture_is_scanned_piece_by_piece() -> None:
    world = World([])
    counts: list[int] = []
    world.scan = lambda image, tiles: counts.append(len(tiles)) or []  # type: ignore[method-assign]
    Film(world).play(6)
    assert counts[0] == len(plan_tiles(SIZE[1], SIZE[0]))
    assert max(counts[1:]) <= 6


def test_a_face_is_a_person_only_after_three_samples() -> None:
    film = Film(World([Person(1, 300, 300)]))
    counts = [len(p.faces) for p in film.play(4)]
    assert counts == [0, 0, 1, 1]


def test_a_short_occlusion_keeps_the_id() -> None:
    person = Person(1, 600, 360)
    film = Film(World([person]))
    before = _at(film.play(10)[-1], person)
    person.shown = False
    hidden = film.play(15)
    assert all(not p.faces for p in hidden)
    assert hidden[-1].statuses[0].reason is Reason.NO_FACE
    person.shown = True
    assert _at(film.play(4)[-1], person) == before


def test_whoever_stays_away_has_left_and_a_newcomer_gets_a_new_id() -> None:
    person = Person(1, 600, 360)
    film = Film(World([person]))
    first = _at(film.play(10)[-1], person)
    person.shown = False
    gone = film.play(60)
    assert sum(s.ended for p in gone for s in p.statuses if s.track_id == first) == 1
    person.shown = True
    assert _at(film.play(6)[-1], person) not in (None, first)


def test_two_people_crossing_keep_their_ids() -> None:
    a, b = Person(1, 300, 360), Person(2, 900, 360)
    film = Film(World([a, b]))
    last = film.play(10)[-1]
    id_a, id_b = _at(last, a), _at(last, b)
    assert id_a is not None
    assert id_b is not None
    assert id_a != id_b
    for _ in range(40):
        a.x += 15
        b.x -= 15
        # The one behind is hidden while they overlap.
        b.shown = abs(a.x - b.x) > 130
        if not b.shown:
            film.world.people = [b, a]
        film.play(1)
    last = film.play(10)[-1]
    assert _at(last, a) == id_a
    assert _at(last, b) in (id_b, max(id_a, id_b) + 1)
    assert _at(last, b) != id_a


def test_a_tile_reshuffle_never_hands_an_id_to_somebody_else() -> None:
    a, b = Person(1, 300, 200), Person(2, 900, 200)
    film = Film(World([a, b]))
    last = film.play(15)[-1]
    owner = {_at(last, a): 1, _at(last, b): 2}
    a.x, b.x = b.x, a.x
    for perceived in film.play(40):
        for person in (a, b):
            track = _at(perceived, person)
            if track in owner:
                assert owner[track] == person.seed
            elif track is not None:
                owner[track] = person.seed
    assert _at(perceived, a) is not None
    assert _at(perceived, b) is not None


def test_a_stranger_in_the_same_seat_gets_a_new_id() -> None:
    person = Person(1, 640, 360)
    film = Film(World([person]))
    first = _at(film.play(15)[-1], person)
    person.seed = 77
    changed = film.play(25)
    assert first not in {face.track_id for p in changed for face in p.faces}
    assert _at(changed[-1], person) not in (None, first)


def test_a_scene_cut_to_somebody_else_gives_a_new_id() -> None:
    world = World([Person(1, 640, 360, 240)])
    film = Film(world)
    first = film.play(15)[-1].faces[0].track_id
    world.people = [Person(9, 500, 300, 300)]
    world.background = 200
    after = film.play(20)
    assert first not in {face.track_id for p in after for face in p.faces}
    assert after[-1].faces


def test_faces_too_small_are_listed_and_not_judged() -> None:
    film = Film(World([Person(1, 640, 360, 30.0)]))
    last = film.play(5)[-1]
    assert not last.faces
    assert [s.reason for s in last.statuses] == [Reason.FACE_TOO_SMALL]


def test_with_too_little_time_people_are_judged_in_turn_and_told_so() -> None:
    people = [Person(i + 1, 150 + 240 * (i % 5), 160 + 240 * (i // 5), 90) for i in range(10)]
    film = Film(World(people), budget_ms=40.0)
    film.perceiver._read_ms = 13.0
    seen: dict[int, int] = {}
    for _ in range(int(TURN_S * RATE_HZ * 6)):
        film.perceiver._read_ms = 13.0
        perceived = film.play(1)[0]
        assert len(perceived.faces) <= 6
        for face in perceived.faces:
            seen[face.track_id] = seen.get(face.track_id, 0) + 1
    waiting = [s for s in perceived.statuses if s.reason is Reason.WAITING_TURN]
    assert len(waiting) >= 5
    assert len([t for t, n in seen.items() if n >= 32]) == len(people)


def test_tiles_cover_every_part_of_a_frame() -> None:
    for width, height in ((1920, 1080), (1280, 720), (640, 480), (224, 224), (1080, 1920), (1, 1)):
        covered = np.zeros((height, width), bool)
        for tile in plan_tiles(width, height)[1:]:
            assert tile.x >= 0
            assert tile.y >= 0
            assert tile.x + tile.width <= width
            assert tile.y + tile.height <= height
            covered[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width] = True
        assert len(plan_tiles(width, height)) <= 40
        assert covered.all() or max(width, height) <= 1.2 * min(width, height)


def test_overlapping_detections_become_one() -> None:
    big = Detection(np.array([0, 0, 100, 100], np.float32), 0.7)
    part = Detection(np.array([20, 20, 90, 90], np.float32), 0.9)
    other = Detection(np.array([300, 0, 400, 100], np.float32), 0.6)
    assert [d.score for d in merge([big, part, other])] == [0.9, 0.6]
