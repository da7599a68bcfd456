"""What a server is told when it starts: where it keeps its files, whom it answers, and how much it takes on."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path

from emo_rt.errors import InputError
from emo_rt.jobs.parsing import shown

#: Characters of the shortest token: shorter ones are guessed.
SHORTEST_TOKEN = 16
#: Seconds in the units of an age, and bytes in those of a size.
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True)
class Settings:
    """How a server works.

    Attributes:
        folder: directory of uploads, videos and the queue
        host: address that it listens on
        port: TCP port; 0 for any that is free
        token: what clients have to send as bearer token; None to answer everybody
        max_upload_bytes: bytes of the largest request
        max_pixels: pixels of the largest picture
        max_seconds: seconds of the longest voice
        quota_bytes: bytes that the folder may hold
        keep_seconds: seconds for which finished videos and portraits are kept
        max_queued: number of videos that may wait
        max_queued_per_client: number of those that one address may have
        max_streams: number of videos that may be watched at once while they are made
        max_streams_per_client: number of those that one address may watch
        max_uploads: number of uploads that may come at once
        max_uploads_per_client: number of those that one address may send
        requests_per_minute: number of requests that one address may send in a minute, and at once
        upload_seconds: seconds that an upload may take
        stalled_seconds: seconds after which a client that sends or takes nothing is given up

    Raises:
        InputError: for a token that is easily guessed, or a limit that is not above 0.
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    max_upload_bytes: int = 100 * 2**20
    max_pixels: int = 50_000_000
    max_seconds: float = 600.0
    quota_bytes: int = 10 * 2**30
    keep_seconds: float = 7 * 86400.0
    max_queued: int = 200
    max_queued_per_client: int = 50
    max_streams: int = 200
    max_streams_per_client: int = 16
    max_uploads: int = 32
    max_uploads_per_client: int = 8
    requests_per_minute: int = 1200
    upload_seconds: float = 600.0
    stalled_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.token is not None:
            check_token(self.token)
        for name, value in vars(self).items():
            if name not in ("folder", "host", "port", "token") and not value > 0:
                raise InputError(f"{name.replace('_', ' ')} {shown(value)} is out of range: choose a number above 0")

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the server."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is that of the machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def check_token(token: str) -> None:
    """Raises InputError for a token that no header can hold, or that is easily guessed."""
    make = "python -c 'import secrets; print(secrets.token_urlsafe())' makes one"
    if not re.fullmatch(r"[!-~]+", token):
        raise InputError(f"the token has spaces or characters that are not of ASCII; {make}")
    if len(token) < SHORTEST_TOKEN:
        raise InputError(f"the token has {len(token)} characters, fewer than {SHORTEST_TOKEN}; {make}")


def parse_bytes(text: str, name: str) -> int:
    """A number of bytes such as `100M`: a whole number with K, M, G or T, or without a unit.

    Raises:
        InputError: for any other text, and for 0.
    """
    number, unit = _split(text, name, _BYTES, "100M or 10G")
    return number * _BYTES[unit]


def parse_age(text: str, name: str) -> float:
    """A number of seconds such as `7d`: a whole number with s, m, h or d.

    Raises:
        InputError: for any other text, and for 0.
    """
    number, unit = _split(text, name, _SECONDS, "12h or 7d")
    return float(number * _SECONDS[unit])


def _split(text: str, name: str, units: dict[str, int], example: str) -> tuple[int, str]:
    found = re.fullmatch(r"([0-9]{1,12}) *([A-Za-z]?)(?:i?B)?", text.strip())
    if found:
        number, unit = int(found[1]), found[2]
        for each in (unit, unit.upper(), unit.lower()):
            if each in units and number > 0:
                return number, each
    raise InputError(f"{name} {shown(text)} is out of range or no such quantity: give one such as {example}")
