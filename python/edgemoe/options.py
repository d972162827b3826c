"""From keyword arguments to the engine's option structs, which alone know the defaults: None is not passed on."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from edgemoe import _core
from edgemoe.memory import parse_size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypedDict

    from edgemoe.memory import Size

    class GenerateOptions(TypedDict, total=False):
        """The keyword arguments of Model.generate, for its overloads."""

        max_tokens: int | None
        temperature: float | None
        top_k: int | None
        top_p: float | None
        min_p: float | None
        repeat_penalty: float | None
        repeat_last_n: int | None
        stop: str | Sequence[str] | None
        seed: int | None
        ignore_eos: bool | None
        add_special: bool | None
        parse_special: bool | None
        context_shift: bool | None


Params = TypeVar(
    "Params",
    _core.LoadParams,
    _core.GenerateParams,
    _core.EvaluateParams,
    _core.ProfileParams,
    _core.JudgeParams,
    _core.PackParams,
)


def fill(params: Params, **options: object) -> Params:
    """Sets the options that are not None. ValueError or TypeError name the option that does not fit."""
    for name, value in options.items():
        if value is None:
            continue
        try:
            setattr(params, name, value)
        except TypeError:
            if isinstance(value, int):
                raise ValueError(f"{name}={value!r} is out of range") from None
            raise TypeError(f"{name} cannot be {value!r}") from None
    return params


def load_params(*, memory: Size | None, expert_cache: Size | None, **options: object) -> _core.LoadParams:
    """The engine's struct for load() and inspect()."""
    params = _core.LoadParams()
    if memory is not None:
        params.memory_bytes = parse_size(memory)
    if expert_cache is not None:
        params.expert_cache_bytes = parse_size(expert_cache)
    return fill(params, **options)


def generate_params(*, stop: str | Sequence[str] | None, **options: object) -> _core.GenerateParams:
    """The engine's struct for Model.generate."""
    stop_texts = [stop] if isinstance(stop, str) else None if stop is None else list(stop)
    return fill(_core.GenerateParams(), stop=stop_texts, **options)
