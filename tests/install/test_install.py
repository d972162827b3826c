"""Can a program be built against an installed copy, outside the source tree, and does it see what the header says?"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import edgemoe

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PROMPT = "def fibonacci(n):\n"
MODEL = edgemoe.default_model_path()


@pytest.fixture(scope="module")
def text() -> Iterator[str]:
    """What the small model says, greedily, in 32 tokens: in Python."""
    with edgemoe.load(n_threads=2) as model:
        yield model.generate(PROMPT, max_tokens=32, temperature=0.0)


def declared_in(header: Path) -> set[str]:
    return set(re.findall(r"^EDGEMOE_API\b[^;]*?\b(edgemoe_\w+)\(", header.read_text(), re.MULTILINE))


def library_folder(prefix: Path) -> Path:
    return next(prefix.rglob("libedgemoe.so")).parent


def symbols(*arguments: str | Path) -> set[str]:
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("needs nm (binutils)")
    listing = subprocess.run([nm, "--defined-only", *arguments], check=True, capture_output=True, text=True).stdout
    return {line.split()[-1] for line in listing.splitlines() if re.search(r" [A-Z] ", line)}


def test_the_shared_library_exports_what_the_header_declares(prefix: Path) -> None:
    declared = declared_in(prefix / "include" / "edgemoe" / "edgemoe.h")
    assert len(declared) > 40
    assert symbols("-D", library_folder(prefix) / "libedgemoe.so") == declared


@pytest.mark.parametrize(
    ("archive", "header"), [("libedgemoe.a", "edgemoe.h"), ("libedgemoe-ggml.a", "edgemoe-ggml.h")]
)
def test_the_static_library_shows_what_the_header_declares(prefix: Path, archive: str, header: str) -> None:
    assert symbols("-g", library_folder(prefix) / archive) == declared_in(prefix / "include" / "edgemoe" / header)


def run(program: Path, *arguments: str | Path, prefix: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ)
    if prefix is not None:
        environment["LD_LIBRARY_PATH"] = str(library_folder(prefix))
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=120, env=environment, check=False
    )


def built_by_cmake(example: str, kind: str, prefix: Path, cmake: str, folder: Path) -> Path:
    """A copy of the example that finds the package, configured in an empty folder."""
    source = folder / "source"
    shutil.copytree(EXAMPLES / example, source)
    if kind == "static":
        script = source / "CMakeLists.txt"
        script.write_text(
            script.read_text().replace("find_package(edgemoe REQUIRED)", "find_package(edgemoe COMPONENTS static)")
        )
    build = folder / "build"
    subprocess.run([cmake, "-S", source, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}"], check=True, capture_output=True)
    subprocess.run([cmake, "--build", build], check=True, capture_output=True)
    return build / example


def built_by_pkg_config(example: str, kind: str, prefix: Path, folder: Path) -> Path:
    pkg_config = shutil.which("pkg-config")
    if pkg_config is None:
        pytest.skip("needs pkg-config")
    flags = subprocess.run(
        [pkg_config, "--cflags", "--libs", "edgemoe-static" if kind == "static" else "edgemoe"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PKG_CONFIG_PATH": str(library_folder(prefix) / "pkgconfig")},
    ).stdout.split()
    (source,) = (EXAMPLES / example).glob("main.c*")
    compiler = ["c++", "-std=c++17"] if source.suffix == ".cpp" else ["cc", "-std=c99"]
    subprocess.run([*compiler, source, *flags, "-o", folder / example], check=True, cwd=folder)
    return folder / example


@pytest.mark.parametrize("kind", ["shared", "static"])
@pytest.mark.parametrize("by", ["cmake", "pkg-config"])
@pytest.mark.parametrize("example", ["embed-c", "embed-cpp"])
def test_an_example_is_built_in_an_empty_folder_and_runs(
    example: str, by: str, kind: str, prefix: Path, cmake: str, text: str, tmp_path: Path
) -> None:
    if by == "cmake":
        program = built_by_cmake(example, kind, prefix, cmake, tmp_path)
    else:
        program = built_by_pkg_config(example, kind, prefix, tmp_path)
    done = run(program, MODEL, "0", PROMPT, prefix=prefix if kind == "shared" else None)
    assert done.returncode == 0, done.stderr
    assert done.stdout == text + "\n"
    assert "32 tokens" in done.stderr

    refused = run(program, MODEL, "1", PROMPT, prefix=prefix if kind == "shared" else None)
    assert refused.returncode == 1 and "the least is" in refused.stderr


def test_the_static_library_lives_beside_another_llama_cpp(prefix: Path, tmp_path: Path) -> None:
    """A program that has functions of those names itself: neither takes the other's."""
    (tmp_path / "main.c").write_text(
        """
        #include <edgemoe/edgemoe.h>
        #include <stdio.h>
        int llama_backend_init(void) { puts("mine"); return 7; }
        int ggml_init(void) { puts("mine"); return 7; }
        int io_uring_queue_init(void) { puts("mine"); return 7; }
        int main(int argc, char ** argv) {
            edgemoe_model * model = NULL;
            edgemoe_error error;
            if (argc != 2 || edgemoe_load(argv[1], NULL, &model, &error) != EDGEMOE_OK) {
                return 1;
            }
            edgemoe_free(model);
            return llama_backend_init() + ggml_init() + io_uring_queue_init() == 21 ? 0 : 1;
        }
        """
    )
    flags = ["-I", prefix / "include", library_folder(prefix) / "libedgemoe.a", "-ldl", "-lm", "-lstdc++", "-pthread"]
    subprocess.run(["cc", tmp_path / "main.c", *flags, "-o", tmp_path / "program"], check=True)
    done = run(tmp_path / "program", MODEL)
    assert done.returncode == 0 and done.stdout == "mine\n" * 3


def test_llama_cpp_streams_through_the_ggml_entry(build: Path) -> None:
    """Its sampler has no penalty for repetition, unlike the one that the small model's file recommends."""
    program = build / "bin" / "edgemoe-example-llama-cpp"
    with edgemoe.load(n_threads=2) as model:
        expected = model.generate(PROMPT, max_tokens=32, temperature=0.0, repeat_penalty=1.0)
    everything = run(program, MODEL, "0", PROMPT)
    assert everything.returncode == 0, everything.stderr
    assert everything.stdout == expected + "\n"
    done = run(program, MODEL, "5", PROMPT)
    assert done.returncode == 0, done.stderr
    assert done.stdout == everything.stdout
    read = re.search(r"([\d.]+) MiB were read", done.stderr)
    assert read is not None and float(read[1]) > 0


def test_the_ggml_entry_says_why_it_cannot(build: Path) -> None:
    program = build / "bin" / "edgemoe-example-llama-cpp"
    assert "/no/such.gguf" in run(program, "/no/such.gguf", "5", PROMPT).stderr
    done = run(program, __file__, "5", PROMPT)
    assert done.returncode == 1 and "not a GGUF file" in done.stderr
