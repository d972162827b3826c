"""What the engine says about a model and about its last run; fields by attribute or by key."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


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
    cpu: str
    """The kernels that run: "haswell", "zen4", "armv8.2"; "native" in a build for one machine."""
    row_table_bytes: int
    """Of hot_bytes, tables that stay on flash; from inspect(), that may stay there."""


@dataclasses.dataclass(frozen=True)
class TypeUse(Record):
    """The matrices of one layer's experts and projection that have the same type."""

    layer: int
    projection: str
    """"gate", "up", "gate_up" or "down"."""
    type: str
    """ggml's name: "q4_K"."""
    n_experts: int
    bytes: int


@dataclasses.dataclass(frozen=True)
class FileInfo(ModelInfo):
    """What inspect() knows of a file beside what a loaded model says."""

    expert_types: tuple[TypeUse, ...]
    """The experts' types, by layer, projection and type."""
    packed: Mapping[str, str]
    """What a packed file says about how it was packed and what was measured on it; empty for other files."""


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
    row_read_bytes: int
    """Read from row tables on flash since the model was loaded."""
    forecasts: int
    """Experts named as likely, once per layer that names them."""
    read_ahead_bytes: int
    """Expert bytes read before they were asked for; each is useful or wasted once its layer has come."""
    read_ahead_useful_bytes: int
    """Of these, of experts that the layer chose."""
    read_ahead_wasted_bytes: int
    """Of these, of experts that the layer did not choose, or that left the cache before."""
    read_ahead_cancelled_bytes: int
    """Asked for, and taken back before they were read."""
    prewarmed_bytes: int
    """Expert bytes read because the last runs used them, since the model was loaded."""
    tokens_with_read_ahead: int
    """Tokens during which reading ahead was allowed."""
    tokens_without_read_ahead: int
    """Tokens during which it was not, to compare."""
    stall_seconds_with_read_ahead: float
    stall_seconds_without_read_ahead: float
    expert_cache_bytes: int
    hot_bytes: int
    io: str
    mode: str
    """"streamed", "resident" or "dense"."""


@dataclasses.dataclass(frozen=True)
class LayerRecall(Record):
    """How many of the experts that a layer chose for single tokens had been forecast, `distance` layers ahead."""

    layer: int
    distance: int
    n_chosen: int
    n_named: int
    """Of these, among as many that the forecast named as its likeliest."""

    @property
    def recall(self) -> float:
        """The share, from 0 to 1."""
        return self.n_named / self.n_chosen


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
    map_bytes: int
    """What predicts experts."""
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


@dataclasses.dataclass(frozen=True)
class Evaluation(Record):
    """How good a model is on a text; natural logarithms. What compares with a base model is None without one."""

    tokens: int
    """Tokens that were scored: those of the second half of each window."""
    perplexity: float
    perplexity_error: float
    """Standard error."""
    base_perplexity: float | None = None
    kl_divergence: float | None = None
    """Mean of KL(base || model)."""
    kl_divergence_error: float | None = None
    """Standard error."""
    argmax_agreement: float | None = None
    """Share of tokens where both models have the same likeliest token."""


@dataclasses.dataclass(frozen=True)
class ProfileInfo(Record):
    """What a profile is of."""

    architecture: str
    name: str
    n_tokens: int
    """Tokens of the text, in whole windows."""
    n_ctx: int
    """The window, in tokens."""
    n_layers: int
    """Layers that have routed experts."""
    n_experts: int
    """Experts per layer."""
    n_experts_used: int
    few_tokens: int
    """An expert that fewer tokens were routed to is hardly reached."""
    n_hardly_reached: int
    has_sensitivity: bool
    map_bytes: int
    """Of the linear maps that predict experts, in memory; 0: there are none."""


@dataclasses.dataclass(frozen=True, eq=False)
class LayerProfile(Record):
    """What the experts of one layer did and saw. The arrays cannot be written to."""

    layer: int
    """The N of blk.N."""
    evaluated: bool
    """False: the model's graph does not use this layer's experts."""
    counts: npt.NDArray[np.uint32]
    """[n_experts]: tokens routed to each."""
    mass: npt.NDArray[np.float64]
    """[n_experts]: sum of the router's weights."""
    ids: npt.NDArray[np.int16]
    """[n_tokens, n_experts_used]: experts of each token, in the router's order; -1: none."""
    weights: npt.NDArray[np.float32]
    """[n_tokens, n_experts_used]: the router's weights."""
    input_moments: npt.NDArray[np.float32] | None
    """[n_experts, columns]: sum over the expert's tokens of router weight squared times the input of gate and up
    squared."""
    down_moments: npt.NDArray[np.float32] | None
    """The same of down's input; None where the model's activation is not understood."""


@dataclasses.dataclass(frozen=True)
class PredictorRecall(Record):
    """How well one predictor knows which experts come next: the share of the experts that a layer chose which were
    among as many that it named. Lists of shares are by how many layers ahead the prediction looks, 1, 2 and 3."""

    predictor: str
    mean: list[float | None]
    """Over the layers whose target is of the same token; None where it makes no prediction."""
    mean_of_all: list[float | None]
    """Over all layers: after a token's last come the first ones of the next token."""
    by_layer: list[list[float | None]]
    """By layer that the prediction is made in."""


@dataclasses.dataclass(frozen=True)
class RetentionRow(Record):
    """One eviction policy, or the bound ("belady"), at one cache size, while a text is decoded token by token."""

    policy: str
    cache_bytes: int
    cache_share: float
    """Of all experts' bytes."""
    hit_rate: float
    missed_bytes_per_token: float
    ratio_to_lru: float | None
    """Missed bytes over those of LRU; None: LRU misses none."""
    ratio_to_belady: float | None


@dataclasses.dataclass(frozen=True)
class PredictionReport(Record):
    """What judge_predictors found."""

    tokens: int
    """That were judged."""
    fitted_tokens: int
    """Of the profile's text."""
    layers: list[int]
    """The N of blk.N of the layers, in order."""
    control: list[float | None]
    """By layer: the layer's own router on its own input. Other than 1: the router alone does not choose (or its
    weights were not found: None)."""
    predictors: list[PredictorRecall]
    retention: list[RetentionRow]


@dataclasses.dataclass(frozen=True)
class PackReport(Record):
    """What edgemoe.pack did, or would do. What was measured is None in a dry run."""

    bits: float
    """Per expert weight."""
    file_bytes: int
    expert_bytes: int
    read_bytes_per_token: float
    """Of the experts that a token uses, without a cache."""
    kernel_ms_per_token: float
    """Their products, on one thread of this machine."""
    expected_kl_divergence: float
    gap: float
    """The allocation is at most this share above the best possible one."""
    attempts: int
    """How often it was packed and measured until the tolerance held."""
    matrices: int
    """Expert matrices that were rounded."""
    feedback_matrices: int
    """Of these, by error feedback: the others fared worse with it on text that was not fitted."""
    resumed_matrices: int
    """Of these, by a run that was interrupted."""
    rounding_seconds: float
    expert_seconds: float
    """Time of one thread to round an expert."""
    curve: list[dict[str, Any]]
    """Expected figures of other sizes: bits, kl_divergence, file_bytes, read_bytes_per_token."""
    types: list[dict[str, Any]]
    """The ladder: type, bits, ns_per_weight."""
    layers: list[dict[str, Any]]
    """By layer: {"layer": 0, "types": {"gate": {"iq3_s": 12, ...}, ...}}: how many experts have which type."""
    warnings: list[str]
    kl_divergence: float | None = None
    """From the model before packing, on the part of the calibration text that was held back."""
    tolerated_kl_divergence: float | None = None
    """That of the file that it was to be as good as, on the same text."""
    missed_bytes_per_token: float | None = None
    """Of experts, behind the target cache: the calibration text's routing, replayed."""
    kl_divergence_error: float | None = None
    """Standard error."""
    argmax_agreement: float | None = None
    perplexity: float | None = None
    tokens: int | None = None
    """That were scored."""
