"""From a portrait and a voice that are sent to a video that is fetched."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from samples import read_video, tones, write_sound
from serving import Serve, asked, ended, files

from emo_rt.bundled import PORTRAIT
from emo_rt.jobs.request import Request
from emo_rt.jobs.session import Session
from emo_rt.serve.answers import ApiError


def test_a_portrait_and_a_voice_become_a_video(client: TestClient, portrait: Path, voice: Path, tmp_path: Path) -> None:
    answer = client.post("/v1/videos", files=files(portrait, voice), data={"seed": "7", "speed": "1.5"})
    assert answer.status_code == 202
    video = ended(client, answer.json()["id"])
    expected = {"status": "completed", "progress": 100, "seconds": 1.04, "size": "32x32", "frames_per_second": 25}
    expected |= {"seed": 7, "speed": 1.5, "framing": "crop", "portrait": None, "error": None, "model": "fake"}
    assert {name: video[name] for name in expected} == expected
    assert video["created_at"] <= video["started_at"] <= video["completed_at"] < video["expires_at"]
    content = client.get(f"/v1/videos/{video['id']}/content")
    assert content.headers["content-disposition"] == 'attachment; filename="emo-rt.mp4"'
    assert content.headers["content-type"] == "video/mp4"
    (tmp_path / "out.mp4").write_bytes(content.content)
    assert len(read_video(tmp_path / "out.mp4")["frames"]) == 26


def test_it_is_the_video_of_the_command_line(client: TestClient, session: Session, voice: Path, tmp_path: Path) -> None:
    video = ended(client, asked(client, voice, seed=3)["id"])
    content = client.get(f"/v1/videos/{video['id']}/content").content
    (tmp_path / "picture.png").write_bytes(PORTRAIT.read_bytes())  # its name becomes the title
    session.make(Request(tmp_path / "picture.png", voice, tmp_path / "out.mp4", seed=3))
    assert content == (tmp_path / "out.mp4").read_bytes()


def test_parts_of_a_video_are_served(client: TestClient, voice: Path) -> None:
    address = f"/v1/videos/{ended(client, asked(client, voice)['id'])['id']}/content"
    whole = client.get(address).content
    part = client.get(address, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole)}"
    assert client.get(address, headers={"Range": "bytes=99999999-"}).status_code == 416


def test_provenance_names_what_the_video_was_made_from(client: TestClient, voice: Path, session: Session) -> None:
    from emo_rt.bundle import file_sha256

    video = ended(client, asked(client, voice, seed=5)["id"])
    facts = client.get(f"/v1/videos/{video['id']}/provenance").json()
    assert (facts["voice"], facts["seed"], facts["frames"]) == (file_sha256(voice), 5, 26)
    assert facts["bundle"] == session.bundle.digest


def test_json_with_data_addresses_is_as_good_as_a_form(client: TestClient, portrait: Path, voice: Path) -> None:
    def data(path: Path) -> str:
        return "data:application/octet-stream;base64," + base64.b64encode(path.read_bytes()).decode()

    box = {"x": 60, "y": 50, "width": 130, "height": 150}
    body = {"image": data(portrait), "audio": data(voice), "seed": 2**64 - 1, "face_box": box, "model": "fake"}
    one = client.post("/v1/videos", json=body)
    assert one.status_code == 202, one.text
    form = {"seed": str(2**64 - 1), "face_box": "60,50,130,150"}
    other = client.post("/v1/videos", data=form, files=files(portrait, voice))
    videos = [ended(client, answer.json()["id"]) for answer in (one, other)]
    assert videos[0]["seed"] == 2**64 - 1
    contents = [client.get(f"/v1/videos/{video['id']}/content").content for video in videos]
    assert contents[0] == contents[1]


def test_the_whole_picture_and_a_part_of_the_voice(client: TestClient, portrait: Path, voice: Path) -> None:
    data = {"framing": "original", "max_seconds": "0.4"}
    answer = client.post("/v1/videos", data=data, files=files(portrait, voice)).json()
    assert (answer["size"], answer["seconds"], answer["framing"]) == ("256x256", 0.4, "original")
    assert ended(client, answer["id"])["status"] == "completed"


@pytest.mark.parametrize(
    ("data", "param", "words"),
    [
        ({"seed": "-1"}, "seed", "seed '-1' is out of range"),
        ({"seed": "x"}, "seed", "no whole number"),
        ({"speed": "99"}, "speed", "out of range: choose 0 or more, and 10 at most"),
        ({"max_seconds": "0"}, "max_seconds", "above 0"),
        ({"face_box": "1,2,3"}, "face_box", "X,Y,W,H"),
        ({"face_box": "900,0,90,90"}, "image", "face box 900,0,90,90 lies outside of the picture me.png"),
        ({"framing": "wide"}, "framing", "choose crop or original"),
        ({"model": "sora-2"}, "model", "the only one is fake"),
        ({"portrait": "bundled"}, "image", "either image or portrait"),
        ({"promt": "hi"}, None, "field 'promt' is unknown"),
    ],
)
def test_a_wrong_field_is_named(
    client: TestClient, portrait: Path, voice: Path, data: dict[str, str], param: str | None, words: str
) -> None:
    answer = client.post("/v1/videos", data=data, files=files(portrait, voice))
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert words in error["message"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


WRONG_TYPES: list[dict[str, Any]] = [
    {"seed": True},
    {"seed": 1.5},
    {"seed": [1]},
    {"speed": "fast"},
    {"speed": None, "max_seconds": {}},
    {"max_seconds": 10**400},
    {"portrait": 7},
    {"face_box": [1, 2, 3, 4]},
    {"framing": ["crop"]},
    {"model": {"a": 1}},
    {"audio": 5},
]


@pytest.mark.parametrize("field", WRONG_TYPES, ids=lambda field: next(iter(field)))
def test_values_of_a_wrong_type_are_refused(client: TestClient, voice: Path, field: dict[str, Any]) -> None:
    audio = "data:audio/wav;base64," + base64.b64encode(voice.read_bytes()).decode()
    body = json.dumps({"portrait": "bundled", "audio": audio, **field})
    answer = client.post("/v1/videos", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == list(field)[-1]


def test_no_message_has_what_a_terminal_obeys_or_no_text_can_be() -> None:
    message = json.loads(bytes(ApiError(400, "a\x1b[31m\n\ud800\u202e" + "x" * 9999).response().body))["error"][
        "message"
    ]
    assert message.startswith(r"a\x1b[31m\n\ud800\u202e")
    assert len(message) == 1000


def test_wrong_files_are_named_as_the_client_calls_them(
    client: TestClient, portrait: Path, voice: Path, tmp_path: Path
) -> None:
    good = files(portrait, voice)
    cases = [
        ({**good, "image": ("dir/a\x9b<b>.png", b"no picture")}, "image", r"image a\x9b<b>.png: not a picture"),
        ({**good, "image": ("e.png", b"")}, "image", "image e.png: the file is empty"),
        ({**good, "audio": ("v.wav", b"RIFF, but no sound")}, "audio", "audio v.wav: holds no sound"),
        ({**good, "audio": ("list.m3u8", b"#EXTM3U\nhttp://127.0.0.1:1/a.wav\n")}, "audio", "holds no sound"),
        ({"audio": good["audio"]}, "image", "either image or portrait"),
        ({"image": good["image"]}, "audio", "there is no audio"),
    ]
    for sent, param, words in cases:
        answer = client.post("/v1/videos", files=sent)
        assert answer.status_code == 400, answer.text
        error = answer.json()["error"]
        assert words in error["message"]
        assert error["param"] == param
        assert str(tmp_path) not in answer.text
    assert client.get("/v1/videos").json()["data"] == []
    assert not any((tmp_path / "server" / "incoming").iterdir())


def test_what_is_too_large_is_refused(serve: Serve, portrait: Path, voice: Path, tmp_path: Path) -> None:
    client = serve(max_upload_bytes=60_000, max_seconds=2, max_pixels=256 * 256)
    sent = {**files(portrait, voice), "audio": ("big.wav", bytes(200_000))}
    answer = client.post("/v1/videos", files=sent)
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "invalid_request_error")

    def chunked():  # no Content-Length: it is found while it is read
        yield b'--x\r\nContent-Disposition: form-data; name="audio"; filename="a"\r\n\r\n'
        for _ in range(30):
            yield bytes(10_000)

    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    assert client.post("/v1/videos", content=chunked(), headers=kind).status_code == 413
    assert not any((tmp_path / "server" / "incoming").iterdir())

    write_sound(tmp_path / "long.ogg", tones(4.0), 16000, "libopus")
    long = {**files(portrait, voice), "audio": ("long.ogg", (tmp_path / "long.ogg").read_bytes())}
    answer = client.post("/v1/videos", files=long)
    assert answer.status_code == 413
    assert "audio long.ogg: lasts longer than 2 s" in answer.text
    assert client.post("/v1/videos", files=long, data={"max_seconds": "1"}).status_code == 202

    Image.new("RGB", (512, 512)).save(tmp_path / "big.png")
    answer = client.post("/v1/portraits", files={"image": ("big.png", (tmp_path / "big.png").read_bytes())})
    assert answer.status_code == 413
    assert "512 x 512 pixels are more than" in answer.text


def test_other_bodies_are_refused(client: TestClient) -> None:
    assert client.post("/v1/videos", content=b"a=b", headers={"Content-Type": "text/plain"}).status_code == 415
    assert client.post("/v1/videos", content=b"").status_code == 415
    for body in (b"{", b"[]", b"\xff", b'{"audio": "http://127.0.0.1/a.wav", "portrait": "bundled"}', b"[" * 100_000):
        answer = client.post("/v1/videos", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400, body
        assert answer.json()["error"]["type"] == "invalid_request_error"


def test_videos_are_listed_in_pages(client: TestClient, voice: Path) -> None:
    ids = [asked(client, voice, seed=seed, max_seconds=0.1)["id"] for seed in range(5)]
    first = client.get("/v1/videos", params={"limit": 2}).json()
    assert [video["id"] for video in first["data"]] == [ids[4], ids[3]]
    assert (first["has_more"], first["first_id"], first["last_id"]) == (True, ids[4], ids[3])
    rest = client.get("/v1/videos", params={"limit": 3, "after": ids[3]}).json()
    assert ([video["id"] for video in rest["data"]], rest["has_more"]) == ([ids[2], ids[1], ids[0]], False)
    rising = client.get("/v1/videos", params={"order": "asc", "after": ids[1]}).json()
    assert [video["id"] for video in rising["data"]] == ids[2:]
    for params, status in (({"limit": 0}, 400), ({"order": "up"}, 400), ({"after": "video_x"}, 404)):
        assert client.get("/v1/videos", params=params).status_code == status


def test_an_unknown_id_is_not_found_and_never_part_of_a_path(client: TestClient) -> None:
    for name in ("video_x", "..", "%2e%2e%2fqueue.sqlite", "video_" + "a" * 24, "video_" + "a" * 23 + "%0a", "\u2603"):
        for end in ("", "/content", "/stream", "/provenance"):
            answer = client.get(f"/v1/videos/{name}{end}")
            assert answer.status_code == 404, name
            assert answer.json()["error"]["type"] == "not_found"


def test_a_face_that_is_not_found_is_an_error_at_once(client: TestClient, voice: Path, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (200, 200), (10, 200, 30)).save(tmp_path / "green.png")
    answer = client.post("/v1/videos", files=files(tmp_path / "green.png", voice))
    assert answer.status_code == 400
    assert "image me.png: no face found" in answer.json()["error"]["message"]
