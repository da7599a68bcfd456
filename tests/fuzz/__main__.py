"""A long run of the fuzzer: `python -m tests.fuzz --kind sounds --first 0 --count 20000`.

The mutations run in a process of their own, which is watched: one that takes too long is ended, and one that dies is
told. A line names each mutation that fails; `--first N --count 1` repeats it, and `--keep DIR` writes its files.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), *(str(ROOT / "tests" / name) for name in ("fuzz", "emo_rt"))]

from kinds import KINDS  # noqa: E402
from watching import watch, work  # noqa: E402


def main() -> int:
    """Runs the command line; returns 1 if a mutation failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--kind", choices=KINDS, action="append", help="kind of input (default: all, one by one)")
    parser.add_argument("--first", type=int, default=0, help="number of the first mutation (default: %(default)s)")
    parser.add_argument("--count", type=int, default=1000, help="number of mutations (default: %(default)s)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="write the damaged files here instead of using them")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    failed = 0
    for name in options.kind or KINDS:
        if options.work:
            work(name, options.first, options.count)
        elif options.keep:
            _keep(name, options.first, options.count, options.keep)
        else:
            failed += watch(name, options.first, options.count)
    return 1 if failed else 0


def _keep(name: str, first: int, count: int, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        kind = KINDS[name](Path(scratch))
        for number in range(first, first + count):
            for file, content in kind.mutation(number):
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"{name}-{number}-{file}").write_bytes(content)


if __name__ == "__main__":
    sys.exit(main())
