"""What the documents promise: links lead somewhere, commands and their options exist, the README stays short."""

from __future__ import annotations

import importlib
import io
import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from functools import cache
from pathlib import Path
from unittest.mock import patch

import pytest

import emo_rt
from emo_rt.__main__ import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
ROOMS = ("emo_rt", "training", "export", "benchmarks")
#: Modules that documents run and that are not ours.
OTHERS = {"venv", "pip"}
#: Words of the README outside of code and tables, and of each of its sentences, at most.
README_WORDS, SENTENCE_WORDS = 700, 30

_FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_RUN = re.compile(
    r"(?:-m\s+(?P<module>[\w.]+)|(?<![\w.-])emo-rt\s+(?P<command>run|serve|sign|verify)\b)(?P<rest>[^|&;#\n`]*)"
)
_PYTHON = re.compile(r"^ *```python\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")


def prose(text: str) -> str:
    """A document without code blocks, tables, pictures and the addresses of links."""
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", _FENCE.sub("", text))
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("|"))


def words(text: str) -> list[str]:
    """The words of a text; marks that stand alone are none."""
    return [word for word in text.split() if re.search(r"\w", word)]


def sentences(text: str) -> list[str]:
    """The sentences of a document's prose; a heading and each point of a list stand for themselves."""
    blocks = re.split(r"\n\s*\n|\n(?=\s*(?:[*-]|\d+\.) )|(?<=\n)(?=#)", prose(text))
    parts = [part for block in blocks for part in re.split(r"(?<=[.!?])[*_]*\s+", " ".join(block.split()))]
    return [part for part in parts if part]


def dead_links(document: Path) -> list[str]:
    """Relative links of a document to files, folders or headings that do not exist."""
    dead = []
    for target in _LINK.findall(_CODE.sub("", _FENCE.sub("", document.read_text(encoding="utf-8")))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, heading = target.partition("#")
        path = document.parent / name if name else document
        if not path.exists() or (heading and heading not in headings(path)):
            dead.append(target)
    return dead


def headings(document: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a document."""
    lines = re.findall(r"^#+ (.*)$", _FENCE.sub("", document.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """The modules that a document runs, each with its long options."""
    for match in _RUN.finditer(re.sub(r"\\\n\s*", " ", text)):
        module = match["module"] or COMMANDS[match["command"]][0]
        if module not in OTHERS:
            yield module, _OPTION.findall(match["rest"])


@cache
def options_of(module: str) -> frozenset[str]:
    """The long options that a command's help names.

    Raises:
        ImportError: if there is no such module, or it is none of ours.
    """
    if (ROOT / module.replace(".", "/") / "__main__.py").exists() and module.startswith(("benchmarks.", "tests.")):
        module = f"{module}.__main__"
    elif module.partition(".")[0] not in ROOMS:
        raise ImportError(f"{module} is no module of the project")
    shown = io.StringIO()
    main = importlib.import_module(module).main
    with patch.object(sys, "argv", [module, "--help"]), redirect_stdout(shown), suppress(SystemExit):
        main()
    return frozenset(_OPTION.findall(shown.getvalue()))


def wrong_commands(text: str) -> list[str]:
    """Commands of a document whose module does not exist or does not know an option."""
    wrong = []
    for module, options in commands(text):
        try:
            known = options_of(module)
            wrong += [f"{module} {option}" for option in options if option not in known]
        except ImportError as error:
            wrong.append(f"{module}: {error}")
    return wrong


def missing_paths(text: str) -> list[str]:
    """Paths of the project in a document's inline code that do not exist."""
    found = [code for code in _CODE.findall(_FENCE.sub("", text)) if re.fullmatch(r"[\w.-]+/[\w./-]*", code)]
    named = [path for path in found if path.partition("/")[0] in {*ROOMS, "tests", "docs", "examples", ".github"}]
    return [path for path in named if "NAME" not in path and not (ROOT / path).exists()]


def missing_names(text: str) -> list[str]:
    """Names that a document's Python takes from the package, and that the package does not have."""
    used = re.findall(r"\bemo_rt\.(\w+)", "".join(_PYTHON.findall(text)))
    return [name for name in used if not hasattr(emo_rt, name)]


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_readme_is_short() -> None:
    count = len(words(prose((ROOT / "README.md").read_text(encoding="utf-8"))))
    assert 400 <= count <= README_WORDS


def test_sentences_of_the_readme_are_short() -> None:
    found = sentences((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(found) > 40
    assert not [sentence for sentence in found if len(words(sentence)) > SENTENCE_WORDS]


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_links_lead_somewhere(document: Path) -> None:
    assert not dead_links(document)


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "Dockerfile"], ids=_name)
def test_commands_exist_with_their_options(document: Path) -> None:
    assert not wrong_commands(document.read_text(encoding="utf-8"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_paths_exist(document: Path) -> None:
    assert not missing_paths(document.read_text(encoding="utf-8"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_python_names_exist(document: Path) -> None:
    assert not missing_names(document.read_text(encoding="utf-8"))


def test_an_option_that_stands_alone_belongs_to_a_command_of_its_document() -> None:
    """`--target-fps` in a sentence names an option of some command that the documents run."""
    pages = [page for page in DOCUMENTS if page.name != "CHANGELOG.md"]  # which names options that are gone
    texts = [page.read_text(encoding="utf-8") for page in pages]
    known = {option for text in texts for module, _ in commands(text) for option in options_of(module)}
    alone = {option for text in texts for code in _CODE.findall(_FENCE.sub("", text)) for option in _alone(code)}
    assert "--target-fps" in alone
    assert not alone - known


def _alone(code: str) -> list[str]:
    return _OPTION.findall(code) if code.startswith("--") else []


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert not [
        page.name for page in (ROOT / "docs").glob("*.md") if f"({page.name})" not in index and page.name != "README.md"
    ]


def test_the_checks_can_fail(tmp_path: Path) -> None:
    long = (
        "One " * (SENTENCE_WORDS + 1) + "end. Short one.\n\n```sh\n" + "code " * 99 + "\n```\n| " + "cell " * 99 + "|\n"
    )
    assert [len(words(sentence)) > SENTENCE_WORDS for sentence in sentences(long)] == [True, False]
    assert len(words(prose(long))) == SENTENCE_WORDS + 4
    document = tmp_path / "page.md"
    document.write_text("# A page\n[a](gone.md) [b](page.md#a-page) [c](page.md#gone) [d](https://example.org)\n")
    assert dead_links(document) == ["gone.md", "page.md#gone"]
    text = "`python -m training.train --stage video --gone 1`\n```sh\npython -m gone.build --x | cat --y\n"
    text += "emo-rt run --image a.jpg \\\n    --ways 2:2\npython -m export.gone\npython -m venv --z\n```\n"
    modules = [line.partition(":")[0] for line in wrong_commands(text)]
    assert modules == ["training.train --gone", "gone.build", "emo_rt.run --ways", "export.gone"]
    assert missing_names("```python\nemo_rt.gone()\n```\nemo_rt.prose") == ["gone"]
    assert missing_paths("`emo_rt/run.py` `training/gone.py` `out/demo.mp4`") == ["training/gone.py"]
