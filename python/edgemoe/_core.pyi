"""The extension module, built from cpp/bindings."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

class LoadParams:
    memory_bytes: int
    expert_cache_bytes: int
    n_ctx: int
    n_batch: int
    n_ubatch: int
    n_sequences: int
    n_threads: int
    streaming: str
    mlock: bool
    row_tables: bool | None
    prefetch: str
    prewarm: bool | None
    direct_io: bool | None
    flash_attention: bool | None
    cache_type_k: str | None
    cache_type_v: str | None
    io: str | None
    eviction: str | None
    profile: bytes | None
    def __init__(self) -> None: ...

class GenerateParams:
    max_tokens: int
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repeat_penalty: float
    repeat_last_n: int
    seed: int
    ignore_eos: bool
    add_special: bool
    parse_special: bool
    context_shift: bool
    stop: Sequence[str]
    def __init__(self) -> None: ...

class Generation:
    def next(self) -> str | None: ...
    def cancel(self) -> None: ...
    @property
    def stop_reason(self) -> str | None: ...

class Model:
    def __init__(self, path: bytes, params: LoadParams, progress: Callable[[float], object] | None = None) -> None: ...
    def close(self) -> None: ...
    @property
    def closed(self) -> bool: ...
    def info(self) -> dict[str, Any]: ...
    def stats(self) -> dict[str, Any]: ...
    def forecast_recall(self) -> list[dict[str, Any]]: ...
    def tokenize(self, text: bytes, add_special: bool, parse_special: bool) -> list[int]: ...
    def detokenize(self, tokens: npt.NDArray[np.int32], special: bool) -> bytes: ...
    def apply_chat_template(self, messages: Sequence[tuple[str, str]], add_assistant: bool) -> str: ...
    def reset(self, sequence: int) -> None: ...
    def decode(
        self,
        tokens: npt.NDArray[np.int32],
        sequences: npt.NDArray[np.int32] | None,
        logits: npt.NDArray[np.float32] | None,
    ) -> None: ...
    def generate(self, prompt: bytes, params: GenerateParams) -> Generation: ...
    def start_recording(self, path: bytes) -> None: ...
    def stop_recording(self) -> None: ...
    def cancel(self) -> None: ...

class EvaluateParams:
    load: LoadParams
    against: bytes | None
    n_ctx: int
    n_tokens: int
    def __init__(self) -> None: ...

JobProgress = Callable[[str, float, float | None], object]

def evaluate(
    path: bytes, text: bytes, params: EvaluateParams, progress: JobProgress | None = None
) -> dict[str, Any]: ...

class ProfileParams:
    load: LoadParams
    activations: bytes | None
    n_ctx: int
    n_tokens: int
    keep_activations: bool
    sensitivity: bool
    maps: bool
    def __init__(self) -> None: ...

class Profile:
    def __init__(self, path: bytes) -> None: ...
    @staticmethod
    def run(
        path: bytes, text: bytes, output: bytes, params: ProfileParams, progress: JobProgress | None = None
    ) -> Profile: ...
    def info(self) -> dict[str, Any]: ...
    def layer(self, index: int) -> dict[str, Any]: ...

class JudgeParams:
    load: LoadParams
    activations: bytes | None
    n_tokens: int
    keep_activations: bool
    def __init__(self) -> None: ...

def judge_predictors(
    path: bytes, profile: bytes, text: bytes, params: JudgeParams, progress: JobProgress | None = None
) -> str: ...

class PackParams:
    load: LoadParams
    max_kl: float
    as_good_as: bytes | None
    size_bytes: int
    bits: float
    objective: str
    target_cache_bytes: int
    prefer_speed: bool
    types: bytes | None
    error_feedback: bool
    measured_sensitivity: bool
    dry_run: bool
    def __init__(self) -> None: ...

def pack(
    path: bytes, profile: bytes, output: bytes, params: PackParams, progress: JobProgress | None = None
) -> str: ...
def repack(path: bytes, output: bytes, progress: JobProgress | None = None) -> None: ...
def unpack(
    path: bytes, output: bytes, type: str | None, n_threads: int, progress: JobProgress | None = None
) -> None: ...
def inspect(path: bytes, params: LoadParams) -> dict[str, Any]: ...
def plan(path: bytes, params: LoadParams, probe_seconds: float | None) -> dict[str, Any]: ...
def replay(
    path: bytes,
    model: bytes | None,
    expert_bytes: int,
    policies: Sequence[str],
    cache_shares: Sequence[float],
    cache_bytes: Sequence[int],
) -> dict[str, Any]: ...
def set_log(function: Callable[[int, str], None] | None) -> None: ...
def version() -> str: ...
