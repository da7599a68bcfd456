"""C2PA content credentials: a signature that tells anyone that a video was generated, and by what.

Signing needs `pip install c2pa-python` and a certificate that may sign claims.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emo_rt.errors import InputError
from emo_rt.media.framing import CROP, ORIGINAL

#: The IPTC's terms for media that a trained model generated: all of it, or what is pasted into a picture.
SOURCE_TYPES = {
    CROP: "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
    ORIGINAL: "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia",
}
ALGORITHMS = ("es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519")


@dataclass(frozen=True)
class Signature:
    """A certificate and its key, which sign videos.

    Attributes:
        certificate: PEM file with the signer's certificate first, then those up to the root
        key: PEM file (PKCS 8) with the private key of the signer's certificate
        algorithm: algorithm of the key, one of `ALGORITHMS`
        timestamps: URL of a time-stamping authority; None to sign without a trusted time

    Raises:
        InputError: if c2pa-python is not installed, a file cannot be read, or there is no such algorithm.
    """

    certificate: Path
    key: Path
    algorithm: str = "es256"
    timestamps: str | None = None

    def __post_init__(self) -> None:
        if importlib.util.find_spec("c2pa") is None:
            raise InputError("signing needs c2pa-python, which is not installed: pip install c2pa-python")
        if self.algorithm not in ALGORITHMS:
            raise InputError(f"signing algorithm {self.algorithm!r} is unknown; choose {', '.join(ALGORITHMS)}")
        for name, path in (("certificate", self.certificate), ("key", self.key)):
            try:
                if b"-----BEGIN" not in path.read_bytes():
                    raise InputError(f"{name} {path}: is no PEM file")
            except OSError as error:
                raise InputError(f"{name} {path}: cannot be read ({error.strerror})") from error

    def sign(self, source: Path, signed: Path, title: str, facts: Mapping[str, Any]) -> None:
        """Writes a copy of a video with its credentials.

        Args:
            source: path of the video
            signed: path of the copy
            title: title of the video in its credentials
            facts: facts about how the video was made, JSON; `version` is that of emo-rt, `framing` one of `FRAMINGS`

        Raises:
            InputError: if the certificate cannot sign a video, or the copy cannot be written.
        """
        import c2pa

        action = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPES[facts["framing"]]}
        claim = {
            "claim_generator_info": [{"name": "emo-rt", "version": facts["version"]}],
            "title": title,
            "format": "video/mp4",
            "assertions": [
                {"label": "c2pa.actions.v2", "data": {"actions": [action]}},
                {"label": "org.emo-rt.generation", "data": dict(facts)},
            ],
        }
        info = c2pa.C2paSignerInfo(
            self.algorithm.encode(),
            self.certificate.read_bytes(),
            self.key.read_bytes(),
            self.timestamps.encode() if self.timestamps else None,
        )
        try:
            with c2pa.Signer.from_info(info) as signer, c2pa.Builder(json.dumps(claim)) as builder:
                builder.sign_file(source, signed, signer)
        except c2pa.C2paError as error:
            reason = " ".join(str(error).split())
            raise InputError(f"certificate {self.certificate}: cannot sign the video ({reason})") from error
