"""The command line as a user meets it: what goes to which stream, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

import edgemoe
from command_line import command, interruptible_command

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Cli = Callable[..., subprocess.CompletedProcess[str]]

STATS = {
    "prompt_tokens",
    "generated_tokens",
    "prompt_tokens_per_second",
    "generation_tokens_per_second",
    "hit_rate",
    "read_bytes_per_token",
    "stall_seconds",
    "peak_memory_bytes",
    "expert_cache_bytes",
    "hot_bytes",
    "io",
    "mode",
}


def only_line(text: str) -> str:
    """The one line that a text is."""
    assert text.count("\n") == 1, text
    return text.strip()


def test_text_goes_to_standard_output_and_the_mode_to_standard_error(cli: Cli) -> None:
    done = cli("generate", "def fibonacci(n):", "-n", "16", "--temp", "0", "--ctx-size", "512")
    assert done.returncode == 0
    with edgemoe.load(n_ctx=512) as model:
        assert done.stdout.strip() == model.generate("def fibonacci(n):", max_tokens=16, temperature=0.0).strip()
    assert "hot" in only_line(done.stderr)


def test_the_mode_line_says_what_is_streamed(cli: Cli, text_file: Path) -> None:
    done = cli("generate", "-m", text_file, "-p", "x", "-n", "2", "--expert-cache", "1M")
    line = only_line(done.stderr)
    assert line.startswith("streamed: expert cache ")
    for word in ("hot", "io ", "direct I/O"):
        assert word in line


def test_a_dense_model_runs_and_says_that_nothing_is_streamed(cli: Cli, dense_file: Path) -> None:
    done = cli("generate", "-m", dense_file, "-p", "x", "-n", "2", "--ignore-eos")
    assert done.returncode == 0
    assert only_line(done.stderr).startswith("dense model: nothing is streamed")


def test_json_is_one_object_with_text_and_stats(cli: Cli) -> None:
    done = cli("generate", "import os", "-n", "8", "--ignore-eos", "--seed", "1", "--json")
    assert done.returncode == 0
    result: dict[str, Any] = json.loads(done.stdout)
    assert set(result["stats"]) >= STATS
    assert result["text"]
    assert result["stats"]["generated_tokens"] == 8
    assert result["stop_reason"] == "length"


def test_the_prompt_comes_from_standard_input(cli: Cli) -> None:
    options = ("-n", "8", "--temp", "0", "--quiet")
    piped = cli("generate", "-", *options, stdin="import os\n")
    given = cli("generate", "-p", "import os\n", *options)
    assert piped.returncode == 0
    assert piped.stdout == given.stdout
    assert piped.stderr == ""


def test_stats_are_shown_when_asked_for(cli: Cli) -> None:
    done = cli("generate", "x", "-n", "4", "--stats", "--quiet")
    assert "hit rate" in only_line(done.stderr)


def test_options_reach_the_engine(cli: Cli, text_file: Path) -> None:
    # fmt: off
    done = cli(
        "generate", "-m", text_file, "-p", "x", "-n", "6", "--json", "--expert-cache", "1MiB", "--ctx-size", "256",
        "--batch-size", "64", "--ubatch-size", "32", "--threads", "1", "--seed", "3", "--temp", "0.7", "--top-k", "20",
        "--top-p", "0.9", "--min-p", "0.1", "--repeat-penalty", "1.1", "--stop", "@@@", "--stop", "###", "--ignore-eos",
        "--io", "threads", "--direct-io", "off", "--eviction", "lru", "--flash-attn", "on", "--cache-type-k", "q8_0",
        "--cache-type-v", "q8_0", "--streaming", "auto", "--context-shift", "--verbose",
    )
    # fmt: on
    assert done.returncode == 0, done.stderr
    stats = json.loads(done.stdout)["stats"]
    assert stats["expert_cache_bytes"] <= 1 << 20
    assert stats["io"] == "threads"
    assert stats["mode"] == "streamed"


def test_streaming_off_loads_everything(cli: Cli, text_file: Path) -> None:
    done = cli("generate", "-m", text_file, "-p", "x", "-n", "2", "--streaming", "off", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["stats"]["mode"] == "resident"


def test_chat_uses_the_models_template(cli: Cli, text_file: Path) -> None:
    common = ("-m", text_file, "-n", "2", "--json", "--ignore-eos")
    plain = cli("generate", "What is a tuple?", *common)
    chat = cli("generate", "What is a tuple?", "--chat", "--system", "Be brief.", *common)
    assert chat.returncode == 0, chat.stderr
    n_plain, n_chat = (json.loads(done.stdout)["stats"]["prompt_tokens"] for done in (plain, chat))
    assert n_chat > n_plain


def test_chat_without_a_template_is_an_error(cli: Cli) -> None:
    done = cli("generate", "hello", "--chat", "--quiet")
    assert done.returncode == 1
    assert "chat template" in only_line(done.stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate"],
        ["generate", "one", "-p", "two"],
        ["generate", "x", "--memory", "much"],
        ["generate", "x", "--system", "y"],
        ["generate", "x", "-n", "many"],
        ["generate", "x", "--no-such-option"],
        ["inspect", "a", "b"],
        ["no-such-command"],
        [],
    ],
)
def test_a_usage_error_ends_with_2(cli: Cli, arguments: list[str]) -> None:
    done = cli(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "error:" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", ["generate", "inspect"])
def test_an_error_is_one_line_and_ends_with_1(cli: Cli, name: str, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.gguf")
    done = cli("generate", "x", "-m", missing) if name == "generate" else cli("inspect", missing)
    assert done.returncode == 1
    assert done.stdout == ""
    line = only_line(done.stderr)
    assert line.startswith("edgemoe: error: ")
    assert missing in line


@pytest.mark.parametrize("where", ["stdin", "argument"])
def test_a_prompt_that_is_not_utf8_is_refused(where: str) -> None:
    arguments: list[str | bytes] = [*command("generate", "-n", "1")]
    arguments.append("-" if where == "stdin" else b"abc\xff")
    done = subprocess.run(arguments, input=b"abc\xff", capture_output=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stdout == b""
    assert "byte 0xff at offset 3 is not UTF-8" in only_line(done.stderr.decode())


@pytest.mark.parametrize("json_option", [[], ["--json"]])
def test_ctrl_c_prints_what_was_generated_and_ends_with_130(json_option: list[str]) -> None:
    options = ["-n", "-1", "--ignore-eos", "--context-shift", "--seed", "1", *json_option]
    arguments = interruptible_command("generate", "def f(", *options)
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        # The mode line comes when the model is loaded, text when it generates.
        mode = process.stderr.readline()
        first = b"" if json_option else process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert b"Traceback" not in mode + err
    if json_option:
        result = json.loads(out)
        assert result["stop_reason"] == "cancelled"
        assert set(result["stats"]) >= STATS
    else:
        assert len(first) == 1
        assert out.endswith(b"\n")


def test_a_closed_pipe_is_quiet() -> None:
    arguments = command("generate", "def f(", "-n", "-1", "--ignore-eos", "--context-shift", "--quiet")
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        err = process.stderr.read()
        process.wait(timeout=60)
    assert err == b""
    assert process.returncode == 1


def test_inspect_tells_what_a_model_is(cli: Cli, moe_file: Path) -> None:
    done = cli("inspect", moe_file)
    assert done.returncode == 0
    assert done.stderr == ""
    for word in ("qwen3moe", "8 per layer, 2 per token", "q4_0", "least memory", "useful memory"):
        assert word in done.stdout.lower()


def test_inspect_as_json_is_what_python_says(cli: Cli, moe_file: Path) -> None:
    done = cli("inspect", moe_file, "--json")
    described = json.loads(done.stdout)
    info = json.loads(json.dumps(dict(edgemoe.inspect(moe_file)), default=dict))
    for record in (described, info):  # these include what the process itself needs
        del record["least_memory_bytes"], record["useful_memory_bytes"]
    assert described == info


def test_inspect_alone_is_about_the_default_model(cli: Cli) -> None:
    assert "edgemoe-tiny" in cli("inspect").stdout


def test_the_version_is_told(cli: Cli) -> None:
    assert only_line(cli("--version").stdout) == f"edgemoe {edgemoe.__version__}"


@pytest.mark.parametrize("arguments", [["--help"], ["generate", "--help"], ["inspect", "--help"], ["plan", "--help"]])
def test_every_command_explains_itself(cli: Cli, arguments: list[str]) -> None:
    done = cli(*arguments)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: edgemoe")
    assert done.stderr == ""
