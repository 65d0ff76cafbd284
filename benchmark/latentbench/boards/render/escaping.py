"""Text from elsewhere made harmless: for a terminal, for Markdown, for LaTeX, and for a CSV that a spreadsheet opens.

Records are untrusted input, and every text of theirs that is rendered passes through here. The results are printable
ASCII, so they hold no control codes and no look-alikes of other letters, and are as wide as long on every machine.
"""

import re

__all__ = ["TEX", "code_span", "csv_text", "latex_text", "no_formula", "plain_markdown", "printable"]

#: Characters of a text that are shown in Markdown and LaTeX.
_LONGEST = 300
#: A text that Markdown takes as it is, wherever it stands: it begins no list, and no link is made of it. Within words
#: underscores and at signs mean nothing, unless a domain follows.
_PLAIN = re.compile(
    r"(?!\d+[.)]( |$)|.*www\.)[A-Za-z0-9](?:[A-Za-z0-9 %()/.,+-]|(?<=[A-Za-z0-9])(?:_|@(?!\S*\.))(?=[A-Za-z0-9]))*"
)
#: For ``str.translate``: what TeX gives a meaning, or joins with its neighbour.
TEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {character: f"{{{character}}}" for character in "`'"}
    | {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", '"': r"\char34{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
)


def printable(text: str) -> str:
    """``text`` on one line of printable ASCII; other characters become their escapes, blanks a single space."""
    escaped = " ".join(text.split()).encode("ascii", "backslashreplace").decode()
    return re.sub(r"[^ -~]", lambda control: f"\\x{ord(control[0]):02x}", escaped)


def code_span(text: str) -> str:
    """A Markdown code span that ``text`` cannot break out of, in a table's cell or elsewhere."""
    safe = _short(text).replace("`", r"\x60").replace("|", r"\x7c")
    return f"`{safe or ' '}`"


def plain_markdown(text: str) -> str:
    """``text`` as it is where nothing in it has a meaning in Markdown or HTML, and in a code span otherwise."""
    safe = _short(text)
    return safe if not safe or _PLAIN.fullmatch(safe) else code_span(text)


def latex_text(text: str) -> str:
    """``text`` as plain text of LaTeX."""
    return re.sub("-(?=-)", "-{}", _short(text).translate(TEX))


def csv_text(text: str) -> str:
    """``printable(text)`` as a cell that no spreadsheet takes for a formula."""
    return no_formula(printable(text))


def no_formula(text: str) -> str:
    """``text`` as a cell of a CSV that no spreadsheet takes for a formula, whatever it takes for a separator."""
    return re.sub(r"(^|[;|\t\n])([ \"']*)(?=[=+\-@])", r"\1\2'", text)


def _short(text: str) -> str:
    safe = printable(text)
    return safe if len(safe) <= _LONGEST else f"{safe[: _LONGEST - 3]}..."
