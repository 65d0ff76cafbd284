"""The blocks and the inline code of the documentation, for the tests that execute them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["REPOSITORY", "Block", "blocks", "inline", "plugin_files"]

REPOSITORY = Path(__file__).parents[1]

_BLOCK = re.compile(r"^(#+ [^\n]*)$|^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    document: str
    heading: str
    """That it stands under, without its marks."""
    number: int
    """Among the document's blocks."""
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document.partition('.')[0]}-{self.number}-{self.heading.replace(' ', '-')}"

    @property
    def commands(self) -> list[str]:
        """What is to be typed, without prompts and comments."""
        lines = [line.partition("  #")[0].strip() for line in self.text.splitlines()]
        return [line.removeprefix("$ ") for line in lines if line.startswith(("$ ", "python -m "))]


def blocks(document: str, language: str | None = None) -> list[Block]:
    """The fenced blocks of a file in the repository, of one language or of all."""
    return [block for block in _blocks(document) if language in (None, block.language)]


def inline(document: str, pattern: str) -> list[str]:
    """The inline code that matches a pattern as a whole, each once, with its line breaks as blanks."""
    prose = _BLOCK.sub("", (REPOSITORY / document).read_text(encoding="utf-8"))
    found = (" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose))
    return [*dict.fromkeys(code for code in found if re.fullmatch(pattern, code))]


def plugin_files(document: str) -> dict[str, str]:
    """Every file that a reader is told to write, by the name that the text gives it: "This is a plugin, `a.py`"."""
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    found = re.findall(
        r"`(\w+\.(?:py|yaml))`[^`]{0,200}?\n\n```(?:python|yaml)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE
    )
    return dict(found)


def _blocks(document: str) -> Iterator[Block]:
    heading, number = "", 0
    for mark, language, text in _BLOCK.findall((REPOSITORY / document).read_text(encoding="utf-8")):
        if mark:
            heading = mark.lstrip("# ")
        else:
            yield Block(document, heading, number, language, text)
            number += 1
