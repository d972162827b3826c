"""The tree keeps the shape of docs/architecture.md: who may include whom, and what builds without ggml."""

import re
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "cpp" / "src"

# Whose headers a folder may include, besides its own.
ARROWS = {
    "base": set(),
    "storage": {"base"},
    "cache": {"base"},
    "predict": {"base"},
    "quant": {"base"},
    "rounding": {"base"},
    "fitting": {"base"},
    "cpu": {"base"},
    "simulate": {"cache", "predict", "base"},
    "store": {"storage", "cache", "predict", "base"},
    "backend": {"store", "storage", "cache", "predict", "base"},
    "engine": {"backend", "simulate", "quant", "rounding", "fitting", "store", "storage", "cache", "predict", "base"},
    "c_api": {
        *(
            "engine",
            "backend",
            "simulate",
            "quant",
            "rounding",
            "fitting",
            "cpu",
            "store",
            "storage",
            "cache",
            "predict",
            "base",
        ),
        "edgemoe",
    },
    "ggml_api": {
        *("c_api", "engine", "backend", "simulate", "quant", "rounding", "store", "storage", "cache", "predict"),
        *("base", "edgemoe"),
    },
}
WITHOUT_GGML = ["base", "storage", "cache", "predict", "quant", "fitting", "simulate", "store"]
WITHOUT_LLAMA = [*WITHOUT_GGML, "backend", "rounding"]

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)


def files_of(folder: str) -> list[Path]:
    return sorted(path for path in (SOURCES / folder).rglob("*") if path.suffix in {".h", ".cpp"})


def includes_of(folder: str) -> list[tuple[str, str]]:
    return [
        (str(path.relative_to(SOURCES)), header)
        for path in files_of(folder)
        for header in INCLUDE.findall(path.read_text(encoding="utf-8"))
    ]


def test_every_folder_has_its_arrows() -> None:
    folders = {path.name for path in SOURCES.iterdir() if path.is_dir()}
    assert folders <= set(ARROWS), "a new folder: say here and in docs/architecture.md whom it may include"
    assert files_of("base") and files_of("store")


@pytest.mark.parametrize("folder", ARROWS)
def test_a_folder_includes_only_what_its_arrows_allow(folder: str) -> None:
    allowed = ARROWS[folder] | {folder}
    known = set(ARROWS) | {"edgemoe"}
    wrong = [
        (file, header)
        for file, header in includes_of(folder)
        if header.split("/")[0] in known and header.split("/")[0] not in allowed
    ]
    assert wrong == []


def test_arrows_make_no_circle() -> None:
    for folder, targets in ARROWS.items():
        for target in targets - {"edgemoe"}:
            assert folder not in ARROWS[target], f"{folder} and {target} include each other"


@pytest.mark.parametrize("folder", WITHOUT_GGML)
def test_policy_code_includes_no_ggml(folder: str) -> None:
    wrong = [(file, header) for file, header in includes_of(folder) if re.match(r"(.*/)?(ggml|gguf)", header)]
    assert wrong == []


@pytest.mark.parametrize("folder", WITHOUT_LLAMA)
def test_only_the_engine_includes_llama(folder: str) -> None:
    assert [(file, header) for file, header in includes_of(folder) if re.match(r"(.*/)?llama", header)] == []


def test_bindings_stand_on_the_public_header_alone() -> None:
    bindings = SOURCES.parent / "bindings"
    wrong = [
        (path.name, header)
        for path in sorted(bindings.iterdir())
        if path.suffix in {".h", ".cpp"}
        for header in INCLUDE.findall(path.read_text(encoding="utf-8"))
        if header.split("/")[0] in ARROWS or re.match(r"ggml|gguf|llama", header) or header == "edgemoe/edgemoe.h"
    ]
    assert wrong == []
