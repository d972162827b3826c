"""Mixture-of-Experts language models that are bigger than memory.

For example:

    import edgemoe
    model = edgemoe.load("model.gguf", memory="4GiB")   # load() alone: the small model that comes with the package
    print(model.generate("def fibonacci(n):", max_tokens=64))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgemoe.errors import Cancelled, EdgemoeError, EdgemoeIOError, ModelFormatError, OutOfBudgetError
    from edgemoe.evaluation import evaluate
    from edgemoe.log import set_log
    from edgemoe.model import Model, TextStream, default_model_path, inspect, load
    from edgemoe.packed import repack, unpack
    from edgemoe.packing import pack
    from edgemoe.planning import plan, replay
    from edgemoe.prediction import judge_predictors
    from edgemoe.profiling import Profile, open_profile, profile
    from edgemoe.records import (
        Evaluation,
        FileInfo,
        Forecast,
        LayerProfile,
        LayerRecall,
        ModelInfo,
        PackReport,
        PredictionReport,
        PredictorRecall,
        ProfileInfo,
        Replay,
        ReplayRow,
        RetentionRow,
        Stats,
        TypeUse,
    )

    __version__: str

__all__ = [
    "Cancelled",
    "EdgemoeError",
    "EdgemoeIOError",
    "Evaluation",
    "FileInfo",
    "Forecast",
    "LayerProfile",
    "LayerRecall",
    "Model",
    "ModelFormatError",
    "ModelInfo",
    "OutOfBudgetError",
    "PackReport",
    "PredictionReport",
    "PredictorRecall",
    "Profile",
    "ProfileInfo",
    "Replay",
    "ReplayRow",
    "RetentionRow",
    "Stats",
    "TextStream",
    "TypeUse",
    "__version__",
    "default_model_path",
    "evaluate",
    "inspect",
    "judge_predictors",
    "load",
    "open_profile",
    "pack",
    "plan",
    "profile",
    "repack",
    "replay",
    "set_log",
    "unpack",
]

# Imported when first used: `import edgemoe` costs next to nothing.
_HOMES = {
    "errors": ("Cancelled", "EdgemoeError", "EdgemoeIOError", "ModelFormatError", "OutOfBudgetError"),
    "evaluation": ("evaluate",),
    "log": ("set_log",),
    "model": ("Model", "TextStream", "default_model_path", "inspect", "load"),
    "packed": ("repack", "unpack"),
    "packing": ("pack",),
    "planning": ("plan", "replay"),
    "prediction": ("judge_predictors",),
    "profiling": ("Profile", "open_profile", "profile"),
    "records": (
        "Evaluation",
        "FileInfo",
        "Forecast",
        "LayerProfile",
        "LayerRecall",
        "ModelInfo",
        "PackReport",
        "PredictionReport",
        "PredictorRecall",
        "ProfileInfo",
        "Replay",
        "ReplayRow",
        "RetentionRow",
        "Stats",
        "TypeUse",
    ),
}


def __getattr__(name: str) -> object:
    import importlib

    if name == "__version__":
        value: object = importlib.import_module("edgemoe._core").version()
    else:
        home = next((home for home, names in _HOMES.items() if name in names), None)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"edgemoe.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
