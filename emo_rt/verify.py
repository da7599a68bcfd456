"""The command `emo-rt verify`: whether a bundle is what was exported, and with a key, whether its owner signed it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from emo_rt.bundle import HINT, Bundle, file_sha256, read_json
from emo_rt.bundle_signature import check_signature, check_sums
from emo_rt.console import CommandParser, run_command, say
from emo_rt.engines.tensorrt_build import ENGINES
from emo_rt.errors import BundleError, reason
from emo_rt.planning.presets import read_presets

#: What the export made the graphs of.
_RECORD_NAME = "build.json"

_DESCRIPTION = """\
Checks every file of a bundle: those that its manifest names by their sha256,
build.json and compiled engines against the manifest, presets.json by what it
says. With --key, the bundle must be signed, and nothing altered or added.

examples:
  {prog} models/emo-photo/bundle
  {prog} downloaded/bundle --key signer.pem"""


def main(arguments: Sequence[str] | None = None, prog: str = "python -m emo_rt.verify") -> int:
    """Runs the command line.

    Args:
        arguments: words after the command; None for the process's own
        prog: command as the user typed it, for the help

    Returns:
        The exit code: 0 if all is well, 2 if not.
    """
    return run_command(_parser(prog), _verify, arguments)


def _verify(options: argparse.Namespace) -> None:
    if options.key and options.bundle.is_dir():  # nothing else of it is read before
        check_signature(options.bundle, options.key)
    bundle = Bundle.load(options.bundle)
    check_sums(bundle.directory)
    read_presets(bundle)
    _check_record(bundle)
    _check_engines(bundle)
    files = {name for graph in bundle.manifest.graphs.values() for name in graph.files}
    by = f"and signed with {options.key}" if options.key else "but without --key, nobody says who made them"
    say(
        f"bundle {bundle.directory}: {bundle.manifest.name}, {len(files)} files of graphs as exported, {by}", sys.stdout
    )


def _check_record(bundle: Bundle) -> None:
    """Raises BundleError if the export's record is there and is of other graphs."""
    where = f"bundle {bundle.directory}: {_RECORD_NAME}"
    try:
        graphs = read_json(bundle.directory / _RECORD_NAME)["graphs"]
        recorded = {name: dict(graph["files"]) for name, graph in graphs.items()}
    except FileNotFoundError:
        return
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BundleError(f"{where} cannot be read ({reason(error)}); {HINT}") from error
    if recorded != {name: dict(graph.files) for name, graph in bundle.manifest.graphs.items()}:
        raise BundleError(f"{where} is of other graphs than the manifest; {HINT}")


def _check_engines(bundle: Bundle) -> None:
    """Raises BundleError if a compiled engine is not the one that was made of a graph of this bundle."""
    graphs = {Path(graph.file).stem: graph for graph in bundle.manifest.graphs.values()}
    for path in sorted(bundle.directory.rglob("*.engine")):
        where = f"bundle {bundle.directory}: {path.relative_to(bundle.directory).as_posix()}"
        graph = graphs.get(path.stem.rpartition("-")[0])
        try:
            facts = read_json(path.with_suffix(".json"))
            good = (
                path.is_file()
                and graph
                and facts["graph"] == dict(graph.files)
                and facts["sha256"] == file_sha256(path)
            )
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            good = False
        if not good or path.parent.name != ENGINES:
            raise BundleError(f"{where} was not compiled from a graph of this bundle, or is damaged; delete it")


def _parser(prog: str) -> CommandParser:
    parser = CommandParser(
        prog=prog, description=_DESCRIPTION.format(prog=prog), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="directory of the bundle")
    key = "PEM file with the Ed25519 public key that the bundle must be signed with (needs cryptography)"
    parser.add_argument("--key", type=Path, metavar="PUBLIC_KEY", help=key)
    return parser


if __name__ == "__main__":
    sys.exit(main())
