"""How good is a model, and how far from another one? Against the same figures computed from its logits by numpy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import edgemoe
from model_files import write_model

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    import numpy.typing as npt

    Cli = Callable[..., subprocess.CompletedProcess[str]]
    Array = npt.NDArray[np.float64]

TEXT = Path(__file__).read_text(encoding="utf-8")
N_CTX = 64


@pytest.fixture(scope="module")
def other_file(tmp_path_factory: pytest.TempPathFactory, tokenizer: dict[str, Any]) -> Path:
    """Another random model with the same tokenizer as text_file."""
    return write_model(tmp_path_factory.mktemp("other") / "other.gguf", "Q8_0", tokenizer=tokenizer, seed=2)


def log_probabilities(path: Path, n_windows: int) -> tuple[Array, list[int]]:
    """Log softmax of the scored tokens' logits, one row each, and the tokens that came."""
    rows, targets = [], []
    with edgemoe.load(path, n_ctx=N_CTX, n_batch=N_CTX) as model:
        tokens = model.tokenize(TEXT)
        for begin in range(0, n_windows * N_CTX, N_CTX):
            window = tokens[begin : begin + N_CTX]
            logits = model.logits(window).astype(np.float64)
            scored = range(N_CTX // 2, N_CTX - 1)
            rows.append(logits[scored])
            targets += [window[position + 1] for position in scored]
    stacked = np.concatenate(rows)
    return stacked - np.log(np.exp(stacked).sum(axis=1, keepdims=True)), targets


def test_perplexity_is_that_of_the_models_logits(text_file: Path) -> None:
    evaluation = edgemoe.evaluate(text_file, TEXT, n_ctx=N_CTX, n_tokens=3 * N_CTX + 5)
    log_p, targets = log_probabilities(text_file, 3)
    surprise = -log_p[np.arange(len(targets)), targets]
    assert evaluation.tokens == len(targets) == 3 * (N_CTX // 2 - 1)
    assert evaluation.perplexity == pytest.approx(np.exp(surprise.mean()), rel=1e-5)
    error = evaluation.perplexity * np.sqrt(surprise.var() / (len(targets) - 1))
    assert evaluation.perplexity_error == pytest.approx(error, rel=1e-4)
    assert evaluation.kl_divergence is None
    assert evaluation.argmax_agreement is None


def test_kl_divergence_is_that_of_the_two_models_logits(text_file: Path, other_file: Path) -> None:
    evaluation = edgemoe.evaluate(other_file, TEXT, against=text_file, n_ctx=N_CTX, n_tokens=2 * N_CTX)
    base, targets = log_probabilities(text_file, 2)
    own, _ = log_probabilities(other_file, 2)
    divergence = (np.exp(base) * (base - own)).sum(axis=1)
    assert evaluation.kl_divergence == pytest.approx(divergence.mean(), rel=1e-5)
    assert evaluation.kl_divergence_error == pytest.approx(np.sqrt(divergence.var() / (len(targets) - 1)), rel=1e-4)
    agreement = (base.argmax(axis=1) == own.argmax(axis=1)).mean()
    assert evaluation.argmax_agreement == pytest.approx(agreement)
    base_perplexity = np.exp(-base[np.arange(len(targets)), targets].mean())
    assert evaluation.base_perplexity == pytest.approx(base_perplexity, rel=1e-5)


def test_a_model_does_not_differ_from_itself(text_file: Path) -> None:
    evaluation = edgemoe.evaluate(text_file, TEXT, against=text_file, n_ctx=N_CTX, n_tokens=2 * N_CTX)
    assert evaluation.kl_divergence == 0.0
    assert evaluation.kl_divergence_error == 0.0
    assert evaluation.argmax_agreement == 1.0
    assert evaluation.perplexity == evaluation.base_perplexity


def test_neither_a_small_cache_nor_threads_change_the_figures(text_file: Path, other_file: Path) -> None:
    options = {"against": text_file, "n_ctx": N_CTX, "n_tokens": 2 * N_CTX}
    resident = edgemoe.evaluate(other_file, TEXT, n_threads=1, **options)
    assert edgemoe.evaluate(other_file, TEXT, expert_cache="1MiB", n_threads=2, **options) == resident


def test_windows_longer_than_a_ubatch_are_scored_whole(text_file: Path) -> None:
    tokens = edgemoe.evaluate(text_file, TEXT * 2, n_ctx=1024, n_tokens=1024).tokens
    assert tokens == 1024 - 512 - 1


def test_a_dense_model_can_be_evaluated(dense_file: Path) -> None:
    evaluation = edgemoe.evaluate(dense_file, TEXT, against=dense_file, n_ctx=N_CTX, n_tokens=N_CTX)
    assert evaluation.kl_divergence == 0.0


def test_a_text_shorter_than_a_window_is_refused_with_its_length(text_file: Path) -> None:
    with pytest.raises(ValueError, match=r"too short: \d+ tokens, at least 512"):
        edgemoe.evaluate(text_file, "def f(): pass")


def test_a_text_that_is_not_utf8_is_refused(text_file: Path) -> None:
    with pytest.raises(ValueError, match="not UTF-8: invalid byte at position 3"):
        edgemoe.evaluate(text_file, b"abc\xff" * 1000)


def test_models_of_different_vocabularies_are_refused(text_file: Path, moe_file: Path) -> None:
    with pytest.raises(ValueError, match="different vocabularies"):
        edgemoe.evaluate(text_file, TEXT, against=moe_file, n_ctx=N_CTX)


def test_models_that_do_not_fit_the_memory_together_are_refused_with_the_least(
    text_file: Path, other_file: Path
) -> None:
    with pytest.raises(edgemoe.OutOfBudgetError, match=r"do not run together in 16 MiB; the least is \d+ MiB"):
        edgemoe.evaluate(text_file, TEXT, against=other_file, n_ctx=N_CTX, memory="16MiB")


def test_progress_can_stop_it(text_file: Path) -> None:
    steps = []

    def stop_early(step: str, fraction: float, seconds_left: float | None) -> bool:
        steps.append(step)
        return step != "evaluating"

    with pytest.raises(edgemoe.Cancelled):
        edgemoe.evaluate(text_file, TEXT * 200, n_ctx=N_CTX, progress=stop_early)
    assert steps[-1] == "evaluating"


def test_the_command_prints_the_same_figures(cli: Cli, text_file: Path, other_file: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    common = ("perplexity", "-m", other_file, "-f", tmp_path / "text.txt", "--against", text_file)
    options = ("--ctx-size", str(N_CTX), "--tokens", str(2 * N_CTX))
    done = cli(*common, *options, "--json")
    assert done.returncode == 0, done.stderr
    expected = edgemoe.evaluate(other_file, TEXT, against=text_file, n_ctx=N_CTX, n_tokens=2 * N_CTX)
    assert json.loads(done.stdout) == pytest.approx(dict(expected), rel=1e-6)
    assert set(expected) >= {"perplexity", "kl_divergence", "argmax_agreement", "tokens"}
    shown = cli(*common, *options).stdout
    assert f"{expected.kl_divergence:.6f}" in shown
    assert "argmax agreement" in shown


def test_the_command_reads_standard_input(cli: Cli, text_file: Path) -> None:
    done = cli("perplexity", "-m", text_file, "-f", "-", "-c", str(N_CTX), "--json", stdin=TEXT)
    assert json.loads(done.stdout)["tokens"] > 0
