"""``rnncore generate``: what it learns, writes and refuses."""

import json

import pytest

import rnncore as rn
import rnncore.train.progress as progress
from rnncore.cli import main
from rnncore.train import load_model, save_model

TEXT = "the cat sat on the mat and the dog sat on the log.\n" * 30
SMALL = ["--units", "16", "--epochs", "8", "--batch", "4", "--lr", "0.03", "--quiet"]


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run the command in a folder with a text: exit status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text(TEXT)

    def go(*argv):
        with pytest.raises(SystemExit) as left:
            main(["generate", *map(str, argv)])
        captured = capsys.readouterr()
        return left.value.code or 0, captured.out, captured.err

    return go


def test_a_text_is_learned_and_its_model_writes_again(run, tmp_path):
    status, out, _ = run("mine.txt", *SMALL, "--characters", 50, "--prompt", "the ", "--out", "o")
    assert status == 0 and "bits per character" in out
    report = json.loads((tmp_path / "o" / "report.json").read_text())
    assert report["bits"] < 0.6 * report["unigram_bits"] and f"{report['bits']:.3f} bits" in out
    assert out.endswith(f"\n\n{report['sample']}\n") and len(report["sample"]) == 54
    assert (tmp_path / "o" / "curve.png").read_bytes()[:4] == b"\x89PNG"
    again = run("--model", "o/model.safetensors", "--characters", 50, "--prompt", "the ")
    assert again == (0, report["sample"] + "\n", "")


def test_an_interrupted_run_resumes_to_the_same_model(run, tmp_path, monkeypatch):
    common = ["mine.txt", *SMALL, "--epochs", 3, "--characters", 5]
    assert run(*common, "--out", "whole")[0] == 0
    seen, ended = [], progress.Progress.epoch

    def stop(self, record, epochs):
        seen.append(record)
        if len(seen) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(progress.Progress, "epoch", stop)
    status, _, err = run(*common, "--out", "broken")
    kept = "with --resume the same command goes on from broken/run.checkpoint, after epoch 1"
    assert (status, err) == (130, f"rnncore: interrupted in epoch 3 of 3; {kept}\n")
    monkeypatch.setattr(progress.Progress, "epoch", ended)
    assert run(*common, "--out", "broken", "--resume")[0] == 0
    whole, broken = (load_model(tmp_path / name / "model.safetensors")[1].flat for name in ("whole", "broken"))
    assert whole.tobytes() == broken.tobytes() and not list((tmp_path / "broken").glob("*.checkpoint"))


def test_one_that_only_writes_has_nothing_to_keep(run, tmp_path, monkeypatch):
    def stop(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr("rnncore.cli.generate._load", stop)
    assert run("--model", "m.safetensors") == (130, "", "rnncore: interrupted\n")


def test_the_number_is_the_loss_of_what_is_held_out(run, tmp_path):
    run("mine.txt", *SMALL, "--epochs", 1, "--out", "o")
    net, params, extra = load_model(tmp_path / "o" / "model.safetensors")
    words = rn.data.Vocabulary(extra["characters"])
    held = words.encode(TEXT[int(len(TEXT) * 0.9) :])
    nats = net.loss(params, held[None, :-1], held[None, 1:], loss="cross_entropy")
    report = json.loads((tmp_path / "o" / "report.json").read_text())
    assert report["bits"] * 0.6931471805599453 == pytest.approx(nats, rel=1e-5)


@pytest.mark.parametrize("how", [["--temperature", 0], ["--beam", 3], ["--top-k", 2, "--top-p", 0.9]], ids=str)
def test_ways_to_choose(run, tmp_path, how):
    net = rn.Network(rn.cells.gru(4), inputs=rn.Tokens(3), outputs=3)
    save_model(tmp_path / "m.safetensors", net, net.init(), {"characters": "ab\n"})
    one, two = (run("-m", "m.safetensors", "--characters", 9, *how) for _ in range(2))
    assert one == two and one[0] == 0 and set(one[1]) <= set("ab\n")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["nowhere.txt"], "cannot read the text nowhere.txt"),
        (["short.txt"], "short.txt has 3 characters; 200 are the least"),
        (["bytes.txt"], "cannot read the text bytes.txt"),
        (["mine.txt", "--cell", "gruu"], "did you mean 'gru'"),
        (["mine.txt", "--prompt", "ZZ"], "none of the vocabulary's"),
        (["mine.txt", "--top-p", "2"], "top_p must be"),
        (["mine.txt", "--temperature", "0", "--top-k", "2"], "give a temperature"),
        (["mine.txt", "--beam", "0"], "--beam"),
        (["mine.txt", "--lr", "-1"], "above 0"),
        (["mine.txt", "--model", "m.safetensors"], "leave out the text mine.txt"),
        (["--model", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--model", "m.safetensors"], "no model of `rnncore generate`"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_learned(run, tmp_path, argv, said):
    (tmp_path / "short.txt").write_text("abc")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe" * 200)
    net = rn.Network(rn.cells.gru(4), inputs=3)
    save_model(tmp_path / "m.safetensors", net, net.init())
    status, out, err = run(*argv)
    assert status == 2 and out == "" and said in err
    assert not (tmp_path / "rnncore-text").exists()
