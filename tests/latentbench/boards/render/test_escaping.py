"""Hostile text against independent readers: a Markdown parser, the csv module, and a terminal's point of view."""

import csv
import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from latentbench.boards.render.escaping import code_span, csv_text, latex_text, no_formula, plain_markdown, printable

SETTINGS = settings(max_examples=200)
special = st.text(alphabet="`|\\<>&*_[]()!#~:/@=+-'\" \n\r\tab1.w$%^{}\x1b\x00\u202e\u0430é\ud800", max_size=30)
texts = st.one_of(st.text(max_size=30), special)
parser = MarkdownIt("commonmark").enable("table")


def inside(token: Token) -> list[Token]:
    assert token.children is not None
    return token.children


def cell_of(markdown: str) -> list[Token]:
    """The inline tokens of the one cell of a one-column table's body."""
    tokens = parser.parse(f"| head |\n|:--|\n| {markdown} |\n")
    body = [token for token in tokens if token.type == "inline"][1:]
    assert len(body) == 1, "the text made cells or lines of its own"
    return inside(body[0])


@SETTINGS
@given(texts)
def test_printable_text_is_one_line_of_printable_ascii(text):
    line = printable(text)
    assert line.isascii()
    assert line == "" or line.isprintable()


@SETTINGS
@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), max_size=30))
def test_what_is_printable_stays_as_it_is(text):
    assert printable(text) == text
    assert plain_markdown(text) in (text, code_span(text))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines\tand  blanks ", "two lines and blanks"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("v\u0430e", r"v\u0430e"),  # a Cyrillic letter
        ("abc\u202ecba", r"abc\u202ecba"),  # right to left
    ],
)
def test_what_a_terminal_would_obey_or_a_reader_mistake_is_shown_as_an_escape(text, shown):
    assert printable(text) == shown


@SETTINGS
@given(texts)
def test_a_code_span_holds_any_text_in_a_cell_and_in_a_line(text):
    for children in (cell_of(code_span(text)), inside(parser.parseInline(code_span(text))[0])):
        assert [token.type for token in children] == ["code_inline"]


@SETTINGS
@given(texts)
def test_plain_text_is_itself_or_one_code_span_in_markdown(text):
    children = cell_of(f"a {plain_markdown(text)} z")
    if plain_markdown(text) == code_span(text):
        assert [token.type for token in children] == ["text", "code_inline", "text"]
    else:
        assert [(token.type, token.content) for token in children] == [("text", f"a {printable(text)} z")]


@SETTINGS
@given(texts)
def test_plain_text_that_begins_a_line_is_a_paragraph(text):
    blocks = [token.type for token in parser.parse(f"{plain_markdown(text)} z")]
    assert blocks == ["paragraph_open", "inline", "paragraph_close"]


@pytest.mark.parametrize(
    "text", ["log_ratio_std", "AUPRO@30 %", "AUPRO (30 %)", "FD (mnist-fashion)", "F1-max, 5 % + 1"]
)
def test_what_markdown_would_not_read_is_left_as_it_is(text):
    assert plain_markdown(text) == text


@pytest.mark.parametrize(
    "text", ["_a_", "a_ b", "a@b.example", "@someone", "www.example.org/x", "http://b", "#12", "1. a", "a*b", "a <b>"]
)
def test_what_a_renderer_would_read_or_link_stands_in_a_code_span(text):
    assert plain_markdown(text) == code_span(text)


@pytest.mark.parametrize("escape", [code_span, plain_markdown])
def test_long_text_is_cut(escape):
    assert len(escape("a" * 10_000)) <= 302
    assert "..." in escape("a" * 10_000)


#: What LaTeX's own manual calls the special characters, and how ``latex_text`` has to spell each.
SPELT = {
    **{rf"\{character}": character for character in "&%$#_{}"},
    r"\textbackslash{}": "\\", r"\textasciicircum{}": "^", r"\textasciitilde{}": "~", r"\char34{}": '"',
    r"\textless{}": "<", r"\textgreater{}": ">", r"\textbar{}": "|", "{`}": "`", "{'}": "'", "-{}": "-",
}  # fmt: skip
#: A spelt character or one that means itself: letters, digits and marks that make no ligature with themselves.
TOKEN = re.compile("|".join([*map(re.escape, SPELT), r"[A-Za-z0-9 .,;:!?()\[\]*+/=@-]"]))


@SETTINGS
@given(texts)
def test_latex_text_is_spelt_in_characters_that_mean_themselves(text):
    spelt = latex_text(text)
    tokens = TOKEN.findall(spelt)
    assert "".join(tokens) == spelt
    assert "--" not in spelt
    assert "".join(SPELT.get(token, token) for token in tokens) == printable(text)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r\n=cmd|' /C calc'!A0"])
def test_a_csv_cell_is_no_formula(text):
    assert csv_text(text)[0] == "'"


@pytest.mark.parametrize("text", ["x;=1+1", "x; +1", "a cpu;-1;@x", 'x;"=1"', "x;'=1", 'x; " =1'])
@pytest.mark.parametrize("separator", ";|\t\n")
def test_nor_is_it_where_another_sign_separates_the_cells(text, separator):
    safe = no_formula(text.replace(";", separator))
    for cell in csv.reader(io.StringIO(safe), delimiter=separator) if separator != "\n" else [safe.split("\n")]:
        assert not any(part.lstrip(" \"'")[:1] in tuple("=+-@") and "'" not in part for part in cell), cell


def test_semicolons_and_signs_that_begin_no_cell_stay():
    assert csv_text("one cpu; another-one; a=b") == "one cpu; another-one; a=b"


@SETTINGS
@given(st.lists(texts, min_size=1, max_size=4))
def test_csv_cells_come_back_one_by_one(row):
    cells = [csv_text(text) for text in row]
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    assert buffer.getvalue().count("\n") == 1
    assert list(csv.reader(io.StringIO(buffer.getvalue()))) == [cells]
