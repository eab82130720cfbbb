"""The one tree of errors.

Law 1: every failure a user can meet is a class here; its docstring says when it happens.
Law 2: an error says who is at fault (`side`), whether trying again makes sense (`again`) and which class of
exit code it belongs to. Texts never contain credentials, tokens, header values or query strings.

skopeo's commands exit with 0, 1, 2 (not found) or 130; `exit_code` is the finer class that JSON output and
fastcopy's own commands use (docs/errors.md).
"""

from __future__ import annotations

import enum
from typing import ClassVar, Literal

Side = Literal["source", "destination", "us", ""]


class Again(enum.Enum):
    """What may be hoped for from another attempt."""

    NEVER = "never"  #: the answer is final
    SAME = "same"  #: the same request may succeed now
    LATER = "later"  #: not before `retry_after` seconds
    FRESH = "fresh"  #: throw away what was sent, start this blob anew


class FastcopyError(Exception):
    """Base of everything fastcopy raises on purpose."""

    slug: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    again: Again = Again.NEVER
    gained: bool = False  #: the attempt came further than any before it, and what it gained stays: it does not count

    def __init__(self, message: str, *, side: Side = "", hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.side: Side = side
        self.hint = hint
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def let_go(self) -> None:
        """Forget the frames it came through: they keep pumps, and their descriptors, until cycles are collected."""
        left: list[BaseException | None] = [self]
        seen: set[int] = set()
        while left:
            error = left.pop()
            if error is not None and id(error) not in seen:
                seen.add(id(error))
                error.__traceback__ = None
                left += [error.__cause__, error.__context__]

    def blame(self, side: Side) -> FastcopyError:
        """Name the side at fault unless a lower floor already did; returns self."""
        self.side = self.side or side
        return self


class UsageError(FastcopyError):
    """The command line, a name or an option is wrong."""

    slug, exit_code = "usage", 64


class BadName(UsageError):
    """An image name does not follow its transport's grammar."""

    slug = "bad-name"


class BadConfig(UsageError):
    """A configuration file cannot be used; the message names file, line and column where known."""

    slug = "bad-config"


class Collision(BadConfig):
    """Two sources would be written to one destination; the message names both."""

    slug = "collision"


class NotThere(FastcopyError):
    """The named manifest, tag, blob or repository does not exist."""

    slug, exit_code = "not-there", 2


class ManifestUnknown(NotThere):
    """The registry says MANIFEST_UNKNOWN: skopeo's exit code 2."""

    slug = "manifest-unknown"


class AuthError(FastcopyError):
    """Credentials are missing, wrong or not sufficient."""

    slug, exit_code = "auth", 4


class NeedsLogin(AuthError):
    """The registry wants credentials (401)."""

    slug = "needs-login"


class Denied(AuthError):
    """The registry knows us and refuses (403, or 401 to a valid token)."""

    slug = "denied"


class LimitError(FastcopyError):
    """A rate limit or quota of the registry."""

    slug, exit_code, again = "limit", 5, Again.LATER


class TooManyRequests(LimitError):
    """429, or 503 with Retry-After; `retry_after` is in seconds."""

    slug = "too-many-requests"


class TooManyConnections(TooManyRequests):
    """The host takes no further connection while others to it are in use."""

    slug = "too-many-connections"


class IntegrityError(FastcopyError):
    """Bytes do not match what the manifest promises."""

    slug, exit_code = "integrity", 6


class DigestMismatch(IntegrityError):
    """The digest of the bytes differs from the one they were asked by."""

    slug, again = "digest-mismatch", Again.FRESH


class SizeMismatch(IntegrityError):
    """The length of the bytes differs from the descriptor's size."""

    slug, again = "size-mismatch", Again.FRESH


class BadManifest(IntegrityError):
    """A manifest is not well formed, ambiguous, or too large."""

    slug = "bad-manifest"


class LinkError(FastcopyError):
    """The network between us and a registry."""

    slug, exit_code, again = "link", 7, Again.SAME


class NoSuchHost(LinkError):
    """The host name does not resolve."""

    slug, again = "no-such-host", Again.NEVER


class CannotConnect(LinkError):
    """Nobody answers at that address and port."""

    slug = "cannot-connect"


class TlsRefused(LinkError):
    """The TLS handshake failed, or the certificate is not trusted."""

    slug, again = "tls", Again.NEVER


class LinkLost(LinkError):
    """The connection broke before the answer or the body was complete."""

    slug = "link-lost"


class Stalled(LinkError):
    """No byte moved for the stated number of seconds."""

    slug = "stalled"


class PeerError(FastcopyError):
    """A registry answered with something we cannot go on with; `status` is the HTTP status, 0 if none."""

    slug, exit_code = "registry", 8

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        code: str = "",
        side: Side = "",
        hint: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, side=side, hint=hint, retry_after=retry_after)
        self.status = status
        self.code = code


class ServerFault(PeerError):
    """5xx: the registry's own trouble; another attempt may succeed."""

    slug, again = "server-fault", Again.SAME


class ProtocolBroken(PeerError):
    """The answer breaks HTTP or the distribution specification."""

    slug = "protocol"


class UploadLost(PeerError):
    """The upload session is gone (BLOB_UPLOAD_UNKNOWN, BLOB_UPLOAD_INVALID); start this blob anew."""

    slug, again = "upload-lost", Again.FRESH


class NoSpace(FastcopyError):
    """The destination has no room left (ENOSPC, 507, quota)."""

    slug, exit_code = "no-space", 8


class LocalError(FastcopyError):
    """A file or directory cannot be used (not there, not permitted, not what it should be)."""

    slug, exit_code = "local", 8


class Unsupported(FastcopyError):
    """Asked for something this place or this version cannot do."""

    slug, exit_code = "unsupported", 9


class PolicyRefused(FastcopyError):
    """policy.json or registries.conf forbids this image or registry."""

    slug, exit_code = "policy", 9


class JournalError(FastcopyError):
    """The run journal cannot be used."""

    slug, exit_code = "journal", 10


class PartlyDone(FastcopyError):
    """Some images of a run failed; `report` tells which."""

    slug, exit_code = "partly-done", 3


class TimedOut(FastcopyError):
    """--command-timeout passed."""

    slug, exit_code = "timeout", 1


class Interrupted(FastcopyError):
    """Ctrl-C."""

    slug, exit_code = "interrupted", 130


class Drained(FastcopyError):
    """The run was asked to end (SIGTERM) and something is left; what was in flight has landed."""

    slug, exit_code = "drained", 143


class Bug(FastcopyError):
    """An assumption of ours does not hold; please report it."""

    slug, exit_code = "bug", 70
