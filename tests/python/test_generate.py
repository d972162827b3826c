"""Loading a model and getting text and numbers from it."""

from __future__ import annotations

import _thread
import gc
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import edgemoe

if TYPE_CHECKING:
    from pathlib import Path

PROMPT = "def fibonacci(n):\n"
ENDLESS: dict[str, Any] = {"max_tokens": -1, "ignore_eos": True, "context_shift": True}


def test_text_is_generated_by_the_default_model(default_model: edgemoe.Model) -> None:
    text = default_model.generate(PROMPT, max_tokens=24, temperature=0.0)
    assert text
    assert default_model.stats.generated_tokens <= 24
    assert default_model.stats.prompt_tokens == len(default_model.tokenize(PROMPT))


def test_pieces_of_a_stream_are_the_text(default_model: edgemoe.Model) -> None:
    text = default_model.generate(PROMPT, max_tokens=24, temperature=0.0)
    stream = default_model.generate(PROMPT, max_tokens=24, temperature=0.0, stream=True)
    pieces = list(stream)
    assert "".join(pieces) == text
    assert len(pieces) > 1
    assert stream.stop_reason in ("length", "end")


def test_the_same_seed_gives_the_same_text_and_another_another(default_model: edgemoe.Model) -> None:
    options: dict[str, Any] = {"max_tokens": 32, "temperature": 1.0, "ignore_eos": True}
    first = default_model.generate(PROMPT, seed=7, **options)
    assert default_model.generate(PROMPT, seed=7, **options) == first
    assert default_model.generate(PROMPT, seed=8, **options) != first


def test_a_stop_text_ends_the_text_and_is_not_part_of_it(default_model: edgemoe.Model) -> None:
    whole = default_model.generate(PROMPT, max_tokens=24, temperature=0.0)
    stop = whole[len(whole) // 2 : len(whole) // 2 + 3]
    stream = default_model.generate(PROMPT, max_tokens=24, temperature=0.0, stop=stop, stream=True)
    assert "".join(stream) == whole[: whole.index(stop)]
    assert stream.stop_reason == "text"
    assert (
        default_model.generate(PROMPT, max_tokens=24, temperature=0.0, stop=["@@@@", stop])
        == whole[: whole.index(stop)]
    )


def test_max_tokens_zero_gives_no_text(default_model: edgemoe.Model) -> None:
    assert default_model.generate(PROMPT, max_tokens=0) == ""
    assert default_model.stats.generated_tokens == 0


def test_an_empty_prompt_starts_from_the_beginning_of_text(default_model: edgemoe.Model) -> None:
    assert default_model.generate("", max_tokens=4, ignore_eos=True)
    assert default_model.stats.prompt_tokens == 1


def test_the_context_ends_the_text_unless_it_may_shift(text_file: Path) -> None:
    with edgemoe.load(text_file, n_ctx=256) as model:
        n_ctx = model.info.n_ctx
        stream = model.generate("import os", max_tokens=n_ctx + 64, ignore_eos=True, stream=True)
        assert len(list(stream)) > 0
        assert stream.stop_reason == "context"
        assert model.stats.generated_tokens < n_ctx + 64
        stream = model.generate("import os", max_tokens=n_ctx + 64, ignore_eos=True, context_shift=True, stream=True)
        list(stream)
        assert stream.stop_reason == "length"
        assert model.stats.generated_tokens == n_ctx + 64


def test_closing_a_stream_keeps_what_was_made(default_model: edgemoe.Model) -> None:
    stream = default_model.generate(PROMPT, stream=True, **ENDLESS)
    first = next(stream)
    stream.close()
    rest = list(stream)
    assert first
    assert stream.stop_reason == "cancelled"
    assert list(stream) == []
    assert len(first) + len(rest) < 100_000


def test_dropping_a_stream_frees_the_model_for_the_next(default_model: edgemoe.Model) -> None:
    stream = default_model.generate(PROMPT, stream=True, **ENDLESS)
    next(stream)
    del stream
    gc.collect()
    assert default_model.generate(PROMPT, max_tokens=2, ignore_eos=True)


def test_another_thread_can_cancel(default_model: edgemoe.Model) -> None:
    stream = default_model.generate(PROMPT, stream=True, **ENDLESS)
    next(stream)
    canceller = threading.Thread(target=default_model.cancel)
    canceller.start()
    list(stream)
    canceller.join()
    assert stream.stop_reason == "cancelled"


def test_ctrl_c_ends_a_generation_and_the_model_goes_on(default_model: edgemoe.Model) -> None:
    # A shell starts what runs in the background with the signal ignored, and the text would never end.
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        interrupt_generation(default_model)
    finally:
        signal.signal(signal.SIGINT, previous)


def test_a_signal_handler_may_use_the_model_that_is_decoding() -> None:
    during: list[bool] = []
    with edgemoe.load(n_ctx=2048, n_threads=2) as model:

        def decode_another(*_: object) -> None:
            during.append(is_decoding)
            model.decode([7], logits=False)

        previous = signal.signal(signal.SIGALRM, decode_another)
        try:
            is_decoding = True
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            model.decode([5] * 1500, logits=False)  # takes much longer than it takes to look for signals
            is_decoding = False
            assert during == [True]
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)


def interrupt_generation(default_model: edgemoe.Model) -> None:
    interrupter = threading.Timer(0.2, _thread.interrupt_main)
    with pytest.raises(KeyboardInterrupt):
        interrupter.start()
        default_model.generate(PROMPT, **ENDLESS)
    interrupter.join()
    assert default_model.generate(PROMPT, max_tokens=2, ignore_eos=True)


def test_tokens_become_text_again(default_model: edgemoe.Model) -> None:
    text = "def f(x):\n    return x + 1  # naïve ∑\n"
    ids = default_model.tokenize(text)
    assert all(isinstance(token, int) for token in ids)
    assert default_model.detokenize(ids) == text
    assert default_model.detokenize(np.array(ids)) == text
    assert len(default_model.tokenize(text, add_special=False)) == len(ids) - 1
    assert default_model.tokenize("", add_special=False) == []
    assert default_model.detokenize([]) == ""


def test_special_tokens_are_text_unless_they_are_asked_for(default_model: edgemoe.Model) -> None:
    plain = default_model.tokenize("<|endoftext|>", add_special=False)
    special = default_model.tokenize("<|endoftext|>", add_special=False, parse_special=True)
    assert len(plain) > 1
    assert len(special) == 1
    assert default_model.detokenize(special, special=True) == "<|endoftext|>"


def test_a_chat_template_makes_a_prompt(text_file: Path) -> None:
    with edgemoe.load(text_file) as model:
        assert model.info.has_chat_template
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is a tuple?"}]
        prompt = model.apply_chat_template(messages)
        assert prompt.index("Be brief.") < prompt.index("What is a tuple?")
        assert "assistant" in prompt
        assert model.generate(prompt, max_tokens=2, ignore_eos=True, parse_special=True) is not None


def test_a_model_without_a_chat_template_says_so(default_model: edgemoe.Model) -> None:
    with pytest.raises(edgemoe.EdgemoeError, match="chat template"):
        default_model.apply_chat_template([{"role": "user", "content": "hello"}])


def test_logits_need_no_tokenizer(moe_file: Path) -> None:
    with edgemoe.load(moe_file) as model:
        assert not model.info.has_tokenizer
        ids = list(range(20))
        logits = model.logits(ids)
        assert logits.shape == (20, model.info.n_vocab)
        assert logits.dtype == np.float32
        assert np.isfinite(logits).all()
        np.testing.assert_array_equal(model.logits(np.array(ids)), logits)
        assert model.logits([]).shape == (0, model.info.n_vocab)
        with pytest.raises((edgemoe.EdgemoeError, ValueError), match="tokenizer"):
            model.generate("text")


def test_logits_of_more_tokens_than_a_batch_come_in_parts(moe_file: Path) -> None:
    ids = [i % 100 for i in range(50)]
    with edgemoe.load(moe_file, n_batch=16) as model, edgemoe.load(moe_file) as reference:
        logits, expected = model.logits(ids), reference.logits(ids)
        assert logits.shape == expected.shape
        np.testing.assert_allclose(logits, expected, atol=0.05)
        with pytest.raises(ValueError, match="n_batch"):
            model.decode(ids)


def test_decoding_appends_and_reset_forgets(moe_file: Path) -> None:
    with edgemoe.load(moe_file) as model:
        model.decode([1, 2, 3])
        after_three = model.decode([4])
        model.reset()
        from_scratch = model.decode([4])
        assert after_three.shape == from_scratch.shape == (1, model.info.n_vocab)
        assert not np.array_equal(after_three, from_scratch)
        model.reset(0)
        np.testing.assert_array_equal(model.decode([4]), from_scratch)
        assert model.decode([5], logits=False) is None


@pytest.mark.parametrize(
    ("ids", "error"),
    [([1.5], TypeError), ([[1, 2]], ValueError), ([2**40], ValueError), ([-1], ValueError), ([10**6], ValueError)],
)
def test_what_are_no_tokens_are_refused(moe_file: Path, ids: Any, error: type[Exception]) -> None:
    with edgemoe.load(moe_file) as model, pytest.raises(error):
        model.decode(ids)


def test_sequences_that_do_not_exist_are_refused(moe_file: Path) -> None:
    with edgemoe.load(moe_file, n_sequences=2) as model:
        with pytest.raises(ValueError, match="n_sequences"):
            model.decode([1], sequences=[2])
        with pytest.raises(ValueError, match="2 numbers for 1 tokens"):
            model.decode([1], sequences=[0, 1])
        with pytest.raises(ValueError, match="n_sequences"):
            model.reset(2)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"n_ctx": -1}, ValueError),
        ({"n_threads": 2**40}, ValueError),
        ({"n_ctx": "large"}, TypeError),
        ({"streaming": "on"}, ValueError),
        ({"io": "telepathy"}, ValueError),
        ({"eviction": "random guess"}, ValueError),
        ({"cache_type_k": "q99"}, ValueError),
        ({"memory": "much"}, ValueError),
    ],
)
def test_wrong_load_options_are_refused(moe_file: Path, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        edgemoe.load(moe_file, **options)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"seed": -1}, ValueError),
        ({"max_tokens": 2**31}, ValueError),
        ({"temperature": "hot"}, TypeError),
        ({"stop": ""}, ValueError),
        ({"stop": ["a\0b"]}, ValueError),
        ({"colour": "red"}, TypeError),
    ],
)
def test_wrong_generate_options_are_refused(
    default_model: edgemoe.Model, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        default_model.generate(PROMPT, **options)


def test_stats_say_what_streaming_cost(text_file: Path) -> None:
    cache = edgemoe.inspect(text_file).expert_bytes // 3
    with edgemoe.load(text_file, expert_cache=cache) as model:
        model.generate(PROMPT, max_tokens=16, ignore_eos=True)
        stats = model.stats
        assert stats.mode == stats["mode"] == "streamed"
        assert stats.io == model.info.io != "none"
        assert stats.generated_tokens == 16
        assert stats.prompt_tokens_per_second > 0
        assert stats.generation_tokens_per_second > 0
        assert 0 <= stats.hit_rate < 1
        assert stats.expert_hits <= stats.expert_requests
        assert stats.read_bytes > 0
        assert stats.read_bytes_per_token > 0
        assert 0 < stats.resident_expert_bytes <= stats.expert_cache_bytes <= cache
        assert stats.hot_bytes > 0
        assert stats.peak_memory_bytes > stats.hot_bytes
        assert set(dict(stats)) == set(stats.__dataclass_fields__)


def test_info_says_what_the_model_is(moe_file: Path) -> None:
    described = edgemoe.inspect(moe_file)
    with edgemoe.load(moe_file) as model:
        info = model.info
        assert "qwen3moe" in repr(model)
        for key in ("architecture", "n_layers", "n_experts", "n_experts_used", "hot_bytes", "expert_bytes", "types"):
            assert info[key] == described[key]
    assert (info.architecture, info.name) == ("qwen3moe", "random")
    assert (info.n_layers, info.n_moe_layers, info.n_experts, info.n_experts_used) == (3, 3, 8, 2)
    assert info.expert_bytes == 3 * 8 * 3 * (256 * 256 // 32 * 18)
    assert info.file_bytes == moe_file.stat().st_size
    assert "q4_0" in info.types.lower()
    assert described.least_memory_bytes <= described.useful_memory_bytes


def test_a_split_model_is_loaded_by_its_first_file(tmp_path: Path, moe_file: Path) -> None:
    from model_files import write_model

    first = write_model(tmp_path / "split.gguf", tensors_per_split=9)
    assert len(list(tmp_path.iterdir())) > 2
    with edgemoe.load(first) as split, edgemoe.load(moe_file) as whole:
        np.testing.assert_array_equal(split.logits([1, 2, 3]), whole.logits([1, 2, 3]))


def test_a_closed_model_cannot_be_used(moe_file: Path, default_model: edgemoe.Model) -> None:
    model = edgemoe.load(moe_file)
    assert not model.closed
    model.close()
    model.close()
    assert model.closed
    assert "closed" in repr(model)
    with pytest.raises(ValueError, match="closed"):
        model.logits([1])
    with pytest.raises(ValueError, match="closed"):
        _ = model.stats


def test_closing_a_model_ends_its_streams(text_file: Path) -> None:
    with edgemoe.load(text_file) as model:
        stream = model.generate(PROMPT, stream=True, **ENDLESS)
        next(stream)
    list(stream)
    assert stream.stop_reason == "cancelled"


def test_loading_reports_progress_and_can_be_stopped(moe_file: Path) -> None:
    fractions: list[float] = []
    edgemoe.load(moe_file, progress=fractions.append).close()
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)

    class Stop(Exception):
        pass

    def stop(fraction: float) -> None:
        raise Stop

    with pytest.raises(Stop):
        edgemoe.load(moe_file, progress=stop)


def test_several_models_live_side_by_side(moe_file: Path, default_model: edgemoe.Model) -> None:
    expected = default_model.generate(PROMPT, max_tokens=8, temperature=0.0)
    with edgemoe.load(moe_file) as one, edgemoe.load(moe_file, expert_cache="200KiB") as two:
        np.testing.assert_array_equal(one.logits([1, 2, 3]), two.logits([1, 2, 3]))
        assert default_model.generate(PROMPT, max_tokens=8, temperature=0.0) == expected


def test_the_log_is_silent_until_it_is_asked_for(moe_file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines: list[tuple[int, str]] = []
    edgemoe.set_log(lambda level, text: lines.append((level, text)))
    edgemoe.load(moe_file).close()
    edgemoe.set_log(None)
    n_lines = len(lines)
    assert n_lines > 0
    edgemoe.load(moe_file).close()
    assert len(lines) == n_lines
    assert capfd.readouterr() == ("", "")


def test_importing_the_package_imports_neither_numpy_nor_the_engine() -> None:
    code = "import sys, edgemoe; assert not {'numpy', 'tqdm', 'edgemoe._core'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
