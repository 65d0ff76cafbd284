"""The plugin registry: plugins are loaded and queried in isolation, so that a broken one does not affect the others."""

import logging
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pluggy

from latentbench.errors import LatentbenchError, describe, did_you_mean, is_interrupt
from latentbench.plugins import hookspecs
from latentbench.plugins.contracts import KINDS, KindName, OfferError
from latentbench.plugins.discovery import Found, PluginInfo, find_files, find_installed

__all__ = ["Offer", "PluginInfo", "Plugins"]

log = logging.getLogger("latentbench")


#: Characters of the reason why a plugin is broken, where it is said beside something else.
_LONGEST = 200


#: See ``Plugins.load``.
Watch = Callable[[str], AbstractContextManager[None]]


def _unwatched(whose: str) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass(frozen=True)
class Offer:
    """A named object that a plugin offers."""

    name: str
    value: Any
    """By kind: a class (models, datasets, metrics, executors), a path (boards, claims), a click.Command (commands)."""
    plugin: PluginInfo


class Plugins:
    """The plugins of this process. Create it with ``Plugins.load``.

    Installed plugins are isolated. One that cannot be imported or registered is left out as a whole; one that raises in
    a hook offers nothing through that hook; of several offered objects, only those that are invalid or whose name is
    taken are left out. ``infos()`` gives the reasons.

    A plugin file that the user named is not isolated: whatever is wrong with it is raised at once.
    """

    def __init__(self, found: Sequence[Found], verbs: Collection[str] = (), watch: Watch = _unwatched) -> None:
        self._plugins = [_Plugin(one, _unwatched if one.info.builtin else watch) for one in found]
        self._verbs = verbs
        self._offers: dict[KindName, dict[str, Offer]] = {}

    @classmethod
    def load(
        cls,
        files: Sequence[Path] = (),
        verbs: Collection[str] = (),
        watch: Watch = _unwatched,
        *,
        trial: bool = True,
    ) -> "Plugins":
        """Load the built-in plugins, the installed ones that ``LATENTBENCH_PLUGINS`` allows, and ``files``.

        Args:
            files: plugins that are one local file each.
            verbs: the names of commands that no plugin may offer.
            watch: a context in which third-party plugins are imported and asked what they offer; called with whose code
                runs in it, as the beginning of a message.
            trial: whether ``files`` are first imported in a process of their own, to see whether they end or block it.

        Raises:
            LatentbenchError: a file is missing, not Python, or no valid plugin; or ``LATENTBENCH_PLUGINS`` names
                something that is not installed.
        """
        return cls([*find_installed(), *find_files(files, trial=trial)], verbs, watch)

    def infos(self) -> list[PluginInfo]:
        """Every plugin, including broken ones: first the built-in ones, then by distribution and name, then files."""
        return [plugin.info for plugin in self._plugins]

    @property
    def files(self) -> list[Path]:
        """The plugin files that the user named, as they were named."""
        return [Path(plugin.info.distribution) for plugin in self._plugins if plugin.named]

    def offers(self, kind: KindName) -> dict[str, Offer]:
        """All offers of one kind, sorted by name. Where two plugins offer the same name, the first in ``infos()`` wins.

        The first call for a kind calls that kind's hook and no other.

        Raises:
            LatentbenchError: a plugin file raises in the hook, or offers an invalid object or a name that is taken.
        """
        if kind not in self._offers:
            self._offers[kind] = self._collect(kind)
        return self._offers[kind]

    def values(self, kind: KindName) -> dict[str, Any]:
        """What the offers of a kind offer, classes for the most part, by name."""
        return {name: offer.value for name, offer in self.offers(kind).items()}

    def get(self, kind: KindName, name: str) -> Offer:
        """The offer called ``name``.

        Raises:
            LatentbenchError: there is none; with near misses, and the plugins that may offer it and are broken.
        """
        offers = self.offers(kind)
        if name not in offers:
            raise LatentbenchError(f"unknown {KINDS[kind].noun} '{name}'", self.did_you_mean(name, offers))
        return offers[name]

    def did_you_mean(self, wrong: str, known: Iterable[str]) -> str:
        """A suggestion for a name that none of the plugins offers, which also says which plugins are broken, and why.

        Args:
            wrong: the name.
            known: the names that would have been right.
        """
        broken = [f"{info} ({_shortened(info.reason)})" for info in self.infos() if info.status == "broken"]
        remark = f"perhaps a broken plugin offers it: {', '.join(broken)}" if broken else ""
        return did_you_mean(wrong, known, remark)

    def function(self, name: str) -> Callable[..., Any]:
        """The function called ``package.module:function``, of a package that a plugin is in.

        Of a plugin that is a local file the package is the file's name. No other module is ever imported, because the
        name may come from anywhere.

        Raises:
            LatentbenchError: no plugin is in such a package, or there is no such module or function in it.
        """
        path, _, attribute = name.partition(":")
        package = path.partition(".")[0]
        plugin = next((one for one in self._plugins if one.package == package), None)
        if plugin is None:
            packages = {one.package for one in self._plugins if one.package}
            raise LatentbenchError(f"no plugin is in a package '{package}'", did_you_mean(package, packages))
        try:
            function = getattr(plugin.module if path == plugin.info.name else import_module(path), attribute)
        except (ImportError, AttributeError) as error:
            raise LatentbenchError(f"there is no function '{name}'", str(error)) from None
        if not callable(function):
            raise LatentbenchError(f"'{name}' is no function")
        return cast(Callable[..., Any], function)

    def notify(self, hook: str, **arguments: Any) -> None:
        """Call a lifecycle hook of every plugin. One that raises is marked broken, and logged once for each hook."""
        for plugin in self._plugins:
            try:
                plugin.call(hook, **arguments)
            except BaseException as error:
                _let_interrupt(error)
                if not any(reason.startswith(f"{hook}: ") for reason in plugin.info.reasons):
                    plugin.info.reasons.append(f"{hook}: {_one_line(error)}")
                    log.warning("plugin %s of %s: %s", plugin.info, plugin.info.distribution, plugin.info.reasons[-1])

    def _collect(self, kind: KindName) -> dict[str, Offer]:
        offers: dict[str, Offer] = {}
        for plugin in self._plugins:
            for value in plugin.ask(KINDS[kind].hook):
                try:
                    name = KINDS[kind].name(value)
                    if kind == "commands" and name in self._verbs:
                        raise OfferError(f"command '{name}' is a built-in verb, which no plugin replaces")
                    if name in offers:
                        first = offers[name].plugin
                        place = f"plugin '{first.name}' of {first.distribution}"
                        raise OfferError(f"{KINDS[kind].noun} '{name}' is already offered by {place}")
                except BaseException as error:
                    plugin.mark_broken(error)
                else:
                    offers[name] = Offer(name, value, plugin.info)
                    plugin.info.offers.setdefault(kind, []).append(name)
        return dict(sorted(offers.items()))


class _Plugin:
    """One plugin in a pluggy manager of its own, so that no name, wrapper or fault of it touches another."""

    def __init__(self, found: Found, watch: Watch) -> None:
        self.info = found.info
        self._watch = watch
        self.named = found.named
        """Whether the user named it on the command line."""
        self._manager = _no_plugin()
        self.module: object = None
        """What holds the hook implementations; None if it cannot be loaded."""
        try:
            # What it prints is no part of a command's output.
            with self._watch(self.info.blamed_for("its import")), redirect_stdout(sys.stderr):
                self.module = found.load()
                self._manager = _manager(self.module)
        except BaseException as error:
            self.mark_broken(error)

    @property
    def package(self) -> str:
        """The package that it is in; of a local file, the file's name without its ending; empty if it is not loaded."""
        if not isinstance(self.module, ModuleType):
            return ""
        return self.info.name if self.named else self.module.__name__.partition(".")[0]

    def call(self, hook: str, **arguments: Any) -> list[Any]:
        """What the plugin's functions for ``hook`` return."""
        with redirect_stdout(sys.stderr):
            results: list[Any] = getattr(self._manager.hook, hook)(**arguments)
        return results

    def ask(self, hook: str) -> list[Any]:
        """What the plugin offers through ``hook``, not yet checked; nothing if it raises there."""
        functions = getattr(self._manager.hook, hook).get_hookimpls()
        if not functions:
            return []
        try:
            with self._watch(self.info.blamed_for(f"{hook}()")):
                answers = self.call(hook)
            lists = [some for some in answers if isinstance(some, Sequence) and not isinstance(some, str)]
            if len(lists) < len(functions):
                raise OfferError("returns no list")
        except BaseException as error:
            self.mark_broken(error, where=f"{hook}: ")
            return []
        return [value for some in lists for value in some]

    def mark_broken(self, error: BaseException, where: str = "") -> None:
        """Keep why the plugin is broken.

        Raises:
            LatentbenchError: it is a file that the user named.
            KeyboardInterrupt: that is the error, and the user's.
        """
        _let_interrupt(error)
        reason = where + _one_line(error)
        if self.named:
            raise LatentbenchError(f"plugin {self.info.distribution}", reason) from error
        self.info.reasons.append(reason)
        log.debug("plugin %s of %s is broken", self.info, self.info.distribution, exc_info=error)


def _manager(*plugins: object) -> pluggy.PluginManager:
    """A manager of the hook specs, with these plugins.

    Raises:
        PluginValidationError: a function of a plugin has the name of no hook, or an argument that its hook has not.
        OfferError: a plugin has no function for a hook.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    for plugin in plugins:
        manager.register(plugin)
        manager.check_pending()
        if not manager.get_hookcallers(plugin):
            raise OfferError("no function in it is marked @hookimpl")
    return manager


@cache
def _no_plugin() -> pluggy.PluginManager:
    """The manager of every plugin that is not loaded."""
    return _manager()


def _let_interrupt(error: BaseException) -> None:
    """Of all that a plugin may raise, only the user's interrupt reaches the caller."""
    if is_interrupt(error):
        raise error


def _one_line(error: BaseException) -> str:
    """The exception's type and message; just the message of one that says what is wrong with an offer."""
    return " ".join(str(error).split()) if isinstance(error, OfferError) else describe(error)


def _shortened(reason: str) -> str:
    return reason if len(reason) <= _LONGEST else f"{reason[:_LONGEST]}..."
