"""`rnncore translate`: pairs of texts in, a model and pictures out, the numbers it prints recomputed."""

import json

import numpy as np
import pytest
from matplotlib import image

import rnncore as rn
import rnncore.registry as registry
import rnncore.train.progress as progress
from rnncore.cli import main
from rnncore.data import Vocabulary
from rnncore.train import load_model, save_model

SMALL = ["--units", 6, "--epochs", 3, "--quiet", "--beam", 2]


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


def letters(path, count=80, seed=0, alphabet="abc"):
    """Texts and their upper case backward."""
    rng = np.random.default_rng(seed)
    texts = ["".join(rng.choice(list(alphabet), rng.integers(1, 4))) for _ in range(count)]
    path.write_text("".join(f"{text}\t{text[::-1].upper()}\n" for text in texts), encoding="utf-8")
    return path


def used_again(folder, texts, beam=None):
    """What a saved model makes of texts."""
    net, params, words = load_model(folder / "model.safetensors")
    source, target = Vocabulary(**words["source"]), Vocabulary(**words["target"])
    x = [source.encode(text) for text in texts]
    found = rn.generate(net, params, x, steps=words["steps"], end=target.end, beam=beam)
    return [target.decode(tokens) for tokens in found.tokens]


def test_the_numbers_are_those_of_the_model_that_is_kept(run, tmp_path):
    train, test = letters(tmp_path / "train.tsv", 300), letters(tmp_path / "test.tsv", 30, seed=1)
    options = ["--units", 12, "--epochs", 12, "--lr", 0.03, "--quiet", "--beam", 2]
    status, out, err = run("translate", train, test, *options, "--show", "ab", "--show", "cba")
    folder = tmp_path / "rnncore-translation"
    assert (status, err) == (0, "") and "written     rnncore-translation/model.safetensors" in out
    pairs = [line.split("\t") for line in test.read_text().splitlines()]
    report = json.loads((folder / "report.json").read_text())
    for name, beam in (("greedy", None), ("beam", 2)):
        said = used_again(folder, [source for source, _ in pairs], beam)
        exact = np.mean([a == b for a, (_, b) in zip(said, pairs)])
        assert exact == report["exact_match"][name] > 0.5 and f"exact match {exact:.2%} of 30 ({name}" in out
    said = [f"{text} -> {words}" for text, words in zip(["ab", "cba"], used_again(folder, ["ab", "cba"]))]
    assert said[0] in out and said[1] in out
    status, out, _ = run("translate", "--model", folder / "model.safetensors", "--show", "ab", "--show", "cba")
    assert status == 0 and [line.strip() for line in out.splitlines()] == said
    assert image.imread(folder / "attention.png").std() > 0 and image.imread(folder / "curve.png").std() > 0
    assert sorted(p.name for p in folder.iterdir()) == [
        "attention.png", "curve.png", "model.safetensors", "report.json"
    ]  # fmt: skip


def test_dates_are_learned_where_no_file_is_given(run, tmp_path):
    status, out, err = run("translate", "--pairs", 100, *SMALL, "--epochs", 1)
    assert (status, err) == (0, "")
    assert "Pairs(100 pairs" in out and "100 others" in out and "of 100 (beam of 2)" in out
    assert out.count("wrong: ") == 6 and out.count(" -> ") == 10  # three of each, and the four that are shown


def test_a_tenth_is_held_out_where_there_is_no_test_file(run, tmp_path):
    status, out, _ = run("translate", letters(tmp_path / "train.tsv", 41), *SMALL)
    assert status == 0 and "Pairs(37 pairs" in out and "of 4 (greedy)" in out


@pytest.mark.parametrize("stop_at", [1, 2])
def test_an_interrupted_run_resumes_to_the_same_model(run, tmp_path, monkeypatch, stop_at):
    common = ["translate", letters(tmp_path / "train.tsv"), *SMALL]
    assert run(*common, "--out", "whole")[0] == 0
    seen, ended = [], progress.Progress.epoch

    def stop(self, record, epochs):
        seen.append(record)
        if len(seen) == stop_at:
            raise KeyboardInterrupt
        ended(self, record, epochs)

    monkeypatch.setattr(progress.Progress, "epoch", stop)
    status, _, err = run(*common, "--out", "broken")
    kept = "with --resume the same command goes on from broken/run.checkpoint, after epoch 1"
    assert status == 130 and err.endswith(f"; {kept if stop_at > 1 else 'nothing is kept of it'}\n")
    monkeypatch.setattr(progress.Progress, "epoch", ended)
    assert run(*common, "--out", "broken", "--resume")[0] == 0
    whole, broken = (load_model(tmp_path / name / "model.safetensors")[1].flat for name in ("whole", "broken"))
    assert whole.tobytes() == broken.tobytes()


def test_one_that_is_interrupted_after_its_training_keeps_it(run, tmp_path, monkeypatch):
    def stop(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr("rnncore.cli.translate._score", stop)
    status, _, err = run("translate", letters(tmp_path / "train.tsv"), *SMALL, "--out", "o")
    assert status == 130
    assert err == "rnncore: interrupted; with --resume the same command goes on from o/run.checkpoint\n"


def test_a_file_that_is_too_small_is_told(run, tmp_path):
    status, out, err = run("translate", letters(tmp_path / "train.tsv", 39), *SMALL)
    assert status == 2 and "has 39 pairs; to learn from them takes 40" in err and out == ""
    assert [p.name for p in tmp_path.iterdir()] == ["train.tsv"]


def test_a_model_that_is_there_needs_texts_of_its_characters(run, tmp_path):
    net = rn.Network(rn.cells.gru(2), inputs=1)
    save_model("plain.safetensors", net, net.init())
    run("translate", letters(tmp_path / "train.tsv", 41), *SMALL, "--epochs", 1)
    mine = ["translate", "--model", "rnncore-translation/model.safetensors", "--out", "new"]
    for argv, said in (
        (mine, "--show"), ([*mine, "--show", "xyz"], "'x'"), ([*mine, "train.tsv", "--show", "ab"], "leave out"),
        (["translate", "train.tsv", "--show", "ab?", "--out", "new"], "'?'"),
        (["translate", "--model", "plain.safetensors", "--show", "ab"], "no model of `rnncore translate`"),
        (["translate", "--model", "nowhere.safetensors", "--show", "ab"], "nowhere"),
    ):  # fmt: skip
        status, out, err = run(*argv)
        assert (status, out) == (2, "") and said in err and not (tmp_path / "new").exists()
