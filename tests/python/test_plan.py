"""Will it fit, how fast about, and which policy reads least? Said before anything is loaded."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

import edgemoe

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Cli = Callable[..., subprocess.CompletedProcess[str]]

HEADER = "# route_trace v1\n# model=tiny.gguf n_layer=2 n_expert=4 n_expert_used=1\n"
SIZES = "# layer=0 expert_bytes=640\n# layer=1 expert_bytes=320\n"
COLUMNS = "turn,phase,step,layer,slot,expert,weight\n"


def rows_of(experts: list[int], first_step: int = 0) -> str:
    """A decoded token for each expert, which both layers use."""
    return "".join(f"0,1,{first_step + i},{layer},0,{e},1\n" for i, e in enumerate(experts) for layer in (0, 1))


TRACE = HEADER + SIZES + COLUMNS + rows_of([0, 1, 0, 2, 0, 3, 0, 1])


@pytest.fixture
def trace_file(tmp_path: Path) -> Path:
    """A trace of two layers and eight tokens."""
    path = tmp_path / "trace.csv"
    path.write_text(TRACE)
    return path


# -- plan --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "mode"), [({"memory": "1GiB"}, "resident"), ({"expert_cache": "1MiB"}, "streamed")]
)
def test_a_plan_is_what_loading_gives(text_file: Path, options: dict[str, str], mode: str) -> None:
    forecast = edgemoe.plan(text_file, n_ctx=256, probe_seconds=0, **options)
    with edgemoe.load(text_file, n_ctx=256, **options) as model:
        info = model.info
    assert info.mode == forecast.mode == mode
    for name in ("memory_bytes", "n_ctx", "kv_cache_bytes", "expert_cache_bytes"):
        assert info[name] == forecast[name], name
    assert info.compute_buffer_bytes == forecast.compute_bytes


def test_the_ledger_adds_up(text_file: Path) -> None:
    forecast = edgemoe.plan(text_file, memory="1GiB", probe_seconds=0)
    parts = ("process", "hot", "kv_cache", "compute", "io", "map", "reserve", "expert")
    assert forecast.mode == "resident"
    assert forecast.resident_memory_bytes == sum(forecast[f"{part}_bytes"] for part in parts)
    assert forecast.least_memory_bytes < forecast.useful_memory_bytes < forecast.resident_memory_bytes < 1 << 30
    assert forecast.expert_cache_bytes == forecast.expert_bytes
    assert forecast.missed_bytes_uniform == forecast.missed_bytes_typical == 0


def test_what_does_not_fit_is_no_error(text_file: Path) -> None:
    forecast = edgemoe.plan(text_file, memory="1MiB", probe_seconds=0)
    assert forecast.mode == "none"
    assert forecast.memory_bytes == 1 << 20
    assert forecast.expert_cache_bytes == 0
    assert forecast.least_memory_bytes > 1 << 20


def test_uniform_routing_misses_what_the_cache_does_not_hold(text_file: Path) -> None:
    whole = edgemoe.plan(text_file, expert_cache="1GiB", probe_seconds=0)
    quarter = edgemoe.plan(text_file, expert_cache=whole.expert_bytes // 4, probe_seconds=0)
    assert quarter.memory_bytes == 0
    assert quarter.n_experts_cached == 6
    assert quarter.missed_bytes_uniform == pytest.approx(0.75 * quarter.token_expert_bytes)
    assert 0 < quarter.missed_bytes_typical < quarter.missed_bytes_uniform


def test_a_probe_measures_and_estimates(text_file: Path) -> None:
    forecast = edgemoe.plan(text_file, expert_cache="1MiB", n_threads=2, io="threads", probe_seconds=0.05)
    assert forecast.io == "threads"
    # A matrix of 256 x 256 in Q4_0 is one read of 36 KiB.
    assert 36 << 10 <= forecast.read_bytes <= 44 << 10
    assert forecast.disk_bytes_per_second > 0
    assert forecast.compute_seconds > 0
    assert 0 < forecast.tokens_per_second_slow <= forecast.tokens_per_second_fast


def test_the_probe_of_a_packed_file_reads_a_small_expert_at_once(text_file: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed.gguf"
    edgemoe.repack(text_file, packed)
    forecast = edgemoe.plan(packed, expert_cache="1MiB", n_threads=2, io="threads", probe_seconds=0.05)
    # Its three matrices of 36 KiB follow each other.
    assert 108 << 10 <= forecast.read_bytes <= 116 << 10


def test_a_dense_model_streams_nothing(dense_file: Path) -> None:
    forecast = edgemoe.plan(dense_file)
    assert forecast.mode == "dense"
    assert forecast.n_experts == forecast.token_expert_bytes == forecast.disk_bytes_per_second == 0


def test_the_command_says_whether_it_fits(cli: Cli, text_file: Path) -> None:
    done = cli("plan", text_file, "--expert-cache", "1MiB", "--ctx-size", "256", "--threads", "1")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for words in ("fits", "streamed", "hot weights", "KV cache", "least memory", "read per token", "measured now"):
        assert words in done.stdout
    assert "an estimate" in done.stdout
    tight = cli("plan", text_file, "--memory", "1MiB")
    assert tight.returncode == 0
    assert "no, not in 1.0 MiB: it needs" in tight.stdout
    assert "estimate" not in tight.stdout


def test_without_a_probe_nothing_is_estimated(cli: Cli) -> None:
    done = cli("plan", "--no-probe", "--memory", "1GiB")
    assert "every expert stays in memory" in done.stdout
    assert "tokens/s" not in done.stdout


def test_the_plan_as_json_is_what_python_says(cli: Cli, text_file: Path) -> None:
    done = cli("plan", text_file, "--no-probe", "--expert-cache", "1MiB", "--json")
    result = json.loads(done.stdout)
    assert result["replays"] == []
    expected = dict(edgemoe.plan(text_file, expert_cache="1MiB", probe_seconds=0))
    for record in (result["forecast"], expected):  # these include what the process itself needs
        for name in ("process_bytes", "least_memory_bytes", "useful_memory_bytes", "resident_memory_bytes"):
            del record[name]
    assert result["forecast"] == expected


# -- replay ------------------------------------------------------------------------------------------------------------


def test_a_replay_has_a_row_for_each_size_and_policy(trace_file: Path) -> None:
    replay = edgemoe.replay(trace_file, cache=["25%", 2880], policies=["lru", "default"])
    assert (replay.model, replay.n_layers, replay.n_experts) == ("tiny.gguf", 2, 4)
    assert (replay.tokens, replay.prompt_steps, replay.expert_bytes) == (8, 0, 4 * 640 + 4 * 320)
    assert [(row.policy, row.cache_bytes) for row in replay.rows] == [
        (policy, size) for size in (960, 2880) for policy in ("lru", "default", "belady")
    ]
    for row in replay.rows:
        assert row.requests == 16
        assert row.cache_share == row.cache_bytes / 3840
        assert row.ratio_to_belady >= 1
    lru = replay.rows[3]  # three experts of each layer fit: all but 0, 1, 2, 3 and the second 1 are hits
    assert lru.hits == 6
    assert lru.hit_rate == 6 / 16
    assert lru.missed_bytes_per_token == 5 * (640 + 320) / 8
    assert lru.ratio_to_lru == 1


def test_a_packed_trace_is_the_same_trace(trace_file: Path, tmp_path: Path) -> None:
    packed = tmp_path / "trace.csv.gz"
    packed.write_bytes(gzip.compress(TRACE.encode()))
    assert edgemoe.replay(packed) == edgemoe.replay(trace_file)


def test_experts_without_recorded_sizes_are_equally_large(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(HEADER + COLUMNS + rows_of([0, 1, 0, 1]))
    assert edgemoe.replay(path).expert_bytes == 8 << 20
    assert edgemoe.replay(path, expert_size="2MiB").expert_bytes == 16 << 20


def test_a_prompt_warms_the_cache_and_is_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(HEADER + SIZES + COLUMNS + "0,0,0,0,0,1,1\n0,0,1,0,0,2,1\n0,0,0,1,0,1,1\n" + rows_of([1, 1], 2))
    replay = edgemoe.replay(path, cache="100%", policies="lru")
    assert (replay.prompt_steps, replay.tokens) == (1, 2)
    assert [row.hit_rate for row in replay.rows] == [1, 1]
    assert replay.rows[0].ratio_to_belady == 1


def test_the_command_prints_a_table(cli: Cli, trace_file: Path) -> None:
    done = cli("plan", "--trace", trace_file, "--cache", "25%,50%")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "2 layers x 4 experts" in lines[0]
    assert "8 decoded tokens" in lines[0]
    for words in ("cache", "policy", "hit rate", "missed per token", "to lru", "to belady"):
        assert words in lines[1]
    assert sum("lru" in line for line in lines[2:]) == 2
    assert sum("belady" in line for line in lines[2:]) == 2
    assert "25.0%, 960 B" in done.stdout
    assert "fits" not in done.stdout  # a trace alone is no question about a model


def test_replays_as_json(cli: Cli, trace_file: Path) -> None:
    done = cli("plan", "--trace", trace_file, "--trace", trace_file, "--policy", "lru", "--cache", "100%", "--json")
    result = json.loads(done.stdout)
    assert result["forecast"] is None
    expected = edgemoe.replay(trace_file, policies="lru", cache="100%")
    assert [[row["hits"] for row in replay["rows"]] for replay in result["replays"]] == [
        [row.hits for row in expected.rows]
    ] * 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no rows"),
        (HEADER + SIZES + COLUMNS, "no rows"),
        ("time,value\n1,2\n", "expected turn,phase,step,layer,slot,expert"),
        (HEADER + COLUMNS + "0,1,0,0\n", "expected turn,phase,step,layer,slot,expert"),
        (COLUMNS + rows_of([0]), "must come before the rows"),
        (HEADER + COLUMNS + "0,1,0,0,0,4,1\n", "line 4: expert 4 is not below n_expert"),
        (HEADER + COLUMNS + "0,1,0,2,0,1,1\n", "line 4: layer 2 is not below n_layer"),
        ("# n_layer=999999999 n_expert=4\n", "n_layer and n_expert"),
        ("\x00\x01\x02", "expected turn"),
    ],
)
def test_a_wrong_trace_is_one_line_that_says_why(cli: Cli, tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "wrong.csv"
    path.write_text(text)
    with pytest.raises(edgemoe.ModelFormatError, match=reason):
        edgemoe.replay(path)
    done = cli("plan", "--trace", path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr
    assert str(path) in done.stderr


@pytest.mark.parametrize("size", [5, 40, -1])
def test_a_packed_trace_that_was_cut_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "cut.csv.gz"
    path.write_bytes(gzip.compress(TRACE.encode())[:size])
    with pytest.raises(edgemoe.ModelFormatError, match="ends too early"):
        edgemoe.replay(path)


def test_a_packed_trace_that_was_damaged_is_refused(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(TRACE.encode()))
    data[-5] ^= 1
    path = tmp_path / "damaged.csv.gz"
    path.write_bytes(data)
    with pytest.raises(edgemoe.ModelFormatError, match="damaged"):
        edgemoe.replay(path)


def test_only_a_prompt_is_nothing_to_compare(tmp_path: Path) -> None:
    path = tmp_path / "prompt.csv"
    path.write_text(HEADER + COLUMNS + "0,0,0,0,0,1,1\n")
    with pytest.raises(ValueError, match="no decoded tokens"):
        edgemoe.replay(path)


def test_wrong_questions_are_refused(cli: Cli, trace_file: Path, text_file: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        edgemoe.replay(tmp_path / "missing.csv")
    with pytest.raises(ValueError, match="'magic' is unknown; choose one of default, lru"):
        edgemoe.replay(trace_file, policies="magic")
    for cache in ("0%", "101%", "x%", "much"):
        with pytest.raises(ValueError, match=r"share|size"):
            edgemoe.replay(trace_file, cache=cache)
    foreign = tmp_path / "foreign.csv"
    foreign.write_text("# n_layer=9 n_expert=4\n0,1,0,8,0,1\n")
    with pytest.raises(ValueError, match="was it recorded with another model"):
        edgemoe.replay(foreign, model=text_file)
    assert cli("plan", "--cache", "10%").returncode == 2


# -- record ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["lru", "lfu", "frequency-distance", "default"])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 1.0])
def test_a_replay_of_a_recorded_run_has_its_hits(text_file: Path, tmp_path: Path, policy: str, share: float) -> None:
    cache = int(share * edgemoe.plan(text_file, probe_seconds=0).expert_bytes)
    path = tmp_path / "trace.csv"
    with edgemoe.load(text_file, n_ctx=256, n_threads=1, expert_cache=cache, eviction=policy, prefetch="off") as model:
        with model.recording(path):
            model.generate("", max_tokens=40, temperature=0.9, seed=3, ignore_eos=True)
        stats = model.stats
        cache = model.info.expert_cache_bytes
    assert stats.prompt_tokens == 1
    assert stats.expert_hits < stats.expert_requests
    for model_file in (None, text_file):  # experts of one size: the trace says it too
        replay = edgemoe.replay(path, model=model_file, cache=cache, policies=policy)
        assert replay.tokens == 39
        row, bound = replay.rows
        assert row.requests == stats.expert_requests == 39 * 3 * 2
        assert row.hits == stats.expert_hits
        assert row.hit_rate == stats.hit_rate
        assert row.missed_bytes_per_token == pytest.approx(stats.read_bytes_per_token)
        assert bound.missed_bytes_per_token <= row.missed_bytes_per_token


def test_a_recorded_prompt_warms_the_replay_as_it_did_the_run(text_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    cache = edgemoe.plan(text_file, probe_seconds=0).expert_bytes // 2
    with edgemoe.load(text_file, n_ctx=256, n_threads=1, expert_cache=cache, prefetch="off") as model:
        with model.recording(path):
            hits = 0
            for prompt in ("import os, sys", "def f(x):"):
                model.generate(prompt, max_tokens=10, seed=3, ignore_eos=True)
                hits += model.stats.expert_hits
        first_turn = path.read_text()
        model.generate("x", max_tokens=4, seed=3, ignore_eos=True)
        assert path.read_text() == first_turn  # the recording has ended
        cache = model.info.expert_cache_bytes
    assert {line.split(",")[0] for line in first_turn.splitlines() if line[0].isdigit()} == {"0", "1"}
    replay = edgemoe.replay(path, cache=cache, policies="default")
    assert (replay.prompt_steps, replay.tokens) == (2, 18)
    assert replay.rows[0].hits == hits
    assert replay.model == text_file.name


def test_the_command_records_what_it_generates(cli: Cli, text_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    options = (
        "-m",
        text_file,
        "-n",
        "12",
        "--ignore-eos",
        "--seed",
        "1",
        "--expert-cache",
        "1MiB",
        "--json",
        "-t",
        "1",
        "--prefetch",
        "off",  # hits of what was read ahead are no eviction policy's
    )
    done = cli("generate", "x", *options, "--record-trace", path)
    assert done.returncode == 0, done.stderr
    stats = json.loads(done.stdout)["stats"]
    cache = str(stats["expert_cache_bytes"])
    replayed = json.loads(cli("plan", text_file, "--no-probe", "--trace", path, "--cache", cache, "--json").stdout)
    assert replayed["forecast"]["mode"]
    rows = {row["policy"]: row for row in replayed["replays"][0]["rows"]}
    assert rows["two-timescale"]["hits"] == stats["expert_hits"]


def test_what_cannot_be_recorded_is_refused(text_file: Path, dense_file: Path, tmp_path: Path) -> None:
    with edgemoe.load(text_file, n_ctx=256) as model, pytest.raises(edgemoe.EdgemoeIOError, match="cannot be written"):
        with model.recording(tmp_path / "no" / "such" / "folder.csv"):
            pass
    with edgemoe.load(dense_file, n_ctx=256) as model, pytest.raises(edgemoe.EdgemoeError, match="nothing is streamed"):
        with model.recording(tmp_path / "trace.csv"):
            pass
