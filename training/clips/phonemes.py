"""Classes of speech sounds, and the class of every phoneme symbol of espeak-ng: that of the nearest mouth shape."""

#: Silence, then 24 consonants and 17 vowels, in the notation of espeak-ng.
PHONEME_CLASSES: tuple[str, ...] = (
    "silence",
    "p", "b", "m", "f", "v", "w", "T", "D", "t", "d", "n", "s", "z", "l", "r", "S", "Z", "tS", "dZ", "k", "g", "N", "h",
    "j",
    "i:", "I", "E", "a", "A:", "O:", "0", "V", "U", "u:", "3:", "@", "eI", "aI", "aU", "oU", "OI",
)  # fmt: skip

#: Index of the first vowel in `PHONEME_CLASSES`: all classes from there on are vowels.
FIRST_VOWEL = PHONEME_CLASSES.index("i:")

# Other symbols of espeak-ng for similar sounds: reduced vowels, vowels before r, taps and accents. Languages other than
# English add front rounded and nasal vowels, palatals, affricates and diphthongs.
_ALIASES = {
    "i": "i:", "i@": "i:", "i@3": "i:", "I2": "I", "I#": "I", "I@": "I", "e": "E", "E2": "E", "e@": "E", "E@": "E",
    "EI": "eI", "e:": "eI", "E:": "E", "aa": "a", "a#": "@", "a2": "a", "a:": "A:", "A": "A:", "A@": "A:", "A#": "A:",
    "aI@": "aI", "aI3": "aI", "aU@": "aU", "O": "O:", "O@": "O:", "o@": "O:", "O2": "O:", "o": "oU", "o:": "oU",
    "o#": "oU", "0#": "0", "0@": "0", "V#": "V", "V2": "V", "U@": "U", "U#": "U", "u": "u:", "u@": "u:", "3": "3:",
    "@2": "@", "@3": "3:", "@L": "@", "@5": "@", "@#": "@", "t#": "t", "t2": "t", "?": "t", "d#": "d", "n-": "n",
    "m-": "m", "l-": "l", "l#": "l", "L": "l", "r-": "r", "R": "r", "r/": "r", "x": "h", "C": "h", "hw": "w", "w#": "w",
    ";": "j", "N-": "N",
    "y": "u:", "Y": "U", "W": "3:", "8": "U", "&": "a", "&i": "aI", "OY": "OI", "oI": "OI", "oi": "OI", "VU": "aU",
    "ei": "eI", "ai": "aI", "au": "aU", "Au": "aU", "uo": "O:", "ie": "E", "ui": "u:", "iou": "oU", "ong": "O:",
    "iA": "A:", "iE": "E", "ua": "A:", "@r": "3:", "i.": "I", "i[": "I", "ju": "u:", "ja": "a", "A~": "A:", "E~": "E",
    "O~": "O:", "B": "v", "*": "d", "Q": "g", "J": "j", "c": "k", "H": "h", "X": "h", "ts": "s", "dz": "z", "ts;": "tS",
    "dz;": "dZ", "ts.": "tS", "s.": "S", "z.": "Z", "sx": "S", "s\\": "S", "z\\": "Z", "t_s": "s", "t_s\\": "tS",
    "d_z\\": "dZ", "p\\": "f", "!": "t",
}  # fmt: skip

# Symbols that mean another sound in one language.
_LOCAL_ALIASES: dict[str, dict[str, str]] = {
    "pl": {"y": "I"},
    "ru": {"y": "I"},
    "pt-br": {"y": "I", "&": "V", "&~": "V", "&U~": "aU"},
    "hi": {"c": "tS", "c#": "tS", "J": "dZ", "J#": "dZ"},
    "sw": {"J": "dZ"},
}

_CLASS_OF = {name: index for index, name in enumerate(PHONEME_CLASSES)}
_CLASS_OF |= {alias: _CLASS_OF[name] for alias, name in _ALIASES.items()}


def local_symbol(symbol: str, language: str) -> str:
    """Symbol, with the same meaning in all languages, for a symbol of `language`."""
    return _LOCAL_ALIASES.get(language, {}).get(symbol, symbol)


def known_class(symbol: str) -> int | None:
    """Index into `PHONEME_CLASSES` of a symbol, or of its longest known beginning; None if no beginning is known."""
    if not symbol or symbol.startswith(("_", "|")):
        return 0
    for length in range(len(symbol), 0, -1):  # "aI#2" -> "aI"
        if symbol[:length] in _CLASS_OF:
            return _CLASS_OF[symbol[:length]]
    return None


def phoneme_class(symbol: str) -> int:
    """Index into `PHONEME_CLASSES` as `known_class` gives it; that of the neutral vowel for unknown symbols."""
    known = known_class(symbol)
    return _CLASS_OF["@"] if known is None else known
