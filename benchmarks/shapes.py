"""The models that the benchmarks generate: the shapes of published ones, with random weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator


@dataclasses.dataclass(frozen=True)
class Shape:
    """Sizes of a model; `arch` is its GGUF architecture."""

    arch: str
    n_layers: int
    n_experts: int
    n_experts_used: int
    n_embd: int
    n_ff_expert: int
    n_head: int
    n_head_kv: int
    head_dim: int
    n_vocab: int  # 0: the tokenizer's size
    n_ctx_train: int
    norm_epsilon: float
    rope_base: float

    @property
    def n_qk_norm(self) -> tuple[int, int]:
        """Widths of the norms on q and k: OLMoE normalises all heads together, Qwen3 each by itself."""
        if self.arch == "olmoe":
            return self.n_head * self.head_dim, self.n_head_kv * self.head_dim
        return self.head_dim, self.head_dim


SHAPES = {
    # allenai/OLMoE-1B-7B
    "olmoe": Shape("olmoe", 16, 64, 8, 2048, 1024, 16, 16, 128, 50304, 4096, 1e-5, 1e4),
    # Qwen/Qwen3-30B-A3B
    "qwen3-30b": Shape("qwen3moe", 48, 128, 8, 2048, 768, 32, 4, 128, 151936, 32768, 1e-6, 1e6),
    # The first with half the experts and the tokenizer's own vocabulary: large enough for a memory cgroup to bite.
    "small": Shape("olmoe", 16, 32, 8, 2048, 1024, 16, 16, 128, 0, 4096, 1e-5, 1e4),
}


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor; `dims` as numpy has them, the rows' length last. Norms and routers stay in float32, norms are 1."""

    name: str
    dims: tuple[int, ...]
    keep_float: bool = False

    @property
    def n_weights(self) -> int:
        """Product of the dimensions."""
        count = 1
        for dim in self.dims:
            count *= dim
        return count


def tensors(shape: Shape, n_vocab: int) -> Iterator[Tensor]:
    """All tensors, in the order in which they lie in the file."""
    embd, ff, experts = shape.n_embd, shape.n_ff_expert, shape.n_experts
    q_width, kv_width = shape.n_head * shape.head_dim, shape.n_head_kv * shape.head_dim
    yield Tensor("token_embd.weight", (n_vocab, embd))
    for layer in range(shape.n_layers):
        block = f"blk.{layer}"
        yield Tensor(f"{block}.attn_norm.weight", (embd,), keep_float=True)
        yield Tensor(f"{block}.attn_q.weight", (q_width, embd))
        yield Tensor(f"{block}.attn_k.weight", (kv_width, embd))
        yield Tensor(f"{block}.attn_v.weight", (kv_width, embd))
        yield Tensor(f"{block}.attn_output.weight", (embd, q_width))
        yield Tensor(f"{block}.attn_q_norm.weight", (shape.n_qk_norm[0],), keep_float=True)
        yield Tensor(f"{block}.attn_k_norm.weight", (shape.n_qk_norm[1],), keep_float=True)
        yield Tensor(f"{block}.ffn_norm.weight", (embd,), keep_float=True)
        yield Tensor(f"{block}.ffn_gate_inp.weight", (experts, embd), keep_float=True)
        yield Tensor(f"{block}.ffn_gate_exps.weight", (experts, ff, embd))
        yield Tensor(f"{block}.ffn_up_exps.weight", (experts, ff, embd))
        yield Tensor(f"{block}.ffn_down_exps.weight", (experts, embd, ff))
    yield Tensor("output_norm.weight", (embd,), keep_float=True)
    yield Tensor("output.weight", (n_vocab, embd))
