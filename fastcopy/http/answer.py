"""The body of a refusal: ``{"errors": […]}`` of the distribution specification, or whatever else a server sends.

Owns making a stranger's text fit for a terminal and one line. Never raises.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgspec

from fastcopy.http.wire import Response

#: ggcr reads this much of an error body (protocol reference 7.1).
BODY_LIMIT = 64 << 10
TEXT_LIMIT = 300
#: C0, DEL, C1, and the characters that reorder or hide text on a terminal.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
#: distribution answers a full disk with 500 UNKNOWN and this in the detail (seen with 2.8.3).
_FULL = re.compile(r"no space left on device|disk quota exceeded|insufficient storage", re.IGNORECASE)
#: Harbor's and others' words for a project that has used up what it may store.
_QUOTA = re.compile(r"quota|exceed the configured upper limit|storage limit", re.IGNORECASE)
_SECRET = re.compile(r"(\?)[^\s\"'<>]+|\b((?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)


class Answer(NamedTuple):
    """The first error of a refusal; "" where the body says nothing. `excerpt` is for bodies of another form."""

    code: str = ""
    message: str = ""
    excerpt: str = ""

    @property
    def disk_full(self) -> bool:
        """Whether the words speak of a full disk (no code is agreed on for that)."""
        return bool(_FULL.search(f"{self.message} {self.excerpt}"))

    @property
    def quota(self) -> bool:
        """Whether the words speak of a used up quota (nor for that)."""
        return bool(_QUOTA.search(f"{self.code} {self.message} {self.excerpt}"))


def read_answer(response: Response) -> Answer:
    """What the body of *response* says."""
    body = response.body[:BODY_LIMIT]
    listed = _errors(body)
    if listed:
        return max(listed, key=lambda each: bool(each.code))
    if body.lstrip()[:1] in (b"{", b"["):
        return Answer()
    return Answer(excerpt=_excerpt(body.decode("utf-8", "replace")))


def _errors(body: bytes) -> list[Answer]:
    try:
        document: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    if not isinstance(document, dict):
        return []
    listed = document.get("errors")
    if not isinstance(listed, list):
        listed = [document]  # {"code": …, "message": …} or {"details": …}, as token servers and gateways write it
    return [answer for each in listed if isinstance(each, dict) and (answer := _answer(each)) != Answer()]


def _answer(error: dict[str, Any]) -> Answer:
    code, message = error.get("code"), error.get("message")
    code = code if isinstance(code, str) and _CODE.fullmatch(code) else ""
    message = message if isinstance(message, str) else ""
    return Answer(code.upper(), clean(_with_detail(message, error.get("detail"))))


def _with_detail(message: str, detail: object) -> str:
    """*message* with what makes it telling: the digest of a missing blob, the cause of an ``unknown error``."""
    if isinstance(detail, dict):
        digest = detail.get("digest", detail.get("Digest"))
        known = isinstance(digest, str) and re.fullmatch(r"sha(256|512):[0-9a-f]{64,128}", digest)
        return f"{message} ({digest})" if known else message
    generic = message.lower() in ("", "unknown error")
    return f"{message}: {detail}".lstrip(": ") if generic and isinstance(detail, str) and detail else message


def _excerpt(text: str) -> str:
    """A line out of a body that is not JSON; of HTML the title, else its text."""
    if "<" in text[:200].lower() and re.search(r"<(!doctype|html|head|body|title|h1)\b", text[:2000], re.IGNORECASE):
        import html

        title = re.search(r"<(title|h1)[^>]{0,200}>([^<]{1,500})", text, re.IGNORECASE)
        text = html.unescape(title[2] if title else re.sub(r"<[^>]*>", " ", text[:4000]))
    return clean(text)


def clean(text: str, limit: int = TEXT_LIMIT) -> str:
    """*text* of a stranger as one harmless line: no control characters, no query strings, no tokens, not too long."""
    line = " ".join(_UNSAFE.sub(" ", text[: limit * 4]).split())
    line = _SECRET.sub(lambda found: f"{found[1] or found[2]}REDACTED", line)
    return line if len(line) <= limit else line[: limit - 1] + "…"
