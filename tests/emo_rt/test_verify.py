"""`emo-rt verify` finds whatever was altered in a bundle, and with a key, whoever signed it; `emo-rt sign` signs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from emo_rt.__main__ import main

cryptography = pytest.importorskip("cryptography")
from cryptography.hazmat.primitives import serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, ed25519  # noqa: E402

PRESET = {"steps": 2, "guidance_scale": 1.5, "guided_steps": 1, "cache_interval": 1, "sync": 0.5}


def write_keys(directory: Path, key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> tuple[Path, Path]:
    """Writes a private and a public key; returns their paths."""
    directory.mkdir()
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (directory / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    (directory / "signer.pem").write_bytes(public)
    return directory / "key.pem", directory / "signer.pem"


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return write_keys(tmp_path / "keys", ed25519.Ed25519PrivateKey.generate())


@pytest.fixture
def signed(bundle: Path, keys: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A bundle with everything that can be in one, signed."""
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "presets.json").write_text(json.dumps({"presets": [PRESET]}))
    record = {name: {"files": graph["files"]} for name, graph in manifest["graphs"].items()}
    (copy / "build.json").write_text(json.dumps({"graphs": record}))
    (copy / "validation.json").write_text('{"failures": []}')
    write_engine(copy)
    assert main(["sign", str(copy), "--key", str(keys[0])]) == 0
    assert capsys.readouterr().out.endswith("files are signed in SHA256SUMS.sig\n")
    return copy


def write_engine(bundle: Path) -> None:
    (bundle / "engines").mkdir(exist_ok=True)
    (bundle / "engines" / "vae_decoder-sm_90.engine").write_bytes(b"compiled")
    graph = json.loads((bundle / "manifest.json").read_text())["graphs"]["vae_decoder"]["files"]
    facts = {"graph": graph, "sha256": hashlib.sha256(b"compiled").hexdigest()}
    (bundle / "engines" / "vae_decoder-sm_90.json").write_text(json.dumps(facts))


def verify(bundle: Path, capsys: pytest.CaptureFixture[str], *options: str | Path) -> tuple[int, str]:
    """The exit code, and the one line of output."""
    code = main(["verify", str(bundle), *map(str, options)])
    out, err = capsys.readouterr()
    assert (out + err).count("\n") == 1
    assert bool(out) == (code == 0)
    return code, out + err


def test_an_untouched_bundle_is_good(signed: Path, keys: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(signed, capsys, "--key", keys[1]) == (
        0,
        f"bundle {signed}: fake, 12 files of graphs as exported, and signed with {keys[1]}\n",
    )
    code, line = verify(signed, capsys)
    assert code == 0
    assert "without --key, nobody says who made them" in line


def test_the_bundled_model_is_good(capsys: pytest.CaptureFixture[str]) -> None:
    checkout = Path(__file__).parents[2]
    assert verify(checkout / "models" / "emo-photo" / "bundle", capsys)[0] == 0


def append(name: str) -> Callable[[Path], object]:
    def change(bundle: Path) -> None:
        with (bundle / name).open("ab") as file:
            file.write(b" ")

    return change


def change_presets(bundle: Path) -> None:
    (bundle / "presets.json").write_text(json.dumps({"presets": [PRESET | {"steps": 3}]}))


def add(name: str) -> Callable[[Path], object]:
    return lambda bundle: (bundle / name).write_text("{}")


ALTERED: list[tuple[Callable[[Path], object], str]] = [
    (append("vae_decoder.onnx"), "vae_decoder.onnx is not the file that was signed"),
    (append("manifest.json"), "manifest.json is not the file that was signed"),
    (append("build.json"), "build.json is not the file that was signed"),
    (append("validation.json"), "validation.json is not the file that was signed"),
    (append("engines/vae_decoder-sm_90.engine"), "engines/vae_decoder-sm_90.engine is not the file that was signed"),
    (change_presets, "presets.json is not the file that was signed"),
    (lambda bundle: (bundle / "presets.json").unlink(), "presets.json is missing"),
    (lambda bundle: (bundle / "backbone.onnx.data").unlink(), "backbone.onnx.data is missing"),
    (add("engines/backbone-sm_90.engine"), "engines/backbone-sm_90.engine is not signed; remove it"),
    (lambda bundle: os.symlink("engines", bundle / "link"), "link is not signed; remove it"),
    (append("SHA256SUMS"), "it is not signed with"),
    (append("SHA256SUMS.sig"), "it is not signed with"),
    (lambda bundle: (bundle / "SHA256SUMS.sig").unlink(), "it is not signed: SHA256SUMS.sig is missing"),
    (lambda bundle: (bundle / "SHA256SUMS").unlink(), "it is not signed: SHA256SUMS is missing"),
]


@pytest.mark.parametrize(("change", "words"), ALTERED, ids=[words for _, words in ALTERED])
def test_whatever_is_altered_in_a_signed_bundle_is_named(
    change: Callable[[Path], object],
    words: str,
    signed: Path,
    keys: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    change(signed)
    code, line = verify(signed, capsys, "--key", keys[1])
    assert code == 2
    assert line.startswith(f"emo_rt: error: bundle {signed}: {words}")


def swap_graphs(bundle: Path) -> None:
    record = json.loads((bundle / "build.json").read_text())
    record["graphs"]["backbone"] = record["graphs"]["vae_decoder"]
    (bundle / "build.json").write_text(json.dumps(record))


ALTERED_WITHOUT_KEY: list[tuple[Callable[[Path], object], str]] = [
    (append("vae_decoder.onnx"), "vae_decoder.onnx is not the file that was exported"),
    (lambda bundle: (bundle / "backbone.onnx").unlink(), "backbone.onnx is missing"),
    (add("presets.json"), "presets.json cannot be read"),
    (add("build.json"), "build.json cannot be read"),
    (swap_graphs, "build.json is of other graphs than the manifest"),
    (append("engines/vae_decoder-sm_90.engine"), "engines/vae_decoder-sm_90.engine was not compiled from a graph"),
    (add("engines/other-sm_90.engine"), "engines/other-sm_90.engine was not compiled from a graph"),
    (add("engines/vae_decoder-sm_90.json"), "engines/vae_decoder-sm_90.engine was not compiled from a graph"),
]


@pytest.mark.parametrize(("change", "words"), ALTERED_WITHOUT_KEY, ids=[words for _, words in ALTERED_WITHOUT_KEY])
def test_whatever_does_not_fit_the_manifest_is_named_without_a_key(
    change: Callable[[Path], object], words: str, signed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("SHA256SUMS", "SHA256SUMS.sig"):
        (signed / name).unlink()
    change(signed)
    code, line = verify(signed, capsys)
    assert code == 2
    assert line.startswith(f"emo_rt: error: bundle {signed}: {words}")


def test_a_folder_that_cannot_be_read_is_not_passed_over(
    signed: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("engines"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    code, line = verify(signed, capsys, "--key", keys[1])
    assert (code, "engines cannot be read (Permission denied)" in line) == (2, True)


def test_the_list_of_a_signed_bundle_counts_without_a_key(signed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change_presets(signed)
    assert "presets.json is not the file that was signed" in verify(signed, capsys)[1]
    (signed / "SHA256SUMS").write_text(f"{'0' * 64}  ../outside\n")
    assert "SHA256SUMS is no list of its files" in verify(signed, capsys)[1]


def test_the_key_of_another_is_refused(signed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, other = write_keys(tmp_path / "other", ed25519.Ed25519PrivateKey.generate())
    code, line = verify(signed, capsys, "--key", other)
    assert (code, f"it is not signed with {other}" in line) == (2, True)


def test_a_key_that_is_none_is_refused(
    signed: Path, keys: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    curve = write_keys(tmp_path / "curve", ec.generate_private_key(ec.SECP256R1()))
    for key, words in (
        (tmp_path / "none.pem", "cannot be read (No such file or directory)"),
        (tmp_path, "cannot be read (it is no file)"),
        (keys[0], "is no public key in a PEM file"),
        (curve[1], "is no Ed25519 key"),
    ):
        assert verify(signed, capsys, "--key", key)[1].startswith(f"emo_rt: error: key {key}: {words}")
    for key, words in ((keys[1], "is no private key in a PEM file"), (curve[0], "is no Ed25519 key")):
        assert main(["sign", str(signed), "--key", str(key)]) == 2
        assert capsys.readouterr().err.startswith(f"emo_rt: error: key {key}: {words}")


def test_a_key_without_cryptography_is_one_line(
    signed: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    words = "emo_rt: error: signatures of bundles need cryptography, which is not installed: pip install cryptography\n"
    assert verify(signed, capsys, "--key", keys[1]) == (2, words)
    assert verify(signed, capsys)[0] == 0


@pytest.mark.skipif(not (shutil.which("sha256sum") and shutil.which("openssl")), reason="needs both tools")
def test_other_tools_check_a_signature(signed: Path, keys: tuple[Path, Path]) -> None:
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=signed, check=True)
    check = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(keys[1]), "-rawin"]
    files = ["-in", "SHA256SUMS", "-sigfile", "SHA256SUMS.sig"]
    assert subprocess.run([*check, *files], cwd=signed).returncode == 0
