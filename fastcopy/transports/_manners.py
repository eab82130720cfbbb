"""How registries differ, as data.

Law: the only file where a vendor's name may appear. Rows are matched by host; what a run learns overrides them.
Sources: protocol reference sections 3.1 to 3.4; each row says what breaks without it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

UploadStyle = Literal["put", "patch", "chunks"]


@dataclass(frozen=True, slots=True)
class Manners:
    """What is known of one registry.

    `upload`: ``put`` is POST + PUT with Content-Length (two requests), ``patch`` one streamed PATCH and an empty PUT,
    ``chunks`` PATCHes of at most `chunk` bytes with Content-Range. `put_limit` is the largest body a PUT may carry.
    """

    upload: UploadStyle = "put"
    chunk: int = 16 << 20
    put_limit: int | None = None
    single_post: bool = False  #: POST ?digest= with the body is one request (202 elsewhere: the bytes are lost)
    mount: bool = True
    ranges: bool = True

    def style_for(self, size: int) -> UploadStyle:
        """How to upload a blob of *size* bytes."""
        if self.put_limit is not None and size > self.put_limit:
            return "chunks"
        return self.upload


#: (host pattern, manners). First match wins.
ROWS: tuple[tuple[re.Pattern[str], Manners], ...] = (
    # A single PUT above about 20 MB is answered 413 or reset; PATCH parts need Content-Length.
    (re.compile(r".*\.azurecr\.(io|cn|us)"), Manners(chunk=8 << 20, put_limit=16 << 20)),
    # Several PATCHes are refused; one PUT with Content-Length is the documented way.
    (re.compile(r".*-docker\.pkg\.dev|(.*\.)?gcr\.io"), Manners()),
    # PATCH chunks above 4 MiB are answered 416: whole PUT only.
    (re.compile(r"ghcr\.io"), Manners()),
    (re.compile(r"quay\.io"), Manners(single_post=True)),
    # Parts of at least 5 MiB; a whole PUT is simplest and works.
    (re.compile(r".*\.dkr\.ecr\..*\.amazonaws\.com(\.cn)?|public\.ecr\.aws"), Manners()),
    # Uploads need PATCH; mounts are not performed.
    (re.compile(r".*\.jfrog\.io"), Manners(upload="patch", mount=False, single_post=True)),
)


def manners_of(registry: str) -> Manners:
    """What the table says of *registry* (host with optional port)."""
    host = registry.rpartition(":")[0] if re.search(r":\d+$", registry) else registry
    return next((manners for pattern, manners in ROWS if pattern.fullmatch(host)), Manners())


#: Answers to a PUT with body after which another way of uploading is worth one try (protocol reference 3.2). A 404 is
#: not among them: it means that the session got lost, in every style.
FALL_BACK_ON = frozenset({405, 413, 416, 501})


def after_refusal(manners: Manners, status: int) -> Manners | None:
    """The manners to try next when an upload in the present style was answered *status*; None: give up."""
    if status not in FALL_BACK_ON or manners.upload == "chunks":
        return None
    if manners.upload == "put" and status != 413:
        return replace(manners, upload="patch")
    return replace(manners, upload="chunks", put_limit=None)
