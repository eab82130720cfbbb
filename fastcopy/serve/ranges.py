"""Range and Content-Range, the two spellings registries use, and pages of lists.

RFC 9110 14 for downloads (`bytes=a-b`), the distribution specification's own `a-b` for uploads.
"""

from __future__ import annotations

import bisect
import re
from urllib.parse import quote

from fastcopy.serve.message import Refusal

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
_CONTENT_RANGE = re.compile(r"(\d{1,19})-(\d{1,19})")


def wanted_range(header: str, size: int) -> tuple[int, int] | None:
    """(start, length) of one closed, open or suffix range; None means the whole (200).

    Several ranges and what we do not understand are ignored, as RFC 9110 14.2 allows; raises Refusal 416.
    """
    found = _RANGE.fullmatch(header.replace(" ", ""))
    if not found or found[1] == found[2] == "":
        return None
    if found[1] == "":
        start, end = max(0, size - int(found[2])), size - 1
    else:
        start, end = int(found[1]), min(int(found[2] or size - 1), size - 1)
        if found[2] and int(found[2]) < start:
            return None
    if start >= size:
        raise Refusal(416, "RANGE_INVALID", "range starts after the end", ("Content-Range", f"bytes */{size}"))
    return start, end - start + 1


def check_chunk(content_range: str, offset: int, length: int | None, location: str) -> None:
    """A chunk must start where the upload stands and be as long as it says; raises Refusal 416 or 400."""
    if not content_range:
        return
    found = _CONTENT_RANGE.fullmatch(content_range)
    if not found or int(found[2]) < int(found[1]):
        raise Refusal(400, "BLOB_UPLOAD_INVALID", "Content-Range must be <first>-<last>")
    if int(found[1]) != offset:
        held = ("Location", location), ("Range", stored_range(offset))
        raise Refusal(416, "RANGE_INVALID", f"chunk starts at {found[1]}, the upload stands at {offset}", *held)
    if length is not None and length != int(found[2]) - int(found[1]) + 1:
        raise Refusal(400, "SIZE_INVALID", "Content-Range and Content-Length disagree")


def stored_range(offset: int) -> str:
    """The Range header of an upload that holds `offset` bytes.

    The specification has no word for "nothing": 0-0 is said for no byte and for one, as distribution does, and its
    conformance suite refuses an absent header. A client finds out by Content-Range: the wrong guess is a 416.
    """
    return f"0-{max(0, offset - 1)}"


def page(names: list[str], count: str, last: str, most: int, path: str) -> tuple[list[str], list[tuple[str, str]]]:
    """One page of a sorted list and the Link header to the next (distribution-spec "Listing Tags")."""
    if count and not count.isdigit():
        raise Refusal(400, "PAGINATION_NUMBER_INVALID", "n must be a number")
    limit = min(int(count), most) if count else most
    start = bisect.bisect_right(names, last) if last else 0
    found = names[start : start + limit]
    if not found or start + limit >= len(names):
        return found, []
    return found, [("Link", f'<{path}?n={limit}&last={quote(found[-1], safe="")}>; rel="next"')]
