"""The command `emo-rt`, or `python -m emo_rt`: one word for what to do, then the options of that."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import NamedTuple


class _Command(NamedTuple):
    module: str  # has main(arguments, prog); imported when it is asked for
    summary: str


_COMMANDS = {"run": _Command("emo_rt.run", "turn one portrait and a voice into a talking video")}

_DESCRIPTION = """\
Turns one portrait and a voice into a talking video.

commands:
{commands}

examples:
  {prog} run
  {prog} run --image me.jpg --audio hello.wav --out hello.mp4

The first one makes a demo, out/demo.mp4; `{prog} run --help` lists all options."""


def main(arguments: Sequence[str] | None = None, prog: str = "emo-rt") -> int:
    """Runs the command that the first word names.

    Args:
        arguments: words after `emo-rt`; None for the process's own
        prog: `emo-rt` as the user typed it, for the help

    Returns:
        The exit code of the command; 2 if there is no such command.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in _COMMANDS:
        command = importlib.import_module(_COMMANDS[words[0]].module)
        code: int = command.main(words[1:], prog=f"{prog} {words[0]}")
        return code
    if words and words[0] not in ("-h", "--help", "--version"):
        print(f"emo_rt: error: unknown command {words[0]!r}; see {prog} --help", file=sys.stderr)
        return 2
    parser = _parser(prog)
    parser.parse_args(words)
    parser.print_help(sys.stderr)
    return 2


def _parser(prog: str) -> argparse.ArgumentParser:
    commands = "\n".join(f"  {name:<10}{command.summary}" for name, command in _COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog=prog,
        usage=f"{prog} [-h] [--version] COMMAND ...",
        description=_DESCRIPTION.format(prog=prog, commands=commands),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"emo-rt {version('emo-rt')}")
    return parser


if __name__ == "__main__":
    sys.exit(main(prog="python -m emo_rt"))
