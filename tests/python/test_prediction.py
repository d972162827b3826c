"""Which experts come next? What a profile's maps say, that it is judged rightly, and that it changes no result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
import pytest

import edgemoe
from model_files import ModelShape, write_model

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Cli = Callable[..., subprocess.CompletedProcess[str]]

TEXT = Path(__file__).read_text(encoding="utf-8")
OTHER_TEXT = Path(__file__).with_name("test_plan.py").read_text(encoding="utf-8")
SHAPE = ModelShape()
N_CTX = 64


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory, tokenizer: dict[str, Any]) -> Path:
    """A random model."""
    return write_model(tmp_path_factory.mktemp("prediction") / "model.gguf", "F32", tokenizer=tokenizer)


@pytest.fixture(scope="module")
def profile_file(model_file: Path) -> Path:
    """Its profile, with maps."""
    path = model_file.with_suffix(".profile")
    profile = edgemoe.profile(model_file, TEXT, path, n_ctx=N_CTX, sensitivity=False, n_threads=2)
    assert profile.info.map_bytes > 0
    return path


@pytest.fixture(scope="module")
def report(model_file: Path, profile_file: Path) -> edgemoe.PredictionReport:
    """Judged on another text."""
    return edgemoe.judge_predictors(model_file, OTHER_TEXT, profile=profile_file, n_threads=2)


def test_a_layers_own_router_on_its_own_input_names_what_it_chose(report: edgemoe.PredictionReport) -> None:
    assert report.layers == list(range(SHAPE.n_layers))
    for share in report.control:
        assert share is not None
        assert share > 0.999  # inputs are kept in 16 bits


def test_every_predictor_is_judged_for_every_layer_and_distance(report: edgemoe.PredictionReport) -> None:
    names = [recall.predictor for recall in report.predictors]
    assert {"popularity", "previous-token", "path", "router", "look-ahead"} <= set(names)
    for recall in report.predictors:
        assert len(recall.by_layer) == SHAPE.n_layers
        for shares in recall.by_layer:
            assert len(shares) == len(recall.mean) == 3
            assert all(share is not None and 0 <= share <= 1 for share in shares)


def test_what_is_fitted_beats_chance_and_the_router_alone(report: edgemoe.PredictionReport) -> None:
    recalls = {recall.predictor: recall.mean[0] for recall in report.predictors}
    chance = SHAPE.n_experts_used / SHAPE.n_experts
    fitted, router = recalls["look-ahead"], recalls["router"]
    assert fitted is not None
    assert router is not None
    assert fitted > 1.2 * chance
    assert fitted > router


def test_the_bound_hits_most(report: edgemoe.PredictionReport) -> None:
    for share in {row.cache_share for row in report.retention}:
        rates = {row.policy: row.hit_rate for row in report.retention if row.cache_share == share}
        assert {"lru", "next-use", "belady"} <= set(rates)
        assert max(rates, key=lambda policy: rates[policy]) == "belady"


def test_a_profile_without_maps_is_judged_by_the_rest(model_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "plain.profile"
    profile = edgemoe.profile(model_file, TEXT, path, n_ctx=N_CTX, n_tokens=512, sensitivity=False, maps=False)
    assert profile.info.map_bytes == 0
    report = edgemoe.judge_predictors(model_file, OTHER_TEXT, profile=path, n_tokens=512)
    recalls = {recall.predictor: recall.mean for recall in report.predictors}
    assert recalls["look-ahead"] == [None, None, None]
    assert recalls["path"][0] is not None  # of three layers, none has a target of the same token three ahead
    assert "next-use" not in {row.policy for row in report.retention}


def test_the_number_of_threads_changes_no_bit_of_the_maps(model_file: Path, tmp_path: Path) -> None:
    contents = []
    for n_threads in (1, 3):
        path = tmp_path / f"{n_threads}.profile"
        edgemoe.profile(model_file, TEXT, path, n_ctx=N_CTX, n_tokens=512, sensitivity=False, n_threads=n_threads)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


def test_a_profile_of_another_model_is_refused(profile_file: Path, tmp_path: Path, tokenizer: dict[str, Any]) -> None:
    other = write_model(tmp_path / "other.gguf", "F32", shape=ModelShape(n_experts=12), tokenizer=tokenizer)
    with pytest.raises(ValueError, match="of another model"):
        edgemoe.judge_predictors(other, OTHER_TEXT, profile=profile_file)
    with pytest.raises(ValueError, match="of another model"):
        edgemoe.load(other, profile=profile_file)
    with pytest.raises(FileNotFoundError):
        edgemoe.load(other, profile=tmp_path / "none.profile")
    with pytest.raises(edgemoe.ModelFormatError):
        edgemoe.load(other, profile=__file__)


def test_a_damaged_map_is_refused(model_file: Path, profile_file: Path, tmp_path: Path) -> None:
    damaged = bytearray(profile_file.read_bytes())
    maps = [one for one in gguf.GGUFReader(profile_file).tensors if one.name.endswith(".profile.map")]
    damaged[maps[-1].data_offset : maps[-1].data_offset + 2] = np.float16("nan").tobytes()  # a scale
    path = tmp_path / "damaged.profile"
    path.write_bytes(damaged)
    with pytest.raises(edgemoe.ModelFormatError, match="make it again"):
        edgemoe.load(model_file, expert_cache="1MiB", profile=path)


def test_a_decoding_model_forecasts_what_its_maps_are_judged_to_know(
    model_file: Path, profile_file: Path, report: edgemoe.PredictionReport
) -> None:
    cache = edgemoe.plan(model_file, probe_seconds=0).expert_bytes // 2
    with edgemoe.load(model_file, n_ctx=256, expert_cache=cache, profile=profile_file, prefetch="always") as model:
        tokens = model.tokenize(OTHER_TEXT)[:3000]
        for begin in range(0, len(tokens), N_CTX):
            model.reset()
            for token in tokens[begin : begin + N_CTX]:
                model.decode([token])
        found = {(row.layer, row.distance): row for row in model.forecast_recall}
    judged = next(one for one in report.predictors if one.predictor == "look-ahead")
    # The first two layers are forecast by the token as well.
    for distance, tolerance in ((1, 0.05), (2, 0.1), (3, 0.1)):  # of the latter every eighth token is counted
        for layer in range(2, SHAPE.n_layers):
            expected = judged.by_layer[(layer - distance) % SHAPE.n_layers][distance - 1]
            assert found[layer, distance].recall == pytest.approx(expected, abs=tolerance)


def logits_of(model: edgemoe.Model, tokens: list[int]) -> list[np.ndarray[Any, Any]]:
    """Of a prompt, and of the rest token by token."""
    results = [model.decode(tokens[:20])]
    results += [model.decode([token]) for token in tokens[20:]]
    return results


def test_predicting_changes_no_bit_of_the_logits(model_file: Path, profile_file: Path) -> None:
    cache = edgemoe.plan(model_file, probe_seconds=0).expert_bytes // 2
    results = []
    for options in ({"profile": profile_file}, {}, {"profile": profile_file, "eviction": "lru"}):
        with edgemoe.load(model_file, n_ctx=256, expert_cache=cache, **options) as model:  # type: ignore[arg-type]
            results.append(logits_of(model, model.tokenize(TEXT)[:60]))
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other))


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_a_replay_of_a_recorded_run_has_the_hits_of_next_use(
    model_file: Path, profile_file: Path, tmp_path: Path, share: float
) -> None:
    cache = int(share * edgemoe.plan(model_file, probe_seconds=0).expert_bytes)
    path = tmp_path / "trace.csv"
    with edgemoe.load(
        model_file, n_ctx=256, n_threads=2, expert_cache=cache, profile=profile_file, prefetch="off"
    ) as model:
        cache = model.info.expert_cache_bytes
        with model.recording(path):
            model.generate("", max_tokens=60, temperature=0.9, seed=3, ignore_eos=True)
        stats = model.stats
    assert path.read_text().count("# next_use") == 60 * SHAPE.n_layers
    assert stats.expert_hits < stats.expert_requests
    hits = {row.policy: row.hits for row in edgemoe.replay(path, cache=cache).rows}
    assert hits["next-use"] == stats.expert_hits
    assert hits["lru"] != hits["next-use"]


def test_a_ceiling_holds_the_maps(model_file: Path, profile_file: Path) -> None:
    info = edgemoe.open_profile(profile_file).info
    with edgemoe.load(model_file, n_ctx=256, profile=profile_file, memory="1GiB") as model:
        assert model.generate("def f(", max_tokens=4, ignore_eos=True) != ""
    assert info.map_bytes > 0


def test_a_packed_file_carries_the_maps(model_file: Path, profile_file: Path, tmp_path: Path) -> None:
    packed, again = tmp_path / "packed.gguf", tmp_path / "again.gguf"
    edgemoe.pack(model_file, packed, profile=profile_file, bits=5, types="q4_0,q8_0", n_threads=2)
    edgemoe.repack(packed, again)
    cache = edgemoe.plan(packed, probe_seconds=0).expert_bytes // 2
    counts = []
    for file in (packed, again):
        path = tmp_path / "trace.csv"
        with (
            edgemoe.load(file, n_ctx=256, expert_cache=cache) as model,
            model.recording(path),
        ):
            model.generate("", max_tokens=5, seed=1, ignore_eos=True)
        counts.append(path.read_text().count("# next_use"))
    assert counts == [5 * SHAPE.n_layers] * 2
    stock = tmp_path / "stock.gguf"
    edgemoe.unpack(again, stock)
    assert b"profile.map" not in stock.read_bytes()


def test_the_command_prints_the_table_and_json(cli: Cli, model_file: Path, profile_file: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text(OTHER_TEXT, encoding="utf-8")
    arguments = ("profile", model_file, "--predict", profile_file, "-f", text, "--tokens", "512")
    done = cli(*arguments)
    assert done.returncode == 0, done.stderr
    for word in ("control", "look-ahead", "popularity", "next-use", "belady", "blk.0"):
        assert word in done.stdout
    report = json.loads(cli(*arguments, "--json").stdout)
    assert report["tokens"] == 512
    assert {recall["predictor"] for recall in report["predictors"]} >= {"path", "look-ahead"}
    assert cli("profile", model_file, "-f", text).returncode == 2
    assert cli("profile", model_file, "-f", text, "--predict", profile_file, "-o", text).returncode == 2
