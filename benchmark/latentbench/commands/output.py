"""What is printed: text from elsewhere reaches a terminal only in characters that show as what they are.

Records, file names and plugins' messages may hold control characters, which move the cursor or change what was printed
before, and marks that reverse the order of text. All of the command line's output passes through here.
"""

import codecs
import io
import re
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

__all__ = ["shown", "shown_output"]

#: Categories of characters that do not show: controls, formats, surrogates, private and unassigned ones, separators.
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}

#: Characters that may need an escape: all but the printable ones of ASCII, line ends and tabs.
_LOOKED_AT = re.compile(r"[^\n\t -~]")


class _Escapes(dict[str, str]):
    """By character: itself, or its escape in the form of JSON, if it does not show or cannot be encoded."""

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding

    def __missing__(self, character: str) -> str:
        escape = character
        if unicodedata.category(character) in _HIDDEN or not self._encodes(character):
            units = character.encode("utf-16-be", "surrogatepass")
            escape = "".join(f"\\u{units[start : start + 2].hex()}" for start in range(0, len(units), 2))
        self[character] = escape
        return escape

    def _encodes(self, character: str) -> bool:
        try:
            character.encode(self._encoding)
        except UnicodeEncodeError:
            return False
        return True


_UNICODE = _Escapes("utf-8")


def _escaped(text: str, escapes: _Escapes) -> str:
    return _LOOKED_AT.sub(lambda found: escapes[found[0]], text)


def shown(text: str) -> str:
    r"""``text`` with an escape in the place of each character that does not show; line ends and tabs stay.

    JSON stays JSON: in its strings the escapes stand for the characters.

    >>> print(shown("\x1b[2Jgone \u202eback"))
    \u001b[2Jgone \u202eback
    """
    return _escaped(text, _UNICODE)


class _Shown:
    """A text stream that writes what is shown of a text in another stream; it takes every text."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = getattr(stream, "encoding", None) or "utf-8"
        self._escapes = _Escapes(self.encoding)
        self.buffer = _Bytes(self)
        #: Where rich writes, whose control sequences are meant: what it prints passes through ``shown`` before.
        self.rich_proxied_file = stream

    def write(self, text: str) -> int:
        self._stream.write(_escaped(text, self._escapes))
        return len(text)

    def writelines(self, lines: Iterator[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Bytes(io.RawIOBase):
    """The same stream for bytes of UTF-8, which click writes for a shell, and where the encoding is ASCII."""

    def __init__(self, text: _Shown) -> None:
        super().__init__()
        self._text = text
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._text.write(self._decoder.decode(bytes(data)))
        return len(data)

    def flush(self) -> None:
        self._text.flush()


@contextmanager
def shown_output() -> Iterator[None]:
    """Let standard output and error show what is printed in the block; put them back after it."""
    streams = sys.stdout, sys.stderr
    try:
        for name, stream in zip(("stdout", "stderr"), streams, strict=True):
            if stream is not None:  # it is None where it is closed
                setattr(sys, name, _Shown(stream))
        yield
    finally:
        sys.stdout, sys.stderr = streams
