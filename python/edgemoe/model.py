"""Loading a model and using it."""

from __future__ import annotations

import atexit
import contextlib
import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from edgemoe import _core
from edgemoe.memory import format_size
from edgemoe.options import generate_params, load_params
from edgemoe.records import FileInfo, LayerRecall, ModelInfo, Stats, TypeUse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Self, Unpack

    from edgemoe.memory import Size
    from edgemoe.options import GenerateOptions

    StrPath = str | os.PathLike[str]
    TokenIds = Sequence[int] | npt.NDArray[np.integer[Any]]


def default_model_path() -> Path:
    """Where the small model that comes with the package is."""
    return Path(__file__).parent / "models" / "edgemoe-tiny.gguf"


def encode_path(path: StrPath | None) -> bytes:
    """As the engine takes it; None is the model that comes with the package."""
    return os.fsencode(default_model_path() if path is None else path)


def encode_text(text: str | bytes) -> bytes:
    """As the engine takes it: UTF-8, which it checks."""
    return text if isinstance(text, bytes) else text.encode()


def load(
    path: StrPath | None = None,
    *,
    memory: Size | None = None,
    expert_cache: Size | None = None,
    n_ctx: int | None = None,
    n_batch: int | None = None,
    n_ubatch: int | None = None,
    n_threads: int | None = None,
    n_sequences: int | None = None,
    streaming: Literal["auto", "off"] | None = None,
    row_tables: bool | None = None,
    mlock: bool | None = None,
    direct_io: bool | None = None,
    io: str | None = None,
    eviction: str | None = None,
    prefetch: Literal["auto", "off", "always"] | None = None,
    prewarm: bool | None = None,
    profile: StrPath | None = None,
    flash_attention: bool | None = None,
    cache_type_k: str | None = None,
    cache_type_v: str | None = None,
    progress: Callable[[float], object] | None = None,
) -> Model:
    """Loads a GGUF model (of a split one: the first file); without `path`, the small one that comes with the package.

    memory: ceiling for the whole process, as bytes or text ("4GiB"); "auto" or None: what the machine has left.
    expert_cache: size of the expert cache alone; then `memory` is not consulted.
    n_ctx: context in tokens; 0: the largest that leaves the expert cache its useful minimum.
    n_batch: most tokens per decode(). n_ubatch: tokens computed together.
    n_threads: compute threads. n_sequences: independent sequences that decode() may be given.
    streaming: "off" loads everything into memory, in llama.cpp's own way.
    row_tables: leave tables of which single rows are used (token embeddings) on flash; None: unless everything fits.
    mlock: keep hot weights and the expert cache out of swap.
    direct_io: read around the page cache; None: where the file system grants it.
    io: I/O engine ("auto", "uring", "threads", "mmap").
    eviction: policy that chooses which expert leaves the cache.
    prefetch: read and protect experts that are forecast; "auto": as long as it pays; None: "auto".
    prewarm: fill free room with the experts that the last runs, or else the profile's text, used most; None: unless
        prefetch is "off".
    profile: a profile of this model (edgemoe.profile), whose maps then predict which experts come next; None: those of
        a packed file, or rules of thumb.
    cache_type_k, cache_type_v: ggml types of the KV cache ("f16", "q8_0").
    progress: called with the fraction that is loaded, on the calling thread; returning False stops (Cancelled).

    Raises FileNotFoundError, ModelFormatError, OutOfBudgetError, EdgemoeIOError, ValueError.

        with edgemoe.load("model.gguf", memory="4GiB") as model:
            print(model.generate("def fibonacci(n):"))
    """
    params = load_params(
        memory=memory,
        expert_cache=expert_cache,
        n_ctx=n_ctx,
        n_batch=n_batch,
        n_ubatch=n_ubatch,
        n_threads=n_threads,
        n_sequences=n_sequences,
        streaming=streaming,
        row_tables=row_tables,
        mlock=mlock,
        direct_io=direct_io,
        io=io,
        eviction=eviction,
        prefetch=prefetch,
        prewarm=prewarm,
        profile=None if profile is None else os.fsencode(profile),
        flash_attention=flash_attention,
        cache_type_k=cache_type_k,
        cache_type_v=cache_type_v,
    )
    return Model(_core.Model(encode_path(path), params, progress))


def inspect(
    path: StrPath | None = None,
    *,
    n_ctx: int | None = None,
    n_ubatch: int | None = None,
    n_sequences: int | None = None,
    flash_attention: bool | None = None,
    cache_type_k: str | None = None,
    cache_type_v: str | None = None,
) -> FileInfo:
    """What a model's headers say, without loading it; the memory figures are for the options given.

    >>> edgemoe.inspect().architecture
    'qwen3moe'
    """
    params = load_params(
        memory=None,
        expert_cache=None,
        n_ctx=n_ctx,
        n_ubatch=n_ubatch,
        n_sequences=n_sequences,
        flash_attention=flash_attention,
        cache_type_k=cache_type_k,
        cache_type_v=cache_type_v,
    )
    record = _core.inspect(encode_path(path), params)
    uses = tuple(TypeUse(**use) for use in record.pop("expert_types"))
    return FileInfo(**record, expert_types=uses)


class TextStream:
    """The pieces of a text that is being generated; the engine does not wait for who reads them.

    Closing it, or dropping it, stops the generation. Ctrl-C while waiting for a piece does, too.
    """

    def __init__(self, model: Model, generation: _core.Generation) -> None:
        self._model = model  # a model is not freed under a stream of its own
        self._generation = generation
        _open_streams.add(self)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        piece = self._generation.next()
        if piece is None:
            raise StopIteration
        return piece

    def close(self) -> None:
        """Stops generating and waits until it has stopped. Pieces made before can still be read."""
        self._generation.cancel()

    @property
    def stop_reason(self) -> str | None:
        """Why it ended: "length", "end", "text", "context" or "cancelled"; None while it runs, or if it failed."""
        return self._generation.stop_reason

    def belongs_to(self, model: Model) -> bool:
        """Whether it is `model` that generates."""
        return self._model is model


_open_streams: weakref.WeakSet[TextStream] = weakref.WeakSet()


@atexit.register
def _close_streams() -> None:
    for stream in list(_open_streams):
        stream.close()


class Model:
    """A loaded model, made by load(). Calls from several threads take turns; `stats` never waits.

    Works as a context manager that frees the model's memory at once.
    """

    def __init__(self, core: _core.Model) -> None:
        self._core = core
        self._info = ModelInfo(**core.info())
        self._n_batch = self._info.n_batch

    # -- text ----------------------------------------------------------------------------------------------------------

    @overload
    def generate(
        self, prompt: str | bytes, *, stream: Literal[False] = False, **options: Unpack[GenerateOptions]
    ) -> str: ...
    @overload
    def generate(
        self, prompt: str | bytes, *, stream: Literal[True], **options: Unpack[GenerateOptions]
    ) -> TextStream: ...
    @overload
    def generate(
        self, prompt: str | bytes, *, stream: bool, **options: Unpack[GenerateOptions]
    ) -> str | TextStream: ...
    def generate(
        self,
        prompt: str | bytes,
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        repeat_penalty: float | None = None,
        repeat_last_n: int | None = None,
        stop: str | Sequence[str] | None = None,
        seed: int | None = None,
        ignore_eos: bool | None = None,
        add_special: bool | None = None,
        parse_special: bool | None = None,
        context_shift: bool | None = None,
        stream: bool = False,
    ) -> str | TextStream:
        """Continues `prompt` and returns the new text or, with stream=True, an iterator over its pieces.

        Sequence 0 is forgotten first. What is None is the model's own default, else the library's.

        max_tokens: most tokens to generate; negative: until the model ends or the context is full.
        temperature: 0 is greedy. top_k, top_p, min_p: how the candidates are cut.
        repeat_penalty over the last repeat_last_n tokens: 1 is none.
        stop: text or texts that end the generation and are not part of it.
        seed: the same seed, prompt and options give the same text.
        ignore_eos: go on after the model's end of text.
        add_special: the beginning-of-text token before the prompt, where the model wants one.
        parse_special: names of special tokens in the prompt become those tokens (wanted after apply_chat_template).
        context_shift: when the context is full, forget the older half and go on.

            for piece in model.generate("import os", max_tokens=32, stream=True):
                print(piece, end="", flush=True)
        """
        params = generate_params(
            max_tokens=max_tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            repeat_penalty=repeat_penalty,
            repeat_last_n=repeat_last_n,
            stop=stop,
            seed=seed,
            ignore_eos=ignore_eos,
            add_special=add_special,
            parse_special=parse_special,
            context_shift=context_shift,
        )
        pieces = TextStream(self, self._core.generate(encode_text(prompt), params))
        return pieces if stream else "".join(pieces)

    def apply_chat_template(self, messages: Sequence[Mapping[str, str]], *, add_assistant: bool = True) -> str:
        """The prompt that the model's chat template makes of [{"role": ..., "content": ...}, ...].

        Generate from it with parse_special=True. EdgemoeError if the model has no template.
        """
        return self._core.apply_chat_template([(m["role"], m["content"]) for m in messages], add_assistant)

    # -- tokens --------------------------------------------------------------------------------------------------------

    def tokenize(self, text: str | bytes, *, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """The tokens of a text; `add_special` puts the beginning-of-text token first where the model wants one.

        >>> model.detokenize(model.tokenize("import os"))
        'import os'
        """
        return self._core.tokenize(encode_text(text), add_special, parse_special)

    def detokenize(self, ids: TokenIds, *, special: bool = False) -> str:
        """The text of tokens; with `special`, names of special tokens too. Cut characters become U+FFFD."""
        return self._core.detokenize(_int32(ids, "ids"), special).decode(errors="replace")

    # -- numbers -------------------------------------------------------------------------------------------------------

    def logits(self, ids: TokenIds) -> npt.NDArray[np.float32]:
        """Forgets all sequences, evaluates `ids` as sequence 0 and returns float32 [n_tokens, n_vocab].

        >>> model.logits([1, 2, 3]).shape == (3, model.info.n_vocab)
        True
        """
        import numpy as np

        tokens = _int32(ids, "ids")
        if tokens.size > self._info.n_ctx:
            raise ValueError(
                f"{tokens.size} tokens do not fit the context of {self._info.n_ctx}; load with a larger n_ctx"
            )
        logits = np.empty((tokens.size, self._info.n_vocab), np.float32)
        self.reset()
        for begin in range(0, tokens.size, self._n_batch):
            part = slice(begin, begin + self._n_batch)
            self._core.decode(tokens[part], None, logits[part])
        return logits

    @overload
    def decode(
        self, ids: TokenIds, sequences: TokenIds | None = None, logits: Literal[True] = True
    ) -> npt.NDArray[np.float32]: ...
    @overload
    def decode(self, ids: TokenIds, sequences: TokenIds | None = None, *, logits: Literal[False]) -> None: ...
    def decode(
        self, ids: TokenIds, sequences: TokenIds | None = None, logits: bool = True
    ) -> npt.NDArray[np.float32] | None:
        """Appends tokens to their sequences and evaluates them as one batch of at most n_batch.

        sequences: one sequence number per token; None: all belong to sequence 0. Returns float32 [n_tokens, n_vocab],
        or None with logits=False. After a failure the sequences are as before.

            model.reset()
            model.decode([1, 2, 3, 1, 5], sequences=[0, 0, 0, 1, 1])   # load(..., n_sequences=2)
        """
        import numpy as np

        tokens = _int32(ids, "ids")
        numbers = None if sequences is None else _int32(sequences, "sequences")
        if numbers is not None and numbers.size != tokens.size:
            raise ValueError(f"sequences has {numbers.size} numbers for {tokens.size} tokens")
        out = np.empty((tokens.size, self._info.n_vocab), np.float32) if logits else None
        self._core.decode(tokens, numbers, out)
        return out

    def reset(self, sequence: int | None = None) -> None:
        """Forgets one sequence, or all."""
        if sequence is not None and sequence < 0:
            raise ValueError(f"there is no sequence {sequence}")
        self._core.reset(-1 if sequence is None else sequence)

    # -- what it is and does -------------------------------------------------------------------------------------------

    @property
    def info(self) -> ModelInfo:
        """What the model is and how it was loaded."""
        return self._info

    @property
    def stats(self) -> Stats:
        """Figures of the last generate, or of what decode did since."""
        info = self._info
        return Stats(
            **self._core.stats(),
            expert_cache_bytes=info.expert_cache_bytes,
            hot_bytes=info.hot_bytes,
            io=info.io,
            mode=info.mode,
        )

    @property
    def forecast_recall(self) -> tuple[LayerRecall, ...]:
        """How well experts were forecast since loading, by layer and distance; empty where nothing was forecast."""
        return tuple(LayerRecall(**row) for row in self._core.forecast_recall())

    @contextlib.contextmanager
    def recording(self, path: StrPath) -> Iterator[None]:
        """Writes what the routers choose to a routing trace, which replay() reads, until the block ends.

        Begun before anything is evaluated, a replay gives the hits of the run. EdgemoeIOError if it cannot be written.

            with model.recording("trace.csv"):
                model.generate("import os")
        """
        self._core.start_recording(os.fsencode(path))
        try:
            yield
        finally:
            self._core.stop_recording()

    def cancel(self) -> None:
        """Stops what runs on this model, from any thread."""
        self._core.cancel()

    def close(self) -> None:
        """Stops what runs and frees the model; using it afterwards is a ValueError."""
        for stream in list(_open_streams):
            if stream.belongs_to(self):
                stream.close()
        self._core.close()

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return self._core.closed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        info = self._info
        parts = [info.architecture, info.mode]
        if info.mode == "streamed":
            parts.append(f"cache {format_size(info.expert_cache_bytes)} of {format_size(info.expert_bytes)} experts")
            parts.append(f"io {info.io}")
        if info.memory_bytes:
            parts.append(f"memory {format_size(info.memory_bytes)}")
        if self.closed:
            parts.append("closed")
        return f"<edgemoe.Model {os.path.basename(info.path)!r}: {', '.join(parts)}>"


def _int32(values: TokenIds, what: str) -> npt.NDArray[np.int32]:
    import numpy as np

    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{what} must have one dimension, not {array.ndim}")
    if array.size == 0:
        return np.empty(0, np.int32)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{what} must be integers, not {array.dtype}")
    if array.min() < -(2**31) or array.max() >= 2**31:
        raise ValueError(f"{what} has a number that does not fit 32 bits")
    return np.ascontiguousarray(array, np.int32)
