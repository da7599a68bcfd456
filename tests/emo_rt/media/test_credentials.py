"""A signed video says by what it was generated, and shows when it was changed."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import c2pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from samples import read_video
from test_run import command

from emo_rt import run


def name(text: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Tests"), x509.NameAttribute(NameOID.COMMON_NAME, text)]
    )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A chain of two certificates, and the key of the first."""
    folder = tmp_path_factory.mktemp("certificate")
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    now = datetime.datetime.now(datetime.UTC)

    def build(subject: str, public: ec.EllipticCurvePublicKey, ca: bool) -> x509.Certificate:
        usage = dict.fromkeys(
            (
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("Root"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, **usage), critical=True
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        )
        if not ca:
            builder = builder.add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=True
            )
        return builder.sign(root_key, hashes.SHA256())

    chain = [build("Signer", key.public_key(), False), build("Root", root_key.public_key(), True)]
    (folder / "chain.pem").write_bytes(b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
    return folder / "chain.pem", folder / "key.pem"


@pytest.mark.parametrize(
    ("framing", "source"), [("crop", "trainedAlgorithmicMedia"), ("original", "compositeWithTrainedAlgorithmicMedia")]
)
def test_a_signed_video_tells_what_made_it_and_whether_it_was_changed(
    bundle: Path, portrait: Path, voice: Path, tmp_path: Path, certificate: tuple[Path, Path], framing: str, source: str
) -> None:
    out = tmp_path / "out.mp4"
    options = ("--sign", *map(str, certificate), "--seed", "3", "--framing", framing)
    assert run.main(command(bundle, portrait, voice, out, *options)) == 0
    assert len(read_video(out)["frames"]) == 26
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    with c2pa.Reader(out) as reader:
        found = json.loads(reader.json())
    manifest = found["manifests"][found["active_manifest"]]
    facts = {assertion["label"]: assertion["data"] for assertion in manifest["assertions"]}
    assert facts["org.emo-rt.generation"]["seed"] == 3
    (action,) = facts["c2pa.actions.v2"]["actions"]
    assert action["digitalSourceType"].endswith(f"/{source}")
    codes = {status["code"] for status in found.get("validation_status", [])}
    assert codes <= {"signingCredential.untrusted"}, codes  # the tests' own root
    content = bytearray(out.read_bytes())
    content[len(content) // 2] ^= 1
    out.write_bytes(content)
    with c2pa.Reader(out) as reader:
        changed = {status["code"] for status in json.loads(reader.json()).get("validation_status", [])}
    assert "assertion.bmffHash.mismatch" in changed


def test_what_cannot_sign_is_refused_before_anything_is_made(
    bundle: Path, portrait: Path, voice: Path, tmp_path: Path, certificate: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    chain, key = map(str, certificate)
    out = tmp_path / "out.mp4"
    for files, words in (
        (("none.pem", key), "certificate none.pem: cannot be read"),
        ((chain, str(portrait)), "is no PEM file"),
    ):
        assert run.main(command(bundle, portrait, voice, out, "--sign", *files)) == 2
        assert words in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []
