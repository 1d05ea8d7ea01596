"""The command as a whole: help, versions, and how a wrong argument is told."""

import inspect
import typing
from importlib import import_module
from importlib.metadata import version

import pytest

from rnncore.cli import main

COMMANDS = ["train", "predict", "evaluate", "translate", "generate", "explain", "plugins", "doctor"]


def options_of(command):
    """The dataclass that a command takes."""
    function = getattr(import_module(f"rnncore.cli.{command}"), command)
    (parameter,) = inspect.signature(function).parameters.values()
    return parameter.annotation


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run the command in an empty folder: exit status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def go(*argv):
        with pytest.raises(SystemExit) as left:
            main([str(a) for a in argv])
        captured = capsys.readouterr()
        return left.value.code or 0, captured.out, captured.err

    return go


def test_without_arguments_it_shows_its_commands(run):
    status, out, _ = run()
    assert status == 0 and all(command in out for command in COMMANDS)


def test_version(run):
    assert run("--version")[:2] == (0, version("rnncore") + "\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_every_option(run, command):
    status, out, _ = run(command, "--help")
    assert status == 0
    for name in inspect.signature(options_of(command)).parameters:
        spelled = {"as_json": "json", "names": "NAME"}.get(name, name.replace("_", "-"))
        assert spelled in out or spelled.upper() in out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_help_text(command):
    for name, hint in typing.get_type_hints(options_of(command), include_extras=True).items():
        (told,) = hint.__metadata__
        assert told.help and told.help[0].isupper() and told.help.endswith("."), name


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["trian"], "trian"),
        (["train", "--unitz", 3], "--unitz"),
        (["train", "--units", 0], "--units"),
        (["train", "--units", "many"], "--units"),
        (["train", "--cell", "gruu"], "did you mean 'gru'"),
        (["train", "--topology", "nothing_like_it"], "bidirectional"),
        (["train", "--option", "nonsense"], "NAME=VALUE"),
        (["train", "--option", "recipe.a=1"], "KIND"),
        (["train", "--option", "nonsense=1"], "'nonsense'"),
        (["train", "--option", "optimizer.nonsense=1"], "'nonsense'"),
        (["train", "--option", "stack.dropout=0.5"], "--layers 2"),
        (["train", "--optimizer", "lbfgs", "--option", "optimizer.nonsense=1"], "nonsense"),
        (["train", "--loss", "mean_squared"], "is for values"),
        (["train", "--dtype", "float16"], "float16"),
        (["train", "--lr", "-1"], "above 0"),
        (["train", "nowhere.ts"], "nowhere.ts"),
        (["train", "table.xls"], "table.xls"),
        (["train", "--plugin", "nowhere.py"], "nowhere.py"),
        (["evaluate"], "model.safetensors"),
        (["predict", "--model", "nowhere.safetensors"], "nowhere.safetensors"),
        (["translate", "nowhere.tsv"], "nowhere.tsv"),
        (["translate", "--scorer", "bahdanu"], "did you mean 'bahdanau'"),
        (["translate", "--cell", "gruu"], "did you mean 'gru'"),
        (["translate", "--beam", 0], "--beam"),
        (["translate", "--pairs", 3], "--pairs"),
        (["translate", "--lr", "-1"], "above 0"),
        (["explain", "gruu"], "did you mean 'gru'"),
        (["plugins", "gruu"], "did you mean 'gru'"),
    ],
)
def test_a_wrong_argument_is_one_clear_message_and_writes_nothing(run, tmp_path, argv, said):
    status, out, err = run(*argv)
    assert status == 2
    assert err.startswith("rnncore: error: ") and said in err and "Traceback" not in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(run, tmp_path):
    (tmp_path / "taken").write_text("a file")
    status, _, err = run("train", "--out", "taken/inside")
    assert status == 2 and "taken/inside" in err
