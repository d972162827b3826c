"""Reading ahead and pre-warming change when experts are read, never a result."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import edgemoe
from test_bit_identity import evaluate

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

SETTINGS = [{"prefetch": "off"}, {"prefetch": "auto"}, {"prefetch": "always"}, {"prefetch": "always", "prewarm": False}]


def hot_files() -> list[Path]:
    """What is remembered."""
    return sorted(Path(os.environ["XDG_CACHE_HOME"]).glob("edgemoe/*.hot"))


def run(path: Path, **options: Any) -> edgemoe.Stats:
    """The figures of a short run with room for all experts."""
    with edgemoe.load(path, expert_cache="64MiB", **options) as model:
        model.generate("def f(x):", max_tokens=4, temperature=0, ignore_eos=True)
        return model.stats


@pytest.mark.parametrize("io", ["auto", "threads", "mmap"])
@pytest.mark.parametrize("options", SETTINGS)
def test_logits_are_the_same_with_every_setting(text_file: Path, io: str, options: dict[str, Any]) -> None:
    # What is mapped is multiplied as it lies in the file, by other kernels than what llama.cpp interleaves.
    plain: dict[str, Any] = {"io": io, "prefetch": "off"} if io == "mmap" else {"streaming": "off"}
    with edgemoe.load(text_file, **plain) as model:
        expected = evaluate(model)
    for share in (0.2, 0.5):
        cache = int(share * edgemoe.inspect(text_file).expert_bytes)
        for _ in range(2):  # the second run is pre-warmed
            with edgemoe.load(text_file, expert_cache=cache, io=io, **options) as model:
                assert evaluate(model).tobytes() == expected.tobytes()
                assert evaluate(model).tobytes() == expected.tobytes()


def test_the_next_run_begins_with_what_the_last_one_used(text_file: Path) -> None:
    before = sorted(text_file.parent.iterdir())
    first = run(text_file)
    assert first.prewarmed_bytes == 0
    assert first.read_bytes > 0
    (remembered,) = hot_files()
    assert remembered.stat().st_size < 10_000
    with edgemoe.load(text_file, expert_cache="64MiB") as model:
        model.generate("def f(x):", max_tokens=4, temperature=0, ignore_eos=True)
        # What was being read when it was asked for counts too, so everything was read because it is remembered.
        assert model.stats.prewarmed_bytes <= first.read_bytes
        assert model.stats.prewarmed_bytes + model.stats.read_bytes >= first.read_bytes
    assert sorted(text_file.parent.iterdir()) == before  # nothing is left beside the model


def test_the_first_run_begins_with_what_the_profiles_text_used(text_file: Path, tmp_path: Path) -> None:
    profile = tmp_path / "text.profile"
    edgemoe.profile(text_file, Path(__file__).read_text(), profile, n_ctx=64, sensitivity=False, n_threads=2)
    with edgemoe.load(text_file, expert_cache="64MiB", profile=profile) as model:
        end = time.monotonic() + 30
        while model.stats.prewarmed_bytes == 0 and time.monotonic() < end:
            time.sleep(0.01)
        assert model.stats.prewarmed_bytes > 0


@pytest.mark.parametrize("options", [{"prewarm": False}, {"prefetch": "off"}])
def test_switched_off_nothing_is_remembered(text_file: Path, options: dict[str, Any]) -> None:
    run(text_file, **options)
    assert hot_files() == []


def test_prewarming_can_be_had_without_prefetch(text_file: Path) -> None:
    run(text_file, prefetch="off", prewarm=True)
    assert len(hot_files()) == 1


def test_a_damaged_memory_is_ignored_and_replaced(text_file: Path) -> None:
    run(text_file)
    (remembered,) = hot_files()
    whole = remembered.read_bytes()
    for damaged in (b"", whole[:-1], whole[:20] + b"\xff" + whole[21:], whole + b"x"):
        remembered.write_bytes(damaged)
        assert run(text_file).prewarmed_bytes == 0
        assert remembered.read_bytes() not in (damaged, b"")


def test_a_cache_folder_that_cannot_be_written_is_no_error(
    text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert run(text_file).generated_tokens == 4


def test_an_unknown_setting_is_refused(text_file: Path) -> None:
    with pytest.raises(ValueError, match='prefetch is "auto", "off" or "always"'):
        edgemoe.load(text_file, prefetch="sometimes")  # type: ignore[arg-type]


def test_the_command_line_has_the_settings_and_the_figures(
    cli: Callable[..., subprocess.CompletedProcess[str]], text_file: Path
) -> None:
    arguments = ("generate", "def f(x):", "-m", text_file, "-n", "4", "--expert-cache", "1MiB", "--ignore-eos")
    for prefetch in ("off", "auto", "always"):
        done = cli(*arguments, "--prefetch", prefetch, "--prewarm", "off", "--json")
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert isinstance(result["recall"], list)
        assert result["stats"]["read_ahead_bytes"] >= result["stats"]["read_ahead_useful_bytes"]
        assert result["stats"]["prewarmed_bytes"] == 0
        if prefetch == "off":
            assert result["recall"] == []
            assert result["stats"]["forecasts"] == 0
    assert cli(*arguments, "--prefetch", "sometimes").returncode == 2


def test_the_table_says_what_reading_ahead_did() -> None:
    from edgemoe.cli.prefetch_table import prefetch_table

    fields = dict.fromkeys(edgemoe.Stats.__dataclass_fields__, 0)
    stats = edgemoe.Stats(
        **{
            **fields,
            "prewarmed_bytes": 3 << 20,
            "read_ahead_bytes": 2 << 20,
            "tokens_with_read_ahead": 4,
            "stall_seconds_with_read_ahead": 0.5,
        }
    )
    recall = [edgemoe.LayerRecall(0, 1, 8, 6), edgemoe.LayerRecall(1, 1, 8, 2), edgemoe.LayerRecall(1, 2, 4, 1)]
    lines = list(prefetch_table(stats, recall))
    assert lines[0] == "pre-warmed 3.0 MiB"
    assert "125.00 ms with reading ahead (4 tokens), - without (0)" in lines[2]
    assert lines[-3].split() == ["layer", "0", "75.0%"]
    assert lines[-2].split() == ["layer", "1", "25.0%", "25.0%"]
    assert lines[-1].split() == ["all", "50.0%", "25.0%"]
    assert list(prefetch_table(edgemoe.Stats(**fields), [])) == []
