"""How well a model's next experts can be known."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from edgemoe import _core
from edgemoe.model import encode_path, encode_text
from edgemoe.options import fill, load_params
from edgemoe.records import PredictionReport, PredictorRecall, RetentionRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgemoe.memory import Size
    from edgemoe.model import StrPath


def judge_predictors(
    path: StrPath | None,
    text: str | bytes,
    *,
    profile: StrPath,
    n_tokens: int | None = None,
    memory: Size | None = None,
    expert_cache: Size | None = None,
    n_threads: int | None = None,
    direct_io: bool | None = None,
    io: str | None = None,
    activations: StrPath | None = None,
    keep_activations: bool | None = None,
    progress: Callable[[str, float, float | None], object] | None = None,
) -> PredictionReport:
    """How well each predictor, fitted on the text of a profile, knows on another text which experts come next; and what
    each eviction policy hits while that text is decoded (docs/prediction.md).

    n_tokens: most tokens of the text that are used.
    activations: where the temporary file of what the experts see is; None: beside the profile.
    Other options, and errors: as for profile(); ValueError also for a profile of another model.

        report = edgemoe.judge_predictors("model.gguf", other_text, profile="model.profile")
        for predictor in report.predictors:
            print(predictor.predictor, predictor.mean)
    """
    params = fill(
        _core.JudgeParams(),
        load=load_params(memory=memory, expert_cache=expert_cache, n_threads=n_threads, direct_io=direct_io, io=io),
        activations=None if activations is None else os.fsencode(activations),
        n_tokens=n_tokens,
        keep_activations=keep_activations,
    )
    report = json.loads(
        _core.judge_predictors(encode_path(path), os.fsencode(profile), encode_text(text), params, progress)
    )
    report["predictors"] = [PredictorRecall(**recall) for recall in report["predictors"]]
    report["retention"] = [RetentionRow(**row) for row in report["retention"]]
    return PredictionReport(**report)
