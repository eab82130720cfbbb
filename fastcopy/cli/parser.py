"""The grammar of a command line, as skopeo's parser (pflag, cobra with traversing flags) reads it.

Pure: words in, `Parsed` out, UsageError otherwise, with pflag's texts. Knows no particular flag or command.

Rules worth knowing: ``--flag value`` and ``--flag=value``; flags whose value may be left out take one only behind
``=``; ``-aqf oci`` and ``-afoci`` are clusters; positionals and flags mix freely until ``--``; ``-`` is a positional.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastcopy.cli.flags import Flag, FlagSet, Parsed
from fastcopy.cli.govalues import BadValue, quote
from fastcopy.errors import UsageError


def parse(words: list[str], flags: FlagSet, into: Parsed | None = None) -> Parsed:
    """Understand *words*; raises UsageError."""
    return _Reader(words, flags, into or Parsed()).all()


def parse_leading(words: list[str], flags: FlagSet) -> tuple[Parsed, list[str]]:
    """Understand the flags before the first positional; returns them and the words from that positional on."""
    reader = _Reader(words, flags, Parsed())
    while reader.step():
        if reader.parsed.positionals:
            return Parsed(reader.parsed.values, [], reader.parsed.flags), [reader.parsed.positionals[0], *reader.rest]
    return reader.parsed, []


class _Reader:
    def __init__(self, words: list[str], flags: FlagSet, parsed: Parsed) -> None:
        self.rest = list(words)
        self.flags = flags
        self.parsed = parsed

    def all(self) -> Parsed:
        while self.step():
            pass
        return self.parsed

    def step(self) -> bool:
        """Consume one word and what belongs to it; False at the end."""
        if not self.rest:
            return False
        word = self.rest.pop(0)
        if word == "--":
            self.parsed.positionals += self.rest
            self.rest = []
        elif word.startswith("--"):
            self._long(word)
        elif word.startswith("-") and word != "-":
            self._cluster(word[1:])
        else:
            self.parsed.positionals.append(word)
        return True

    def _long(self, word: str) -> None:
        name, equals, value = word[2:].partition("=")
        if not name or name[0] == "-":
            raise UsageError(f"bad flag syntax: {word}")
        flag = self.flags.by_name.get(name)
        if flag is None:
            raise UsageError(f"unknown flag: --{name}{did_you_mean(name, self.flags.names(), '--')}")
        if equals:
            self._put(flag, value)
        elif flag.kind.alone:
            self._put(flag, flag.kind.alone)
        elif self.rest:
            self._put(flag, self.rest.pop(0))
        else:
            raise UsageError(f"flag needs an argument: --{name}")

    def _cluster(self, letters: str) -> None:
        while letters:
            flag = self.flags.by_short.get(letters[0])
            if flag is None:
                raise UsageError(f"unknown shorthand flag: {_go_rune(letters[0])} in -{letters}")
            rest = letters[1:]
            if len(rest) > 1 and rest[0] == "=":
                self._put(flag, rest[1:])
                return
            if flag.kind.alone:
                self._put(flag, flag.kind.alone)
                letters = rest
                continue
            self._put(flag, rest or self._argument(letters))
            return

    def _argument(self, letters: str) -> str:
        if not self.rest:
            raise UsageError(f"flag needs an argument: {_go_rune(letters[0])} in -{letters}")
        return self.rest.pop(0)

    def _put(self, flag: Flag, value: str) -> None:
        try:
            self.parsed.put(flag, flag.kind.read(value))
        except BadValue as error:
            shown = "REDACTED" if is_secret(flag) else value
            raise UsageError(f'invalid argument {quote(shown)} for "{flag.display}" flag: {error.message}') from None


def is_secret(flag: Flag) -> bool:
    """Whether the flag's value must not be repeated in any text."""
    return flag.name.endswith(("creds", "password", "registry-token", "decryption-key", "auth"))


def _go_rune(letter: str) -> str:
    return {"'": r"'\''", "\\": r"'\\'"}.get(letter, f"'{letter}'")


def did_you_mean(word: str, known: Iterable[str], prefix: str = "") -> str:
    """cobra's suggestion block for a word that is close to known ones, else nothing."""
    near = [name for name in known if _near(word.lower(), name.lower())]
    if not near:
        return ""
    lines = "".join(f"\t{prefix}{name}\n" for name in sorted(near))
    return f"\n\nDid you mean this?\n{lines}"


def _near(word: str, name: str) -> bool:
    # cobra: at most two edits, or the beginning of the name. For longer flag names two edits stay close enough.
    return name.startswith(word) or distance(word, name) <= 2


def distance(one: str, other: str) -> int:
    """Levenshtein's distance: insertions, deletions and replacements that turn one word into the other."""
    row = list(range(len(other) + 1))
    for above, letter in enumerate(one, 1):
        previous, row[0] = row[0], above
        for column, target in enumerate(other, 1):
            previous, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, previous + (letter != target)),
            )
    return row[-1]
