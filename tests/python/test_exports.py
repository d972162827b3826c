"""Does it live beside another llama.cpp in one process? Then nothing of ours may be visible to the loader."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from edgemoe import _core


def test_the_extension_exports_its_module_alone() -> None:
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("needs nm (binutils)")
    listing = subprocess.run(
        [nm, "-D", "--defined-only", _core.__file__], check=True, capture_output=True, text=True
    ).stdout
    names = {line.split()[-1] for line in listing.splitlines()}
    assert names == {"PyInit__core"}
