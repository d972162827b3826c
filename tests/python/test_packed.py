"""Packed files: what is in them, that they run as they should, that damage is found, and the way back."""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
import pytest
from gguf.constants import GGMLQuantizationType

import edgemoe
from model_files import EXPERT_TYPES, ModelShape, data_offset, tensor_extent, write_large_model, write_model
from packed_files import matrix_name, write_packed

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Cli = Callable[..., subprocess.CompletedProcess[str]]
    Logits = npt.NDArray[np.float32]

PARTS = ("gate", "up", "down")
MIXED = ("Q4_K", "Q2_K", "IQ3_S", "Q8_0", "F16", "IQ2_XS", "Q4_0")
# Every way to read experts, each through a cache that holds a third of them.
WAYS_TO_READ = ({}, {"io": "threads"}, {"io": "threads", "direct_io": False}, {"direct_io": False}, {"io": "mmap"})


def mixed_type(expert: int, name: str) -> str:
    """Another type for almost every matrix."""
    return MIXED[(expert + len(name) * 3 + int(name.split(".")[1])) % len(MIXED)]


def evaluate(path: Path, **options: Any) -> Logits:
    """Logits of a prompt in one batch and of tokens decoded greedily after it."""
    with edgemoe.load(path, **options) as model:
        prompt = [int(token) for token in np.random.default_rng(3).integers(0, model.info.n_vocab, 40)]
        rows = [model.decode(prompt)]
        for _ in range(12):
            rows.append(model.decode([int(rows[-1][-1].argmax())]))
        logits = np.concatenate(rows)
        assert np.isfinite(logits).all()
        if "expert_cache" in options:
            assert model.info.mode == "streamed"
        return logits


def tensors_by_name(path: Path) -> dict[str, gguf.ReaderTensor]:
    """The tensors as the gguf package reads them."""
    return {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}


@pytest.fixture(scope="module")
def packed_file(moe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The random Q4_0 model, packed as it is. Tests do not change it."""
    path = tmp_path_factory.mktemp("packed") / "packed.gguf"
    edgemoe.repack(moe_file, path)
    return path


@pytest.fixture(scope="module")
def mixed_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed file of many types. Tests do not change it."""
    return write_packed(tmp_path_factory.mktemp("mixed") / "mixed.gguf", mixed_type)


def run_script(script: str, *args: object) -> subprocess.CompletedProcess[str]:
    """A Python program in a process of its own, which sees the modules beside this one."""
    command = [sys.executable, "-c", textwrap.dedent(script), *(str(arg) for arg in args)]
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)


def copy_of(path: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    copy = tmp_path / "damaged.gguf"
    copy.write_bytes(path.read_bytes())
    return copy


def flip(path: Path, offset: int, bit: int = 0) -> None:
    """Flips one bit of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))


# -- what is in a packed file ------------------------------------------------------------------------------------------


def test_the_gguf_package_reads_a_packed_file(moe_file: Path, packed_file: Path) -> None:
    stock, packed = tensors_by_name(moe_file), tensors_by_name(packed_file)
    n_experts = ModelShape().n_experts
    for name, tensor in stock.items():
        if "_exps" not in name:
            assert packed.pop(name).data.tobytes() == tensor.data.tobytes()
            continue
        for expert in range(n_experts):
            one = packed.pop(matrix_name(name, expert))
            assert one.tensor_type == tensor.tensor_type
            assert list(one.shape) == list(tensor.shape[:2])
            assert one.data.tobytes() == tensor.data[expert].tobytes()
            assert (
                gguf.quants.dequantize(one.data, one.tensor_type)
                == gguf.quants.dequantize(tensor.data[expert], tensor.tensor_type)
            ).all()
    assert not packed
    before = gguf.GGUFReader(moe_file).fields
    after = gguf.GGUFReader(packed_file).fields
    for key, field in before.items():
        if not key.startswith("GGUF."):
            assert after[key].contents() == field.contents()
    assert after["general.alignment"].contents() == 4096


def test_gguf_dump_lists_a_packed_file(packed_file: Path) -> None:
    dump = [sys.executable, "-m", "gguf.scripts.gguf_dump", str(packed_file)]
    done = subprocess.run(dump, capture_output=True, text=True, check=True)
    assert "blk.2.ffn_down_exps.7.weight" in done.stdout
    assert "edgemoe.packed.version" in done.stdout


def test_the_matrices_of_an_expert_lie_together_and_are_aligned(packed_file: Path) -> None:
    for expert in range(ModelShape().n_experts):
        extents = [tensor_extent(packed_file, f"blk.1.ffn_{part}_exps.{expert}.weight") for part in PARTS]
        for offset, _ in extents:
            assert offset % 4096 == 0
        for (offset, n_bytes), (following, _) in zip(extents, extents[1:], strict=False):
            assert 0 <= following - offset - n_bytes < 4096


def test_inspect_tells_the_types_of_each_layer(cli: Cli, mixed_file: Path) -> None:
    info = edgemoe.inspect(mixed_file)
    counts: dict[tuple[int, str, str], int] = {}
    for layer in range(2):
        for part in PARTS:
            for expert in range(8):
                kind = mixed_type(expert, f"blk.{layer}.ffn_{part}_exps.{expert}.weight").lower()
                counts[layer, part, kind] = counts.get((layer, part, kind), 0) + 1
    assert {(use.layer, use.projection, use.type.lower()): use.n_experts for use in info.expert_types} == counts
    assert sum(use.bytes for use in info.expert_types) == info.expert_bytes
    assert info.packed["version"] == "1"
    assert "kl_divergence" not in info.packed
    shown = cli("inspect", mixed_file).stdout
    assert re.search(r"^blk\.1 +gate \d+ ", shown, re.MULTILINE)
    record = json.loads(cli("inspect", "--json", mixed_file).stdout)
    assert record["expert_types"] == [dict(use) for use in info.expert_types]


def test_inspect_of_a_stock_file_has_types_and_no_packed_entries(moe_file: Path) -> None:
    info = edgemoe.inspect(moe_file)
    assert info.packed == {}
    assert {(use.type, use.n_experts) for use in info.expert_types} == {("q4_0", 8)}


def test_a_split_model_becomes_one_file(tmp_path: Path) -> None:
    split = write_model(tmp_path / "split.gguf", tensors_per_split=9)
    edgemoe.repack(split, tmp_path / "packed.gguf")
    assert "split.count" not in gguf.GGUFReader(tmp_path / "packed.gguf").fields
    expected = evaluate(split, streaming="off")
    assert evaluate(tmp_path / "packed.gguf").tobytes() == expected.tobytes()


# -- running -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_packed_file_gives_the_bits_of_the_stock_file(moe_file: Path, packed_file: Path, n_threads: int) -> None:
    expected = evaluate(moe_file, streaming="off", n_threads=n_threads)
    cache = edgemoe.inspect(packed_file).expert_bytes // 3
    assert evaluate(packed_file, n_threads=n_threads).tobytes() == expected.tobytes()
    assert evaluate(packed_file, n_threads=n_threads, expert_cache=cache).tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    "options",
    [
        {"n_threads": 1},
        {"n_threads": 2},
        {"n_ubatch": 7},
        {"io": "threads"},
        {"direct_io": False},
        {"eviction": "lru"},
        {"flash_attention": True},
    ],
)
def test_mixed_types_streamed_and_resident_give_the_same_bits(mixed_file: Path, options: dict[str, Any]) -> None:
    expected = evaluate(mixed_file, **options)
    cache = edgemoe.inspect(mixed_file).expert_bytes // 4
    assert evaluate(mixed_file, expert_cache=cache, **options).tobytes() == expected.tobytes()


def test_every_type_runs_beside_the_others(tmp_path: Path) -> None:
    shape = ModelShape(n_layers=1, n_experts=len(EXPERT_TYPES), n_experts_used=6)
    path = write_packed(tmp_path / "every.gguf", lambda expert, _: EXPERT_TYPES[expert], shape=shape)
    cache = edgemoe.inspect(path).expert_bytes // 2
    assert evaluate(path, expert_cache=cache).tobytes() == evaluate(path).tobytes()


def test_one_type_for_all_gives_the_bits_of_a_stock_file(tmp_path: Path) -> None:
    packed = write_packed(tmp_path / "packed.gguf", lambda *_: "Q3_K")
    edgemoe.unpack(packed, tmp_path / "stock.gguf")
    expected = evaluate(tmp_path / "stock.gguf", streaming="off")
    assert evaluate(packed).tobytes() == expected.tobytes()


def test_each_experts_output_is_that_of_ggml_with_its_type(tmp_path: Path) -> None:
    # With one expert a token and one layer, a token's logits are those of its expert alone. The stock file of type T
    # has the experts of that type as they are, so it gives the bits of all tokens that went to one of them.
    types = ("Q4_0", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS")
    shape = ModelShape(n_layers=1, n_experts=len(types), n_experts_used=1)
    path = write_packed(tmp_path / "packed.gguf", lambda expert, _: types[expert], shape=shape)
    tokens = range(shape.n_vocab)

    def rows(path: Path, **options: Any) -> list[bytes]:
        with edgemoe.load(path, n_threads=2, **options) as model:
            return [model.logits([token]).tobytes() for token in tokens]

    packed = rows(path, expert_cache=edgemoe.inspect(path).expert_bytes // 4)
    assert packed == rows(path)
    explained: dict[int, set[str]] = {token: set() for token in tokens}
    for name in types:
        stock = tmp_path / f"{name}.gguf"
        edgemoe.unpack(path, stock, type=name.lower())
        for token, row in enumerate(rows(stock, streaming="off")):
            if row == packed[token]:
                explained[token].add(name)
    assert all(len(names) == 1 for names in explained.values())
    assert set.union(*explained.values()) == set(types)


def test_the_least_cache_holds_the_largest_experts_of_a_token(mixed_file: Path) -> None:
    with pytest.raises(edgemoe.OutOfBudgetError) as raised:
        edgemoe.load(mixed_file, expert_cache=1000)
    figures = [int(figure) for figure in re.findall(r"(\d+) (?:bytes|B)\b", str(raised.value))]
    least = min(figure for figure in figures if figure > 1000)
    assert least == edgemoe.inspect(mixed_file).largest_expert_bytes
    assert evaluate(mixed_file, expert_cache=least).tobytes() == evaluate(mixed_file).tobytes()


def test_the_memory_figures_count_every_experts_own_bytes(mixed_file: Path) -> None:
    sizes = {
        (layer, expert): sum(
            tensor_extent(mixed_file, f"blk.{layer}.ffn_{part}_exps.{expert}.weight")[1] for part in PARTS
        )
        for layer in range(2)
        for expert in range(8)
    }
    top = [sum(sorted((sizes[layer, e] for e in range(8)), reverse=True)[:2]) for layer in range(2)]
    info = edgemoe.inspect(mixed_file)
    assert info.expert_bytes == sum(sizes.values())
    assert info.largest_expert_bytes == max(sizes.values())
    assert info.useful_memory_bytes - info.least_memory_bytes == sum(top) - max(top)


def test_llama_cpps_own_way_of_loading_is_refused(packed_file: Path) -> None:
    with pytest.raises(edgemoe.EdgemoeError, match=r"packed file.*unpack"):
        edgemoe.load(packed_file, streaming="off")


# -- damage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("use", [edgemoe.inspect, edgemoe.load])
def test_a_flipped_bit_anywhere_in_the_metadata_is_refused(
    packed_file: Path, tmp_path: Path, use: Callable[[Path], object]
) -> None:
    path = copy_of(packed_file, tmp_path)
    rng = np.random.default_rng(8)
    n_bytes = data_offset(packed_file)
    for offset in [0, 4, 8, 16, 24, n_bytes - 1, *(int(at) for at in rng.integers(0, n_bytes, 60))]:
        bit = int(rng.integers(0, 8))
        flip(path, offset, bit)
        with pytest.raises(edgemoe.ModelFormatError, match=r"damaged\.gguf"):
            use(path)
        flip(path, offset, bit)
    use(path)


def test_a_forged_header_is_refused_or_read_and_never_a_crash(mixed_file: Path, tmp_path: Path) -> None:
    path = copy_of(mixed_file, tmp_path)
    script = """
        import pathlib, sys
        import numpy as np
        import edgemoe
        from packed_files import seal
        path, size = pathlib.Path(sys.argv[1]), int(sys.argv[2])
        content = path.read_bytes()
        rng = np.random.default_rng(4)
        refused = 0
        for at in rng.integers(0, size, 200):
            header = bytearray(content[:size])
            header[at] ^= 1 << int(rng.integers(0, 8))
            with path.open("r+b") as file:
                file.write(header)
            try:
                seal(path, size)
                edgemoe.inspect(path)
            except (edgemoe.EdgemoeError, ValueError, OSError, MemoryError):
                refused += 1
        print(refused)
    """
    done = run_script(script, path, data_offset(mixed_file))
    assert done.returncode == 0, done.stderr
    assert 20 < int(done.stdout) <= 200


@pytest.mark.parametrize("options", WAYS_TO_READ)
@pytest.mark.parametrize("part", PARTS)
def test_a_bit_flipped_in_any_matrix_is_found_by_every_reader(
    packed_file: Path, tmp_path: Path, part: str, options: dict[str, Any]
) -> None:
    path = copy_of(packed_file, tmp_path)
    offset, n_bytes = tensor_extent(path, f"blk.1.ffn_{part}_exps.6.weight")
    cache = edgemoe.inspect(path).expert_bytes // 3
    for place in (offset, offset + n_bytes // 2, offset + n_bytes - 1):
        flip(path, place, 5)
        with edgemoe.load(path, expert_cache=cache, **options) as model:
            with pytest.raises(edgemoe.ModelFormatError) as raised:
                model.logits(list(range(model.info.n_vocab)))
            assert re.search(rf"damaged\.gguf: .*checksum.*\(blk\.1 expert 6 {part}\)", str(raised.value))
        flip(path, place, 5)
    with edgemoe.load(path, expert_cache=cache, **options) as model:
        assert np.isfinite(model.logits(list(range(model.info.n_vocab)))).all()


def test_a_damaged_expert_is_named_and_the_others_go_on(packed_file: Path, tmp_path: Path) -> None:
    path = copy_of(packed_file, tmp_path)
    matrices = {}
    for layer in range(3):
        offset, n_bytes = tensor_extent(path, f"blk.{layer}.ffn_up_exps.5.weight")
        matrices[layer] = offset + n_bytes // 2
    flip(path, matrices[1])
    expected = evaluate(packed_file)
    cache = edgemoe.inspect(path).expert_bytes // 3
    for options in ({}, {"expert_cache": cache}, {"io": "threads", "direct_io": False}):
        with edgemoe.load(path, **options) as model:
            tokens = list(range(model.info.n_vocab))
            for _ in range(2):
                with pytest.raises(edgemoe.ModelFormatError) as raised:
                    model.logits(tokens)
                assert re.search(r"damaged\.gguf: .*checksum.*\(blk\.1 expert 5 up\)", str(raised.value))
            flip(path, matrices[1])
            model.reset()
            assert np.isfinite(model.logits(tokens)).all()
            flip(path, matrices[1])
    flip(path, matrices[1])
    assert evaluate(path).tobytes() == expected.tobytes()


@pytest.mark.parametrize("options", WAYS_TO_READ)
def test_swapped_experts_are_found(packed_file: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    path = copy_of(packed_file, tmp_path)
    data = bytearray(path.read_bytes())
    # All of two experts: every byte is one that the file has had.
    for part in PARTS:
        (one, n_bytes), (other, _) = (
            tensor_extent(path, f"blk.0.ffn_{part}_exps.{expert}.weight") for expert in (2, 3)
        )
        data[one : one + n_bytes], data[other : other + n_bytes] = (
            data[other : other + n_bytes],
            data[one : one + n_bytes],
        )
    path.write_bytes(data)
    cache = edgemoe.inspect(path).expert_bytes // 3
    with (
        edgemoe.load(path, expert_cache=cache, **options) as model,
        pytest.raises(edgemoe.ModelFormatError, match=r"\(blk\.0 expert [23] (gate|up|down)\)"),
    ):
        model.logits(list(range(model.info.n_vocab)))
    with pytest.raises(edgemoe.ModelFormatError, match=r"\(blk\.0 expert [23] (gate|up|down)\)"):
        edgemoe.unpack(path, tmp_path / "stock.gguf")
    assert not (tmp_path / "stock.gguf").exists()


def test_a_file_cut_while_it_is_read_is_told(packed_file: Path, tmp_path: Path) -> None:
    for options in WAYS_TO_READ:
        path = copy_of(packed_file, tmp_path)
        cache = edgemoe.inspect(path).expert_bytes // 3
        with edgemoe.load(path, expert_cache=cache, **options) as model:
            os.truncate(path, tensor_extent(packed_file, "blk.1.ffn_up_exps.3.weight")[0] + 10)
            with pytest.raises(edgemoe.EdgemoeError, match=r"damaged\.gguf"):
                model.logits(list(range(model.info.n_vocab)))


@pytest.mark.parametrize("place", ["header", "end of header", "hot", "expert", "last byte"])
def test_a_truncated_file_is_refused(packed_file: Path, tmp_path: Path, place: str) -> None:
    path = copy_of(packed_file, tmp_path)
    last, n_bytes = tensor_extent(path, "blk.2.ffn_down_exps.7.weight")
    size = {
        "header": 1000,
        "end of header": data_offset(path) - 1,
        "hot": tensor_extent(path, "blk.1.attn_q.weight")[0] + 10,
        "expert": tensor_extent(path, "blk.1.ffn_up_exps.3.weight")[0] + 10,
        "last byte": last + n_bytes - 1,
    }[place]
    os.truncate(path, size)
    for use in (edgemoe.inspect, edgemoe.load):
        with pytest.raises(edgemoe.ModelFormatError, match=r"damaged\.gguf.*(truncated|damaged)"):
            use(path)


def test_a_missing_expert_is_named(tmp_path: Path) -> None:
    name = "blk.1.ffn_up_exps.4.weight"
    path = write_packed(tmp_path / "hole.gguf", mixed_type, omit={name})
    with pytest.raises(edgemoe.ModelFormatError, match=rf"{re.escape(name)} is missing"):
        edgemoe.load(path)


def test_a_missing_projection_is_named(tmp_path: Path) -> None:
    omit = {f"blk.1.ffn_up_exps.{expert}.weight" for expert in range(8)}
    path = write_packed(tmp_path / "hole.gguf", mixed_type, omit=omit)
    with pytest.raises(edgemoe.ModelFormatError, match=r"blk\.1\.ffn_up_exps.*is missing"):
        edgemoe.load(path)


@pytest.mark.parametrize(
    ("name", "dims", "reason"),
    [
        ("blk.1.ffn_up_exps.8.weight", (256, 256), "the model has not"),
        ("blk.1.ffn_up_exps.04.weight", (256, 256), "twice"),
        ("blk.1.ffn_gate_up_exps.0.weight", (256, 256), "blk.1.ffn_gate_up_exps.1.weight is missing"),
        ("blk.100000.ffn_up_exps.0.weight", (256, 256), "impossible"),
        ("blk.1.ffn_up_exps.weight", (256, 256), "twice"),
    ],
)
def test_a_matrix_too_many_is_refused(tmp_path: Path, name: str, dims: tuple[int, ...], reason: str) -> None:
    path = write_packed(tmp_path / "more.gguf", mixed_type, extra={name: dims})
    with pytest.raises(edgemoe.ModelFormatError, match=rf"more\.gguf.*({re.escape(reason)}|checksums)"):
        edgemoe.load(path)


def test_a_matrix_of_another_shape_is_refused(tmp_path: Path) -> None:
    name = "blk.0.ffn_down_exps.2.weight"
    path = write_packed(tmp_path / "shape.gguf", mixed_type, omit={name}, extra={name: (256, 512)})
    with pytest.raises(edgemoe.ModelFormatError, match=r"blk\.0\.ffn_down_exps\.2\.weight has another shape"):
        edgemoe.load(path)


def test_a_later_version_is_named(tmp_path: Path) -> None:
    path = write_packed(tmp_path / "later.gguf", mixed_type, version=2)
    with pytest.raises(edgemoe.ModelFormatError, match="version 2"):
        edgemoe.load(path)


def test_a_file_without_checksums_is_refused(packed_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "plain.gguf"
    path.write_bytes(packed_file.read_bytes().replace(b"edgemoe.packed.", b"another.packer."))
    with pytest.raises(edgemoe.ModelFormatError, match=r"edgemoe\.packed\.version is missing"):
        edgemoe.load(path)


# -- writing -----------------------------------------------------------------------------------------------------------


def test_a_killed_writer_leaves_no_half_file_and_the_next_one_takes_over(tmp_path: Path) -> None:
    shape = ModelShape(n_layers=4, n_experts=32, n_embd=512, n_ff=512)
    model = write_large_model(tmp_path / "large.gguf", shape)
    whole = tmp_path / "whole.gguf"
    edgemoe.repack(model, whole)
    output = tmp_path / "packed.gguf"
    partial = tmp_path / "packed.gguf.part"
    script = """
        import signal, sys, edgemoe
        edgemoe.default_model_path()
        signal.setitimer(signal.ITIMER_REAL, float(sys.argv[3]))  # whose signal nobody handles: it kills
        edgemoe.repack(sys.argv[1], sys.argv[2])
    """
    for seconds in (0.001, 0.005, 0.01, 0.02, 0.04, 0.08):
        assert run_script(script, model, output, seconds).returncode in (0, -signal.SIGALRM)
        assert not output.exists() or output.read_bytes() == whole.read_bytes()
        output.unlink(missing_ok=True)
    partial.write_bytes(b"what a killed writer left" * 4_000_000)
    edgemoe.repack(model, output)
    assert output.read_bytes() == whole.read_bytes()
    assert not partial.exists()


def test_a_failed_write_is_told_and_leaves_what_was_there(moe_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "packed.gguf"
    output.write_bytes(b"older")
    script = """
        import resource, sys, edgemoe
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        edgemoe.repack(sys.argv[1], sys.argv[2])
    """
    done = run_script(script, moe_file, output)
    assert done.returncode == 1
    assert re.search(r"EdgemoeIOError: .*packed\.gguf\.part: .*File too large", done.stderr)
    assert output.read_bytes() == b"older"
    assert [path.name for path in tmp_path.iterdir()] == ["packed.gguf"]


def test_progress_is_reported_to_its_end(moe_file: Path, tmp_path: Path) -> None:
    script = """
        import sys, edgemoe
        seen = []
        def progress(step, fraction, left):
            seen.append((step, fraction))
            return True
        edgemoe.repack(sys.argv[1], sys.argv[2], progress=progress)
        assert seen[-1] == ("packing", 1.0), seen
    """
    done = run_script(script, moe_file, tmp_path / "packed.gguf")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("job", [edgemoe.repack, edgemoe.unpack])
def test_outputs_that_cannot_be_are_refused(
    moe_file: Path, packed_file: Path, tmp_path: Path, job: Callable[[Path, Path], None]
) -> None:
    source = moe_file if job is edgemoe.repack else packed_file
    with pytest.raises(FileNotFoundError, match="folder"):
        job(source, tmp_path / "nowhere" / "out.gguf")
    with pytest.raises(ValueError, match="regular file"):
        job(source, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nothing\.gguf"):
        job(tmp_path / "nothing.gguf", tmp_path / "out.gguf")
    with pytest.raises(ValueError, match="zero byte"):
        job(source, tmp_path / "a\0b.gguf")
    assert list(tmp_path.iterdir()) == []


def test_a_model_is_not_packed_onto_itself(moe_file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.gguf"
    link.symlink_to(moe_file)
    with pytest.raises(ValueError, match="another name"):
        edgemoe.repack(moe_file, link)


def test_a_dense_model_cannot_be_packed(dense_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dense"):
        edgemoe.repack(dense_file, tmp_path / "packed.gguf")


# -- the way back ------------------------------------------------------------------------------------------------------


def test_packing_and_unpacking_gives_the_stock_file_back(
    cli: Cli, moe_file: Path, packed_file: Path, tmp_path: Path
) -> None:
    done = cli("unpack", packed_file, "-o", tmp_path / "stock.gguf")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    before, after = tensors_by_name(moe_file), tensors_by_name(tmp_path / "stock.gguf")
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert after[name].tensor_type == tensor.tensor_type
        assert list(after[name].shape) == list(tensor.shape)
        assert after[name].data.tobytes() == tensor.data.tobytes()
    assert not [key for key in gguf.GGUFReader(tmp_path / "stock.gguf").fields if "packed" in key]
    assert (tmp_path / "stock.gguf").stat().st_size == moe_file.stat().st_size


def test_by_default_a_stack_has_the_widest_type_of_its_experts(mixed_file: Path, tmp_path: Path) -> None:
    stock = tmp_path / "stock.gguf"
    edgemoe.unpack(mixed_file, stock)
    packed = tensors_by_name(mixed_file)
    for name, stack in tensors_by_name(stock).items():
        if "_exps" not in name:
            continue
        ones = [packed[matrix_name(name, expert)] for expert in range(8)]
        widest = max(ones, key=lambda one: one.n_bytes)
        assert stack.tensor_type == widest.tensor_type
        for expert, one in enumerate(ones):
            if one.tensor_type == stack.tensor_type:
                assert stack.data[expert].tobytes() == one.data.tobytes()
    assert np.isfinite(evaluate(stock, streaming="off")).all()


def test_f32_loses_nothing(cli: Cli, mixed_file: Path, tmp_path: Path) -> None:
    stock = tmp_path / "stock.gguf"
    assert cli("unpack", mixed_file, "-o", stock, "--type", "F32", "-t", "1").returncode == 0
    packed = tensors_by_name(mixed_file)
    for name, stack in tensors_by_name(stock).items():
        if "_exps" in name:
            assert stack.tensor_type == GGMLQuantizationType.F32
            for expert in range(8):
                one = packed[matrix_name(name, expert)]
                values = gguf.quants.dequantize(one.data, one.tensor_type)
                # The package rounds sums of products in another order; the engine's values are ggml's.
                assert np.allclose(stack.data[expert], values, rtol=1e-6, atol=1e-9)


def test_types_that_cannot_be_are_refused(cli: Cli, packed_file: Path, moe_file: Path, tmp_path: Path) -> None:
    stock = tmp_path / "stock.gguf"
    with pytest.raises(ValueError, match=r'"q9".*q4_K'):
        edgemoe.unpack(packed_file, stock, type="q9")
    with pytest.raises(ValueError, match="not a packed file"):
        edgemoe.unpack(moe_file, stock)
    with pytest.raises(ValueError, match="n_threads"):
        edgemoe.unpack(packed_file, stock, n_threads=-1)
    narrow = tmp_path / "narrow.gguf"
    write_packed(narrow, lambda *_: "Q4_0", shape=ModelShape(n_layers=1, n_embd=64, n_ff=64))
    done = cli("unpack", narrow, "-o", stock, "--type", "q4_K")
    assert done.returncode == 1
    assert "its rows of 64 cannot be of q4_K" in done.stderr
    assert not stock.exists()
    assert not stock.with_name("stock.gguf.part").exists()


def test_the_header_keeps_a_checksum_for_each_matrix(packed_file: Path) -> None:
    fields = gguf.GGUFReader(packed_file).fields
    n_matrices = sum("_exps." in tensor.name for tensor in gguf.GGUFReader(packed_file).tensors)
    assert len(fields["edgemoe.packed.checksums"].contents()) == n_matrices == 72
    assert struct.calcsize("<I") == fields["edgemoe.packed.header_checksum"].parts[-1].nbytes
