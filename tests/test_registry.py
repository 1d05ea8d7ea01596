"""Names to components: hooks, entry points, clashes, failures that stay alone, files of the user's own."""

import inspect
import os
import subprocess
import sys
import textwrap
import threading
import time
import types
import warnings
from importlib.metadata import distributions

import pytest

import rnncore.registry as registry
from rnncore import entries, hookspecs
from rnncore.entries import UnknownName
from rnncore.errors import InputError, LanguageError, PluginError
from rnncore.lang import cell, loss, tanh
from rnncore.registry import Namespace, PluginWarning, build, load_file, register

GOOD = """
from rnncore import hookimpl
from rnncore.lang import cell, tanh

@cell
def {name}(w, x, h):
    return tanh(w.h(x, h))

@hookimpl
def rnncore_cells():
    return [{name}]
"""


@pytest.fixture
def fresh(monkeypatch):
    """The registry of this process, put back afterwards."""
    monkeypatch.setattr(registry, "_current", registry.current())


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Lay out distributions, one module each, and give the entry points of all of them."""
    monkeypatch.syspath_prepend(str(tmp_path))
    written = []

    def put(text, name, value=None):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        info = tmp_path / f"{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[rnncore]\n{name} = {value or name}\n")
        written.append(name)

    def points():
        return [e for d in distributions(path=[str(tmp_path)]) for e in d.entry_points]

    yield put, points
    for name in written:
        sys.modules.pop(name, None)


def tiny(name, module="somewhere", qualname=None):
    """A cell that says it comes from `module`."""

    def fn(w, x, h):
        return tanh(w.h(x, h))

    fn.__name__, fn.__qualname__, fn.__module__ = name, qualname or name, module
    return cell(fn)


def test_an_entry_point_brings_its_components_with_provenance(install):
    put, points = install
    put(GOOD.format(name="first_cell"), "first_dist")
    found = build(points())
    entry = found.entry("cell", "first_cell")
    assert found.failures == ()
    assert (entry.provider, entry.version) == ("first_dist", "1.2")
    assert entry.origin.endswith("first_dist.py:6")
    assert found.get("cell", "first_cell").name == "first_cell"


HOOK = "from rnncore import hookimpl\n@hookimpl\ndef {}:\n    return {}"
BROKEN = {
    "at_import": ("1 / 0", "ZeroDivisionError"),
    "missing": ("import no_such_module_at_all", "no_such_module_at_all"),
    "leaves": ("raise SystemExit(3)", "SystemExit"),
    "syntax": ("def f(:", "SyntaxError"),
    "in_hook": (HOOK.format("rnncore_cells()", "{}['k']"), "KeyError"),
    "no_list": (HOOK.format("rnncore_cells()", "3"), "got 3"),
    "rubbish": (HOOK.format("rnncore_cells()", "[str]"), "class 'str'"),
    "wrong_kind": (
        "from rnncore.lang import loss\n@loss\ndef q(o, target):\n    return o\n"
        + HOOK.format("rnncore_cells()", "[q]"),
        "'q' is a loss",
    ),
    "misspelt": (HOOK.format("rnncore_cell()", "[]"), "'rnncore_cell'"),
    "unmarked": ("def rnncore_cells():\n    return []", "not marked"),
    "argument": (HOOK.format("rnncore_cells(me)", "[]"), "'me'"),
    "no_mapping": (HOOK.format("rnncore_defaults()", "[1]"), "mapping"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_recorded_by_name_and_takes_nothing_down(install, case):
    put, points = install
    text, said = BROKEN[case]
    put(text, f"broken_{case}")
    put(GOOD.format(name="good_cell"), "good_dist")
    found = build(points())
    assert found.names("cell") == ["good_cell"]
    (failure,) = found.failures
    assert failure.provider == f"broken_{case}"
    assert said in failure.error


def test_an_entry_point_without_its_module_is_recorded(install):
    put, points = install
    put("", "hollow", value="hollow_module_that_is_not:thing")
    (failure,) = build(points()).failures
    assert failure.provider == "hollow"
    assert failure.error == "ModuleNotFoundError: No module named 'hollow_module_that_is_not'"


def test_two_providers_of_one_name_clash_at_that_name_only(install):
    put, points = install
    put(GOOD.format(name="twice"), "dist_a")
    put(GOOD.format(name="twice"), "dist_b")
    put(GOOD.format(name="once"), "dist_c")
    found = build(points())
    with pytest.raises(PluginError, match=r"(?s)cell 'twice'.*dist_a.*dist_b"):
        found.get("cell", "twice")
    assert found.get("cell", "once").name == "once"
    (failure,) = found.failures
    assert "dist_a" in failure.provider and "dist_b" in failure.provider and "'twice'" in failure.error


def test_defaults_come_by_topic_and_one_that_is_given_stays(install):
    put, points = install
    text = "from rnncore import hookimpl\n@hookimpl\ndef rnncore_defaults():\n    return {mapping}"
    put(text.format(mapping={"size": {"units": 3, "lr": 0.1}}), "gives_a")
    put(text.format(mapping={"size": {"units": 4, "depth": 2}, "other": {"units": 5}}), "gives_b")
    found = build(points())
    assert dict(found.defaults("size")) == {"units": 3, "lr": 0.1, "depth": 2}
    assert dict(found.defaults("other")) == {"units": 5} and dict(found.defaults("none")) == {}
    (failure,) = found.failures
    assert failure.provider == "gives_b" and "size: units" in failure.error


def test_failures_are_warned_of_once(monkeypatch, install):
    put, points = install
    put("1 / 0", "broken_loudly")
    found = build(points())
    monkeypatch.setattr(registry, "_current", None)
    monkeypatch.setattr(registry, "build", lambda: found)
    with pytest.warns(PluginWarning, match="broken_loudly"):
        registry.current()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert registry.current() is found


def test_an_installed_plugin_is_found_in_a_new_process(install, tmp_path):
    put, _ = install
    put(GOOD.format(name="stranger"), "stranger_dist")
    put("1 / 0", "broken_dist")
    code = "from rnncore.registry import current as c; print(c().get('cell', 'stranger').name, c().failures)"
    command = [sys.executable, "-W", "ignore", "-c", code]
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.stdout.startswith("stranger ") and "broken_dist" in done.stdout, done.stderr


def test_register_swaps_in_a_new_value(fresh):
    before = registry.current()
    made = tiny("swapped_in")
    assert register(made) is made
    assert "swapped_in" not in before.entries["cell"]
    assert Namespace("cell").swapped_in is made
    with pytest.raises(TypeError):
        before.entries["cell"]["swapped_in"] = ()


def test_the_same_module_and_qualified_name_replaces(fresh):
    register(tiny("again"))
    second = tiny("again")
    register([second])
    assert Namespace("cell").again is second


@pytest.mark.parametrize("other", [{"module": "elsewhere"}, {"qualname": "outer.clashing"}])
def test_any_other_clash_is_an_error_naming_both(fresh, other):
    first, second = tiny("clashing"), tiny("clashing", **other)
    register(first)
    with pytest.raises(PluginError, match=r"(?s)'clashing'.*test_registry\.py:\d+.*test_registry\.py:\d+"):
        register(second)
    assert Namespace("cell").clashing is first


@pytest.mark.parametrize("rubbish", [3, "name", [1], [int], {"a": 1}, None])
def test_register_refuses_what_is_no_component(fresh, rubbish):
    with pytest.raises(PluginError, match="expected a component"):
        register(rubbish)


def test_register_takes_a_module_with_hooks_or_without(fresh):
    module = types.ModuleType("notebook_module")
    module.plain = tiny("in_the_open", "notebook_module")
    hidden = tiny("in_a_hook", "notebook_module")

    @hookspecs.hookimpl
    def rnncore_cells():
        return [hidden]

    module.rnncore_cells = rnncore_cells
    register(module)
    assert Namespace("cell").in_the_open is module.plain
    assert Namespace("cell").in_a_hook is hidden


def test_register_raises_for_a_misspelt_hook_of_a_module(fresh):
    module = types.ModuleType("misspelling_module")

    @hookspecs.hookimpl
    def rnncore_cellz():
        return []

    module.rnncore_cellz = rnncore_cellz
    with pytest.raises(PluginError, match="rnncore_cellz"):
        register(module)


def test_many_threads_register_without_loss(fresh, monkeypatch):
    whole = entries.Registry.with_components

    def slow(*given):
        time.sleep(0.001)
        return whole(*given)

    monkeypatch.setattr(entries.Registry, "with_components", slow)
    made = [tiny(f"threaded_{k}") for k in range(64)]

    def work(part):
        for component in part:
            register(component)

    threads = [threading.Thread(target=work, args=(made[k::8],)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(c.name in Namespace("cell") for c in made)


def test_what_is_registered_first_collects_the_others(monkeypatch):
    monkeypatch.setattr(registry, "_current", None)
    monkeypatch.setattr(registry, "_lock", type(registry._lock)())  # of its own, should it stay shut
    thread = threading.Thread(target=register, args=(tiny("the_very_first"),), daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive() and {"the_very_first", "gru"} <= set(dir(Namespace("cell")))


def test_an_unknown_name_lists_the_choices_and_the_nearest(fresh):
    register([tiny("alpha_cell"), tiny("beta_cell")])
    cells = Namespace("cell")
    with pytest.raises(UnknownName, match="'ALPHA_CELL'; did you mean 'alpha_cell'"):
        cells["ALPHA_CELL"]
    with pytest.raises(UnknownName, match=r"(?s)'alpha_sell'; did you mean 'alpha_cell'\?.*beta_cell"):
        _ = cells.alpha_sell
    with pytest.raises(InputError):
        cells["nothing like it"]
    assert not hasattr(cells, "alpha_sell") and hasattr(cells, "alpha_cell")


def test_a_namespace_lists_itself(fresh):
    register(tiny("listed_cell"))
    cells = Namespace("cell")
    assert "listed_cell" in dir(cells) and "listed_cell" in list(cells) and "listed_cell" in repr(cells)
    assert len(cells) == len(list(cells)) and list(cells) == sorted(cells)


FILE = """
from rnncore.lang import cell, loss, sum, tanh

@cell
def own_cell(w, x, h):
    return tanh(w.h(x, h))

@loss
def own_loss(o, target):
    return sum(o * target)
"""


def test_every_component_of_a_file_counts(fresh, tmp_path):
    path = tmp_path / "my cell.py"
    path.write_text(FILE)
    module = load_file(path)
    assert sys.modules[module.__name__] is module
    assert Namespace("cell").own_cell is module.own_cell
    assert Namespace("loss").own_loss is module.own_loss
    assert registry.current().entry("cell", "own_cell").provider == str(path)
    assert "tanh(w.h(x, h))" in module.own_cell.source
    assert not list(tmp_path.glob("__pycache__"))


def test_a_file_changed_and_loaded_again_replaces(fresh, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    load_file(path)
    path.write_text(FILE.replace("tanh(w.h(x, h))", "tanh(w.n(x, h))"))
    load_file(path)
    assert "w.n" in Namespace("cell").own_cell.source


FILE_ERRORS = {
    "syntax": ("a = 1\ndef f(:\n    pass", 2, "SyntaxError"),
    "import": ("\n\nimport no_such_module_at_all", 3, "No module named"),
    "name": ("a = 1\nb = undefined_name", 2, "undefined_name"),
    "op": ("from rnncore.lang import cell, tahn", 1, "tahn"),
    "decorated": ("from rnncore.lang import cell\n\n@cell\ndef own(w, x):\n    return x", 3, "state"),
    "exit": ("raise SystemExit('bye')", 1, "bye"),
}


@pytest.mark.parametrize("case", FILE_ERRORS)
def test_a_mistake_in_a_file_is_told_at_its_line(fresh, tmp_path, case):
    text, line, said = FILE_ERRORS[case]
    path = tmp_path / "wrong.py"
    path.write_text(text)
    before = set(sys.modules)
    with pytest.raises((PluginError, LanguageError)) as caught:
        load_file(path)
    assert f"wrong.py:{line}:" in str(caught.value)
    assert said in str(caught.value)
    assert not {m for m in set(sys.modules) - before if "wrong" in m}


def test_a_file_that_is_not_there_or_holds_nothing(fresh, tmp_path):
    with pytest.raises(PluginError, match="nowhere.py"):
        load_file(tmp_path / "nowhere.py")
    (tmp_path / "empty.py").write_text("a = 1")
    with pytest.raises(PluginError, match="no component"):
        load_file(tmp_path / "empty.py")


def test_a_file_that_takes_a_taken_name_names_both(fresh, tmp_path):
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text(FILE)
    load_file(tmp_path / "one.py")
    with pytest.raises(PluginError, match=r"(?s)one\.py.*two\.py"):
        load_file(tmp_path / "two.py")


def test_a_file_may_import_a_registered_component(fresh, tmp_path):
    register(loss(_half))
    more = "\nfrom rnncore.registry import current\nhalf = current().get('loss', '_half')\n"
    (tmp_path / "importing.py").write_text(FILE + more)
    load_file(tmp_path / "importing.py")
    assert registry.current().entry("loss", "_half").provider == "rnncore.register"


def _half(o, target):
    return o / 2


HOOKS = [n for n, f in vars(hookspecs).items() if n.startswith("rnncore_") and inspect.isfunction(f)]


def test_every_kind_has_a_hook():
    assert set(hookspecs.KINDS.values()) | {"rnncore_defaults"} == set(HOOKS)


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_is_documented_by_an_example_that_registers(hook, fresh):
    """The docstring's example is a plugin: run it, register it, and find what it gives."""
    import doctest

    spec = getattr(hookspecs, hook)
    (example,) = doctest.DocTestFinder().find(spec, hook, globs={})
    names = {"__name__": "docs_example"}
    example.globs = names
    result = doctest.DocTestRunner().run(example, clear_globs=False)
    assert result.attempted and result.failed == 0
    assert hook in names, f"the example of {hook} defines no such hook"
    given = names[hook]()
    if hook == "rnncore_defaults":
        assert dict(given)
    else:
        module = types.ModuleType("docs_example")
        setattr(module, hook, names[hook])
        register(module)
        (component,) = given
        assert hookspecs.KINDS[component.kind] == hook
        assert registry.current().get(component.kind, component.name) is component
