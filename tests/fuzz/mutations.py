"""Ways to damage bytes and JSON: the same random numbers always give the same damage."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from random import Random
from typing import Any

#: Whole numbers at which programs go wrong.
NUMBERS = (0, 1, 2, 7, 16, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
#: Values that nobody expects in a JSON file.
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf")),
    *("", "\0", "..", "../../etc/passwd", "/", "a" * 5000, "\ud800", "object", "float32", "1", "\x1b[2J"),
    *([], {}, [[]], [0] * 1000, {"": None}),
)
#: Bytes of the content and its damage, at most: small files are where small mistakes show.
LARGEST = 400_000


def damaged(content: bytes, random: Random, others: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """A copy of the content with one to a few faults.

    Args:
        content: whole content
        random: source of the faults
        others: contents of which parts may be inserted
        words: words that mean something in contents of this kind
    """
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 3, 5, 16))):
        _damage(data, random, others, words)
        del data[LARGEST:]
    return bytes(data)


def _damage(data: bytearray, random: Random, others: Sequence[bytes], words: Sequence[bytes]) -> None:
    at = _place(random, len(data))
    end = min(at + random.choice((1, 2, 4, 16, 100, 1000)), len(data))
    way = random.randrange(12)
    if way <= 2 and data:
        at = min(at, len(data) - 1)
        data[at] ^= 1 << random.randrange(8)
    elif way == 3 and data:
        data[min(at, len(data) - 1)] = random.randrange(256)
    elif way == 4:
        size, order = random.choice((1, 2, 4, 8)), random.choice(("little", "big"))
        number = random.choice(NUMBERS) % (1 << 8 * size)
        data[at : at + size] = number.to_bytes(size, order)  # type: ignore[arg-type]
    elif way == 5:
        del data[at:end]
    elif way == 6:
        data[at:at] = data[at:end] * random.choice((1, 2, 50))
    elif way == 7:
        data[at:end] = bytes([random.choice((0, 0, 255, 32))]) * (end - at)
    elif way == 8:
        del data[at:]
    elif way == 9:
        other = random.choice(others)
        start = random.randrange(len(other) + 1)
        data[at:end] = other[start : start + random.choice((4, 64, 2000))]
    elif way == 10:
        data[at:at] = random.randbytes(random.choice((1, 3, 40, 3000)))
    else:
        word = random.choice(words) if words else b"\0"
        data[at : at + random.choice((0, len(word)))] = word


def _place(random: Random, size: int) -> int:
    """A place in the content, more often near its beginning, where headers are."""
    return random.randrange(min(size, random.choice((16, 64, 512, size + 1))) + 1)


def damaged_json(content: bytes, random: Random) -> bytes:
    """A JSON file in which one to three values are others, gone, or of another name."""
    document = json.loads(content)
    for _ in range(random.choice((1, 1, 2, 3))):
        places = list(_places(document))
        holder, key = random.choice(places)
        way = random.randrange(10)
        if way == 0:
            del holder[key]
        elif way == 1:
            holder[key] = copy.deepcopy(random.choice(places)[0])
        elif way == 2 and isinstance(holder, dict):
            holder[random.choice(("", "\0", "surplus", f"{key}x"))] = holder.pop(key)
        elif way == 3 and isinstance(holder[key], int | float):
            holder[key] = holder[key] * random.choice((-1, 2, 1000, 1e-9, 10**30))
        elif way == 4 and isinstance(holder[key], str):
            holder[key] += random.choice(("x", "\0", "/..", "\n", "é"))
        else:
            holder[key] = copy.deepcopy(random.choice(VALUES))
        if not list(_places(document)):
            break
    return json.dumps(document).encode()


def _places(value: Any, depth: int = 0) -> Any:
    """Every value of a document, as what holds it and its key there."""
    if depth > 8:
        return
    keys = value if isinstance(value, dict) else range(min(len(value), 40)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from _places(value[key], depth + 1)
