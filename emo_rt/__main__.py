"""The command `emo-rt`, or `python -m emo_rt`: one word for what to do, then the options of that."""

from __future__ import annotations

# Nothing else is imported before `main` says that the process is its own: until then, Ctrl-C is a traceback.
import sys

from emo_rt.stopping import own_process

#: For each command the module that has its main(arguments, prog), imported when it is asked for, and a summary.
COMMANDS = {
    "run": ("emo_rt.run", "turn one portrait and a voice into a talking video"),
    "serve": ("emo_rt.serve.command", "serve a page and an HTTP API that make such videos"),
    "sign": ("emo_rt.sign", "sign a bundle, so that others can verify that it is yours"),
    "verify": ("emo_rt.verify", "check the files of a bundle, and with --key who signed it"),
}

_DESCRIPTION = """\
Turns one portrait and a voice into a talking video.

commands:
{commands}

examples:
  {prog} run
  {prog} run --image me.jpg --audio hello.wav --out hello.mp4
  {prog} serve

The first one makes a demo, out/demo.mp4; `{prog} run --help` lists all options."""


def main(arguments: list[str] | None = None, prog: str = "emo-rt") -> int:
    """Runs the command that the first word names.

    Args:
        arguments: words after `emo-rt`; None for the process's own
        prog: `emo-rt` as the user typed it, for the help

    Returns:
        The exit code of the command; 2 if there is no such command.
    """
    if arguments is None:
        own_process()
    import importlib

    console = importlib.import_module("emo_rt.console")
    if arguments is None:
        console.open_missing_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in COMMANDS:
        command = importlib.import_module(COMMANDS[words[0]][0])
        code: int = command.main(words[1:], prog=f"{prog} {words[0]}")
        return code
    if words and words[0] not in ("-h", "--help", "--version"):
        console.say(f"emo_rt: error: unknown command {words[0]!r}; see {prog} --help")
        return 2
    _show_help(words, prog)
    return 2


def _show_help(words: list[str], prog: str) -> None:
    """Prints the help or the version, and ends the process if a word asks for that."""
    import argparse
    from importlib.metadata import version

    commands = "\n".join(f"  {name:<10}{summary}" for name, (_, summary) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog=prog,
        usage=f"{prog} [-h] [--version] COMMAND ...",
        description=_DESCRIPTION.format(prog=prog, commands=commands),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"emo-rt {version('emo-rt')}")
    parser.parse_args(words)
    parser.print_help(sys.stderr)


if __name__ == "__main__":
    sys.exit(main(prog="python -m emo_rt"))
