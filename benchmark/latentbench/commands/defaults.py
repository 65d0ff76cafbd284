"""Defaults of options from a file, ``latentbench.toml``.

An option's value comes from the command line, else from its environment variable, else from the file, else from the
program. The file is the one that LATENTBENCH_CONFIG names, else ``latentbench.toml`` in the working folder, else the
one in the user's configuration folder. A key is an option's long name: at the top it is for every command that has the
option, in a table for the command of the table's name.

    data-root = "/data"          # paths are relative to the file
    plugin = ["detector.py"]

    [run]
    jobs = 2
    models = ["pca", "vae"]

    [data.prepare]
    set = ["image_size=128"]
"""

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from platformdirs import user_config_path

from latentbench.errors import LatentbenchError, did_you_mean

__all__ = ["Defaults"]

#: Environment variable: the file.
VARIABLE = "LATENTBENCH_CONFIG"
_NAME = "latentbench.toml"


class Defaults:
    """What the file says.

    Args:
        path: of the file; None: there is none.
        values: its content.
    """

    def __init__(self, path: Path | None = None, values: Mapping[str, Any] | None = None) -> None:
        self.path, self._values = path, values or {}

    @classmethod
    def read(cls) -> "Defaults":
        """Find the file and read it.

        Raises:
            LatentbenchError: it cannot be read or is not TOML.
        """
        named = os.environ.get(VARIABLE)
        places = [Path(named)] if named else [Path(_NAME), user_config_path("latentbench") / _NAME]
        path = next((place for place in places if named or place.is_file()), None)
        if path is None:
            return cls()
        try:
            return cls(path, tomllib.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            where = f" (from {VARIABLE})" if named else ""
            raise LatentbenchError(f"cannot read {path}{where}: {error.strerror}") from None
        except ValueError as error:  # not TOML, or not UTF-8
            raise LatentbenchError(f"{path} is no TOML file: {error}") from None

    def of(self, command: click.Command, *names: str) -> dict[str, Any]:
        """The ``default_map`` of a command.

        Args:
            command: the command; of a group, the maps of its commands are in the map.
            names: what it is called by, from the outermost group on; none for the program itself.

        Raises:
            LatentbenchError: a wrong value, or a key that is no option; with the file.
        """
        own = self._table(names)
        mine = [one for one in _options(command) if one.expose_value or not names]  # the others are the program's
        options = {flag.lstrip("-"): one for one in mine for flag in one.opts if flag.startswith("--")}
        commands = command.commands if isinstance(command, click.Group) else {}
        for key in own:
            if names and key not in {*options, *commands}:
                what = f"{self.path}: [{'.'.join(names)}] has an unknown key '{key}'"
                raise LatentbenchError(what, did_you_mean(key, {*options, *commands}))
        given = {key: value for key, value in {**self._values, **own}.items() if key in options}
        found = {str(options[key].name): self._value(options[key], key, value) for key, value in given.items()}
        return {**found, **{name: self.of(one, *names, name) for name, one in commands.items()}}

    def check(self, list_commands: Callable[[], Mapping[str, click.Command]]) -> None:
        """That every key at the top is a command, or an option of one.

        Args:
            list_commands: gives the commands by name; it is called only if there is a key to look for.

        Raises:
            LatentbenchError: names the key and the file.
        """
        if not self._values:
            return
        commands = list_commands()
        known = {*commands, *(flag.lstrip("-") for command in commands.values() for flag in _flags(command))}
        for key in self._values:
            if key not in known:
                raise LatentbenchError(f"{self.path}: unknown key '{key}'", did_you_mean(key, known))

    def _table(self, names: tuple[str, ...]) -> Mapping[str, Any]:
        """The table of a command; empty where the file has none."""
        table = self._values if names else {}
        for depth, name in enumerate(names, 1):
            inner = table.get(name, {})
            if not isinstance(inner, Mapping):
                where = ".".join(names[:depth])
                raise LatentbenchError(f"{self.path}: '{where}' is a command", f"write its options below [{where}]")
            table = inner
        return table

    def _value(self, option: click.Option, key: str, value: Any) -> Any:
        """The value as click takes it, checked."""
        assert self.path is not None
        if isinstance(option.type, click.Path):
            folder = self.path.parent
            paths = [folder / Path(str(one)).expanduser() for one in (value if isinstance(value, list) else [value])]
            value = [*map(str, paths)] if option.multiple else str(paths[0])
        elif option.multiple and not isinstance(value, list):
            value = [value]
        try:
            option.type_cast_value(click.Context(click.Command(None)), value)
        except click.BadParameter as error:
            raise LatentbenchError(f"{self.path}: '{key}': {error.message}") from None
        return value


def _options(command: click.Command) -> list[click.Option]:
    """Those that a default may be given for: what tells about the program and leaves it has none."""
    return [one for one in command.params if isinstance(one, click.Option) and one.name not in ("help", "version")]


def _flags(command: click.Command) -> list[str]:
    """The long names of all options of a command and of the commands in it."""
    inner = command.commands.values() if isinstance(command, click.Group) else ()
    own = [flag for option in _options(command) for flag in option.opts if flag.startswith("--")]
    return own + [flag for one in inner for flag in _flags(one)]
