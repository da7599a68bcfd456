"""Puppets: what the labels say is what the mesh and the pictures show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_photograph import SIDE, made_photograph

from training.clips.face_mesh import FACE_POINTS, LOWER_LIP, UPPER_LIP
from training.speakers.motion import Motion
from training.speakers.puppets.face_tables import EYE_FOLDS, face_tables
from training.speakers.puppets.look import Look, sample_look
from training.speakers.puppets.pose import pose
from training.speakers.puppets.puppet import Puppet
from training.speakers.puppets.render import render_puppet

WHOLE = Look(face_share=0.0, offset=(0.0, 0.0))  # the photograph as it is


@pytest.fixture(scope="module")
def puppet() -> Puppet:
    return Puppet.of(made_photograph())


def lip_gap(puppet: Puppet, motion: Motion) -> torch.Tensor:
    """The mean height (B,) of the opening between the lips."""
    face = pose(puppet, motion, 1.0).mesh
    return (face[:, list(UPPER_LIP), 1] - face[:, list(LOWER_LIP), 1]).mean(1)


def test_a_puppet_at_rest_is_its_photograph(puppet: Puppet) -> None:
    photograph = made_photograph()
    frame = render_puppet(puppet, Motion.rest(1), WHOLE, SIDE).frames[0].permute(1, 2, 0).numpy()
    error = np.abs(frame - photograph.picture / 255.0)
    face = photograph.mask > 0
    assert np.median(error[face]) < 0.01
    assert np.percentile(error[face], 90) < 0.06


def test_parted_lips_are_closed() -> None:
    parted = Puppet.of(made_photograph(parted=0.3))
    assert made_photograph(parted=0.3).landmarks[14, 1] - made_photograph(parted=0.3).landmarks[13, 1] > 0.02
    assert abs(lip_gap(parted, Motion.rest(1)).item()) < 1e-3


def test_the_lips_part_as_the_label_says(puppet: Puppet) -> None:
    motion = Motion.rest(6)
    motion.mouth_opening[:] = torch.linspace(0, 1, 6)
    gaps = lip_gap(puppet, motion)
    assert (gaps.diff() > 0.005).all()
    assert np.corrcoef(gaps, motion.mouth_opening)[0, 1] > 0.99


def test_a_spread_mouth_is_wider_than_a_rounded_one(puppet: Puppet) -> None:
    motion = Motion.rest(3)
    motion.mouth_width[:] = torch.tensor([0.0, 0.5, 1.0])
    corners = pose(puppet, motion, 1.0).mesh[:, [61, 291], 0]
    assert ((corners[:, 1] - corners[:, 0]).diff() > 0.01).all()


def test_a_blink_shuts_the_eyes_and_nothing_else(puppet: Puppet) -> None:
    motion = Motion.rest(2)
    motion.blink[1] = 1
    still, shut = pose(puppet, motion, 1.0).mesh
    lids = torch.tensor([159, 386]), torch.tensor([145, 374])
    opened, closed = ((face[lids[0], 1] - face[lids[1], 1]).mean() for face in (still, shut))
    assert closed < 0.05 * opened
    below_the_nose = (still[:FACE_POINTS, 1] < still[2, 1]).nonzero()[:, 0]
    torch.testing.assert_close(still[below_the_nose], shut[below_the_nose])


@pytest.mark.parametrize(("angle", "axis", "sign"), [(0, 0, 1), (1, 1, -1)])
def test_the_nose_goes_where_the_head_turns(puppet: Puppet, angle: int, axis: int, sign: int) -> None:
    """Yaw to the right of the picture, pitch down; y points up in the mesh."""
    motion = Motion.rest(2)
    motion.rotation[1, angle] = 10
    nose, bridge = pose(puppet, motion, 1.0).mesh[:, [1, 168]].unbind(1)
    shift = (nose - bridge)[:, axis].diff().item()
    assert sign * shift > 0.005


def test_a_head_rolls_clockwise(puppet: Puppet) -> None:
    motion = Motion.rest(2)
    motion.rotation[1, 2] = 10
    eyes = pose(puppet, motion, 1.0).mesh[:, [33, 263]]
    tilt = torch.atan2(eyes[:, 1, 1] - eyes[:, 0, 1], eyes[:, 1, 0] - eyes[:, 0, 0]).rad2deg()
    assert tilt.diff().item() == pytest.approx(-10, abs=0.5)


def test_the_seen_rotation_counts_the_photographs_own(puppet: Puppet) -> None:
    angles = torch.tensor([[0.0, 0, 0], [8, -3, 2]])
    torch.testing.assert_close(puppet.seen_rotation(angles), angles, atol=0.05, rtol=0)


def test_the_body_stays_when_the_head_turns(puppet: Puppet) -> None:
    motion = Motion.rest(2)
    motion.rotation[1, 0] = 10
    points = pose(puppet, motion, 1.0).mesh
    low = points[0, :, 1] < -0.97
    assert low.sum() > 10
    torch.testing.assert_close(points[0, low], points[1, low], atol=5e-4, rtol=0)


def test_the_boxes_hold_the_face_and_the_mouth(puppet: Puppet) -> None:
    motion = Motion.rest(2)
    motion.mouth_opening[1] = 1
    rendering = render_puppet(puppet, motion, Look(face_share=0.6, offset=(0.1, 0.0)), 64)
    face, mouth = rendering.face_box, rendering.mouth_box
    assert rendering.frames.shape == (2, 3, 64, 64)
    assert (face[:, 2] == face[0, 2]).all()
    assert face[0, 2].item() == pytest.approx(1.18 * 0.6 * 64, rel=0.01)
    assert (face[:, 0] + face[:, 2] / 2).mean().item() == pytest.approx(0.6 * 64, abs=1.5)
    assert (mouth[:, :2] > face[:, :2]).all()
    assert (mouth[0, :2] + mouth[0, 2:] < face[0, :2] + face[0, 2:]).all()  # the average chin falls out of its box
    assert mouth[1, 3] > 1.5 * mouth[0, 3]


def test_a_look_changes_what_it_says_and_follows_from_its_seed(puppet: Puppet) -> None:
    motion = Motion.rest(1)
    plain = render_puppet(puppet, motion, WHOLE, 32).frames
    dark = render_puppet(puppet, motion, Look(0.0, (0, 0), gain=np.array([0.5, 0.5, 0.5])), 32).frames
    torch.testing.assert_close(dark, 0.5 * plain)
    white = render_puppet(puppet, motion, Look(0.0, (0, 0), background=np.ones((2, 3))), 32).frames
    assert white[0, :, 0, 0].min() > 0.99
    torch.testing.assert_close(white[0, :, 16, 16], plain[0, :, 16, 16])
    for look in (
        Look(0.0, (0, 0), jpeg_quality=10),
        Look(0.0, (0, 0), source_side=40),
        Look(0.0, (0, 0), video_crf=40),
    ):
        error = (render_puppet(puppet, motion, look, 32).frames - plain).abs().mean()
        assert 0.002 < error < 0.1
    first, again, other = (sample_look(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.face_share == again.face_share != other.face_share


def test_the_same_motion_gives_the_same_bytes_in_any_batch(puppet: Puppet) -> None:
    motion = Motion.rest(5)
    motion.mouth_opening[:] = torch.linspace(0, 1, 5)
    whole = render_puppet(puppet, motion, WHOLE, 32).frames
    again = render_puppet(Puppet.of(made_photograph()), motion, WHOLE, 32).frames
    assert torch.equal(whole, again)
    torch.testing.assert_close(render_puppet(puppet, motion[2], WHOLE, 32).frames, whole[2:3], atol=1e-5, rtol=0)


def test_every_unit_has_a_name() -> None:
    assert face_tables().unit("jawOpen") == [24]
    assert len(face_tables().unit("mouthSmile")) == 2
    with pytest.raises(KeyError):
        face_tables().unit("wings")


def test_glasses_do_not_bend() -> None:
    """Lids shut behind them, and nothing else near the eyes moves."""
    puppet = Puppet.of(replace(made_photograph(), glasses=True))
    motion = Motion.rest(2)
    motion.blink[1], motion.brow[1], motion.squint[1], motion.smile[1] = 1, 1, 1, 1
    still, moved = pose(puppet, motion, 1.0).mesh[:, :FACE_POINTS]
    around = list(EYE_FOLDS)
    torch.testing.assert_close(still[around], moved[around], atol=1e-4, rtol=0)
    assert (still[159, 1] - moved[159, 1]) > 0.01
    bare = pose(Puppet.of(made_photograph()), motion, 1.0).mesh[:, :FACE_POINTS]
    assert (bare[1] - bare[0])[around].abs().max() > 0.005


def test_landmarks_are_where_the_pictures_show_them(puppet: Puppet) -> None:
    """At rest they are those of the photograph; the lips' part as the mesh does, within the boxes."""
    motion = Motion.rest(2)
    motion.mouth_opening[1] = 1
    rendering = render_puppet(puppet, motion, WHOLE, SIDE)
    assert rendering.landmarks is not None
    at_rest = made_photograph().landmarks[:FACE_POINTS, :2] * SIDE
    eyes = sorted(EYE_FOLDS)
    np.testing.assert_allclose(rendering.landmarks[0, eyes], at_rest[eyes], atol=0.02 * SIDE)
    middles = rendering.landmarks[:, [13, 14], 1]
    assert middles[1, 1] - middles[1, 0] > middles[0, 1] - middles[0, 0] + 0.02 * SIDE
    x, y, width, height = rendering.mouth_box.T[..., None]
    lips = rendering.landmarks[:, [*UPPER_LIP, *LOWER_LIP]]
    assert ((lips[..., 0] > x) & (lips[..., 0] < x + width)).all()
    assert ((lips[..., 1] > y) & (lips[..., 1] < y + height)).all()
