"""What is wrong with a file, a figure or a prompt becomes an exception that says so, never a crash."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
from typing import TYPE_CHECKING, Any

import pytest

import edgemoe
from model_files import ModelShape, data_offset, patch_tensor, tensor_extent, write_model

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Cli = Callable[..., subprocess.CompletedProcess[str]]

UP = "blk.1.ffn_up_exps.weight"


def assert_refused(path: Path, *words: str) -> None:
    """Loading and inspecting raise ModelFormatError; the message names the file and has the words."""
    for use in (edgemoe.load, edgemoe.inspect):
        with pytest.raises(edgemoe.ModelFormatError) as raised:
            use(path)
        assert path.name in str(raised.value)
        for word in words:
            assert word in str(raised.value)


def assert_command_refuses(cli: Cli, path: Path) -> None:
    """The same in a process of its own, for files that might bring it down: exit status 1 and one line."""
    for arguments in (("generate", "x", "-n", "1", "-m", path), ("inspect", path)):
        done = cli(*arguments)
        assert done.returncode == 1, done
        assert done.stderr.startswith("edgemoe: error: ")
        assert done.stderr.count("\n") == 1
        assert path.name in done.stderr


@pytest.mark.parametrize("tenth", range(10))
def test_a_file_cut_inside_the_header_is_refused(moe_file: Path, tmp_path: Path, tenth: int) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(moe_file.read_bytes()[: data_offset(moe_file) * tenth // 10])
    assert_refused(cut)


@pytest.mark.parametrize("tenth", range(10))
def test_a_file_cut_inside_experts_is_refused(moe_file: Path, tmp_path: Path, tenth: int) -> None:
    begin, n_bytes = tensor_extent(moe_file, UP)
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(moe_file.read_bytes()[: begin + n_bytes * tenth // 10 + 1])
    assert_refused(cut, "truncated", "blk.")


@pytest.mark.parametrize("content", [b"", b"GGUF", b"PK\x03\x04" + bytes(100), b"GGUF" + bytes(100), b"\n" * 5000])
def test_what_is_no_gguf_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.gguf"
    path.write_bytes(content)
    assert_refused(path)


def test_a_wrong_magic_is_named(moe_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "magic.gguf"
    path.write_bytes(b"GGML" + moe_file.read_bytes()[4:])
    assert_refused(path, "GGUF")


HUGE = (2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)


@pytest.mark.parametrize("count", HUGE)
@pytest.mark.parametrize("position", [8, 16, 24], ids=["tensors", "keys", "first key's length"])
def test_absurd_counts_in_the_header_are_refused(
    cli: Cli, moe_file: Path, tmp_path: Path, position: int, count: int
) -> None:
    data = bytearray(moe_file.read_bytes())
    struct.pack_into("<Q", data, position, count)
    path = tmp_path / "count.gguf"
    path.write_bytes(data)
    assert_command_refuses(cli, path)


@pytest.mark.parametrize(
    "dims", [(2**40, 2**40, 8), (2**62, 4, 8), (2**64 - 1, 256, 8), (0, 256, 8), (256, 256, 2**40)]
)
def test_absurd_dimensions_of_an_expert_tensor_are_refused(cli: Cli, moe_file: Path, tmp_path: Path, dims: Any) -> None:
    path = tmp_path / "dims.gguf"
    shutil.copy(moe_file, path)
    patch_tensor(path, UP, dims=dims)
    assert_command_refuses(cli, path)


@pytest.mark.parametrize("offset", [1, 2**40, 2**63, 2**64 - 32])
def test_absurd_offsets_of_an_expert_tensor_are_refused(cli: Cli, moe_file: Path, tmp_path: Path, offset: int) -> None:
    path = tmp_path / "offset.gguf"
    shutil.copy(moe_file, path)
    patch_tensor(path, UP, offset=offset)
    assert_command_refuses(cli, path)


@pytest.mark.parametrize("value", [2**31, 2**32 - 1])
@pytest.mark.parametrize("key", ["block_count", "expert_count", "expert_used_count", "embedding_length"])
def test_absurd_sizes_in_the_metadata_are_refused(cli: Cli, tmp_path: Path, key: str, value: int) -> None:
    assert_command_refuses(cli, write_model(tmp_path / "size.gguf", override={key: value}))


@pytest.mark.parametrize("override", [{"expert_used_count": 9}, {"expert_used_count": 0}, {"expert_count": 4}])
def test_sizes_that_contradict_the_tensors_are_refused(cli: Cli, tmp_path: Path, override: dict[str, int]) -> None:
    assert_command_refuses(cli, write_model(tmp_path / "size.gguf", override=override))


def test_a_missing_expert_tensor_is_named(tmp_path: Path) -> None:
    assert_refused(write_model(tmp_path / "missing.gguf", omit={UP}), UP, "missing")


def test_a_layer_without_any_expert_tensor_is_refused(tmp_path: Path) -> None:
    omit = {f"blk.1.ffn_{part}_exps.weight" for part in ("gate", "up", "down")}
    path = write_model(tmp_path / "missing.gguf", omit=omit)
    with pytest.raises(edgemoe.ModelFormatError, match=r"blk\.1\."):
        edgemoe.load(path)


def test_a_missing_hot_tensor_is_named(tmp_path: Path) -> None:
    path = write_model(tmp_path / "missing.gguf", omit={"blk.2.attn_q.weight"})
    with pytest.raises(edgemoe.ModelFormatError, match=r"blk\.2\.attn_q\.weight"):
        edgemoe.load(path)


def test_a_missing_split_is_named(tmp_path: Path) -> None:
    first = write_model(tmp_path / "split.gguf", tensors_per_split=9)
    second = next(tmp_path.glob("split-00002-of-*.gguf"))
    second.unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(second.name)):
        edgemoe.load(first)


def test_a_later_split_is_refused_and_the_first_asked_for(tmp_path: Path) -> None:
    write_model(tmp_path / "split.gguf", tensors_per_split=9)
    second = next(tmp_path.glob("split-00002-of-*.gguf"))
    assert_refused(second, "first")


def test_a_file_that_is_not_there_is_a_file_not_found_error(tmp_path: Path) -> None:
    for use in (edgemoe.load, edgemoe.inspect):
        with pytest.raises(FileNotFoundError, match=r"nowhere\.gguf"):
            use(tmp_path / "nowhere.gguf")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(edgemoe.EdgemoeIOError, match="directory"):
        edgemoe.load(tmp_path)


def test_a_file_that_cannot_be_opened_is_an_os_error(tmp_path: Path) -> None:
    loop = tmp_path / "loop.gguf"
    loop.symlink_to(loop)
    with pytest.raises(OSError, match=r"loop\.gguf") as raised:
        edgemoe.load(loop)
    assert isinstance(raised.value, edgemoe.EdgemoeIOError)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_an_os_error(moe_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "secret.gguf"
    shutil.copy(moe_file, path)
    path.chmod(0)
    with pytest.raises(edgemoe.EdgemoeIOError, match="Permission denied"):
        edgemoe.load(path)


def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.gguf"
    os.mkfifo(pipe)
    with pytest.raises(edgemoe.EdgemoeIOError, match="regular file"):
        edgemoe.load(pipe)


def test_a_path_with_a_zero_byte_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="zero byte"):
        edgemoe.load("model\0.gguf")


def test_a_dense_model_runs_with_nothing_streamed(dense_file: Path) -> None:
    with edgemoe.load(dense_file, memory="4GiB") as model:
        assert model.info.mode == "dense"
        assert model.info.n_moe_layers == 0
        assert model.info.expert_bytes == 0
        assert model.generate("import", max_tokens=4, ignore_eos=True)
        assert model.stats.hit_rate == 1
        assert model.stats.read_bytes == 0


def test_a_budget_that_is_too_small_names_the_least_which_works(cli: Cli, text_file: Path) -> None:
    arguments = ("generate", "x", "-m", text_file, "-n", "2", "--ignore-eos", "--ctx-size", "256", "--json", "--memory")
    refused = cli(*arguments, "1MiB")
    assert refused.returncode == 1
    match = re.search(r"the least is (\d+ MiB)", refused.stderr)
    assert match, refused.stderr
    done = cli(*arguments, match[1].replace(" ", ""))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["stats"]["generated_tokens"] == 2


def test_a_budget_that_is_too_small_is_a_memory_error(moe_file: Path) -> None:
    with pytest.raises(MemoryError, match="the least is") as raised:
        edgemoe.load(moe_file, memory="1MiB")
    assert isinstance(raised.value, edgemoe.OutOfBudgetError)


def test_a_cache_below_one_tokens_experts_names_the_least_which_works(moe_file: Path) -> None:
    with pytest.raises(edgemoe.OutOfBudgetError) as raised:
        edgemoe.load(moe_file, expert_cache=1000)
    figures = [int(figure) for figure in re.findall(r"(\d+) (?:bytes|B)\b", str(raised.value))]
    least = min(figure for figure in figures if figure > 1000)
    with edgemoe.load(moe_file, expert_cache=least) as model:
        assert model.logits([1, 2, 3]).shape[0] == 3


def test_a_prompt_longer_than_the_context_is_a_value_error(text_file: Path) -> None:
    with edgemoe.load(text_file, n_ctx=256) as model:
        n_ctx = model.info.n_ctx
        with pytest.raises(ValueError, match="context"):
            model.generate("x = 1\n" * n_ctx)
        with pytest.raises(ValueError, match="context"):
            model.logits([1] * (n_ctx + 1))
        model.logits([1] * n_ctx)
        with pytest.raises(ValueError, match="context"):
            model.decode([1])
        assert model.generate("x", max_tokens=2, ignore_eos=True)


def test_an_empty_prompt_is_the_beginning_of_text_even_where_none_is_added(
    tmp_path: Path, tokenizer: dict[str, Any]
) -> None:
    path = write_model(tmp_path / "plain.gguf", tokenizer={**tokenizer, "tokenizer.ggml.add_bos_token": False})
    with edgemoe.load(path) as model:
        assert model.tokenize("") == []
        assert model.generate("", max_tokens=4, ignore_eos=True)
        assert model.stats.prompt_tokens == 1


@pytest.mark.parametrize("prompt", [b"abc\xff", b"\xc3", b"\xed\xa0\x80", "abc\udcff"])
def test_a_prompt_that_is_not_utf8_is_a_value_error(default_model: edgemoe.Model, prompt: Any) -> None:
    with pytest.raises(ValueError, match=r"UTF-8|utf-8"):
        default_model.generate(prompt, max_tokens=1)
    with pytest.raises(ValueError, match=r"UTF-8|utf-8"):
        default_model.tokenize(prompt)


def test_a_mapped_file_that_was_cut_is_an_error_and_not_a_signal(tmp_path: Path, tokenizer: dict[str, Any]) -> None:
    path = write_model(tmp_path / "cut.gguf", tokenizer=tokenizer, shape=ModelShape(n_experts=16))
    cache = edgemoe.inspect(path).expert_bytes // 3
    with edgemoe.load(path, expert_cache=cache, io="mmap") as model:
        model.generate("import os", max_tokens=4)
        os.truncate(path, data_offset(path))
        with pytest.raises(edgemoe.EdgemoeError, match=r"cut\.gguf: was resized from \d+ to \d+ bytes"):
            model.generate("import os", max_tokens=4)


def test_mmap_and_direct_io_contradict_each_other(moe_file: Path) -> None:
    with pytest.raises((ValueError, edgemoe.EdgemoeError), match=r"choose one of them|direct I/O was asked for"):
        edgemoe.load(moe_file, io="mmap", direct_io=True)


@pytest.mark.parametrize("io", ["threads", "auto"])
@pytest.mark.parametrize("direct_io", [False, None])
def test_a_read_that_fails_names_the_place_and_the_model_goes_on(
    tmp_path: Path, tokenizer: dict[str, Any], io: str, direct_io: bool | None
) -> None:
    path = write_model(tmp_path / "failing.gguf", tokenizer=tokenizer, shape=ModelShape(n_experts=16))
    content = path.read_bytes()
    options: dict[str, Any] = {"max_tokens": 24, "temperature": 0.0, "ignore_eos": True}
    cache = edgemoe.inspect(path).expert_bytes // 6
    with edgemoe.load(path, expert_cache=cache, io=io, direct_io=direct_io) as model:
        expected = model.generate("import os", **options)
        stream = model.generate("import os", stream=True, **{**options, "max_tokens": -1})
        next(stream)
        os.truncate(path, data_offset(path))
        with pytest.raises(edgemoe.EdgemoeError) as raised:
            list(stream)
        for place in (r"failing\.gguf", r"blk\.\d+ expert \d+", r"offset \d+"):
            assert re.search(place, str(raised.value))
        assert stream.stop_reason is None
        path.write_bytes(content)
        assert model.generate("import os", **options) == expected
