"""The command line ``latentbench``: its commands, imported when they are called, and its errors as one line."""

import atexit
import gc
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from types import FrameType

import click

import latentbench
from latentbench.commands import VERBS
from latentbench.commands.common import Invocation, common_options, outliving_os_exit
from latentbench.commands.defaults import Defaults
from latentbench.commands.output import shown_output
from latentbench.errors import LatentbenchError, describe, origin

__all__ = ["main"]

#: Characters of the line that the help has for a plugin's command, as long as those of the built-in ones.
_HELP = 100
#: New objects between two searches for garbage in cycles. Most of what a command makes lives until it ends, and at the
#: 700 that are Python's default such searches take a tenth of the time of a command that reads records.
_ALLOCATIONS = 10_000_000


class _Verbs(click.Group):
    """The built-in commands, and those of plugins."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*VERBS, *ctx.ensure_object(Invocation).plugins.offers("commands")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in VERBS:
            command: click.Command = import_module(f"latentbench.commands.{cmd_name.replace('-', '_')}").command
            return command
        offer = ctx.ensure_object(Invocation).plugins.offers("commands").get(cmd_name)
        return offer.value if offer else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        invocation = ctx.ensure_object(Invocation)
        command = self.get_command(ctx, args[0])
        if command is None:
            mend = invocation.plugins.did_you_mean(args[0], self.list_commands(ctx))
            raise LatentbenchError(f"unknown command '{args[0]}'", mend)
        invocation.defaults.check(partial(self._commands, ctx))
        ctx.default_map = {**(ctx.default_map or {}), args[0]: invocation.defaults.of(command, args[0])}
        return super().resolve_command(ctx, args)

    def _commands(self, ctx: click.Context) -> dict[str, click.Command]:
        found = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        return {name: command for name, command in found.items() if command is not None}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        offers = ctx.ensure_object(Invocation).plugins.offers("commands")
        offered = {
            name: offer.value.get_short_help_str(_HELP) for name, offer in offers.items() if not offer.value.hidden
        }
        for title, rows in (("Commands", VERBS), ("Commands of plugins", offered)):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(list(rows.items()))

    def invoke(self, ctx: click.Context) -> None:
        try:
            super().invoke(ctx)  # what a verb returns is no exit code
        except BaseException as error:
            if isinstance(error, (Exception, KeyboardInterrupt)) or ctx.invoked_subcommand not in VERBS:
                raise  # a plugin's command may end as it likes
            raise LatentbenchError(describe(error), "a plugin must not end the process") from error


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(latentbench.__version__)
@common_options
def group() -> None:
    """Benchmark what learned image representations are good for."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        args: the arguments; by default the process's own.

    Returns:
        The exit code: 0; 2 for any error, reported in one line on stderr; 130 when interrupted, and 143 when told to
        end by SIGTERM, which is the way for a process that ignores interrupts, as a script's background jobs do; 1 when
        the reader of a pipe has gone, or when ``verify`` has found that something does not come out.
    """
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # it would read what every distribution lists
    gc.set_threshold(_ALLOCATIONS)
    atexit.register(gc.freeze)  # nor is anything gained by such a search when the process ends
    with shown_output(), _ending_when_told(), outliving_os_exit():
        return _run(args)


class _Terminated(KeyboardInterrupt):
    """SIGTERM has come: the command ends as it does when it is interrupted."""


@contextmanager
def _ending_when_told() -> Iterator[None]:
    """Let SIGTERM end the block by an exception, so that what it holds is let go; leave a handler that is there."""

    def end(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _run(args: Sequence[str] | None) -> int:
    """The same, its output as it comes."""
    logging.basicConfig(format="latentbench: %(message)s")
    invocation = Invocation()
    try:
        invocation.defaults = Defaults.read()
        code = group.main(
            args,
            prog_name="latentbench",
            standalone_mode=False,
            obj=invocation,
            default_map=invocation.defaults.of(group),
        )
        _mention_broken(invocation)
        click.echo(nl=False)  # flushes: here a reader that has gone can still be told from a defect
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be flushed goes nowhere
        return 1
    except (KeyboardInterrupt, click.Abort) as error:
        if isinstance(error.__cause__, EOFError):  # click takes it for the end of what a user types
            return _fail_by(error.__cause__, invocation.debug)
        word, code = (
            ("terminated", 143) if _Terminated in (type(error), type(error.__cause__)) else ("interrupted", 130)
        )
        return _fail(f"{word}: what is finished is kept, and the same command resumes the rest", code)
    except Exception as error:
        return _fail_by(error, invocation.debug)
    return code or 0


def _fail_by(error: Exception, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    return _fail(_one_line(error, debug))


def _one_line(error: Exception, debug: bool) -> str:
    """The message for the user about ``error``."""
    match error:
        case LatentbenchError():
            return describe(error)
        case click.UsageError(ctx=click.Context() as context):
            return f"{error.format_message()} (see {context.command_path} --help)"
        case click.ClickException():
            return error.format_message()
        case OSError(strerror=str() as reason) if not origin(error):
            return f"{error.filename}: {reason}" if error.filename else reason
    again = "" if debug else " (run again with --debug to see the traceback)"
    return f"{describe(error)}{again}"


def _fail(message: str, code: int = 2) -> int:
    click.echo(f"latentbench: error: {' '.join(message.splitlines())}", err=True)
    return code


def _mention_broken(invocation: Invocation) -> None:
    """Print one line about broken plugins, if this call has loaded plugins."""
    if "plugins" not in vars(invocation):
        return
    broken = [info for info in invocation.plugins.infos() if info.status == "broken"]
    if broken:
        names = ", ".join(f"{info.name} ({info.distribution} {info.version})" for info in broken)
        click.echo(f"latentbench: warning: broken plugins: {names}; see `latentbench list plugins`", err=True)
