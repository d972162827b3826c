"""Does it run my model inside the memory that I gave it?"""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from memory_cgroup import MemoryCgroup
from model_files import ModelShape, write_large_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHAPE = ModelShape(
    n_layers=16, n_experts=32, n_experts_used=4, n_embd=1024, n_ff=1024, n_head=8, head_dim=128, n_ctx_train=2048
)

# A prompt of 256 tokens and 16 more; what the process itself says of it goes to standard output.
RUN = """
import json, sys
import edgemoe
with edgemoe.load(sys.argv[1], memory=int(sys.argv[2]), n_ctx=512, n_threads=2) as model:
    model.reset()
    model.decode([(i * 37 + 11) % 160 for i in range(256)], logits=False)
    for i in range(16):
        model.decode([50 + i])
    print(json.dumps({"peak": model.stats.peak_memory_bytes, "mode": model.stats.mode, "read": model.stats.read_bytes,
                      "cache": model.info.expert_cache_bytes, "least": model.info.least_memory_bytes}))
"""


@pytest.fixture(scope="module")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("large")
    if shutil.disk_usage(folder).free < 3 << 30:
        pytest.skip("needs 3 GiB of free disk for a model of 1.8 GB")
    path = write_large_model(folder / "large.gguf", SHAPE)
    yield path
    path.unlink()


def test_a_model_runs_in_a_cgroup_of_35_percent_of_its_file(large_file: Path) -> None:
    size = large_file.stat().st_size
    assert size > 1_500_000_000
    ceiling = size * 35 // 100
    try:
        group = MemoryCgroup(ceiling)
    except OSError as error:
        pytest.skip(f"memory cgroups cannot be made here: {error}")
    with group:
        done = group.run([sys.executable, "-c", RUN, str(large_file), str(ceiling)])
        assert done.returncode == 0, f"exit {done.returncode}: {done.stderr}"
        said = json.loads(done.stdout)
        charged = group.peak_bytes()
        refused = group.refused_allocations()
    assert said["mode"] == "streamed"
    assert said["read"] > said["cache"]
    assert charged <= ceiling
    assert refused == 0, f"the limit was hit {refused} times at a peak of {charged} of {ceiling} bytes"
    assert abs(said["peak"] - charged) <= 0.05 * charged, (said, charged)
