from __future__ import annotations

import numpy as np

from emo_rt.live.frame import LivePose, Place
from emo_rt.live.idle import IdleLoop


def pose(value: int) -> LivePose:
    return LivePose(np.full((8, 8, 3), value, np.uint8), np.full((1, 2, 2), value, np.float32), Place(value))


def values(poses: list[LivePose]) -> list[int]:
    return [int(each.picture[0, 0, 0]) for each in poses]


def loop_of(*numbers: int) -> IdleLoop:
    loop = IdleLoop()
    loop.add([pose(number) for number in numbers])
    return loop


def test_it_walks_to_and_fro_without_a_jump() -> None:
    loop = loop_of(0, 10, 20, 30)
    assert values([loop.next() for _ in range(10)]) == [0, 10, 20, 30, 20, 10, 0, 10, 20, 30]


def test_it_goes_on_into_what_is_added() -> None:
    loop = loop_of(0, 10)
    assert values([loop.next(), loop.next()]) == [0, 10]
    loop.add([pose(20), pose(30)])
    assert values([loop.next() for _ in range(3)]) == [20, 30, 20]


def test_one_pose_is_a_still_face() -> None:
    loop = loop_of(7)
    assert values([loop.next() for _ in range(3)]) == [7, 7, 7]


def test_what_comes_is_told_without_taking_it() -> None:
    loop = loop_of(0, 10, 20)
    loop.next()
    coming = values(loop.coming(4))
    assert coming == values([loop.next() for _ in range(4)])


def test_it_fades_from_a_pose_to_those_after_its_place() -> None:
    loop = loop_of(0, 100, 200)
    loop.go_to(Place(1, heading=-1))
    faded = list(loop.fade_from(pose(110), 1))
    assert values(faded) == [55]  # half way to 0, which comes after 100 on the way back
    np.testing.assert_allclose(faded[0].latents, 55)
    assert faded[0].place == Place(0, heading=-1)


def test_a_place_beyond_what_is_made_is_the_end() -> None:
    loop = loop_of(0, 10, 20)
    loop.go_to(Place(150))
    assert values([loop.next(), loop.next()]) == [10, 0]


def test_a_pose_is_passed_in_both_directions() -> None:
    loop = loop_of(0, 10, 20)
    assert [loop.next().place for _ in range(5)] == [Place(0), Place(1), Place(2), Place(1, -1), Place(0, -1)]
