"""Portraits are kept as pixels and nothing else, and their faces are found."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import ExifTags, Image
from samples import drawn_face
from serving import asked, ended

from emo_rt.bundled import PORTRAIT


def uploaded(client: TestClient, image: Image.Image, **options: Any) -> dict[str, Any]:
    file = BytesIO()
    image.save(file, options.pop("format", "PNG"), **options)
    answer = client.post("/v1/portraits", files={"image": ("me", file.getvalue())})
    assert answer.status_code == 201, answer.text
    portrait: dict[str, Any] = answer.json()
    return portrait


def test_a_portrait_is_upright_and_has_its_face(client: TestClient) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make] = "a camera that nobody should know of"
    turned = drawn_face().resize((240, 300)).rotate(90, expand=True)
    portrait = uploaded(client, turned, exif=exif, format="JPEG", quality=95)
    assert (portrait["width"], portrait["height"]) == (240, 300)
    assert portrait["expires_at"] - portrait["created_at"] == 7 * 86400
    box = portrait["face_box"]
    assert portrait["faces"] == [box]
    assert abs(box["x"] + box["width"] / 2 - 120) < 30
    content = client.get(f"/v1/portraits/{portrait['id']}/content")
    assert content.headers["content-type"] == "image/png"
    assert b"camera" not in content.content
    pixels = np.asarray(Image.open(BytesIO(content.content)), int)
    assert np.abs(pixels - np.asarray(drawn_face().resize((240, 300)), int)).mean() < 3
    assert client.get(f"/v1/portraits/{portrait['id']}").json() == portrait


def test_a_picture_without_a_face_waits_for_a_box(client: TestClient, voice: Path) -> None:
    portrait = uploaded(client, Image.new("RGB", (200, 100), (10, 200, 30)))
    assert (portrait["faces"], portrait["face_box"]) == ([], None)
    refused = client.post("/v1/videos", data={"portrait": portrait["id"]}, files={"audio": voice.read_bytes()})
    assert refused.status_code == 400
    box = {"x": 50, "y": 20, "width": 60.5, "height": 70}
    changed = client.post(f"/v1/portraits/{portrait['id']}", json={"face_box": box})
    assert changed.json() == {**portrait, "face_box": box}
    assert client.get(f"/v1/portraits/{portrait['id']}").json()["face_box"] == box
    video = ended(client, asked(client, voice, portrait=portrait["id"])["id"])
    assert video["status"] == "completed"
    facts = client.get(f"/v1/videos/{video['id']}/provenance").json()
    assert facts["face_box"] == [50, 20, 60.5, 70]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"face_box": None},
        {"face_box": {"x": 1, "y": 2, "width": 3}},
        {"face_box": {"x": 150, "y": 0, "width": 100, "height": 90}},
        {"face_box": {"x": 0, "y": 0, "width": 10, "height": 10}},
        {"face_box": {"x": True, "y": 0, "width": 50, "height": 50}},
        {"face_box": {"x": 10**400, "y": 0, "width": 50, "height": 50}},
        {"face_box": {"x": 0, "y": 0, "width": 50, "height": 50}, "more": 1},
    ],
)
def test_a_wrong_box_changes_nothing(client: TestClient, change: dict[str, Any]) -> None:
    portrait = uploaded(client, Image.new("RGB", (200, 100)))
    answer = client.post(f"/v1/portraits/{portrait['id']}", json=change)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "face_box"
    assert client.get(f"/v1/portraits/{portrait['id']}").json() == portrait


def test_the_bundled_portrait_is_always_there(client: TestClient) -> None:
    portrait = client.get("/v1/portraits/bundled").json()
    assert (portrait["id"], portrait["width"], portrait["expires_at"]) == ("bundled", 512, None)
    assert portrait["face_box"] == portrait["faces"][0]
    assert client.get("/v1/portraits/bundled/content").content == PORTRAIT.read_bytes()
    assert client.delete("/v1/portraits/bundled").status_code == 409
    box = {"face_box": {"x": 0, "y": 0, "width": 90, "height": 90}}
    assert client.post("/v1/portraits/bundled", json=box).status_code == 409


def test_a_deleted_portrait_is_gone_and_its_video_is_made(client: TestClient, portrait: Path, voice: Path) -> None:
    sent = client.post("/v1/portraits", files={"image": portrait.read_bytes()}).json()
    videos = [asked(client, voice, portrait=sent["id"], seed=seed)["id"] for seed in range(2)]
    answer = client.delete(f"/v1/portraits/{sent['id']}")
    assert answer.json() == {"id": sent["id"], "object": "portrait.deleted", "deleted": True}
    for end in ("", "/content"):
        assert client.get(f"/v1/portraits/{sent['id']}{end}").status_code == 404
    assert [ended(client, each)["status"] for each in videos] == ["completed"] * 2
    gone = client.post("/v1/videos", data={"portrait": sent["id"]}, files={"audio": voice.read_bytes()})
    assert (gone.status_code, gone.json()["error"]["param"]) == (404, "portrait")


def test_a_video_of_a_portrait_is_that_of_its_picture(client: TestClient, portrait: Path, voice: Path) -> None:
    sent = client.post("/v1/portraits", files={"image": portrait.read_bytes()}).json()
    named = asked(client, voice, portrait=sent["id"])["id"]
    files = {"image": portrait.read_bytes(), "audio": voice.read_bytes()}
    along = client.post("/v1/videos", files=files).json()["id"]
    contents = [client.get(f"/v1/videos/{ended(client, each)['id']}/content").content for each in (named, along)]
    assert contents[0] == contents[1]
