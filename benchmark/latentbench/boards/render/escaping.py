"""Text from elsewhere made harmless: for a terminal, for Markdown, and for a CSV that a spreadsheet opens.

Records are untrusted input, and every text of theirs that is rendered passes through here. The results are printable
ASCII, so they hold no control codes and no look-alikes of other letters, and are as wide as long on every machine.
"""

import re

__all__ = ["code_span", "csv_text", "plain_markdown", "printable"]

#: Characters of a text that are shown in Markdown.
_LONGEST = 300


def printable(text: str) -> str:
    """``text`` on one line of printable ASCII; other characters become their escapes, blanks a single space."""
    escaped = " ".join(text.split()).encode("ascii", "backslashreplace").decode()
    return re.sub(r"[^ -~]", lambda control: f"\\x{ord(control[0]):02x}", escaped)


def code_span(text: str) -> str:
    """A Markdown code span that ``text`` cannot break out of, in a table's cell or elsewhere."""
    safe = _short(text).replace("`", r"\x60").replace("|", r"\x7c")
    return f"`{safe or ' '}`"


def plain_markdown(text: str) -> str:
    """``text`` with no character that has a meaning in Markdown or HTML."""
    return re.sub(r"[^A-Za-z0-9 %()/.,+-]", lambda special: f"&#{ord(special[0])};", _short(text))


def csv_text(text: str) -> str:
    """``text`` as a cell that no spreadsheet takes for a formula, also where semicolons separate its cells."""
    return re.sub(r"(^|;)([ \"']*)(?=[=+\-@])", r"\1\2'", printable(text))


def _short(text: str) -> str:
    safe = printable(text)
    return safe if len(safe) <= _LONGEST else f"{safe[: _LONGEST - 3]}..."
