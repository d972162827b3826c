"""Models that many tests use, written once a session, and the command line as a user runs it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import edgemoe
from command_line import command
from model_files import ModelShape, tokenizer_of, write_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHAT_TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"


@pytest.fixture(scope="session")
def default_model(_cache_folder: None) -> Iterator[edgemoe.Model]:
    """The model that comes with the package, loaded as load() does. Tests leave it open."""
    with edgemoe.load(n_threads=2) as model:
        yield model


@pytest.fixture(scope="session")
def tokenizer() -> dict[str, Any]:
    """The default model's tokenizer, for models that the tests write."""
    return tokenizer_of(edgemoe.default_model_path())


@pytest.fixture(scope="session")
def moe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Q4_0 model without a tokenizer. Tests do not change it."""
    return write_model(tmp_path_factory.mktemp("moe") / "moe.gguf")


@pytest.fixture(scope="session")
def text_file(tmp_path_factory: pytest.TempPathFactory, tokenizer: dict[str, Any]) -> Path:
    """A random Q4_0 model with a tokenizer and a chat template. Tests do not change it."""
    path = tmp_path_factory.mktemp("text") / "text.gguf"
    return write_model(path, tokenizer=tokenizer, chat_template=CHAT_TEMPLATE)


@pytest.fixture(scope="session")
def dense_file(tmp_path_factory: pytest.TempPathFactory, tokenizer: dict[str, Any]) -> Path:
    """A random dense model with a tokenizer. Tests do not change it."""
    return write_model(
        tmp_path_factory.mktemp("dense") / "dense.gguf", shape=ModelShape(n_experts=0), tokenizer=tokenizer
    )


@pytest.fixture(scope="session")
def cli() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `edgemoe ARGS...`; stdin: text or bytes for standard input."""

    def run(*args: str | os.PathLike[str], stdin: str | bytes = b"") -> subprocess.CompletedProcess[str]:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(command(*args), input=data, capture_output=True, timeout=120, check=False)
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    return run
