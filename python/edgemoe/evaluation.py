"""How good a model is on a text, and how far it is from another one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edgemoe import _core
from edgemoe.model import encode_path, encode_text
from edgemoe.options import fill, load_params
from edgemoe.records import Evaluation

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgemoe.memory import Size
    from edgemoe.model import StrPath


def evaluate(
    path: StrPath | None,
    text: str | bytes,
    *,
    against: StrPath | None = None,
    n_ctx: int | None = None,
    n_tokens: int | None = None,
    memory: Size | None = None,
    expert_cache: Size | None = None,
    n_threads: int | None = None,
    direct_io: bool | None = None,
    io: str | None = None,
    progress: Callable[[str, float, float | None], object] | None = None,
) -> Evaluation:
    """Perplexity of a model on a text and, with `against`, the KL divergence from that model to it.

    The text is cut into windows of n_ctx tokens (512), each evaluated from an empty context; the second half of each is
    scored, as llama.cpp's perplexity tool does. `path` None: the small model that comes with the package.

    against: the base model; both must have the same vocabulary.
    n_tokens: most tokens of the text that are used.
    memory, expert_cache, n_threads, direct_io, io: as for load(); `memory` is for both models together.
    progress: called with (step, fraction, seconds left or None); returning False stops (Cancelled).

    Raises what load() does, and ValueError for a text that is shorter than a window or not UTF-8.

        evaluation = edgemoe.evaluate("packed.gguf", text, against="bf16.gguf")
        print(evaluation.kl_divergence, evaluation.argmax_agreement)
    """
    params = fill(
        _core.EvaluateParams(),
        load=load_params(memory=memory, expert_cache=expert_cache, n_threads=n_threads, direct_io=direct_io, io=io),
        against=None if against is None else os.fsencode(against),
        n_ctx=n_ctx,
        n_tokens=n_tokens,
    )
    return Evaluation(**_core.evaluate(encode_path(path), encode_text(text), params, progress))
