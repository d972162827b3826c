"""What a model's experts do and see on a text."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edgemoe import _core
from edgemoe.model import encode_path, encode_text
from edgemoe.options import fill, load_params
from edgemoe.records import LayerProfile, ProfileInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgemoe.memory import Size
    from edgemoe.model import StrPath


def profile(
    path: StrPath | None,
    text: str | bytes,
    output: StrPath,
    *,
    n_ctx: int | None = None,
    n_tokens: int | None = None,
    memory: Size | None = None,
    expert_cache: Size | None = None,
    n_threads: int | None = None,
    direct_io: bool | None = None,
    io: str | None = None,
    activations: StrPath | None = None,
    keep_activations: bool | None = None,
    sensitivity: bool | None = None,
    maps: bool | None = None,
    progress: Callable[[str, float, float | None], object] | None = None,
) -> Profile:
    """Evaluates a model on a text and writes what its experts did and saw to `output`, which is also returned.

    `output` appears complete, or not at all. What the experts see is kept meanwhile in a temporary file of a few bytes
    for each number, whose size is checked against the free disk first; after an interruption the same call goes on from
    it. `path` None: the small model that comes with the package.

    n_ctx: window in tokens (512). n_tokens: most tokens of the text that are used.
    memory, expert_cache, n_threads, direct_io, io: as for load().
    activations: where the temporary file is; None: beside the output. keep_activations: do not remove it at the end.
    sensitivity: False leaves out what each type of each expert is expected to cost; packing then finds it out.
    maps: False leaves out the linear maps that predict which experts come next (docs/prediction.md).
    progress: called with (step, fraction, seconds left or None); returning False stops (Cancelled).

    Raises what load() does, ValueError for a text that is shorter than a window or not UTF-8, EdgemoeError for a model
    without routed experts, EdgemoeIOError where the disk is too small.

        profile = edgemoe.profile("model.gguf", Path("texts.txt").read_bytes(), "model.profile")
        print(profile.info.n_hardly_reached)
    """
    params = fill(
        _core.ProfileParams(),
        load=load_params(memory=memory, expert_cache=expert_cache, n_threads=n_threads, direct_io=direct_io, io=io),
        activations=None if activations is None else os.fsencode(activations),
        n_ctx=n_ctx,
        n_tokens=n_tokens,
        keep_activations=keep_activations,
        sensitivity=sensitivity,
        maps=maps,
    )
    return Profile(_core.Profile.run(encode_path(path), encode_text(text), os.fsencode(output), params, progress))


def open_profile(path: StrPath) -> Profile:
    """A profile that was made before."""
    return Profile(_core.Profile(os.fsencode(path)))


class Profile:
    """What a model's experts did and saw on a text; its layers by index, or by iterating over it."""

    def __init__(self, core: _core.Profile) -> None:
        self._core = core
        self._info = ProfileInfo(**core.info())

    @property
    def info(self) -> ProfileInfo:
        """What it is of."""
        return self._info

    def __len__(self) -> int:
        return self._info.n_layers

    def __getitem__(self, index: int) -> LayerProfile:
        if not 0 <= index < len(self):
            raise IndexError(f"the profile has {len(self)} layers")
        return LayerProfile(**self._core.layer(index))

    def __iter__(self) -> Iterator[LayerProfile]:
        return (self[index] for index in range(len(self)))

    def hardly_reached(self) -> list[tuple[int, int, int]]:
        """(layer, expert, tokens) of the experts that fewer than info.few_tokens tokens were routed to."""
        return [
            (layer.layer, expert, int(count))
            for layer in self
            if layer.evaluated
            for expert, count in enumerate(layer.counts)
            if count < self._info.few_tokens
        ]

    def __repr__(self) -> str:
        info = self._info
        return f"<edgemoe.Profile of {info.name or info.architecture}: {info.n_tokens} tokens, {info.n_layers} layers>"
