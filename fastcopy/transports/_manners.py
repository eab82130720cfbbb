"""How registries differ, as data.

Law: the only file where a vendor's name may appear. Rows are matched by host; what a run learns overrides them.
Sources: protocol reference sections 3.1 to 3.4; each row says what breaks without it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

UploadStyle = Literal["put", "patch", "chunks"]
#: Smaller blobs are sent anew sooner than their status is asked for (protocol reference 5.3).
RESUMED_MIN = 64 << 20
#: What a kill may cost; docs/resume.md has the measurements.
PART = 64 << 20


@dataclass(frozen=True, slots=True)
class Manners:
    """What is known of one registry.

    `upload`: ``put`` is POST + PUT with Content-Length (two requests), ``patch`` one streamed PATCH and an empty PUT,
    ``chunks`` PATCHes of at most `chunk` bytes with Content-Range. `put_limit` is the largest body a PUT may carry.
    `resumes`: an upload that broke off may go on where its status says it stands; None: not known, to be found out.
    """

    upload: UploadStyle = "put"
    chunk: int = 16 << 20
    put_limit: int | None = None
    single_post: bool = False  #: POST ?digest= with the body is one request (202 elsewhere: the bytes are lost)
    mount: bool = True
    ranges: bool = True
    referrers: bool = True  #: has the referrers API; until it answers otherwise
    resumes: bool | None = None
    counts_pulls: bool = False  #: GETs of manifests are rationed; HEADs are not, and say how many are left

    def style_for(self, size: int) -> UploadStyle:
        """How to upload a blob of *size* bytes."""
        if self.resumable(size) or (self.put_limit is not None and size > self.put_limit):
            return "chunks"
        return self.upload

    def resumable(self, size: int) -> bool:
        """Whether a blob of *size* bytes goes in parts that outlive a connection."""
        return bool(self.resumes) and size >= RESUMED_MIN

    def part(self, size: int) -> int:
        """Bytes of one part in the style ``chunks``."""
        return PART if self.resumable(size) else self.chunk

    def unknown(self, size: int) -> bool:
        """Whether it is worth finding out if this registry resumes uploads, for a blob of *size* bytes."""
        return self.resumes is None and self.put_limit is None and self.upload != "chunks" and size >= RESUMED_MIN


#: (host pattern, manners). First match wins.
ROWS: tuple[tuple[re.Pattern[str], Manners], ...] = (
    # A single PUT above about 20 MB is answered 413 or reset; PATCH parts need Content-Length.
    (re.compile(r".*\.azurecr\.(io|cn|us)"), Manners(chunk=8 << 20, put_limit=16 << 20, resumes=False)),
    # 100 pulls in six hours for whoever does not log in, 200 for free accounts.
    (re.compile(r"(registry-1\.|index\.)?docker\.io"), Manners(counts_pulls=True)),
    # Several PATCHes are refused; one PUT with Content-Length is the documented way.
    (re.compile(r".*-docker\.pkg\.dev|(.*\.)?gcr\.io"), Manners(resumes=False)),
    # PATCH chunks above 4 MiB are answered 416: whole PUT only.
    (re.compile(r"ghcr\.io"), Manners(resumes=False)),
    # The status of an upload is off by one, and an upload lives an hour.
    (re.compile(r"quay\.io"), Manners(single_post=True, resumes=False)),
    # Parts of at least 5 MiB; a whole PUT is simplest and works. The status of an upload does not move.
    (re.compile(r".*\.dkr\.ecr\..*\.amazonaws\.com(\.cn)?|public\.ecr\.aws"), Manners(resumes=False)),
    # Uploads need PATCH; mounts are not performed.
    (re.compile(r".*\.jfrog\.io"), Manners(upload="patch", mount=False, single_post=True, resumes=False)),
)


def manners_of(registry: str) -> Manners:
    """What the table says of *registry* (host with optional port)."""
    host = registry.rpartition(":")[0] if re.search(r":\d+$", registry) else registry
    return next((manners for pattern, manners in ROWS if pattern.fullmatch(host)), Manners())


#: Answers to a PUT with body after which another way of uploading is worth one try (protocol reference 3.2). A 404 is
#: not among them: it means that the session got lost, in every style.
FALL_BACK_ON = frozenset({405, 413, 416, 501})


def after_refusal(manners: Manners, status: int, size: int) -> Manners | None:
    """The manners to try next when an upload of *size* bytes was answered *status*; None: give up."""
    if status not in FALL_BACK_ON:
        return None
    if manners.resumable(size):
        return replace(manners, resumes=False)
    if manners.upload == "chunks":
        return None
    if manners.upload == "put" and status != 413:
        return replace(manners, upload="patch")
    return replace(manners, upload="chunks", put_limit=None)
