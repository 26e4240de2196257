"""People and broken lines while a digest goes out, on both databases: judged like the kills."""

from __future__ import annotations

import random
import threading
import time
from contextlib import contextmanager

import pytest
from crash import ours, rows
from crash.checker import check
from crash.cutting import Cutter
from crash.people import Operators
from crash.world import USUAL, SinkProcess, World, populate
from sqlalchemy.exc import OperationalError

from newsletter import store

CONNECTIONS = 5


@pytest.fixture
def seed():
    """A new one each time; told when the test fails."""
    found = random.SystemRandom().randrange(1 << 30)
    print("seed", found)
    return found


@pytest.fixture
def world(empty_database_url, tmp_path, seed):
    """Some digests that are being sent to a hundred readers, by a relay that errs."""
    populate(empty_database_url, readers=100, digests=5)
    with SinkProcess(tmp_path / "ledger", seed=seed, faults=USUAL, delay=0.03) as sink:
        yield World(tmp_path, empty_database_url, sink, CONNECTIONS)


@contextmanager
def sender(world: World, url: str, ended: list[BaseException]):
    """A sender in a thread, begun again when its database was out of reach."""
    stop = threading.Event()
    engine = store.connect(url)
    settings = ours.settings(url, world.folder, world.sink.port, connections=CONNECTIONS, lease=1)

    def work() -> None:
        while not stop.is_set():
            try:
                ours.run(engine, settings, stop)
            except OperationalError as error:
                ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
        end = time.monotonic() + 60
        while not world.is_over() and time.monotonic() < end:
            time.sleep(0.02)
    finally:
        stop.set()
        thread.join()
        engine.dispose()


def test_people_get_in_the_way(world, seed):
    """A hundred pauses, readers who leave or are erased: whoever left before is not mailed.

    Nothing is uncertain for it but what the relay left open, and everything adds up.
    """
    people, lot = Operators(world, seed, stays=True), random.Random(seed)
    ended: list[BaseException] = []
    pauses = 0
    with sender(world, world.url, ended):
        while pauses < 100 and not world.is_over():
            people.resume()
            time.sleep(lot.uniform(0, 0.01))
            pauses += people.pause()
            chance = lot.random()
            if chance < 0.2:
                people.leave()
            elif chance < 0.3:
                people.erase()
        world.sink.behave()
        people.go_home()
    assert ended == []
    assert pauses > 20
    assert len({left.state for left in world.left}) > 1
    assert check(world.history()) == []
    assert rows.counts(world.url).get("skipped", 0) > 0


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_commits_whose_answer_is_lost(world, seed):
    """Whether a claim, an arming or an answer was recorded, nobody was told: none goes wrong."""
    ended: list[BaseException] = []
    with Cutter(world.url, seed, share=0.1) as cutter, sender(world, cutter.url, ended):
        end = time.monotonic() + 8
        while not world.is_over() and cutter.cuts < 40 and time.monotonic() < end:
            time.sleep(0.02)
        cutter.share = 0.0
        world.sink.behave()
    assert cutter.cuts >= 10
    world.crashes = cutter.cuts
    assert check(world.history()) == []
