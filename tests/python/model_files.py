"""Small random models as GGUF files: any expert type, with or without a tokenizer, whole or split, dense or damaged."""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

# Where the fp16 scales of a block are, for the types that the gguf package decodes but does not encode.
_SCALE_OFFSETS: dict[GGMLQuantizationType, tuple[int, ...]] = {
    GGMLQuantizationType.Q2_K: (80, 82),
    GGMLQuantizationType.Q3_K: (108,),
    GGMLQuantizationType.Q4_K: (0, 2),
    GGMLQuantizationType.Q5_K: (0, 2),
    GGMLQuantizationType.Q6_K: (208,),
    GGMLQuantizationType.IQ1_S: (0,),
    GGMLQuantizationType.IQ2_XXS: (0,),
    GGMLQuantizationType.IQ2_XS: (0,),
    GGMLQuantizationType.IQ2_S: (0,),
    GGMLQuantizationType.IQ3_XXS: (0,),
    GGMLQuantizationType.IQ3_S: (0,),
    GGMLQuantizationType.IQ4_NL: (0,),
    GGMLQuantizationType.IQ4_XS: (0,),
}

EXPERT_TYPES = (
    "F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S IQ3_XXS IQ3_S "
    "IQ4_NL IQ4_XS TQ1_0 TQ2_0 MXFP4"
).split()


@dataclasses.dataclass(frozen=True)
class ModelShape:
    """Sizes of a qwen3moe model; n_experts=0 makes it a dense qwen3. Multiples of 256 fit every type."""

    n_layers: int = 3
    n_experts: int = 8
    n_experts_used: int = 2
    n_embd: int = 256
    n_ff: int = 256
    n_head: int = 4
    n_head_kv: int = 2
    head_dim: int = 32
    n_vocab: int = 160
    n_ctx_train: int = 512


def tokenizer_of(path: Path) -> dict[str, Any]:
    """The tokenizer's metadata of another model."""
    reader = gguf.GGUFReader(path)
    return {name: field.contents() for name, field in reader.fields.items() if name.startswith("tokenizer.")}


def write_model(
    path: Path,
    expert_type: str = "Q4_0",
    *,
    shape: ModelShape | None = None,
    tokenizer: Mapping[str, Any] | None = None,
    chat_template: str | None = None,
    omit: Container[str] = (),
    override: Mapping[str, int] | None = None,
    matrix_types: Mapping[str, str] | None = None,
    tensors_per_split: int = 0,
    seed: int = 1,
) -> Path:
    """Writes a model and returns the path to load: `path`, or the first of its splits.

    `omit`: names of tensors and keys that are left out. `override`: architecture keys with another value.
    `matrix_types`: types of matrices that are not experts, by name; without, float32.
    """
    shape = shape or ModelShape()
    if tokenizer is not None:
        shape = dataclasses.replace(shape, n_vocab=len(tokenizer["tokenizer.ggml.tokens"]))
    arch = "qwen3moe" if shape.n_experts else "qwen3"
    writer = gguf.GGUFWriter(path, arch, split_max_tensors=tensors_per_split)
    add_metadata(writer, arch, shape, omit, override or {})
    if tokenizer is None:
        writer.add_tokenizer_model("no_vocab")
    else:
        _add_tokenizer(writer, tokenizer)
    if chat_template is not None:
        writer.add_chat_template(chat_template)
    rng = np.random.default_rng(seed)
    for name, dims in tensors_of(shape):
        if name in omit:
            continue
        if len(dims) == 1:
            writer.add_tensor(name, rng.uniform(0.5, 1.5, dims).astype(np.float32))
        elif len(dims) == 3:
            kind = GGMLQuantizationType[expert_type]
            writer.add_tensor(name, random_weights(dims, kind, rng), raw_dtype=kind)
        else:
            kind = GGMLQuantizationType[(matrix_types or {}).get(name, "F32")]
            writer.add_tensor(name, random_weights(dims, kind, rng), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    if not tensors_per_split:
        return path
    return min(path.parent.glob(f"{path.stem}-00001-of-*.gguf"))


def write_large_model(path: Path, shape: ModelShape) -> Path:
    """A Q8_0 model without a tokenizer, of any size: the data are made and written a tensor at a time."""
    writer = gguf.GGUFWriter(path, "qwen3moe")
    add_metadata(writer, "qwen3moe", shape, (), {})
    writer.add_tokenizer_model("no_vocab")
    rng = np.random.default_rng(1)
    kind = GGMLQuantizationType.Q8_0
    for name, dims in tensors_of(shape):
        if len(dims) == 3:
            # Shape in bytes, as the writer wants it for quantized data.
            block_size, block_bytes = GGML_QUANT_SIZES[kind]
            row_bytes = dims[-1] // block_size * block_bytes
            writer.add_tensor_info(
                name, (*dims[:-1], row_bytes), np.dtype(np.uint8), dims[0] * dims[1] * row_bytes, kind
            )
        else:
            writer.add_tensor_info(name, dims, np.dtype(np.float32), int(np.prod(dims)) * 4)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for _, dims in tensors_of(shape):
        if len(dims) == 1:
            writer.write_tensor_data(rng.uniform(0.5, 1.5, dims).astype(np.float32))
        elif len(dims) == 3:
            one = gguf.quants.quantize(random_floats(dims[1:], rng), kind)
            writer.write_tensor_data(np.concatenate([np.roll(one, expert, axis=0) for expert in range(dims[0])]))
        else:
            writer.write_tensor_data(random_floats(dims, rng))
    writer.close()
    return path


def write_float_twin(path: Path, model: Path) -> Path:
    """The same model with its weights as float32 of the same values: nothing is rounded to 8 bits when it computes."""
    reader = gguf.GGUFReader(model)
    architecture = str(reader.fields["general.architecture"].contents())
    writer = gguf.GGUFWriter(path, architecture)
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        if field.types[0] == gguf.GGUFValueType.ARRAY:
            writer.add_array(name, field.contents())
        else:
            writer.add_key_value(name, field.contents(), field.types[0])
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def data_offset(path: Path) -> int:
    """Where the header ends and the tensors' data begin."""
    return int(gguf.GGUFReader(path).data_offset)


def tensor_extent(path: Path, name: str) -> tuple[int, int]:
    """Offset in the file and bytes of a tensor."""
    tensor = next(tensor for tensor in gguf.GGUFReader(path).tensors if tensor.name == name)
    return int(tensor.data_offset), int(tensor.n_bytes)


def patch_tensor(path: Path, name: str, *, dims: tuple[int, ...] | None = None, offset: int | None = None) -> None:
    """Puts other dimensions (as many as there are) or another offset into a tensor's entry in the header."""
    data = bytearray(path.read_bytes())
    entry = struct.pack("<Q", len(name)) + name.encode()
    position = data.index(entry) + len(entry)
    (n_dims,) = struct.unpack_from("<I", data, position)
    if dims is not None:
        struct.pack_into(f"<{n_dims}Q", data, position + 4, *dims)
    if offset is not None:
        struct.pack_into("<Q", data, position + 4 + 8 * n_dims + 4, offset)
    path.write_bytes(data)


def add_metadata(
    writer: gguf.GGUFWriter, arch: str, shape: ModelShape, omit: Container[str], override: Mapping[str, int]
) -> None:
    """The metadata of a model but for its tokenizer."""
    writer.add_name("random")
    numbers = {
        "block_count": shape.n_layers,
        "context_length": shape.n_ctx_train,
        "embedding_length": shape.n_embd,
        "feed_forward_length": shape.n_ff,
        "attention.head_count": shape.n_head,
        "attention.head_count_kv": shape.n_head_kv,
        "attention.key_length": shape.head_dim,
        "attention.value_length": shape.head_dim,
        "vocab_size": shape.n_vocab,
    }
    if shape.n_experts:
        numbers["expert_count"] = shape.n_experts
        numbers["expert_used_count"] = shape.n_experts_used
        numbers["expert_feed_forward_length"] = shape.n_ff
    for key, number in {**numbers, **override}.items():
        if key not in omit:
            writer.add_uint32(f"{arch}.{key}", number)
    writer.add_float32(f"{arch}.attention.layer_norm_rms_epsilon", 1e-6)
    writer.add_float32(f"{arch}.rope.freq_base", 10000.0)


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Mapping[str, Any]) -> None:
    for key, value in tokenizer.items():
        if isinstance(value, list):
            writer.add_array(key, value)
        elif isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif key != "tokenizer.chat_template":
            writer.add_string(key, value)


def tensors_of(shape: ModelShape) -> list[tuple[str, tuple[int, ...]]]:
    """Names of a model's tensors and their dimensions, the longest stride first."""
    n_q, n_kv = shape.n_head * shape.head_dim, shape.n_head_kv * shape.head_dim
    tensors: list[tuple[str, tuple[int, ...]]] = [
        ("token_embd.weight", (shape.n_vocab, shape.n_embd)),
        ("output_norm.weight", (shape.n_embd,)),
        ("output.weight", (shape.n_vocab, shape.n_embd)),
    ]
    for layer in range(shape.n_layers):
        parts: list[tuple[str, tuple[int, ...]]] = [
            ("attn_norm", (shape.n_embd,)),
            ("attn_q", (n_q, shape.n_embd)),
            ("attn_k", (n_kv, shape.n_embd)),
            ("attn_v", (n_kv, shape.n_embd)),
            ("attn_output", (shape.n_embd, n_q)),
            ("attn_q_norm", (shape.head_dim,)),
            ("attn_k_norm", (shape.head_dim,)),
            ("ffn_norm", (shape.n_embd,)),
        ]
        up, down = (shape.n_ff, shape.n_embd), (shape.n_embd, shape.n_ff)
        if shape.n_experts:
            parts.append(("ffn_gate_inp", (shape.n_experts, shape.n_embd)))
            parts += [(f"ffn_{part}_exps", (shape.n_experts, *up)) for part in ("gate", "up")]
            parts.append(("ffn_down_exps", (shape.n_experts, *down)))
        else:
            parts += [("ffn_gate", up), ("ffn_up", up), ("ffn_down", down)]
        tensors += [(f"blk.{layer}.{name}.weight", dims) for name, dims in parts]
    return tensors


def random_floats(dims: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Weights of about unit gain."""
    return rng.standard_normal(dims, np.float32) * np.float32(dims[-1] ** -0.5)


def random_weights(dims: tuple[int, ...], kind: GGMLQuantizationType, rng: np.random.Generator) -> npt.NDArray[Any]:
    """Weights of about unit gain: quantized where the gguf package can, else random blocks with fitting scales."""
    if kind == GGMLQuantizationType.F32:
        return random_floats(dims, rng)
    if kind not in _SCALE_OFFSETS and kind != GGMLQuantizationType.IQ1_M:
        return gguf.quants.quantize(random_floats(dims, rng), kind)
    block_size, block_bytes = GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (int(np.prod(dims)) // block_size, block_bytes), np.uint8)
    _set_scales(blocks, kind, 1.0)
    unit = float(gguf.quants.dequantize(blocks[:64], kind).std())
    _set_scales(blocks, kind, dims[-1] ** -0.5 / unit)
    return blocks.reshape(*dims[:-1], dims[-1] // block_size * block_bytes)


def _set_scales(blocks: npt.NDArray[np.uint8], kind: GGMLQuantizationType, scale: float) -> None:
    half = np.array([scale], np.float16)
    if kind == GGMLQuantizationType.IQ1_M:
        # The scale's four nibbles are the upper ones of the four 16-bit words at the block's end.
        bits = int(half.view(np.uint16)[0])
        words = np.ascontiguousarray(blocks[:, 48:]).view(np.uint16)
        for i in range(4):
            words[:, i] = (words[:, i] & 0x0FFF) | ((bits >> 4 * i & 0xF) << 12)
        blocks[:, 48:] = words.view(np.uint8)
        return
    for offset in _SCALE_OFFSETS[kind]:
        blocks[:, offset : offset + 2] = half.view(np.uint8)
