"""What the engine says about a model and about its last run; fields by attribute or by key."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any


class Record(Mapping[str, Any]):
    """A dataclass whose fields are also keys: record["io"], dict(record)."""

    def __getitem__(self, name: str) -> Any:
        if name not in self.__dataclass_fields__:
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dataclass_fields__)

    def __len__(self) -> int:
        return len(self.__dataclass_fields__)

    __dataclass_fields__: dict[str, dataclasses.Field[Any]]


@dataclasses.dataclass(frozen=True)
class ModelInfo(Record):
    """What a model is and how it was loaded. From inspect(), what only loading settles is 0 or empty."""

    path: str
    architecture: str
    name: str
    mode: str
    """"streamed", "resident" or "dense"."""
    io: str
    """I/O engine in use, or "none"."""
    io_reason: str
    direct_io: bool
    has_tokenizer: bool
    has_chat_template: bool
    n_layers: int
    n_moe_layers: int
    """Layers that have routed experts; 0: a dense model."""
    n_experts: int
    """Experts per layer."""
    n_experts_used: int
    """Experts per token and layer: top-k."""
    n_vocab: int
    n_ctx: int
    n_ctx_train: int
    n_batch: int
    n_threads: int
    file_bytes: int
    hot_bytes: int
    """Weights that every token uses, or may use."""
    expert_bytes: int
    """Weights of routed experts."""
    expert_cache_bytes: int
    largest_expert_bytes: int
    kv_cache_bytes: int
    compute_buffer_bytes: int
    least_memory_bytes: int
    """The least memory= that loads."""
    useful_memory_bytes: int
    """From this memory= on, one token's experts fit in the cache."""
    memory_bytes: int
    """The ceiling in force; 0 if only the cache's size was given."""
    types: str
    """Which ggml types the weights have, for people."""


@dataclasses.dataclass(frozen=True)
class Stats(Record):
    """Figures of the last generate, or of what decode did since; zero where nothing was measured."""

    prompt_tokens: int
    generated_tokens: int
    prompt_seconds: float
    generation_seconds: float
    prompt_tokens_per_second: float
    generation_tokens_per_second: float
    load_seconds: float
    expert_requests: int
    """Experts asked for by generated tokens, once per token and layer."""
    expert_hits: int
    """Of these, already in memory."""
    hit_rate: float
    """Hits over requests; 1 if nothing streams."""
    read_bytes: int
    """Expert bytes read, the prompt's included."""
    read_bytes_per_token: float
    """Per generated token, without the prompt's."""
    prompt_read_bytes: int
    stall_seconds: float
    """Time that computation waited for reads, the prompt's included."""
    peak_memory_bytes: int
    """Most memory that the process has used so far."""
    resident_experts: int
    """Experts in the cache now."""
    resident_expert_bytes: int
    expert_cache_bytes: int
    hot_bytes: int
    io: str
    mode: str
    """"streamed", "resident" or "dense"."""


@dataclasses.dataclass(frozen=True)
class Forecast(Record):
    """What loading would give, from plan(). Missed bytes: expert bytes that a token has to read."""

    mode: str
    """"streamed", "resident", "dense", or "none": it does not fit."""
    io: str
    """I/O engine that was probed, or "none"."""
    memory_bytes: int
    """The ceiling in force; 0 if only the cache's size was given."""
    process_bytes: int
    """Resident before loading."""
    hot_bytes: int
    """Weights in memory."""
    kv_cache_bytes: int
    compute_bytes: int
    io_bytes: int
    reserve_bytes: int
    """Tokenizer, graphs, the allocator's losses: a guess."""
    expert_cache_bytes: int
    expert_bytes: int
    """What all experts would take in the cache."""
    least_memory_bytes: int
    useful_memory_bytes: int
    resident_memory_bytes: int
    """From this memory= on, every expert fits in the cache."""
    n_ctx: int
    n_experts: int
    """Of all layers."""
    n_experts_cached: int
    token_expert_bytes: int
    """What the experts of one token take."""
    missed_bytes_uniform: float
    """Per token if every expert were equally likely: the worst case."""
    missed_bytes_typical: float
    """Per token as on routing of real models, with the default policy (docs/cache.md)."""
    read_bytes: int
    """Mean size of a read in the probe; 0, like the rest, without one."""
    disk_bytes_per_second: float
    compute_seconds: float
    """Of one token with every expert in memory."""
    tokens_per_second_slow: float
    """An estimate: worst-case routing, reading and computing one after the other."""
    tokens_per_second_fast: float
    """An estimate: typical routing, reading and computing overlapped."""


@dataclasses.dataclass(frozen=True)
class ReplayRow(Record):
    """One policy at one cache size, over the decoded tokens of a trace."""

    policy: str
    """Or "belady": the bound that no policy can beat."""
    cache_bytes: int
    cache_share: float
    """Of all experts' bytes."""
    requests: int
    """Experts asked for, once per token and layer."""
    hits: int
    """0 for the bound, which may keep experts in part."""
    hit_rate: float
    missed_bytes_per_token: float
    ratio_to_lru: float
    """Missed bytes over those of LRU."""
    ratio_to_belady: float
    """Missed bytes over those of the bound; 1: nothing is left to gain."""


@dataclasses.dataclass(frozen=True)
class Replay(Record):
    """A routing trace replayed through eviction policies, from replay()."""

    model: str
    """As the trace names it."""
    n_layers: int
    n_experts: int
    """Per layer."""
    prompt_steps: int
    """Ubatches of prompts, which warm the cache and are not counted."""
    tokens: int
    """Decoded."""
    expert_bytes: int
    """Of all experts."""
    rows: tuple[ReplayRow, ...]
    """By cache size, by policy, the bound last."""
