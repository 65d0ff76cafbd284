"""Tables for a paper: the rows of a page, in LaTeX that nothing from a record can break."""

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from latentbench.boards.board import Board
from latentbench.boards.render.latex import latex
from latentbench.boards.render.leaderboard import board_tables
from latentbench.records.record import Environment, Failure, Record, Value
from latentbench.spec import RunSpec

WHERE = Environment(python="3", platform="p", packages={}, cpu="c", threads=1, device="cpu", plugins={})
RANK, GAP, PART = "accuracy@test", "gap@test/correlated", "auroc[log_ratio]@test"
BOARD = Board(name="b", title="Pairs & more", datasets=["d"], rank=RANK, columns=[GAP, PART], seeds=3)


def run(model: str, seed: int, *numbers: float, title: str = "", **fields: Any) -> Record:
    spec = RunSpec(
        model=model, model_version=1, config={}, dataset="d", dataset_version=1, options={}, split_hash="0" * 64,
        seed=seed,
    )  # fmt: skip
    values = {
        name: Value(
            value=number, metric=(metric := re.split(r"[@\[]", name)[0]), version=1, title=title or metric,
            higher_is_better=metric != "gap",
        )
        for name, number in zip((RANK, GAP, PART), numbers, strict=False)
    }  # fmt: skip
    return Record(
        key=spec.key, status="finished" if numbers else "failed", spec=spec, values=values, started="s", finished="f",
        environment=WHERE, **fields,
    )  # fmt: skip


def rows(model: str, *numbers: float, **fields: Any) -> list[Record]:
    return [run(model, seed, *(number + seed / 100 for number in numbers), **fields) for seed in range(3)]


def written(records: list[Record], board: Board = BOARD) -> str:
    return latex(board, board_tables(board, records))


WHOLE = r"""% Pairs & more: needs \usepackage{booktabs}

\begin{table}
\centering
\caption{\texttt{d}: split \texttt{000000000000}, 3 seeds.}
\begin{tabular}{rlrrr}
\toprule
rank & model & \shortstack[r]{accuracy \\ $\uparrow$ test} & \shortstack[r]{gap \\ $\downarrow$ test, correlated} & \shortstack[r]{auroc \\ \texttt{log\_ratio} \\ $\uparrow$ test} \\
\midrule
1--2 & \texttt{a-b} & 0.910 (0.885 to 0.935) & $-$0.090 $\pm$ 0.025 & 0.510 $\pm$ 0.025 \\
1--2 & \texttt{c\_d} & 0.910 (0.885 to 0.935) & 0.210 $\pm$ 0.025 & - \\
3 & \texttt{low} & 0.210 (0.185 to 0.235) $^\dagger$ & - & - \\
\midrule
null & \texttt{null} & 0.610 (0.585 to 0.635) & - & - \\
\bottomrule
\end{tabular}
\par\smallskip\footnotesize """  # noqa: E501


def test_a_whole_table_as_text() -> None:
    models = [*rows("a-b", 0.9, -0.1, 0.5), *rows("c_d", 0.9, 0.2), *rows("low", 0.2)]
    text = written([*models, *rows("null", 0.6, null=True)])
    assert text.startswith(WHOLE)
    assert r"$^\dagger$ not ahead of the best null, \texttt{null} by accuracy $\uparrow$ test." in text
    assert text.endswith("over seeds.\n\\end{table}\n")


def test_who_has_no_rank_and_why_stands_below() -> None:
    failure = Failure(type="E", message="100 % of memory_1", traceback="")
    text = written([*rows("a", 0.6), *rows("b", 0.5), run("flow", 0, failure=failure)])
    assert r"No rank: \texttt{flow} (every run failed: \texttt{100 \% of memory\_1})." in text
    assert r"0 (1 failed)" in text


def read(text: str) -> list[list[str]]:
    """The cells of every tabular, as TeX splits them: at ampersands and double backslashes that nothing hides."""
    found = []
    for body in re.findall(r"\\begin\{tabular\}\{[lr]+\}\n(.*?)\\end\{tabular\}", text, re.DOTALL):
        for line in body.splitlines():
            if not line.startswith(("\\toprule", "\\midrule", "\\bottomrule")):
                plain = re.sub(r"\\shortstack\[r\]\{(?:[^{}]|\{[^{}]*\}|\\[{}])*\}", "heading", line)
                assert plain.endswith(r" \\")
                found.append(re.split(r"(?<!\\)&", plain[:-3]))
    return found


special = st.text(alphabet="\\{}$&#^_%~`'\"<>|[]*-=@ ab1\n\x1b\u202e", min_size=1, max_size=20)


@settings(max_examples=60)
@given(special, special, special)
def test_nothing_from_a_record_ends_a_cell_a_line_or_a_group(name: str, title: str, message: str) -> None:
    failure = Failure(type="E", message=message, traceback="")
    board = BOARD.model_copy(update={"title": message})
    records = [*rows(f"a{name}", 0.6, 0.1, title=f"t{title}"), run("flow", 0, failure=failure)]
    text = written(records, board)
    assert {len(cells) for cells in read(text)} == {5 - ("auroc" not in text) + (r"0 (1 failed)" in text)}
    assert text.count("\\begin{") == text.count("\\end{") == 2
    comment, text = text.split("\n", 1)
    assert comment.startswith("% ")
    bare = re.sub(r"\\[\\{}$&#_%]", "", text.replace("\\\\", ""))
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert not set(re.findall(r"\\([A-Za-z]+)", text)) - {
        "begin", "end", "centering", "caption", "texttt", "toprule", "midrule", "bottomrule",
        "shortstack", "uparrow", "downarrow", "pm", "par", "smallskip", "footnotesize", "char", "textbackslash",
        "textasciicircum", "textasciitilde", "textless", "textgreater", "textbar",
    }  # fmt: skip
    assert not re.search(r"(?<!\\)%", text)
