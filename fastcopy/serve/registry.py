"""The registry as one handler: route, right, action.

Owns dispatch and the rules that hold for every request. The actions live in pulling.py and pushing.py.
Refuses to know connections: it is given heads and bodies and gives replies.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable

from fastcopy.serve.access import Access
from fastcopy.serve.config import ServeConfig
from fastcopy.serve.message import Body, Head, Refusal, Reply
from fastcopy.serve.pulling import Pulling
from fastcopy.serve.pushing import Pushing
from fastcopy.serve.reading import read_all
from fastcopy.serve.routes import Route, match
from fastcopy.serve.store import Store

_PULL, _PUSH, _DELETE = frozenset({"pull"}), frozenset({"pull", "push"}), frozenset({"delete"})
#: Bytes of a token request's form.
_FORM_LIMIT = 64 * 1024
_VERSION = ("Docker-Distribution-Api-Version", "registry/2.0")

_Action = Callable[[Head, Body, Route], Awaitable[Reply]]


class Registry:
    """An OCI distribution 1.1 registry over a store."""

    def __init__(self, config: ServeConfig, store: Store) -> None:
        self.config = config
        self.store = store
        self.access = Access(config.accounts, config.behaviour)
        self.pushing = Pushing(config, store, self.access)
        pulling, pushing = Pulling(config.behaviour, store), self.pushing
        #: (kind, method) -> action and the rights it needs; HEAD is GET whose body the front end keeps back
        self._actions: dict[tuple[str, str], tuple[_Action, frozenset[str]]] = {
            ("base", "GET"): (pulling.base, frozenset()),
            ("catalog", "GET"): (pulling.catalog, frozenset({"*"})),
            ("tags", "GET"): (pulling.tags, _PULL),
            ("blob", "GET"): (pulling.blob, _PULL),
            ("manifest", "GET"): (pulling.manifest, _PULL),
            ("referrers", "GET"): (pulling.referrers, _PULL),
            ("uploads", "POST"): (pushing.start, _PUSH),
            ("upload", "GET"): (pushing.status, _PUSH),
            ("upload", "PATCH"): (pushing.chunk, _PUSH),
            ("upload", "PUT"): (pushing.finish, _PUSH),
            ("upload", "DELETE"): (pushing.cancel, _PUSH),
            ("manifest", "PUT"): (pushing.manifest, _PUSH),
            ("manifest", "DELETE"): (pushing.remove_manifest, _DELETE),
            ("blob", "DELETE"): (pushing.remove_blob, _DELETE),
        }

    async def answer(self, head: Head, body: Body) -> Reply:
        """The reply to one request; refusals become replies here, and nowhere else."""
        try:
            reply = await self._dispatch(head, body)
        except Refusal as refusal:
            reply = refusal.reply()
        except OSError as error:
            reply = _disk_trouble(error).reply()
        reply.headers.append(_VERSION)
        return reply

    async def _dispatch(self, head: Head, body: Body) -> Reply:
        if head.path == self.config.behaviour.realm_path and self.config.behaviour.auth == "token":
            return await self._token(head, body)
        route = match(head.path)
        action, rights = self._find(route, "GET" if head.method == "HEAD" else head.method)
        if route.kind == "catalog":  # a registry-wide right; with Basic any account will do
            self.access.admit_catalog(head)
        else:
            self.access.admit(head, route.name, rights)
        self._check_project(route, rights)
        self.store.refresh()
        return await action(head, body, route)

    def _find(self, route: Route, method: str) -> tuple[_Action, frozenset[str]]:
        found = self._actions.get((route.kind, method))
        behaviour = self.config.behaviour
        if found is None or (route.kind == "referrers" and not behaviour.referrers):
            allowed = ", ".join(sorted(verb for kind, verb in self._actions if kind == route.kind))
            status = 404 if route.kind == "referrers" else 405
            raise Refusal(status, "UNSUPPORTED", "the operation is unsupported", ("Allow", allowed))
        if method != "GET" and self.config.read_only:
            raise Refusal(405, "UNSUPPORTED", "this registry is read-only", ("Allow", "GET, HEAD"))
        if found[1] == _DELETE and not behaviour.deletes:
            raise Refusal(405, "UNSUPPORTED", "deletes are disabled", ("Allow", "GET, HEAD"))
        return found

    def _check_project(self, route: Route, rights: frozenset[str]) -> None:
        projects = self.config.behaviour.projects
        project = route.name.partition("/")[0]
        if projects is not None and route.name and project not in projects:
            code = "NAME_UNKNOWN" if rights == _PULL else "NOT_FOUND"
            raise Refusal(404, code, f"project {project} not found")

    async def _token(self, head: Head, body: Body) -> Reply:
        if head.method not in ("GET", "POST"):
            raise Refusal(405, "UNSUPPORTED", "the operation is unsupported", ("Allow", "GET, POST"))
        return self.access.token(head, await read_all(body, _FORM_LIMIT, "SIZE_INVALID"))


def _disk_trouble(error: OSError) -> Refusal:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Refusal(507, "DENIED", "no space left on the registry's storage")
    return Refusal(500, "UNKNOWN", f"storage: {error.strerror or 'input/output error'}")
