"""The errors that a user can cause. Each is an `EmoError`: one line that says which input is wrong and what to do."""


class EmoError(Exception):
    """Base of all errors that a user can cause; `str(error)` is the one line to show."""


class InputError(EmoError):
    """A picture, a voice, an option or an output path that cannot be used."""


class BundleError(EmoError):
    """A bundle that is incomplete, altered, of an unknown version, or whose graphs do not fit together."""


class ClusterError(EmoError):
    """The machines that should work are not there. The same may succeed when they are back."""


def reason(error: Exception) -> str:
    """The message of an exception in one line, not for pages; the system's own message for an `OSError`."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    line = " ".join(str(text).split())
    return line if len(line) <= 300 else f"{line[:300]}..."


def in_one_line(error: Exception) -> str:
    """The message of an error, and the notes on it; of one that nobody expected, also its kind."""
    words = str(error) if isinstance(error, EmoError) else f"unexpected {type(error).__name__} ({reason(error)})"
    return "; ".join([words, *getattr(error, "__notes__", [])])


def printable(text: str) -> str:
    """A text in one line that a terminal shows as it is: control characters and bytes that are no text are escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )
