"""What the commands share: options with one meaning everywhere, and the plugins of one call of the command line."""

import logging
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from latentbench.commands.defaults import Defaults
from latentbench.errors import LatentbenchError, command_line

if TYPE_CHECKING:
    from latentbench.claims.ledger import Ledger
    from latentbench.plugins.registry import Plugins

__all__ = [
    "CLAIMS",
    "FILE",
    "FOLDER",
    "Invocation",
    "claims_beside",
    "claims_option",
    "claims_results_option",
    "common_options",
    "cores",
    "data_root_option",
    "device_option",
    "fitted",
    "folder_words",
    "ledger_at",
    "outliving_os_exit",
    "pass_invocation",
    "print_or_write",
    "results_option",
    "to_option",
    "watched",
]

F = TypeVar("F", bound=Callable[..., Any])

#: Types of options and arguments: paths of a file and of a folder, which need not be there.
FILE, FOLDER = click.Path(dir_okay=False, path_type=Path), click.Path(file_okay=False, path_type=Path)


def watched(whose: str) -> AbstractContextManager[None]:
    """A context that tells of what a plugin changes of a command's process, and puts it back.

    Where nobody has imported torch, for a command that computes nothing, that is the working folder alone.

    Args:
        whose: the plugin, and what it does, as the beginning of a warning.
    """
    if "torch" not in sys.modules:
        return _staying_here(whose)
    from latentbench.running.undoing import undoing

    return undoing(whose)


@contextmanager
def _staying_here(whose: str) -> Iterator[None]:
    here = None
    with suppress(OSError):  # it is gone
        here = Path.cwd()
    try:
        yield
    finally:
        if here is not None and (there := Path.cwd()) != here:
            os.chdir(here)
            change = f"the working folder became {there}"
            logging.getLogger("latentbench").warning(
                "%s changed the process of the command: %s; it is put back", whose, change
            )


@contextmanager
def outliving_os_exit() -> Iterator[None]:
    """Let ``os._exit`` raise where a plugin calls it: the command would end there, without a word and perhaps with 0.

    Other threads, and processes that are forked in the block, end as ever.

    Raises:
        LatentbenchError: it was called.
    """
    end, here = os._exit, (os.getpid(), threading.get_ident())

    def refuse(status: int) -> NoReturn:
        if (os.getpid(), threading.get_ident()) != here:
            end(status)
        raise LatentbenchError(f"os._exit({status}) was called", "a plugin must not end the process")

    os._exit = refuse
    try:
        yield
    finally:
        os._exit = end


class Invocation:
    """One call of the command line; it is ``context.obj`` of every command."""

    def __init__(self) -> None:
        self.debug = False
        self.quiet = False
        """Whether progress is left out, and of lists everything but the names."""
        self.plugin_files: list[Path] = []
        self.defaults = Defaults()
        """Of the options, from a file."""

    @cached_property
    def plugins(self) -> "Plugins":
        """The plugins of this call, loaded on first use.

        Raises:
            LatentbenchError: a ``--plugin`` file or ``LATENTBENCH_PLUGINS`` is wrong.
        """
        from latentbench.commands import VERBS
        from latentbench.plugins.registry import Plugins

        return Plugins.load(self.plugin_files, VERBS, watched)

    def command_line(self, *words: str | Path) -> str:
        """A command to be pasted, with the plugin files of this call: what is said of it needs the same plugins."""
        files = chain.from_iterable(("--plugin", str(file)) for file in self.plugin_files)
        return command_line(*words, *files)


pass_invocation = click.make_pass_decorator(Invocation, ensure=True)


def common_options(function: F) -> F:
    """The options that stand before the command or after it: ``--plugin``, ``--verbose``, ``--quiet``, ``--debug``."""
    plugin = click.option(
        "--plugin",
        metavar="FILE.py",
        type=click.Path(path_type=Path),
        multiple=True,
        is_eager=True,
        expose_value=False,
        callback=_note_files,
        help="Load a local file as a plugin. Repeatable.",
    )
    verbose = _flag("-v", "--verbose", callback=_note_verbose, text="Say more of what is going on.")
    quiet = _flag("-q", "--quiet", callback=_note_quiet, text="Leave out progress; of a list, print the names alone.")
    debug = _flag("--debug", callback=_note_debug, text="Show the traceback of an error.")
    return plugin(verbose(quiet(debug(function))))


def _flag(*flag: str, callback: Callable[[click.Context, click.Parameter, bool], None], text: str) -> Callable[[F], F]:
    """A flag that the program notes, and no command gets."""
    return click.option(*flag, is_flag=True, is_eager=True, expose_value=False, callback=callback, help=text)


def _note_files(context: click.Context, _: click.Parameter, files: tuple[Path, ...]) -> None:
    invocation = context.ensure_object(Invocation)
    if files and "plugins" in vars(invocation):
        raise click.UsageError("--plugin has to come before a command that a plugin offers", context)
    invocation.plugin_files.extend(files)


def _note_debug(context: click.Context, _: click.Parameter, debug: bool) -> None:
    if debug:
        context.ensure_object(Invocation).debug = True
        logging.getLogger("latentbench").setLevel(logging.DEBUG)


def _note_verbose(context: click.Context, _: click.Parameter, verbose: bool) -> None:
    log = logging.getLogger("latentbench")
    if verbose and not context.ensure_object(Invocation).debug:
        log.setLevel(logging.INFO)


def _note_quiet(context: click.Context, _: click.Parameter, quiet: bool) -> None:
    if quiet:
        context.ensure_object(Invocation).quiet = True


def fitted(table: str) -> list[str]:
    """The lines of a table, on a terminal cut to its width."""
    lines = table.splitlines()
    if not sys.stdout.isatty():
        return lines
    width = shutil.get_terminal_size().columns
    return [line if len(line) <= width else f"{line[: width - 3]}..." for line in lines]


#: Where datasets and records are unless an option says otherwise.
_DATA_ROOT, _RESULTS = Path("data"), Path("results")

data_root_option = click.option(
    "--data-root",
    metavar="FOLDER",
    type=FOLDER,
    default=_DATA_ROOT,
    envvar="LATENTBENCH_DATA_ROOT",
    show_default=True,
    show_envvar=True,
    help="Folder of the datasets, with a sub-folder for each source.",
)


#: For ``latentbench.devices.resolve_device``, which refuses a device that does not exist.
device_option = click.option(
    "--device",
    metavar="DEVICE",
    default="auto",
    envvar="LATENTBENCH_DEVICE",
    show_default=True,
    show_envvar=True,
    help="Device to compute on: cpu, cuda, cuda:1, ...; auto is CUDA if it is available, else the CPU.",
)


def cores() -> int:
    """CPU cores that this process may use; where the system does not tell, those of the machine."""
    if hasattr(os, "sched_getaffinity"):  # macOS has not
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def results_option(flag: str) -> Callable[[F], F]:
    """An option for the folder of the records: ``flag``, and ``--results`` in any case."""
    return click.option(
        *dict.fromkeys((flag, "--results")),
        flag.lstrip("-"),
        metavar="FOLDER",
        type=FOLDER,
        default=_RESULTS,
        envvar="LATENTBENCH_RESULTS",
        show_default=True,
        show_envvar=True,
        help="Folder of the records.",
    )


def folder_words(*, results: Path = _RESULTS, data_root: Path = _DATA_ROOT) -> list[str]:
    """The words of a printed command that name its folders; a folder that is the default takes none."""
    named = {"--results": (results, _RESULTS), "--data-root": (data_root, _DATA_ROOT)}
    return [word for flag, (folder, default) in named.items() if folder != default for word in (flag, str(folder))]


to_option = click.option(
    "--to",
    metavar="FILE",
    type=FILE,
    help="File to write into.  [default: print]",
)


def print_or_write(text: str, to: Path | None) -> None:
    """Print a text, or write it into the file that ``--to`` names, and print where it is.

    Raises:
        StorageError: the file cannot be written.
    """
    from latentbench.files import replacing

    if to is None:
        click.echo(text, nl=False)
        return
    with replacing(to) as file:
        file.write(text.encode())
    click.echo(to)


#: Where claims are looked for that nobody names.
CLAIMS = Path("leaderboards/claims")

claims_option = click.option(
    "--claims",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help=f"Folder or file of claims, beside those that plugins bring.  [default: {CLAIMS}, or claims beside the folder "
    "of the records, if it is there]",
)


def claims_beside(results: Path) -> Path | None:
    """The folder of claims that goes with a folder of records: ``claims``, beside it; None if it has no files."""
    folder = results.absolute().parent / "claims"
    return folder if any(folder.glob("*.yaml")) else None


#: For ``ledger_at``, which looks for the records beside the claims.
claims_results_option = click.option(
    "--results",
    metavar="FOLDER",
    type=FOLDER,
    help="Folder of the records.  [default: results, beside the folder of the claims]",
)


def ledger_at(claims: Path | None, results: Path | None, plugins: "Plugins") -> "tuple[Ledger, Path]":
    """The claims that the options name, and the folder of the records that go with them.

    Raises:
        LatentbenchError: there are none, or a mistake in them.
    """
    from latentbench.claims.ledger import claim_files, load_ledger, records_beside

    found = claims or (CLAIMS if CLAIMS.is_dir() else claims_beside(results) if results else None)
    ledger = load_ledger(claim_files(found) if found else [], plugins)
    if not ledger.papers:
        what = f"no claims: there is no folder {CLAIMS}, and no plugin brings any"
        raise LatentbenchError(what, "name their folder with --claims")
    return ledger, results or records_beside(found or CLAIMS)
