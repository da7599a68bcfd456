"""The command `emo-rt sign`: signs a bundle, so that others can tell it from one of a stranger."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from emo_rt.bundle import Bundle
from emo_rt.bundle_signature import SIGNATURE_NAME, sign_bundle
from emo_rt.console import CommandParser, run_command, say

_DESCRIPTION = """\
Signs all files of a bundle: writes SHA256SUMS and SHA256SUMS.sig into it.

example:
  openssl genpkey -algorithm ed25519 -out key.pem
  openssl pkey -in key.pem -pubout -out signer.pem
  {prog} models/emo-photo/bundle --key key.pem

Keep key.pem to yourself, and give signer.pem to whoever checks the bundle with
`emo-rt verify BUNDLE --key signer.pem`."""


def main(arguments: Sequence[str] | None = None, prog: str = "python -m emo_rt.sign") -> int:
    """Runs the command line.

    Args:
        arguments: words after the command; None for the process's own
        prog: command as the user typed it, for the help

    Returns:
        The exit code: 0, or 2 for what the user can put right.
    """
    return run_command(_parser(prog), _sign, arguments)


def _sign(options: argparse.Namespace) -> None:
    bundle = Bundle.load(options.bundle)
    count = sign_bundle(bundle, options.key)
    say(f"bundle {bundle.directory}: {count} files are signed in {SIGNATURE_NAME}", sys.stdout)


def _parser(prog: str) -> CommandParser:
    parser = CommandParser(
        prog=prog, description=_DESCRIPTION.format(prog=prog), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="directory of the bundle")
    key = "PEM file with your Ed25519 private key, without a password (needs cryptography)"
    parser.add_argument("--key", type=Path, required=True, metavar="PRIVATE_KEY", help=key)
    return parser


if __name__ == "__main__":
    sys.exit(main())
