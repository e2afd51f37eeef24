"""What rides along with a commit: items, values, requests and their answers; one fence for all of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.storage.scene import Scene
from windlass.engine.errors import Fenced, RunConflict, UnknownRun
from windlass.engine.journal import ADVANCE
from windlass.engine.ports import Ring
from windlass.live.rows import (
    COMPLETED,
    SENT,
    Answer,
    find_end,
    find_items,
    find_published,
    find_request,
    write_answers,
    write_items,
    write_published,
)
from windlass.live.sending import QUERY, SEND, UPDATE, Sending


def item(scene: Scene, run: str, offset: int, text: str | None, stream: str = "s") -> tuple[Any, object]:
    return write_items, (run, stream, offset, text, "step#1" if text == "2" else None, None, scene.iso())


def value(scene: Scene, run: str, key: str, text: str) -> tuple[Any, object]:
    return write_published, (run, key, text, scene.iso())


def sending(scene: Scene, run: str, kind: str, request_id: str, digest: str = "d") -> Sending:
    return Sending(run, kind, "name", request_id, '{"a":1}', digest, scene.new_id("letter"), scene.now)


def test_what_rides_along_is_written_with_the_events_or_not_at_all(scene: Scene) -> None:
    holder, dead = scene.holder(), scene.holder()
    run, other = scene.held(holder), scene.held(holder)
    lost = scene.held(dead)
    scene.die(dead)
    scene.take_over(dead)

    answers = scene.batch(
        (ADVANCE, scene.advance(run, holder, "a", along=[item(scene, run, 0, "1"), value(scene, run, "k", "1")])),
        (ADVANCE, scene.advance(lost, dead, "a", along=[item(scene, lost, 0, "1"), value(scene, lost, "k", "1")])),
        (ADVANCE, scene.advance(other, holder, along=[item(scene, other, 0, '{"b":2,"a":null}')])),
        (ADVANCE, scene.advance(run, holder, "b", along=[item(scene, run, 1, "2"), value(scene, run, "k", '"two"')])),
    )
    scene.write(
        run, holder, "c", along=[item(scene, run, 2, "null"), item(scene, run, 3, None), item(scene, run, 0, "9", "t")]
    )

    assert [type(answer) for answer in answers] == [type(None), Fenced, type(None), type(None)]
    read = scene.backend.read
    page = read(lambda one: find_items(one, run, "s", 0, 2))
    assert ([(found.offset, found.value, found.step) for found in page.items], page.closed) == (
        [(0, 1, None), (1, 2, "step#1")], False,
    )  # fmt: skip
    rest = read(lambda one: find_items(one, run, "s", 2, 2))
    assert ([(found.offset, found.value) for found in rest.items], rest.closed) == ([(2, None)], True)
    assert rest.items[0].at == scene.iso()
    for offset in (3, 4, 99):
        assert read(lambda one, at=offset: find_items(one, run, "s", at, 2)) == ([], True)
    assert read(lambda one: find_items(one, run, "t", 5, 2)) == ([], False)
    ends = [read(lambda one, name=name: find_end(one, run, name)) for name in ("s", "t", "u")]
    assert ends == [(3, True), (1, False), (0, False)]
    assert read(lambda one: find_items(one, other, "s", 0, 2)).items[0].value == {"a": None, "b": 2}
    assert read(lambda one: find_items(one, lost, "s", 0, 2)) == ([], False)
    assert [read(lambda one, of=of: find_published(one, of)) for of in (run, lost)] == [{"k": "two"}, {}]


def test_an_item_whose_place_is_taken_takes_its_whole_unit_back(scene: Scene) -> None:
    holder = scene.holder()
    run, other = scene.held(holder), scene.held(holder)
    scene.write(run, holder, "a", along=[item(scene, run, 0, "1")])

    first, second = scene.batch(
        (ADVANCE, scene.advance(run, holder, "b", along=[item(scene, run, 0, "2")])),
        (ADVANCE, scene.advance(other, holder, "b", along=[item(scene, other, 0, "3")])),
    )

    assert isinstance(first, Exception)
    assert second is None
    assert (scene.types(run)[-1], scene.types(other)[-1]) == ("a", "b")
    assert scene.backend.read(lambda one: find_items(one, run, "s", 0, 9)).items[0].value == 1


def test_an_update_is_sent_once_wakes_its_run_and_rings_for_its_answer(scene: Scene) -> None:
    holder = scene.holder()
    run, parked, ended = scene.held(holder), scene.held(holder), scene.held(holder)
    scene.park(parked, holder)
    scene.finish(ended, holder)

    sent = scene.do(SEND, sending(scene, run, UPDATE, "u"))
    again = scene.do(SEND, sending(scene, run, UPDATE, "u"))
    scene.do(SEND, sending(scene, parked, QUERY, "q"))

    assert (sent.state, again) == (SENT, sent)
    [letter] = scene.inbox(run)
    assert (letter.kind, letter.name, scene.parsed(letter.payload)) == (
        "update",
        "name",
        {"id": "u", "payload": {"a": 1}},
    )
    assert [row.kind for row in scene.inbox(parked)] == ["query"]
    assert scene.head(parked).ready_at is not None
    for unit, error in (
        (sending(scene, run, UPDATE, "u", "other"), RunConflict),
        (sending(scene, ended, UPDATE, "v"), RunConflict),
        (sending(scene, ended, QUERY, "v"), RunConflict),
        (sending(scene, "nobody", UPDATE, "v"), UnknownRun),
    ):
        with pytest.raises(error):
            scene.do(SEND, unit)
    scene.rings.clear()
    scene.write(
        run, holder, along=[(write_answers, Answer(run, "u", COMPLETED, '{"z":1}'))], consumed=[letter.inbox_id]
    )
    assert Ring("ended", f"{run}/u") in scene.rings
    found = scene.backend.read(lambda one: find_request(one, run, "u"))
    assert found is not None
    assert (found.state, found.answer, found.over) == (COMPLETED, {"z": 1}, True)
    assert scene.inbox(run) == []
    assert scene.do(SEND, sending(scene, run, UPDATE, "u")) == found
