"""A bundle's signature: `SHA256SUMS`, a line for each of its files, and beside it `SHA256SUMS.sig`, which signs that.

The list is what `sha256sum` writes and checks, and the signature is a plain Ed25519 one, so that other tools can make
and check both. Signing needs `pip install cryptography`, and so does checking with a key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from emo_rt.atomic import atomic_write
from emo_rt.bundle import Bundle, file_sha256
from emo_rt.errors import BundleError, InputError, printable, reason

SUMS_NAME = "SHA256SUMS"
SIGNATURE_NAME = "SHA256SUMS.sig"
#: Largest size of a key, a list and a signature, bytes: what is larger is something else.
_MAX_BYTES = 1_000_000
_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_AGAIN = "get the bundle again from whoever signed it"
_ED25519 = "make one with `openssl genpkey -algorithm ed25519`"


def sign_bundle(bundle: Bundle, key: Path) -> int:
    """Writes the list of a bundle's files and its signature into the bundle.

    Args:
        bundle: verified bundle
        key: PEM file with an Ed25519 private key, without a password

    Returns:
        the number of files that are signed

    Raises:
        InputError: if cryptography is not installed, or the key cannot be used.
        BundleError: if a file cannot be read, or the two cannot be written.
    """
    private = _private_key(key)
    sums = {name: _sha256(bundle.directory, name) for name in _files(bundle.directory)}
    content = "".join(f"{sha256}  {name}\n" for name, sha256 in sums.items()).encode()
    try:
        for name, data in ((SUMS_NAME, content), (SIGNATURE_NAME, private.sign(content))):
            with atomic_write(bundle.directory / name) as file:
                file.write(data)
    except OSError as error:
        raise BundleError(f"bundle {bundle.directory}: the signature cannot be written ({reason(error)})") from error
    return len(sums)


def check_signature(directory: Path, key: Path) -> None:
    """Checks that the owner of a key signed a bundle, and that no file is altered, missing or added.

    Args:
        directory: directory of the bundle
        key: PEM file with the signer's Ed25519 public key

    Raises:
        InputError: if cryptography is not installed, or the key cannot be used.
        BundleError: if the bundle is not signed with that key, or differs from what was signed.
    """
    public = _public_key(key)
    from cryptography.exceptions import InvalidSignature

    for name in (SUMS_NAME, SIGNATURE_NAME):
        if not (directory / name).exists():
            raise BundleError(f"bundle {directory}: it is not signed: {name} is missing; {_AGAIN}, or leave out --key")
    try:
        public.verify(_content(directory / SIGNATURE_NAME), _content(directory / SUMS_NAME))
    except InvalidSignature:
        raise BundleError(
            f"bundle {directory}: it is not signed with {key}, or {SUMS_NAME} was altered; "
            f"give the key of whoever signed it, or {_AGAIN}"
        ) from None
    check_sums(directory)
    listed = _sums(directory)
    for name in _files(directory):
        if name not in listed:
            raise BundleError(f"bundle {directory}: {printable(name)} is not signed; remove it, or {_AGAIN}")


def check_sums(directory: Path) -> None:
    """Raises BundleError if a file differs from its line in a bundle's list of files, if there is such a list."""
    if not (directory / SUMS_NAME).exists():
        return
    for name, sha256 in _sums(directory).items():
        if _sha256(directory, name) != sha256:
            raise BundleError(f"bundle {directory}: {name} is not the file that was signed ({SUMS_NAME}); {_AGAIN}")


def _files(directory: Path) -> list[str]:
    """The names of all files in a bundle but for those of its signature, sorted, with / between folders."""

    def refuse(error: OSError) -> None:  # what cannot be looked into may hold anything
        raise BundleError(f"bundle {directory}: {printable(str(error.filename))} cannot be read ({reason(error)})")

    found = []
    for folder, folders, names in os.walk(directory, onerror=refuse):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in (*names, *links):
            path = Path(folder, name).relative_to(directory).as_posix()
            if not path.isprintable() or "\\" in path:
                raise BundleError(f"bundle {directory}: {printable(path)} has a name that no exported file has")
            if path not in (SUMS_NAME, SIGNATURE_NAME):
                found.append(path)
    return sorted(found)


def _sums(directory: Path) -> dict[str, str]:
    """The sha256 of each file by its name, as the bundle's list has them."""
    try:
        lines = _content(directory / SUMS_NAME).decode().splitlines()
    except ValueError:
        lines = [""]
    sums = dict(_lines(lines))
    outside = [name for name in sums if ".." in Path(name).parts or {"\\", ":"} & set(name) or name.startswith("/")]
    if len(sums) != len(lines) or outside or not all(name.isprintable() for name in sums):
        raise BundleError(f"bundle {directory}: {SUMS_NAME} is no list of its files; {_AGAIN}")
    return sums


def _lines(lines: list[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        if match := _LINE.fullmatch(line):
            yield match[2], match[1]


def _sha256(directory: Path, name: str) -> str:
    path = directory / name
    if path.exists() and not path.is_file():  # a pipe would be read for ever
        raise BundleError(f"bundle {directory}: {name} is no file; {_AGAIN}")
    try:
        return file_sha256(path)
    except FileNotFoundError:
        raise BundleError(f"bundle {directory}: {name} is missing; {_AGAIN}") from None
    except OSError as error:
        raise BundleError(f"bundle {directory}: {name} cannot be read ({reason(error)}); {_AGAIN}") from error


def _content(path: Path) -> bytes:
    """All of a small file of a bundle."""
    try:
        return _small_file(path)
    except OSError as error:
        raise BundleError(f"bundle {path.parent}: {path.name} cannot be read ({reason(error)}); {_AGAIN}") from error


def _private_key(path: Path) -> Any:
    content = _pem(path)
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(content, password=None)
    except TypeError:
        raise InputError(f"key {path}: has a password; give one without: openssl pkey -in KEY -out OTHER") from None
    except (ValueError, UnsupportedAlgorithm):
        raise InputError(f"key {path}: is no private key in a PEM file; {_ED25519}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"key {path}: is no Ed25519 key; {_ED25519}")
    return key


def _public_key(path: Path) -> Any:
    content = _pem(path)
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        raise InputError(f"key {path}: is no public key in a PEM file; ask the signer for theirs") from None
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"key {path}: is no Ed25519 key; ask the signer for theirs")
    return key


def _pem(path: Path) -> bytes:
    """The content of a key's file."""
    try:
        import cryptography  # noqa: F401
    except ImportError:
        raise InputError(
            "signatures of bundles need cryptography, which is not installed: pip install cryptography"
        ) from None
    try:
        return _small_file(path)
    except (OSError, ValueError) as error:
        raise InputError(f"key {path}: cannot be read ({reason(error)})") from error


def _small_file(path: Path) -> bytes:
    """The content of a file; a pipe would be read for ever."""
    if path.exists() and not path.is_file():
        raise OSError("it is no file")
    with path.open("rb") as file:
        return file.read(_MAX_BYTES)
