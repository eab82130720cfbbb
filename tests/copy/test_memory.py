"""Memory does not grow with the image."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.copy.world import flags, fresh, image, named
from tests.registries import docker_registry

#: The design's limit for any scenario with default settings, in KiB.
LIMIT = 150 << 10
#: A small process in between: a child's peak begins with that of whoever forked it, and this one holds the image.
_MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.real
@pytest.mark.slow
def test_a_gibibyte_is_copied_within_150_mb(tmp_path: Path) -> None:
    """Four layers of 256 MiB between two registries: the peak of the process, from start to end."""
    with docker_registry(tmp_path / "a") as source, docker_registry(tmp_path / "b", "tls") as destination:
        made, repo = image(source, layers=[os.urandom(1 << 20) * 256 for _ in range(4)]), fresh("copy/to")
        words = [*flags(source, destination), "--quiet", made.ref, destination.ref(repo, "1")]
        command = [sys.executable, "-c", _MEASURE, sys.executable, "-m", "fastcopy", "copy", *words]
        measured = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
        assert named(destination, repo) == made.digest
    peak = int(measured.stdout.split()[-1])
    assert peak < LIMIT, f"{peak >> 10} MiB"
