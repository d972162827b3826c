"""Packing: limits that are kept, what was chosen, interruptions, refusals."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import pytest

import edgemoe
from command_line import command
from model_files import ModelShape, write_model

if TYPE_CHECKING:
    from collections.abc import Callable

    Cli = Callable[..., subprocess.CompletedProcess[str]]

SHAPE = ModelShape(n_layers=2, n_experts=4)
LADDER = "q2_k,iq3_s,iq4_xs,q8_0"
N_MATRICES = 2 * 4 * 3
# What a matrix takes in the journal of rounded ones, at most (q8_0) and at least (q2_k).
MOST_RECORD_BYTES = 256 * 256 // 32 * 34 + 72
LEAST_RECORD_BYTES = 256 * 256 // 256 * 84 + 72
JOURNAL_HEADER_BYTES = 16
MATRIX = re.compile(r"blk\.(\d+)\.ffn_(\w+)_exps\.(\d+)\.weight")


@pytest.fixture(scope="module")
def text() -> bytes:
    """Text to profile on: this project's own."""
    return (Path(__file__).parents[2] / "README.md").read_bytes() + Path(__file__).read_bytes()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, tokenizer: dict[str, Any]) -> Path:
    """A random model in 16 bits. Tests do not change it."""
    path = tmp_path_factory.mktemp("source") / "source.gguf"
    return write_model(path, "BF16", shape=SHAPE, tokenizer=tokenizer)


@pytest.fixture(scope="module")
def profile(source: Path, text: bytes) -> Path:
    """Its profile, with sensitivities. Tests do not change it."""
    path = source.with_name("model.profile")
    edgemoe.profile(source, text, path, n_ctx=64, n_tokens=3072, n_threads=2, keep_activations=True, sensitivity=False)
    edgemoe.pack(source, None, bits=4, dry_run=True, **profile_options(path))
    return path


def profile_options(path: Path) -> dict[str, Any]:
    """What all calls have in common."""
    return {"profile": path, "types": LADDER, "n_threads": 2}


def matrix_types(path: Path) -> dict[tuple[int, str, int], str]:
    """The type of each expert's matrix, as the gguf package reads it."""
    found = {}
    for tensor in gguf.GGUFReader(path).tensors:
        match = MATRIX.fullmatch(tensor.name)
        if match:
            found[int(match[1]), match[2], int(match[3])] = tensor.tensor_type.name.lower()
    return found


def expert_bits(path: Path) -> float:
    """Bits per expert weight."""
    tensors = [tensor for tensor in gguf.GGUFReader(path).tensors if MATRIX.fullmatch(tensor.name)]
    return 8 * sum(int(tensor.n_bytes) for tensor in tensors) / sum(int(tensor.n_elements) for tensor in tensors)


def test_bits_are_kept_and_the_file_is_what_the_report_says(source: Path, profile: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed.gguf"
    report = edgemoe.pack(source, packed, bits=3.4, **profile_options(profile))
    assert expert_bits(packed) == pytest.approx(report.bits)
    assert 3.3 < report.bits <= 3.4
    assert report.file_bytes == packed.stat().st_size
    types = matrix_types(packed)
    assert len(types) == report.matrices == N_MATRICES
    for layer in report.layers:
        for projection, counts in layer["types"].items():
            chosen = [name for (at, part, _), name in types.items() if (at, part) == (layer["layer"], projection)]
            assert {name.lower(): n for name, n in counts.items()} == {name: chosen.count(name) for name in set(chosen)}
    assert report.kl_divergence is not None
    assert 0 < report.kl_divergence < 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["packed.gguf"]
    fields = gguf.GGUFReader(packed).fields
    assert fields["edgemoe.packed.kl_divergence"].contents() == pytest.approx(report.kl_divergence)
    with edgemoe.load(packed, n_threads=2, expert_cache=256 * 1024) as model:
        assert model.generate("edge", max_tokens=4, ignore_eos=True)


def test_a_file_size_is_kept_and_used(source: Path, profile: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed.gguf"
    least = edgemoe.pack(source, None, bits=2.7, dry_run=True, **profile_options(profile)).file_bytes
    report = edgemoe.pack(source, packed, size=least + 100_000, **profile_options(profile))
    assert least + 60_000 < packed.stat().st_size <= least + 100_000
    assert report.file_bytes == packed.stat().st_size


def test_a_tolerance_is_met_and_used(source: Path, profile: Path, tmp_path: Path) -> None:
    coarse = edgemoe.pack(source, tmp_path / "coarse.gguf", bits=3.0, **profile_options(profile))
    assert coarse.kl_divergence is not None
    report = edgemoe.pack(source, tmp_path / "packed.gguf", max_kl=coarse.kl_divergence / 2, **profile_options(profile))
    assert report.kl_divergence is not None
    assert 0.6 * coarse.kl_divergence / 2 < report.kl_divergence <= coarse.kl_divergence / 2
    assert report.bits > coarse.bits


def test_error_feedback_is_better_than_nearest_integers(source: Path, profile: Path, tmp_path: Path) -> None:
    both = [
        edgemoe.pack(source, tmp_path / f"{name}.gguf", bits=16, profile=profile, types="q2_k", error_feedback=feedback)
        for name, feedback in (("feedback", True), ("nearest", False))
    ]
    assert N_MATRICES / 2 < both[0].feedback_matrices <= N_MATRICES  # not where it is worse on text that was not fitted
    assert both[1].feedback_matrices == 0
    assert both[0].bits == both[1].bits
    assert both[0].kl_divergence is not None
    assert both[1].kl_divergence is not None
    assert both[0].kl_divergence < 0.9 * both[1].kl_divergence


def test_a_dry_run_writes_nothing_and_shows_what_sizes_cost(source: Path, profile: Path, tmp_path: Path) -> None:
    before = sorted(source.parent.iterdir())
    report = edgemoe.pack(source, tmp_path / "packed.gguf", bits=4, dry_run=True, **profile_options(profile))
    assert not list(tmp_path.iterdir())
    assert sorted(source.parent.iterdir()) == before
    assert report.kl_divergence is None
    assert len(report.curve) > 5
    damages = [point["kl_divergence"] for point in report.curve]
    assert damages == sorted(damages, reverse=True)
    assert [kind["type"].lower() for kind in report.types] == LADDER.split(",")
    assert all(kind["ns_per_weight"] > 0 for kind in report.types)


def test_too_little_memory_to_measure_the_result_is_refused_before_anything_is_rounded(
    source: Path, profile: Path, tmp_path: Path
) -> None:
    steps: list[str] = []
    memory = edgemoe.inspect(source, n_ctx=64, n_ubatch=64).least_memory_bytes
    with pytest.raises(edgemoe.OutOfBudgetError, match="needs both in memory"):
        edgemoe.pack(
            source,
            tmp_path / "packed.gguf",
            bits=3.0,
            memory=memory,
            progress=lambda step, fraction, left: steps.append(step),
            **profile_options(profile),
        )
    assert not steps
    assert not list(tmp_path.iterdir())


def test_an_interrupted_run_is_continued_to_the_same_bytes(source: Path, profile: Path, tmp_path: Path) -> None:
    whole, packed = tmp_path / "whole.gguf", tmp_path / "packed.gguf"
    edgemoe.pack(source, whole, bits=3.0, **profile_options(profile))

    def stop(step: str, fraction: float, seconds_left: float | None) -> bool:
        # What comes after the rounding. The writing alone may be over before Python is told of it.
        return step == "rounding"

    with pytest.raises(edgemoe.Cancelled):
        edgemoe.pack(source, packed, bits=3.0, progress=stop, **profile_options(profile))
    assert not packed.exists()
    report = edgemoe.pack(source, packed, bits=3.0, **profile_options(profile))
    assert report.resumed_matrices == N_MATRICES
    assert packed.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["packed.gguf", "whole.gguf"]


def test_a_killed_run_leaves_no_output_and_is_continued(source: Path, profile: Path, tmp_path: Path) -> None:
    packed, journal = tmp_path / "packed.gguf", tmp_path / "packed.gguf.rounding"
    arguments = command(
        "pack", source, "--profile", profile, "--bits", "3.0", "--types", LADDER, "-t", "1", "-o", packed
    )
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while process.poll() is None and not (journal.exists() and journal.stat().st_size > 100_000):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    killed = process.wait() == -signal.SIGKILL
    assert packed.exists() is not killed
    report = edgemoe.pack(source, packed, bits=3.0, **profile_options(profile))
    assert not killed or report.resumed_matrices > 0
    assert expert_bits(packed) == pytest.approx(report.bits)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["packed.gguf"]


def test_ten_kills_at_random_moments_never_leave_a_half_file_or_lose_work(
    source: Path, profile: Path, tmp_path: Path
) -> None:
    whole, packed, journal = tmp_path / "whole.gguf", tmp_path / "packed.gguf", tmp_path / "packed.gguf.rounding"
    arguments = command("pack", source, "--profile", profile, "--bits", "3.0", "--types", LADDER, "-t", "1", "-o")
    begin = time.monotonic()
    subprocess.run([*arguments, str(whole)], check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - begin
    moments = random.Random(7)
    kept, kills, resumed = 0, 0, 0
    for _ in range(100):
        process = subprocess.Popen([*arguments, str(packed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert process.wait(moments.uniform(0.0, seconds)) == 0
        except subprocess.TimeoutExpired:
            process.kill()
            kills += process.wait() == -signal.SIGKILL
        if packed.exists():
            assert packed.read_bytes() == whole.read_bytes()
            packed.unlink()
            kept = 0
            continue
        # A kill may cut off the matrix that is being written; the next start takes it away. One thread writes one.
        size = journal.stat().st_size if journal.exists() else 0
        assert size >= kept - MOST_RECORD_BYTES
        kept = size
        resumed += kept > JOURNAL_HEADER_BYTES + MOST_RECORD_BYTES
        if kills >= 10 and resumed > 0:
            break
    assert kills >= 10
    assert resumed > 0
    report = edgemoe.pack(source, packed, bits=3.0, **profile_options(profile))
    if kept > JOURNAL_HEADER_BYTES + MOST_RECORD_BYTES:
        assert report.resumed_matrices > 0
    if kept < JOURNAL_HEADER_BYTES + LEAST_RECORD_BYTES:
        assert report.resumed_matrices == 0
    assert packed.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["packed.gguf", "whole.gguf"]


def test_without_kept_activations_the_pass_is_repeated(
    source: Path, profile: Path, text: bytes, tmp_path: Path
) -> None:
    other = tmp_path / "model.profile"
    edgemoe.profile(source, text, other, n_ctx=64, n_tokens=3072, n_threads=2, sensitivity=False)
    assert [path.name for path in tmp_path.iterdir()] == ["model.profile"]
    with_kept, without = tmp_path / "with.gguf", tmp_path / "without.gguf"
    edgemoe.pack(source, with_kept, bits=3.0, **profile_options(profile))
    edgemoe.pack(source, without, bits=3.0, **profile_options(other))
    assert with_kept.read_bytes() == without.read_bytes()
    assert not list(tmp_path.glob("*.activations"))


def test_reading_less_and_running_faster_can_be_asked_for(source: Path, profile: Path) -> None:
    options = {"dry_run": True, **profile_options(profile)}
    plain = edgemoe.pack(source, None, max_kl=0.01, **options)
    less = edgemoe.pack(source, None, max_kl=0.01, objective="read-bytes", **options)
    assert less.read_bytes_per_token <= plain.read_bytes_per_token
    # Of two timings of the same types either may be the higher one, so the expected damage is what is compared.
    fast = edgemoe.pack(source, None, bits=3.4, prefer_speed=True, **options)
    best = edgemoe.pack(source, None, bits=3.4, **options)
    assert best.expected_kl_divergence <= fast.expected_kl_divergence <= 1.11 * best.expected_kl_divergence
    assert fast.bits <= 3.4


def test_a_file_can_be_as_good_as_another_one(source: Path, profile: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    bar = edgemoe.pack(source, other, bits=16, profile=profile, types="q4_k", error_feedback=False, n_threads=2)
    report = edgemoe.pack(source, tmp_path / "packed.gguf", as_good_as=other, **profile_options(profile))
    assert bar.kl_divergence is not None
    # The same file on the same tokens.
    assert report.tolerated_kl_divergence == pytest.approx(bar.kl_divergence, rel=1e-6)
    assert report.kl_divergence is not None
    assert report.kl_divergence <= report.tolerated_kl_divergence
    assert report.file_bytes < bar.file_bytes
    limit = gguf.GGUFReader(tmp_path / "packed.gguf").fields["edgemoe.packed.limit"].contents()
    assert limit.startswith("as good as other.gguf: ")


def test_the_model_itself_is_nothing_to_be_as_good_as(source: Path, profile: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not differ"):
        edgemoe.pack(source, tmp_path / "packed.gguf", as_good_as=source, **profile_options(profile))
    assert not list(tmp_path.iterdir())


def test_less_is_read_behind_a_cache_that_was_packed_for(source: Path, profile: Path) -> None:
    options = {"dry_run": True, **profile_options(profile)}
    expert_bytes = edgemoe.pack(source, None, max_kl=0.01, **options).expert_bytes
    cache = expert_bytes // 3
    reads = {}
    for name, chosen in (
        ("size", {"target_cache": cache}),
        ("every use", {"objective": "read-bytes"}),
        ("misses", {"objective": "read-bytes", "target_cache": cache}),
    ):
        report = edgemoe.pack(source, None, max_kl=0.01, **chosen, **options)
        reads[name] = report.missed_bytes_per_token
        assert report.expected_kl_divergence <= 0.01
    assert reads["every use"] is None
    assert reads["misses"] is not None
    assert reads["size"] is not None
    assert 0 < reads["misses"] <= 1.02 * reads["size"]
    whole = edgemoe.pack(source, None, max_kl=0.01, target_cache=4 * expert_bytes, **options)
    assert whole.missed_bytes_per_token is not None
    # What is read once, spread over the text's tokens.
    assert whole.missed_bytes_per_token < expert_bytes / 1000


def test_a_quantized_model_is_packed_with_a_warning(text: bytes, tmp_path: Path, tokenizer: dict[str, Any]) -> None:
    source = write_model(tmp_path / "q8.gguf", "Q8_0", shape=SHAPE, tokenizer=tokenizer)
    edgemoe.profile(source, text, tmp_path / "q8.profile", n_ctx=64, n_tokens=1024, n_threads=2, sensitivity=False)
    report = edgemoe.pack(
        source, tmp_path / "packed.gguf", profile=tmp_path / "q8.profile", bits=3.5, types="q3_k,q4_k", n_threads=2
    )
    assert any("twice" in warning for warning in report.warnings)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "one limit"),
        ({"bits": 3, "max_kl": 0.1}, ValueError, "one limit"),
        ({"bits": 3, "as_good_as": "other.gguf"}, ValueError, "one limit"),
        ({"as_good_as": "nowhere.gguf"}, FileNotFoundError, "nowhere.gguf"),
        ({"bits": -3}, ValueError, "one limit"),
        ({"bits": 1.5}, edgemoe.OutOfBudgetError, "2.6"),
        ({"size": "1MiB"}, edgemoe.OutOfBudgetError, "too small"),
        ({"size": "8MiB", "objective": "read-bytes"}, ValueError, "read-bytes"),
        ({"bits": 3, "types": "q2_k,nonsense"}, ValueError, "nonsense"),
        ({"bits": 3, "objective": "nonsense"}, ValueError, "nonsense"),
    ],
)
def test_limits_that_make_no_sense_are_refused(
    source: Path, profile: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        edgemoe.pack(source, None, dry_run=True, **{**profile_options(profile), **options})


def test_the_profile_of_another_model_is_refused(profile: Path, tmp_path: Path, tokenizer: dict[str, Any]) -> None:
    other = write_model(tmp_path / "other.gguf", "BF16", shape=ModelShape(n_layers=3, n_experts=4), tokenizer=tokenizer)
    with pytest.raises(ValueError, match="another model"):
        edgemoe.pack(other, None, bits=3, dry_run=True, **profile_options(profile))


def test_a_dense_model_has_nothing_to_pack(profile: Path, dense_file: Path) -> None:
    with pytest.raises(edgemoe.EdgemoeError, match="no routed experts"):
        edgemoe.pack(dense_file, None, bits=3, dry_run=True, **profile_options(profile))


def test_the_command_prints_a_forecast_and_json(cli: Cli, source: Path, profile: Path) -> None:
    arguments = ("pack", source, "--profile", profile, "--bits", "4", "--types", LADDER, "--dry-run")
    done = cli(*arguments)
    assert done.returncode == 0
    assert "bits per expert weight" in done.stdout
    assert "iq3_s" in done.stdout
    report = json.loads(cli(*arguments, "--json").stdout)
    assert report["bits"] <= 4
    assert "kl_divergence" in report


def test_the_command_needs_a_limit_and_an_output(cli: Cli, source: Path, profile: Path) -> None:
    assert cli("pack", source, "--profile", profile, "-o", "x.gguf").returncode == 2
    assert cli("pack", source, "--profile", profile, "--bits", "3").returncode == 2
