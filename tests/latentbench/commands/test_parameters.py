"""Options for lists of names: commas and repetition mean the same, in every command, and nothing is no list."""

from importlib import import_module

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from latentbench.commands import VERBS
from latentbench.commands.parameters import Names, names_option


@click.command()
@names_option("--names", text="Some.")
def echo(names: list[str] | None) -> None:
    click.echo(repr(names))


def names_of(*arguments: str) -> list[str] | None:
    result = CliRunner().invoke(echo, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return eval(result.output)


NAMES = st.lists(st.from_regex(r"[a-z0-9][a-z0-9._-]{0,5}", fullmatch=True), min_size=1, max_size=5)


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_a_list_may_be_divided_among_options_as_one_likes(parts):
    together = [name for part in parts for name in part]
    expected = list(dict.fromkeys(together))
    assert names_of("--names", ",".join(together)) == expected
    assert names_of(*[word for part in parts for word in ("--names", ",".join(part))]) == expected
    assert names_of(*[word for name in together for word in ("--names", f" {name} ")]) == expected


def test_without_the_option_there_is_no_list():
    assert names_of() is None


@pytest.mark.parametrize("text", ["", " ", ",", "a,", ",a", "a,,b", "a, ,b"])
def test_an_empty_name_is_a_mistake_with_exit_code_2(text):
    result = CliRunner().invoke(echo, ["--names", text])
    assert result.exit_code == 2
    assert "Invalid value for '--names': " in result.output
    assert "give names separated by commas, as in a,b" in result.output


def test_every_option_of_a_built_in_command_that_takes_a_list_of_names_is_of_this_type():
    types = {
        (verb, option.opts[0]): option.type
        for verb in VERBS
        for option in import_module(f"latentbench.commands.{verb.replace('-', '_')}").command.params
        if option.opts[0] in ("--models", "--datasets", "--metrics", "--values", "--format", "--status")
    }
    assert {("run", "--models"), ("run", "--datasets"), ("evaluate", "--metrics")} <= set(types)
    assert all(isinstance(kind, Names) for kind in types.values()), types
