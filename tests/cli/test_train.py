"""`rnncore train`, and what becomes of a model afterwards: files in, files out, the same bytes again."""

import csv
import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import rnncore.registry as registry
import rnncore.train.progress as progress
from rnncore import backends
from rnncore.cli import main
from rnncore.cuda import target
from rnncore.train import load_model, save_model

SMALL = ["--units", 4, "--epochs", 3, "--quiet"]
CELL = '''
from rnncore.lang import cell, sigmoid, tanh

@cell
def own_cell(w, x, h):
    f = sigmoid(w.f(x, h))
    return f * h + (1 - f) * tanh(w.n(x))
'''


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run the command in a folder of its own: exit status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_current", registry.current())

    def go(*argv):
        with pytest.raises(SystemExit) as left:
            main([str(a) for a in argv])
        captured = capsys.readouterr()
        return left.value.code or 0, captured.out, captured.err

    return go


def classes_table(path, count=40, seed=0, per_step=False, name="label"):
    """Two classes: the sign of what the first feature sums up to (so far, where there is one a step)."""
    rng = np.random.default_rng(seed)
    rows = [["id", "time", "a", "b", name]]
    for i in range(count):
        steps = rng.normal(size=(rng.integers(2, 9), 2)) + rng.choice([-1, 1])
        sums = np.cumsum(steps[:, 0]) if per_step else np.full(len(steps), steps[:, 0].sum())
        texts = np.where(sums > 0, "up", "down")
        rows += [[f"s{i}", t, *step, text] for t, (step, text) in enumerate(zip(steps, texts, strict=True))]
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def values_arrays(path, count=40, seed=0):
    """The sum of a feature, far from mean 0 and deviation 1."""
    rng = np.random.default_rng(seed)
    x, lengths = rng.normal(size=(count, 6, 2)), rng.integers(1, 7, count)
    inside = np.arange(6) < lengths[:, None]
    np.savez(path, x=x, lengths=lengths, y=1000 + 50 * (x[:, :, 0] * inside).sum(1))
    return path


def numbers_of(folder):
    """Bytes of all parameters; those of the whole file differ by the order of its metadata."""
    return load_model(folder / "model.safetensors")[1].flat.tobytes()


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


def test_without_files_it_learns_the_embedded_data(run, tmp_path):
    status, out, err = run("train", "--units", 16, "--epochs", 8)
    assert status == 0, err
    report = json.loads((tmp_path / "rnncore-run/report.json").read_text())
    assert report["test"]["accuracy"] > 0.85
    assert f"accuracy {report['test']['accuracy']:.4f}" in out
    assert "JapaneseVowels_TEST.ts" in out and "seq/s" in err and "loss=" in err
    assert {p.name for p in (tmp_path / "rnncore-run").iterdir()} == {"model.safetensors", "report.json", "curve.png"}
    assert (tmp_path / "rnncore-run/curve.png").read_bytes().startswith(b"\x89PNG")
    status, out, _ = run("evaluate", "--json")
    assert json.loads(out)["accuracy"] == report["test"]["accuracy"]
    assert json.loads(out)["confusion"] == report["test"]["confusion"]


def test_the_report_holds_settings_and_both_runs(run, tmp_path):
    data = classes_table(tmp_path / "train.csv")
    assert run("train", data, *SMALL, "--out", "o", "--seed", 3, "--option", "reset=after")[0] == 0
    report = json.loads((tmp_path / "o/report.json").read_text())
    assert report["settings"]["seed"] == 3 and report["settings"]["option"] == ["reset=after"]
    assert report["network"] == "bidirectional(gru(4, reset='after'))"
    first, second = report["runs"]
    assert [len(r["history"]) for r in (first, second)] == [3, 3]
    assert "val_loss" in first["history"][0] and "val_loss" not in second["history"][0]
    assert "test" not in report and report["validation"]["on"] == "8 of 40 sequences"


@pytest.mark.parametrize("per_step", [False, True])
def test_classes_of_a_table_through_training_evaluation_and_prediction(run, tmp_path, per_step):
    train = classes_table(tmp_path / "train.csv", per_step=per_step)
    test = classes_table(tmp_path / "test.csv", count=11, seed=1, per_step=per_step)
    status, out, err = run("train", train, test, "--units", 8, "--epochs", 20, "-q", "--out", "o")
    assert status == 0, err
    accuracy = json.loads((tmp_path / "o/report.json").read_text())["test"]["accuracy"]
    assert accuracy > 0.7
    _, out, _ = run("evaluate", test, "--model", "o/model.safetensors")
    assert f"accuracy {accuracy:.4f}" in out and "true \\ predicted" in out
    status, out, _ = run("predict", test, "--model", "o/model.safetensors", "--output", "p.csv")
    head, *rows = rows_of(tmp_path / "p.csv")
    assert head == ["id", *(["step"] if per_step else []), "prediction", "p(down)", "p(up)"]
    given = rows_of(test)[1:]
    assert len(rows) == (len(given) if per_step else 11)
    true = [r[4] for r in given] if per_step else [r[4] for r in given if r[1] == "0"]
    found = [r[-3] for r in rows]
    assert np.mean([a == b for a, b in zip(true, found, strict=True)]) == pytest.approx(accuracy)
    assert all(float(a) + float(b) == pytest.approx(1, abs=1e-5) for *_, a, b in rows)


def test_values_come_back_in_their_own_units(run, tmp_path):
    train, test = values_arrays(tmp_path / "train.npz"), values_arrays(tmp_path / "test.npz", 30, 1)
    status, out, err = run("train", train, test, "--units", 16, "--epochs", 60, "-q", "--out", "o")
    assert status == 0, err
    report = json.loads((tmp_path / "o/report.json").read_text())
    true = np.load(test)["y"]
    run("predict", test, "--model", "o/model.safetensors", "--output", "p.csv")
    head, *rows = rows_of(tmp_path / "p.csv")
    assert head == ["id", "value 0"]
    found = np.array([float(r[1]) for r in rows])
    assert np.abs(found - true).mean() == pytest.approx(report["test"]["mean_absolute_error"], rel=1e-3)
    assert report["test"]["r2"] > 0.5 and "r2" in out


def test_columns_given_in_training_are_remembered(run, tmp_path):
    data = classes_table(tmp_path / "train.csv", name="grade")
    assert run("train", data, "--target", "grade", *SMALL, "--out", "o")[0] == 0
    assert "accuracy" in run("evaluate", data, "--model", "o/model.safetensors")[1]
    unlabelled = tmp_path / "plain.csv"
    unlabelled.write_text("\n".join(",".join(r[:4]) for r in rows_of(data)))
    assert run("predict", unlabelled, "--model", "o/model.safetensors", "--output", "p.csv")[0] == 0
    assert len(rows_of(tmp_path / "p.csv")) == 41


def test_the_same_seed_writes_the_same_model(run, tmp_path):
    data = classes_table(tmp_path / "train.csv")
    models = []
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run("train", data, *SMALL, "--out", out, "--seed", seed)[0] == 0
        models.append(numbers_of(tmp_path / out))
    assert models[0] == models[1] != models[2]


@pytest.mark.parametrize("stop_at", [2, 5])
def test_an_interrupted_run_resumes_to_the_same_model(run, tmp_path, monkeypatch, stop_at):
    data = classes_table(tmp_path / "train.csv")
    common = ["train", data, *SMALL, "--checkpoint", 1]
    assert run(*common, "--out", "whole")[0] == 0
    seen, ended = [], progress.Progress.epoch

    def stop(self, record, epochs):
        seen.append(record)
        if len(seen) == stop_at:
            raise KeyboardInterrupt
        ended(self, record, epochs)

    monkeypatch.setattr(progress.Progress, "epoch", stop)
    status, _, err = run(*common, "--out", "broken")
    assert (status, err) == (
        130,
        "rnncore: interrupted in epoch 3 of 3; with --resume the same command goes on from "
        f"broken/run{1 if stop_at < 3 else 2}.checkpoint, after epoch 1\n",
    )
    assert not (tmp_path / "broken/model.safetensors").exists()
    monkeypatch.setattr(progress.Progress, "epoch", ended)
    assert run(*common, "--out", "broken", "--resume")[0] == 0
    assert numbers_of(tmp_path / "whole") == numbers_of(tmp_path / "broken")
    assert not list((tmp_path / "broken").glob("*.checkpoint"))


@pytest.mark.parametrize(
    ("stop_at", "often", "told"),
    [
        (1, 2, "in epoch 2 of 3; nothing is kept of it"),
        (1, 0, "in epoch 2 of 3; nothing is kept of it"),
        (4, 3, "in epoch 2 of 3; with --resume the same command goes on from o/run1.checkpoint"),
    ],
)
def test_what_is_kept_of_an_interrupted_run_is_told(run, tmp_path, monkeypatch, stop_at, often, told):
    seen = []

    def stop(self, record, epochs):
        seen.append(record)
        if len(seen) == stop_at:
            raise KeyboardInterrupt

    monkeypatch.setattr(progress.Progress, "epoch", stop)
    data = classes_table(tmp_path / "train.csv")
    status, _, err = run("train", data, *SMALL, "--checkpoint", often, "--out", "o")
    assert (status, err) == (130, f"rnncore: interrupted {told}\n")


# As a shell in the foreground would: what a process in the background ignores, those that it starts ignore as well
LISTENING = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("rnncore.cli", run_name="__main__", alter_sys=True)
"""


def test_ctrl_c_in_the_middle_of_the_work(run, tmp_path):
    """A signal comes anywhere: exit status, one line, whole files, and it goes on."""
    options = [classes_table(tmp_path / "train.csv"), "--units", "4", "--checkpoint", "1", "-q", "--validation", "0"]
    command = [sys.executable, "-c", LISTENING, "train", *map(str, options), "--out", "o", "--epochs", "100000"]
    with subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        try:
            began = time.monotonic()
            while not (tmp_path / "o/run2.checkpoint").exists() and time.monotonic() - began < 100:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            told = process.communicate(timeout=60)[1]
        finally:
            process.kill()
    assert process.returncode == 130
    found = re.fullmatch(
        r"\s*rnncore: interrupted in epoch (\d+) of 100000; with --resume the same command goes on from "
        r"o/run2.checkpoint, after epoch (\d+)\s*",
        told,
    )
    assert found and 0 <= int(found[1]) - int(found[2]) <= 2
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["run2.checkpoint"]
    assert run("train", *options, "--out", "o", "--epochs", int(found[2]) + 2, "--resume", "--lr", 0.5)[0] == 2
    assert run("train", *options, "--out", "o", "--epochs", int(found[2]) + 2, "--resume")[0] == 0
    assert json.loads((tmp_path / "o/report.json").read_text())["runs"][0]["epochs"] == int(found[2]) + 2


def test_patience_ends_the_second_run_at_the_best_epoch_of_the_first(run, tmp_path):
    data = classes_table(tmp_path / "train.csv")
    options = ["--units", 16, "--epochs", 200, "--lr", 0.05, "--patience", 3, "-q"]
    assert run("train", data, *options, "--out", "o")[0] == 0
    first, second = json.loads((tmp_path / "o/report.json").read_text())["runs"]
    assert first["stopped"] == "patience" and second["epochs"] == first["best_epoch"] < first["epochs"] < 200


def test_one_run_only(run, tmp_path):
    data = classes_table(tmp_path / "train.csv")
    for options in (["--validation", 0], ["--no-refit"]):
        assert run("train", data, *SMALL, *options, "--out", "o")[0] == 0
        assert len(json.loads((tmp_path / "o/report.json").read_text())["runs"]) == 1


def test_long_sequences_are_cut_into_chunks(run, tmp_path):
    data = classes_table(tmp_path / "train.csv", per_step=True)
    common = ["train", data, *SMALL, "--validation", 0, "--out", "o"]
    status, _, error = run(*common, "--truncate", 3)
    assert status == 2 and "reads backward in time" in error and not (tmp_path / "o").exists()
    updates = []
    for options in ([], ["--truncate", 3]):
        assert run(*common, "--topology", "elman", *options)[0] == 0
        updates.append(json.loads((tmp_path / "o/report.json").read_text())["runs"][0]["updates"])
    assert updates[0] < updates[1]


def test_a_stack_of_layers_other_optimizers_and_float64(run, tmp_path):
    data = classes_table(tmp_path / "train.csv")
    options = ["--layers", 2, "--topology", "elman", "--option", "stack.dropout=0.1", "--dtype", "float64"]
    assert run("train", data, *SMALL, *options, "--optimizer", "sgd", "--learned-state", "--out", "o")[0] == 0
    network, params, _ = load_model(tmp_path / "o/model.safetensors")
    assert repr(network.layer) == "deep(elman(gru(4)), elman(gru(4)), dropout=0.1)"
    assert params.dtype == np.float64 and "0.h0" in params
    assert run("train", data, *SMALL, "--optimizer", "lbfgs", "--out", "o")[0] == 0


@pytest.mark.skipif(target.missing() is not None, reason="needs a GPU or the simulator")
def test_on_a_gpu_it_learns_what_it_does_on_the_cpu(run, tmp_path):
    data = classes_table(tmp_path / "train.csv", count=6)
    rows = ["--batch", 8, "--validation", 0.4, "--dtype", "float64"]
    for device in ("cpu", "cuda"):
        status, _, err = run("train", data, *SMALL, *rows, "--device", device, "--out", device)
        assert status == 0, err
    (_, want, _), (_, got, _) = (load_model(tmp_path / device / "model.safetensors") for device in ("cpu", "cuda"))
    np.testing.assert_allclose(got.flat, want.flat, rtol=0, atol=1e-9)


def test_a_device_that_is_not_there_is_refused_before_anything_is_written(run, tmp_path, monkeypatch):
    monkeypatch.setattr(backends, "_loaded", {})
    monkeypatch.setattr(target, "missing", lambda: "no driver")
    status, _, err = run("train", classes_table(tmp_path / "train.csv"), *SMALL, "--device", "cuda", "--out", "o")
    assert status == 2 and "device 'cuda' is not available: no driver" in err and not (tmp_path / "o").exists()


def test_a_cell_of_the_users_own_trains_and_is_asked_for_later(run, tmp_path):
    data = classes_table(tmp_path / "train.csv")
    (tmp_path / "mine.py").write_text(CELL)
    status, out, err = run("train", data, *SMALL, "--plugin", "mine.py", "--cell", "own_cell", "--out", "o")
    assert status == 0, err
    assert "own_cell(4)" in out
    assert run("evaluate", data, "--plugin", "mine.py", "--model", "o/model.safetensors")[0] == 0


def test_a_model_of_an_unknown_cell_says_how_to_give_it(run, tmp_path, monkeypatch):
    data = classes_table(tmp_path / "train.csv")
    (tmp_path / "mine.py").write_text(CELL)
    before = registry.current()
    assert run("train", data, *SMALL, "--plugin", "mine.py", "--cell", "own_cell", "--out", "o")[0] == 0
    monkeypatch.setattr(registry, "_current", before)
    status, _, err = run("evaluate", data, "--model", "o/model.safetensors")
    assert status == 2 and "own_cell" in err and "--plugin FILE" in err


MISTAKES = {
    "wrong_size": ("return tanh(w.a(x, h, size=3)) * tanh(w.b(x, h, size=4))", "3 and 4"),
    "symbol_if": ("if h > 0: h = -h", "where"),
    "unnamed": ("return tanh(w.n(x, 0.5 * h))", "keyword"),
    "no_return": ("h = tanh(w.n(x, h))", "return"),
    "unknown_op": ("return tanhh(w.n(x, h))", "tanhh"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_in_a_cell_is_told_at_its_line(run, tmp_path, case):
    line, said = MISTAKES[case]
    (tmp_path / "mine.py").write_text(
        f"from rnncore.lang import cell, tanh\n\n@cell\ndef wrong(w, x, h):\n    {line}\n"
    )
    status, _, err = run("train", "--plugin", "mine.py", "--cell", "wrong", "--out", "o")
    assert status == 2 and "Traceback" not in err and "mine.py:" in err and said in err
    assert line in err and not (tmp_path / "o").exists()


def test_data_that_does_not_fit_is_told(run, tmp_path):
    data = classes_table(tmp_path / "train.csv")
    assert run("train", data, *SMALL, "--out", "o")[0] == 0
    (tmp_path / "gap.csv").write_text("id,time,a,b,label\ns,0,1,,up\n")
    (tmp_path / "narrow.csv").write_text("id,time,a,label\ns,0,1,up\n")
    (tmp_path / "foreign.csv").write_text("id,time,a,b,label\ns,0,1,2,sideways\n")
    (tmp_path / "plain.csv").write_text("id,time,a,b\ns,0,1,2\n")
    for argv, said in [
        (["train", "gap.csv"], "gap.csv:2: a value is missing"),
        (["train", "plain.csv"], "--target"),
        (["train", "foreign.csv", "--out", "n"], "one part empty"),
        (["train", data, "narrow.csv", *SMALL, "--out", "n"], "'b'"),
        (["evaluate", "narrow.csv", "--model", "o/model.safetensors"], "'b'"),
        (["evaluate", "foreign.csv", "--model", "o/model.safetensors"], "'sideways'"),
        (["evaluate", "plain.csv", "--model", "o/model.safetensors"], "no targets"),
        (["evaluate", "--model", "o/model.safetensors"], "12 features"),
    ]:
        status, _, err = run(*argv)
        assert status == 2 and said in err and "Traceback" not in err, (argv, err)


def test_a_damaged_or_foreign_model_is_told(run, tmp_path):
    data = classes_table(tmp_path / "train.csv")
    assert run("train", data, *SMALL, "--out", "o")[0] == 0
    whole = (tmp_path / "o/model.safetensors").read_bytes()
    (tmp_path / "half.safetensors").write_bytes(whole[: len(whole) // 2])
    network, params, _ = load_model(tmp_path / "o/model.safetensors")
    save_model(tmp_path / "bare.safetensors", network, params)
    for name, said in (("half", "half.safetensors"), ("bare", "how data is prepared")):
        status, _, err = run("evaluate", data, "--model", f"{name}.safetensors")
        assert status == 2 and said in err and "Traceback" not in err


@pytest.mark.slow
def test_the_recipe_reaches_its_accuracy(run, tmp_path):
    accuracies = []
    for seed in range(5):
        assert run("train", "--quiet", "--seed", seed, "--out", f"o{seed}")[0] == 0
        accuracies.append(json.loads((tmp_path / f"o{seed}/report.json").read_text())["test"]["accuracy"])
    assert np.median(accuracies) >= 0.975, accuracies
