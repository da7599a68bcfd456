"""Material for training: `python -m training.prepare VIDEO_DIR OUT_DIR` makes clips of videos,
`python -m training.prepare portraits DIR OUT` photographs of portraits, which become puppets.

Each has its own `--help`. A folder of videos that is called `portraits` is given as `./portraits`.
"""

from __future__ import annotations

import sys


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    # Each kind runs where the packages of the other are missing.
    if given[:1] == ["portraits"]:
        from training.speakers.portraits.command import main as prepare

        return prepare(given[1:])
    from training.footage.command import main as prepare

    return prepare(given)


if __name__ == "__main__":
    sys.exit(main())
