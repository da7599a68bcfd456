from __future__ import annotations

import math
import threading
import time

from emo_rt.serve.live.turns import Turns


def test_the_most_urgent_one_is_next() -> None:
    turns, order = Turns(), []

    def run(due: float) -> None:
        with turns.turn(due):
            order.append(due)

    with turns.turn(0.0):
        threads = [threading.Thread(target=run, args=(due,)) for due in (3.0, float("inf"), 1.0, 2.0)]
        for number, thread in enumerate(threads, 1):
            thread.start()
            while len(turns._waiting) < number:
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert order == [1.0, 2.0, 3.0, float("inf")]


def test_one_runs_at_a_time_and_an_error_gives_the_turn_on() -> None:
    turns, inside, most = Turns(), 0, 0

    def run() -> None:
        nonlocal inside, most
        for _ in range(50):
            try:
                with turns.turn(time.monotonic()):
                    inside += 1
                    most = max(most, inside)
                    time.sleep(0)
                    inside -= 1
                    raise ValueError
            except ValueError:
                pass

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert most == 1
    with turns.turn(0.0):  # it is free again
        pass


def test_places_are_kept_for_what_is_urgent() -> None:
    faces, order, go_on = [1], [], threading.Event()
    turns = Turns(3, lambda: 2 if faces else 0)

    def run(due: float) -> None:
        with turns.turn(due):
            order.append(due)
            go_on.wait(20)

    threads = [threading.Thread(target=run, args=(due,)) for due in (math.inf, math.inf, math.inf, 1.0, 2.0)]
    for number, thread in enumerate(threads):
        thread.start()
        while len(order) + len(turns._waiting) <= number:
            time.sleep(0.001)
    assert sorted(order) == [1.0, 2.0, math.inf]
    faces.clear()
    go_on.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert order.count(math.inf) == 3


def test_as_many_run_at_a_time_as_there_are_places() -> None:
    turns, together = Turns(3), threading.Barrier(3)

    def run() -> None:
        with turns.turn(0.0):
            together.wait(20)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert not together.broken
    inside, went_on = [turns.turn(0.0) for _ in range(3)], threading.Event()
    for each in inside:
        each.__enter__()
    fourth = threading.Thread(target=lambda: turns.turn(0.0).__enter__() or went_on.set())
    fourth.start()
    assert not went_on.wait(0.05)
    inside[0].__exit__(None, None, None)
    assert went_on.wait(20)
