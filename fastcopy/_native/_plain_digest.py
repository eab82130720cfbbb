"""The plain twin of digest.pyx: sha256 and sha512 with a state that can be stored, without a compiler.

The functions of the libcrypto that `hashlib` has loaded, through ctypes; where they cannot be reached the digests are
hashlib's own and `export` raises NotImplementedError.  One thread at a time uses a Hasher.
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
from typing import TYPE_CHECKING, Any, Protocol

from fastcopy._native._state import BLOCK, SIZE, Midstate, pack, unpack

if TYPE_CHECKING:
    from typing_extensions import Buffer


class _Sha256(ctypes.Structure):
    """OpenSSL's SHA256_CTX, unchanged since 0.9.8; `data` is an array of words there, of the same size."""

    _fields_ = (
        ("h", ctypes.c_uint32 * 8),
        ("low", ctypes.c_uint32),
        ("high", ctypes.c_uint32),
        ("data", ctypes.c_uint8 * 64),
        ("num", ctypes.c_uint),
        ("size", ctypes.c_uint),
    )


class _Sha512(ctypes.Structure):
    """OpenSSL's SHA512_CTX."""

    _fields_ = (
        ("h", ctypes.c_uint64 * 8),
        ("low", ctypes.c_uint64),
        ("high", ctypes.c_uint64),
        ("data", ctypes.c_uint8 * 128),
        ("num", ctypes.c_uint),
        ("size", ctypes.c_uint),
    )


class _PyBuffer(ctypes.Structure):
    """Py_buffer: the only way to a read-only buffer's address without copying it."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


class _Engine(Protocol):
    """One digest in progress."""

    def update(self, data: Buffer) -> None: ...
    def digest(self) -> bytes: ...
    def copy(self) -> _Engine: ...


class _OpenSsl:
    """A context of libcrypto's, with its chaining value in reach."""

    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm
        self.context: Any = _Sha256() if algorithm == "sha256" else _Sha512()
        self.ref = ctypes.byref(self.context)
        self.functions = _functions(algorithm)
        self.functions[0](self.ref)

    def update(self, data: Buffer) -> None:
        view = _PyBuffer()
        ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(data), ctypes.byref(view), 0)
        try:
            self.functions[1](self.ref, ctypes.c_void_p(view.buf), ctypes.c_size_t(view.len))
        finally:
            ctypes.pythonapi.PyBuffer_Release(ctypes.byref(view))

    def copy(self) -> _OpenSsl:
        other = _OpenSsl(self.algorithm)
        ctypes.memmove(other.ref, self.ref, ctypes.sizeof(self.context))
        return other

    def digest(self) -> bytes:
        out = ctypes.create_string_buffer(SIZE[self.algorithm])
        last = self.copy()
        last.functions[2](out, last.ref)
        return out.raw

    def words(self) -> bytes:
        wide = SIZE[self.algorithm] // 8
        return b"".join(int(word).to_bytes(wide, "big") for word in self.context.h)

    def tail(self, length: int) -> bytes:
        return bytes(self.context.data[: length % BLOCK[self.algorithm]])

    def load(self, state: Midstate) -> None:
        bits = SIZE[self.algorithm]  # 32- and 64-byte digests count in 32- and 64-bit halves
        words = [state.words[at : at + bits // 8] for at in range(0, bits, bits // 8)]
        for index, word in enumerate(words):
            self.context.h[index] = int.from_bytes(word, "big")
        self.context.low = (state.length << 3) & ((1 << bits) - 1)
        self.context.high = state.length << 3 >> bits
        self.context.num = len(state.tail)
        self.context.data[: len(state.tail)] = list(state.tail)


_FOUND: dict[str, tuple[Any, Any, Any]] = {}


def _functions(algorithm: str) -> tuple[Any, Any, Any]:
    """Init, update and final of libcrypto; AttributeError, ImportError or OSError where out of reach."""
    if algorithm not in _FOUND:
        import _hashlib

        library = ctypes.CDLL(_hashlib.__file__)
        name = algorithm.upper()
        _FOUND[algorithm] = tuple(getattr(library, f"{name}_{verb}") for verb in ("Init", "Update", "Final"))
    return _FOUND[algorithm]


def _agrees(algorithm: str) -> bool:
    """The layout is trusted after a state set by hand has led libcrypto to hashlib's digest."""
    first, second = _OpenSsl(algorithm), _OpenSsl(algorithm)
    first.update(b"x" * 201)
    second.load(Midstate(algorithm, 201, first.words(), first.tail(201)))
    second.update(b"x" * 99)
    return second.digest() == hashlib.new(algorithm, b"x" * 300).digest()


def _reachable() -> bool:
    if sys.implementation.name != "cpython":
        return False
    try:
        return _agrees("sha256") and _agrees("sha512")
    except (AttributeError, ImportError, OSError):
        return False


_DIRECT = _reachable()
SHA256 = "openssl" if _DIRECT else "hashlib"


class Hasher:
    """A sha256 or sha512 in progress; ValueError for any other algorithm."""

    __slots__ = ("_engine", "algorithm", "length")

    def __init__(self, algorithm: str = "sha256") -> None:
        if algorithm not in SIZE:
            raise ValueError(f"unknown digest algorithm {algorithm!r}")
        self.algorithm = algorithm
        self.length = 0
        self._engine: _Engine = _OpenSsl(algorithm) if _DIRECT else hashlib.new(algorithm)

    def update(self, data: Buffer) -> None:
        """Hash *data*; the interpreter's lock is released meanwhile."""
        with memoryview(data) as view:
            if view.nbytes:
                self._engine.update(view)
                self.length += view.nbytes

    def digest(self) -> bytes:
        """Digest of what was hashed so far; the state is not disturbed."""
        return self._engine.digest()

    def hexdigest(self) -> str:
        """`digest` in lower-case hexadecimal."""
        return self.digest().hex()

    def copy(self) -> Hasher:
        """An independent Hasher in the same state."""
        other = Hasher(self.algorithm)
        other.length = self.length
        other._engine = self._engine.copy()
        return other

    def export(self) -> bytes:
        """The state in the stored form of `_state`; NotImplementedError without libcrypto's functions."""
        if not isinstance(self._engine, _OpenSsl):
            raise NotImplementedError("this interpreter's hashlib keeps its state to itself")
        return pack(Midstate(self.algorithm, self.length, self._engine.words(), self._engine.tail(self.length)))

    @classmethod
    def restore(cls, state: bytes) -> Hasher:
        """Continue from *state*; ValueError when it is damaged or of a newer version."""
        stored = unpack(state)
        hasher = cls(stored.algorithm)
        if not isinstance(hasher._engine, _OpenSsl):
            raise NotImplementedError("this interpreter's hashlib keeps its state to itself")
        hasher._engine.load(stored)
        hasher.length = stored.length
        return hasher

    def __repr__(self) -> str:
        return f"<Hasher {self.algorithm} after {self.length} bytes>"
