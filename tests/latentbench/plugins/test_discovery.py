"""Finding plugins: entry points of really installed distributions, the environment variable, and files."""

import hashlib
import os
import pickle
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from latentbench.errors import LatentbenchError
from latentbench.plugins.contracts import OfferError
from latentbench.plugins.discovery import Found, find_files, find_installed


def module_of(found: Found) -> ModuleType:
    module = found.load()
    assert isinstance(module, ModuleType)
    return module


def third_parties() -> list[tuple[str, str, str]]:
    infos = [found.info for found in find_installed()]
    return [(info.name, info.distribution, info.version) for info in infos if not info.builtin]


def test_an_entry_point_is_found_with_its_distribution_and_version(install):
    install("foreign-detectors", "", version="2.3.4", entry="detectors")
    assert third_parties() == [("detectors", "foreign-detectors", "2.3.4")]


def test_the_built_in_plugins_come_first_and_then_the_others_by_distribution(install):
    for distribution in ("zeta", "Alpha", "beta"):
        install(distribution, "", entry="aaa")
    infos = [found.info for found in find_installed()]
    builtin = [info.builtin for info in infos]
    assert builtin == sorted(builtin, reverse=True)
    assert {info.distribution for info in infos if info.builtin} == {"latentbench"}
    assert third_parties() == [("aaa", "Alpha", "1.0"), ("aaa", "beta", "1.0"), ("aaa", "zeta", "1.0")]


def test_a_distribution_without_metadata_is_found_all_the_same(install):
    install("bare", "", metadata=False)
    assert third_parties() == [("bare", "unknown", "unknown")]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, ["one", "two"]),
        ("", []),
        ("none", []),
        ("one", ["one"]),
        ("Dist.Two", ["two"]),
        (" one , dist-two,", ["one", "two"]),
        ("metrics", []),
    ],
)
def test_the_environment_chooses_third_parties_by_entry_point_or_distribution(install, monkeypatch, choice, expected):
    install("dist-one", "", entry="one")
    install("dist-two", "", entry="two")
    if choice is not None:
        monkeypatch.setenv("LATENTBENCH_PLUGINS", choice)
    assert [name for name, _, _ in third_parties()] == expected


@pytest.mark.parametrize("choice", ["", "none", "one"])
def test_the_built_in_plugins_are_always_there(install, monkeypatch, choice):
    install("dist-one", "", entry="one")
    everything = {found.info.name for found in find_installed() if found.info.builtin}
    assert {"boards", "metrics"} <= everything
    monkeypatch.setenv("LATENTBENCH_PLUGINS", choice)
    assert {found.info.name for found in find_installed() if found.info.builtin} == everything


def test_an_unknown_name_in_the_environment_is_an_error_with_near_misses(install, monkeypatch):
    install("dist-one", "", entry="sonar")
    monkeypatch.setenv("LATENTBENCH_PLUGINS", "sonra")
    with pytest.raises(
        LatentbenchError, match=r"^LATENTBENCH_PLUGINS names the unknown plugin 'sonra': did you mean 'sonar'"
    ):
        find_installed()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[console_scripts]\nname\n", r"TypeError: .*"),
        (b"[latentbench]\nd\xe9tecteur = other\n", r"UnicodeDecodeError: .* position 15: .*"),
    ],
    ids=["malformed", "latin-1"],
)
def test_a_distribution_whose_entry_points_cannot_be_read_is_named_and_hides_no_other(install, content, reason):
    site = install("other", "", version="3.0")
    install("good", "")
    (site / "other-3.0.dist-info" / "entry_points.txt").write_bytes(content)
    assert third_parties() == [("good", "good", "1.0"), ("other", "other", "3.0")]
    broken = find_installed()[-1]
    with pytest.raises(
        OfferError, match=rf"^its entry_points.txt, in {re.escape(str(site))}, cannot be .* \({reason}\)$"
    ):
        broken.load()


def test_an_entry_point_that_is_no_name_of_a_module_says_so(install):
    install("odd", "", target="odd module!")
    with pytest.raises(OfferError, match=r"^its entry point 'odd module!' is not of the form MODULE or MODULE:OBJECT$"):
        find_installed()[-1].load()


def test_an_entry_point_that_is_listed_twice_is_one_plugin(install):
    site = install("twin", "")
    (site / "twin-1.0.dist-info" / "entry_points.txt").write_text("[latentbench]\ntwin = twin\nagain = twin\n")
    shutil.copytree(site / "twin-1.0.dist-info", site / "twin.egg-info")
    (site / "twin.egg-info" / "METADATA").rename(site / "twin.egg-info" / "PKG-INFO")
    assert third_parties() == [("twin", "twin", "1.0")]


def test_a_distribution_that_another_version_hides_is_left_out(install, tmp_path, monkeypatch):
    site = install("shade", "", version="1.0")
    new = tmp_path / "new" / "shade-2.0.dist-info"
    new.mkdir(parents=True)
    (new / "METADATA").write_text("Metadata-Version: 2.1\nName: shade\nVersion: 2.0\n")
    assert third_parties() == [("shade", "shade", "1.0")]
    monkeypatch.syspath_prepend(new.parent)
    assert third_parties() == []
    assert (site / "shade-1.0.dist-info").is_dir()


def test_a_file_is_known_by_its_path_and_the_hash_of_its_text(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("value = 3\n")
    (found,) = find_files([path])
    digest = hashlib.sha256(b"value = 3\n").hexdigest()
    assert (found.info.name, found.info.distribution, found.info.version) == (
        "mine",
        str(path),
        f"sha256:{digest[:12]}",
    )
    assert module_of(found).value == 3


def test_a_file_that_is_named_twice_is_one_plugin(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("")
    monkeypatch.chdir(tmp_path)
    assert len(find_files([Path("mine.py"), tmp_path / "mine.py"])) == 1


def test_files_of_one_name_in_two_folders_are_two_modules(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(f"folder = '{folder}'\n")
    found = find_files([tmp_path / "a" / "mine.py", tmp_path / "b" / "mine.py"])
    assert [module_of(one).folder for one in found] == ["a", "b"]


def test_a_files_classes_can_be_pickled_and_do_not_hide_a_package_of_the_same_name(tmp_path):
    path = tmp_path / "json.py"
    path.write_text("class Thing:\n    pass\n")
    (found,) = find_files([path])
    thing = module_of(found).Thing
    assert pickle.loads(pickle.dumps(thing)) is thing
    import json

    assert json.loads("[1]") == [1]


def test_what_is_imported_is_what_was_hashed_however_quick_an_edit_is(tmp_path):
    path = tmp_path / "mine.py"
    versions = {}
    for sign in "+-":
        path.write_text(f"value = {sign}1\n")
        os.utime(path, (0, 0))  # of one size and time, as Python's bytecode cache has it
        (found,) = find_files([path])
        path.write_text("raise AssertionError('edited since')\n")
        versions[found.info.version] = module_of(found).value
    assert list(versions.values()) == [1, -1]


def test_a_file_that_fails_to_import_can_be_mended_and_imported_again(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("import nothing_of_the_kind\n")
    (found,) = find_files([path])
    with pytest.raises(ModuleNotFoundError):
        found.load()
    path.write_text("value = 'a longer text'\n")
    (found,) = find_files([path])
    assert module_of(found).value == "a longer text"


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Found]]:
    """Call it with a folder's name and its files: it finds the plugin file ``mine.py`` there."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)

    def beside(folder: str, **files: str) -> Found:
        for name, text in files.items():
            path = tmp_path / folder / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (found,) = find_files([tmp_path / folder / "mine.py"])
        return found

    yield beside
    for name in set(sys.modules) - before:
        if "beside" in name:
            del sys.modules[name]


def test_a_file_may_import_what_lies_beside_it_at_once_and_later(beside):
    later = "def later():\n    import later_beside\n    return later_beside.value\n"
    found = beside(
        "a",
        mine=f"from helper_beside import value\nimport package_beside.part\n{later}",
        helper_beside="from deep_beside import value",
        deep_beside="value = 3",
        later_beside="value = 4",
        package_beside__part="",
    )
    (Path(found.info.distribution).parent / "package_beside" / "__init__.py").touch()
    module = module_of(found)
    assert (module.value, module.later()) == (3, 4)


def test_what_is_installed_comes_before_what_lies_beside(beside):
    assert module_of(beside("a", mine="import json\nvalue = json.loads('1')", json="1 / 0")).value == 1


def test_a_file_is_another_version_when_what_it_imports_from_beside_changes_and_only_then(beside):
    files = {"mine": "import helper_beside", "helper_beside": "import deep_beside", "deep_beside": "x = 1", "other": ""}
    version = beside("a", **files).info.version
    assert beside("a", other="x = 2").info.version == version
    assert beside("a", deep_beside="x = 2").info.version != version
    alone = beside("b", mine="import json").info.version
    assert alone == f"sha256:{hashlib.sha256(b'import json').hexdigest()[:12]}", "as it is known without siblings"


@pytest.mark.parametrize(
    ("mine", "helper"),
    [
        ("import parts_beside.net as net", "parts_beside__net"),
        ("from parts_beside import net", "parts_beside__net"),
        ("from parts_beside.deep.net import __name__ as net", "parts_beside__deep__net"),
        ("import importlib\nnet = importlib.import_module('net_beside')", "net_beside"),
        ("from importlib import import_module\nnet = import_module('parts_beside.net')", "parts_beside__net"),
        ("import importlib\nnet = importlib.import_module('.net', 'parts_beside')", "parts_beside__net"),
        (
            "from importlib import import_module\nnet = [import_module(f'parts_beside.{x}') for x in ['net']]",
            "parts_beside__net",
        ),
        ("import importlib\nnet = [importlib.import_module(x) for x in ['net_beside']]", "net_beside"),
        ("net = __import__('net_beside')", "net_beside"),
    ],
)
def test_a_change_of_what_is_imported_is_seen_however_it_is_imported(beside, mine, helper):
    first = beside("a", mine=mine, **{helper: "x = 1"})
    assert module_of(first).net
    again, other = beside("a").info.version, beside("a", **{helper: "x = 2"}).info.version
    assert first.info.version == again != other


def test_of_a_package_without_an_init_file_what_is_installed_in_it_does_not_count(beside):
    found = beside("a", mine="import parts_beside.net", parts_beside__net="")
    parts = Path(found.info.distribution).parent / "parts_beside"
    for place in (".hidden/a.py", "lib/python3.12/site-packages/a.py", "env/bin/a.py", "env/pyvenv.cfg"):
        (parts / place).parent.mkdir(parents=True, exist_ok=True)
        (parts / place).write_text("x = 1")
    assert beside("a").info.version == found.info.version


def test_a_folder_of_the_name_of_what_is_installed_does_not_count(beside):
    alone = hashlib.sha256(b"import json, pytest, __main__").hexdigest()[:12]
    others = {"json__data": "x = 1", "pytest__data": "x = 1", "__main__data": "x = 1"}
    assert beside("a", mine="import json, pytest, __main__", **others).info.version == f"sha256:{alone}"


def test_plugin_files_in_one_folder_are_known_apart_whichever_is_loaded_first(beside, tmp_path):
    beside("a", mine="import parts_beside.net", other="from importlib import import_module", parts_beside__net="x = 1")
    mine, other = (tmp_path / "a" / name for name in ("mine.py", "other.py"))
    versions = set()
    for paths in ([mine, other], [other, mine], [other], [mine]):
        found = find_files(paths)
        versions |= {(one.info.name, one.info.version) for one in found}
        for one in found:
            module_of(one)
    assert len(versions) == 2
    other.write_text("from importlib import import_module\nx = 2")
    assert dict(versions)["mine"] == find_files([mine])[0].info.version


def test_a_package_without_an_init_file_counts_though_another_plugin_file_has_one_of_its_name(beside):
    module_of(beside("b", mine="import parts_beside", parts_beside____init__="x = 1"))
    versions = [beside("a", mine="import parts_beside.net", parts_beside__net=f"x = {x}").info.version for x in "12"]
    assert versions[0] != versions[1]


def test_a_module_that_two_files_have_beside_them_is_refused_for_the_second(beside):
    one = beside("a", mine="import helper_beside", helper_beside="x = 1")
    two = beside("b", mine="import helper_beside", helper_beside="x = 2")
    module_of(one)
    with pytest.raises(
        OfferError, match=r"^its sibling helper_beside.py is hidden by .*a/helper_beside.py, of another pl"
    ):
        two.load()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.py", "cannot read plugin .*missing.py: No such file or directory"),
        ("folder.py", "cannot read plugin .*folder.py: Is a directory"),
        ("notes.txt", "notes.txt is not a Python file: give the path of a .py file"),
    ],
)
def test_what_is_no_python_file_is_refused(tmp_path, name, message):
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(LatentbenchError, match=message):
        find_files([tmp_path / name])
