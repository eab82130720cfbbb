"""The Cython extensions and nothing else.

They are optional: without a compiler, or when one fails, the plain twin serves. FASTCOPY_REQUIRE_NATIVE=1
turns a failing build into an error; FASTCOPY_ASAN=1 builds with AddressSanitizer for `make asan`.
"""

from __future__ import annotations

import os
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError

HERE = Path(__file__).parent
NATIVE = Path("fastcopy/_native")
REQUIRED = os.environ.get("FASTCOPY_REQUIRE_NATIVE") == "1"
ASAN = os.environ.get("FASTCOPY_ASAN") == "1"

# No -march: wheels run anywhere; SHA-NI and AES-NI are chosen at run time by libcrypto.
FLAGS = ["-O2", "-fvisibility=hidden", "-Wall", "-Wno-unused-function"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-g", "-O1"] if ASAN else []


def extension(name: str, sources: list[str]) -> Extension:
    """One module with its kernels; every header is a dependency, so that a change rebuilds it."""
    files = [str(NATIVE / f"{name}.pyx"), *(str(NATIVE / "csrc" / source) for source in sources)]
    return Extension(
        f"fastcopy._native.{name}",
        files,
        include_dirs=[str(NATIVE)],
        depends=[
            str(path.relative_to(HERE)) for glob in ("csrc/*.h", "*.px[id]") for path in (HERE / NATIVE).glob(glob)
        ],
        extra_compile_args=FLAGS + SANITIZE,
        extra_link_args=[*SANITIZE, "-pthread"],
        optional=not REQUIRED,
    )


def extensions() -> list[Extension]:
    """Cythonized, or none where Cython itself is missing."""
    try:
        from Cython.Build import cythonize
    except ImportError:
        if REQUIRED:
            raise
        return []
    kernels = ["base.c", "tls.c", "h2.c", "inlet.c", "outlet.c", "outlet_h2.c", "rate.c", "ring.c", "pump.c", "feed.c"]
    modules = [extension("digest", ["sha.c"]), extension("checksum", ["crc64.c"]), extension("pump", kernels)]
    built: list[Extension] = cythonize(modules, build_dir="build/cython", language_level=3)
    for each in built:
        each.optional = not REQUIRED
    return built


class BuildWhatWorks(build_ext):
    """setuptools forgives an optional extension a compiler that fails, but not one that is missing (OSError)."""

    def build_extension(self, ext: Extension) -> None:
        """Build one, or say why not."""
        try:
            super().build_extension(ext)
        except (BaseError, CCompilerError, OSError) as error:
            if REQUIRED:
                raise
            self.warn(f"{ext.name} is not built, its plain twin serves: {error}")


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildWhatWorks})
