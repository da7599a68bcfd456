"""The face reader: what it learns and saves, how well it reads, and when it may not judge."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from known_faces import face_centre, identity_of

from training.clips.clip import TrainingClip
from training.evaluation.reader import FaceReader, Reading, around, known_accuracy
from training.evaluation.reader_accuracy import reader_accuracy
from training.evaluation.reader_training import (
    LabelledPictures,
    attention_target,
    contrastive_error,
    degraded,
    inside_boxes,
)
from training.speakers.speaker import make_clip
from training.train_reader import main


@pytest.fixture(scope="module")
def clip() -> TrainingClip:
    return make_clip(seed=5, seconds=0.4, resolution=32)


def test_the_attention_target_is_where_the_box_is() -> None:
    boxes = torch.tensor([[0.0, 0.5, 0.5, 1.0], [-1.0, -1.0, 1.0, 1.0]])
    target = attention_target(boxes).unflatten(1, (32, 32))
    torch.testing.assert_close(target.sum((1, 2)), torch.ones(2))
    torch.testing.assert_close(target[0, 24:, 16:24].sum(), torch.tensor(1.0))
    torch.testing.assert_close(target[1], torch.full((32, 32), 1 / 1024))


def test_the_mouth_is_looked_at_where_it_is() -> None:
    pictures = torch.zeros(2, 3, 256, 256)
    pictures[0, :, 150:170, 100:140] = 1  # its middle is at (120, 160)
    pictures[1] = torch.linspace(0, 1, 256).view(1, 1, 256)
    places = torch.tensor([[120 / 128 - 1, 160 / 128 - 1], [0.5, 0.0]])
    first, second = around(pictures, places)
    light = first.mean(0) > 0.5
    rows, columns = torch.nonzero(light, as_tuple=True)
    # 64 pixels show 0.3 of the picture: 77 of its pixels
    assert (columns.max() - columns.min() + 1) == pytest.approx(33, abs=1)
    assert (rows.max() - rows.min() + 1) == pytest.approx(17, abs=1)
    assert (columns.float().mean() - 31.5).abs() < 1
    assert (rows.float().mean() - 31.5).abs() < 1
    torch.testing.assert_close(second[0, 0, [0, -1]], torch.tensor([0.6, 0.9]), atol=0.01, rtol=0)


def test_a_batch_shows_everybody_four_times_and_a_mirror_turns_heads(clip: TrainingClip, tmp_path: Path) -> None:
    for number, yaw in enumerate((10.0, 20.0)):
        turned = np.zeros_like(clip.rotation)
        turned[:, 0] = yaw
        dataclasses.replace(clip, rotation=turned).save(tmp_path / f"{number}.npz")
    rng = np.random.default_rng(0)
    pictures = LabelledPictures.read([tmp_path], 4, rng)
    yaws = torch.stack([pictures.batch(rng, 8).labels[:, 3] for _ in range(8)])
    for pictures_of in yaws.split(2, dim=1):
        torch.testing.assert_close(pictures_of.abs(), yaws[:, :2].abs())  # the same people, not always mirrored alike
    assert {round(abs(value), 3) for value in yaws.flatten().tolist()} == {0.5, 1.0}
    assert (yaws < 0).any()
    assert (yaws > 0).any()


def test_a_batch_shows_nobody_in_two_clips(clip: TrainingClip, tmp_path: Path) -> None:
    for number, person in enumerate(["anna", "anna", "anna", "otto", "", ""]):
        dataclasses.replace(clip, person=person).save(tmp_path / f"{number}.npz")
    pictures = LabelledPictures.read([tmp_path], 4, np.random.default_rng(0))
    assert len(set(pictures.people)) == 4
    assert {len(pictures.batch(np.random.default_rng(seed), 20).images) for seed in range(5)} == {16}


def test_pictures_of_half_of_the_people_look_the_same() -> None:
    """Grey pictures of one light: what they become says how each was changed."""
    grey = torch.zeros(4 * 40, 3, 32, 32)
    levels = degraded(np.random.default_rng(0), grey).mean((1, 2, 3)).unflatten(0, (4, 40))
    same = (levels - levels[:1]).abs().amax(0) < 0.003  # the noise differs in any case
    assert 10 <= same.sum() <= 30
    assert (levels.std(0)[~same] > 0.01).all()


def test_a_mouth_is_read_in_view_of_the_others_of_the_clip_and_nothing_else_is(clip: TrainingClip) -> None:
    torch.manual_seed(0)
    reader, frames = FaceReader(), np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    frames[:2] = clip.frames[:2]
    together, alone = reader.read(frames), reader.read(frames[:2])
    again = reader.read(frames, batch=4)
    np.testing.assert_allclose(again.mouth_opening, together.mouth_opening, atol=1e-6)
    assert np.abs(together.mouth_opening[:2] - alone.mouth_opening).min() > 1e-4
    for name in ("blink", "rotation", "face_centre", "identity"):
        np.testing.assert_allclose(getattr(together, name)[:2], getattr(alone, name), atol=1e-4)


def test_people_of_one_batch_are_read_apart() -> None:
    """Two people's pictures in one batch are read as each person's alone."""
    torch.manual_seed(0)
    reader = FaceReader().eval()
    light = torch.tensor([0.1, 1.0]).view(1, 2, 1, 1, 1)
    images = light * torch.rand(4, 2, 3, 256, 256)
    with torch.no_grad():
        both = reader(images).mouth.unflatten(0, (4, 2))
        for person in range(2):
            torch.testing.assert_close(both[:, person], reader(images[:, person : person + 1]).mouth, atol=1e-6, rtol=0)


def test_the_boxes_move_with_the_picture(clip: TrainingClip, tmp_path: Path) -> None:
    """A white face in a black picture stays where its box says."""
    boxes = np.tile(np.float32([8, 8, 16, 16]), (len(clip.frames), 1))
    frames = np.zeros_like(clip.frames)
    frames[:, 8:24, 8:24] = 255
    for name in ("1", "2"):
        dataclasses.replace(clip, frames=frames, face_box=boxes, mouth_box=boxes).save(tmp_path / f"{name}.npz")
    rng = np.random.default_rng(0)
    batch = LabelledPictures.read([tmp_path], 4, rng).batch(rng, 8)
    inside = inside_boxes(batch.face_box, margin=-0.1)
    outside = 1 - inside_boxes(batch.face_box, margin=0.1)
    light = batch.images.mean(1, keepdim=True)
    assert (light * inside).sum() / inside.sum() > (light * outside).sum() / outside.sum() + 0.8


def test_identities_are_drawn_to_their_own_and_away_from_others() -> None:
    people = torch.eye(4)
    right, wrong = torch.cat([people, people]), torch.cat([people, people.roll(1, 0)])
    assert contrastive_error(right) < 0.01
    assert contrastive_error(wrong) > 5
    assert contrastive_error(torch.ones(8, 4) / 2) == pytest.approx(np.log(7), abs=1e-4)  # chance


class LabelReader(FaceReader):
    """Reads the labels of the clips that it knows by their frames; `people` are the identities that it sees."""

    def __init__(self, clips: list[TrainingClip], people: np.ndarray, blink: float = 1.0) -> None:
        super().__init__()
        self.answers = {clip.frames.tobytes(): (clip, one) for clip, one in zip(clips, people, strict=True)}
        self.blink = blink

    def read(self, frames: np.ndarray, batch: int = 64) -> Reading:
        clip, one = self.answers[frames.tobytes()]
        identity = identity_of(one, len(frames), people=len(self.answers))
        first = clip.mouth_opening.argmin()
        identity[first] = np.eye(len(self.answers))[list(self.answers).index(frames.tobytes())]
        blink = self.blink * clip.blink
        return Reading(clip.mouth_opening, clip.mouth_width, blink, clip.rotation, face_centre(clip), identity)


def test_the_accuracy_of_a_reader_that_knows_all_and_of_one_that_mistakes_people() -> None:
    clips = [make_clip(seed, seconds=3, resolution=32) for seed in (5, 6, 7)]
    assert sum(clip.blink.any() for clip in clips) >= 2
    accuracy = reader_accuracy(LabelReader(clips, np.arange(3)), clips)
    for name in ("opening_correlation", "blink_correlation", "blink_precision", "blink_recall", "identity_nearest"):
        assert getattr(accuracy, name) == pytest.approx(1)
    assert accuracy.face_centre_error == accuracy.rotation_error_degrees == 0
    assert accuracy.blinks >= 2
    permuted = reader_accuracy(LabelReader(clips, np.array([1, 2, 0])), clips)
    assert permuted.identity_nearest == 0
    assert accuracy.lips_closed_error == 0
    blind = reader_accuracy(LabelReader(clips, np.zeros(3, int), blink=0.3), clips)
    assert blind.blink_recall == 0
    assert blind.blink_correlation == pytest.approx(1)
    assert blind.identity_nearest == pytest.approx(1 / 3)  # everybody is taken for the first: chance


def test_people_who_say_nothing_and_people_in_two_clips_do_not_spoil_the_accuracy() -> None:
    clips = [make_clip(seed, seconds=1, resolution=32) for seed in (5, 6, 7)]
    clips[1] = dataclasses.replace(clips[1], mouth_opening=np.zeros(25, np.float32))
    clips[0], clips[2] = (dataclasses.replace(clip, person="anna") for clip in (clips[0], clips[2]))
    accuracy = reader_accuracy(LabelReader(clips, np.array([0, 1, 0])), clips)
    assert accuracy.opening_correlation_lowest == accuracy.opening_deviation_ratio == pytest.approx(1)
    assert (accuracy.clips, accuracy.people) == (3, 2)
    assert accuracy.identity_nearest == 1


def test_a_reader_that_reads_badly_or_was_never_tested_may_not_judge(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="reports no test"):
        known_accuracy(tmp_path)
    path = tmp_path / "reader.json"
    for reached, good in ((0.949, False), (0.951, True)):
        accuracies = {"drawn": {"opening_correlation": 0.99}, "puppets": {"opening_correlation": reached}}
        path.write_text(json.dumps({"tests": {name: {"renders": value} for name, value in accuracies.items()}}))
        if good:
            assert known_accuracy(tmp_path) == accuracies
        else:
            with pytest.raises(ValueError, match=r"not good enough to judge a mouth: r = 0\.949 with the .* puppets"):
                known_accuracy(tmp_path)


@pytest.mark.parametrize("resolution", [32, 128, 144])
def test_any_resolution_can_be_read(resolution: int) -> None:
    reading = FaceReader().read(np.zeros((3, resolution, resolution, 3), np.uint8), batch=2)
    assert reading.mouth_opening.shape == reading.mouth_width.shape == (3,)
    assert reading.rotation.shape == (3, 3)
    assert reading.blink.shape == (3,)
    assert reading.face_centre.shape == (3, 2)
    np.testing.assert_allclose(np.linalg.norm(reading.identity, axis=1), np.ones(3), rtol=1e-5)


@pytest.mark.parametrize("shape", [(3, 32, 48, 3), (32, 32, 3), (3, 3, 32, 32)])
def test_other_shapes_are_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="frames must be uint8"):
        FaceReader().read(np.zeros(shape, np.uint8))


def test_training_writes_a_reader_that_can_be_loaded_and_tested_again(clip: TrainingClip, tmp_path: Path) -> None:
    data, out = tmp_path / "clips", tmp_path / "reader"
    data.mkdir()
    clip.save(data / "00000005.npz")
    options = ["--steps=2", "--batch-size=8", "--frames-per-clip=4"]
    assert main([f"--data={data}", f"--out={out}", f"--test={data}", *options]) == 0
    report = json.loads((out / "reader.json").read_text())
    assert report["training"]["steps"] == 2
    assert report["tests"]["clips"]["renders"] == dataclasses.asdict(reader_accuracy(FaceReader.load(out), [clip]))
    assert (out / "reader.safetensors").stat().st_size < 3_500_000
    assert main([f"--out={out}", f"--test={data}"]) == 0
    assert json.loads((out / "reader.json").read_text()) == report
    again = tmp_path / "again"
    options[0] = "--steps=1"
    assert main([f"--data={data}", f"--data={data}", f"--init={out}", f"--out={again}", *options]) == 0
    recipe = json.loads((again / "reader.json").read_text())
    assert (recipe["data"], recipe["init"]) == (["clips", "clips"], "reader")
    before, after = (FaceReader.load(folder).state_dict() for folder in (out, again))
    change = {name: (after[name] - tensor).abs().max() for name, tensor in before.items() if "weight" in name}
    assert 0 < max(change.values()) < 0.02  # one step from there, not a new reader
    with pytest.raises(SystemExit):
        main([f"--out={out}", f"--test={data}", f"--init={again}"])
    with pytest.raises(SystemExit):
        main([f"--out={out}", f"--test={data}", f"--test={tmp_path / 'others' / 'clips'}"])


def test_the_loss_falls_to_what_the_labels_say(clip: TrainingClip, tmp_path: Path) -> None:
    still = np.repeat(clip.frames[[0]], len(clip.frames), 0)
    one = dataclasses.replace(
        clip,
        frames=still,
        mouth_opening=np.full_like(clip.mouth_opening, 0.8),
        mouth_box=clip.mouth_box[[0] * len(still)],
    )
    one.save(tmp_path / "00000005.npz")
    one.save(tmp_path / "00000006.npz")
    assert main([f"--data={tmp_path}", f"--out={tmp_path / 'reader'}", "--steps=40", "--batch-size=8"]) == 0
    reading = FaceReader.load(tmp_path / "reader").read(still[:1])
    assert reading.mouth_opening[0] == pytest.approx(0.8, abs=0.06)


def test_a_missing_reader_or_clip_is_a_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FileNotFoundError, match="train a reader"):
        FaceReader.load(tmp_path)
    assert main([f"--data={tmp_path}", f"--out={tmp_path / 'reader'}"]) == 2
    assert "has no clips" in capsys.readouterr().err
    (tmp_path / "reader.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="holds no reader"):
        FaceReader.load(tmp_path)
