"""Where the containers-storage is: a name's own ``[driver@root+run:options]``, else storage.conf, as containers/storage
looks for it (containers-storage.conf(5)). Refuses to know what lies there.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fastcopy.errors import BadConfig, Unsupported
from fastcopy.names import StorageRef

DRIVERS: Final = ("overlay", "vfs")  #: those whose layers can be read without mounting anything
_SYSTEM: Final = (Path("/etc/containers/storage.conf"), Path("/usr/share/containers/storage.conf"))
_GRAPH_ROOT: Final = "/var/lib/containers/storage"
_RUN_ROOT: Final = "/run/containers/storage"


@dataclass(frozen=True, slots=True)
class Place:
    """A storage: absolute directories; *additional* ones are read after it and never written."""

    root: str
    run_root: str
    driver: str
    options: tuple[str, ...] = ()
    additional: tuple[str, ...] = ()

    def __str__(self) -> str:
        options = ":" + ",".join(self.options) if self.options else ""
        return f"[{self.driver}@{self.root}+{self.run_root}{options}]"


def locate(ref: StorageRef) -> Place:
    """The storage that *ref* means; raises BadConfig, and Unsupported for a driver that needs the kernel's help."""
    given = _configured() if not ref.graph_root else {}
    options = given.get("options") or {}
    root = ref.graph_root or _root(given)
    run_root = ref.run_root or _text(given, "runroot") or _run_root()
    driver = ref.driver or (os.environ.get("STORAGE_DRIVER", "") or _text(given, "driver") if given else "")
    driver = "overlay" if driver == "overlay2" else driver or _found_driver(root)
    if driver not in DRIVERS:
        raise Unsupported(f"the storage driver {driver!r} of {root} is not supported, only {' and '.join(DRIVERS)} are")
    more = [str(each) for each in options.get("additionalimagestores") or []] + _stores(ref.options)
    more += [each for each in (_text(given, "imagestore"), _text(options, "imagestore")) if each]
    return Place(root, run_root, driver, ref.options, tuple(os.path.realpath(each) for each in more))


def _stores(options: tuple[str, ...]) -> list[str]:
    """Additional stores among a name's options (``overlay.imagestore=/path``)."""
    pairs = [option.partition("=") for option in options]
    return [value for key, _, value in pairs if key.rpartition(".")[2] == "imagestore" and value]


def rootless() -> bool:
    """Whether this user has a storage of its own; inside `podman unshare` the user outside counts."""
    outside = os.environ.get("_CONTAINERS_ROOTLESS_UID", "")
    return (int(outside) if outside.isdigit() else os.geteuid()) != 0


def conf_file() -> Path | None:
    """The storage.conf that counts, None when there is none."""
    if named := os.environ.get("CONTAINERS_STORAGE_CONF"):
        return Path(named)
    home = os.environ.get("XDG_CONFIG_HOME") or (os.path.expanduser("~/.config") if rootless() else "")
    own = [Path(home) / "containers" / "storage.conf"] if home else []
    return next((path for path in (*own, *_SYSTEM) if path.exists()), None)


def _configured() -> dict[str, Any]:
    """The table ``[storage]`` of storage.conf."""
    import tomllib

    path = conf_file()
    if path is None:
        return {"driver": ""}
    try:
        storage = tomllib.loads(path.read_text(encoding="utf-8")).get("storage", {})
    except (OSError, ValueError) as error:
        raise BadConfig(f"{path}: {error.strerror if isinstance(error, OSError) else error}") from None
    if not isinstance(storage, dict) or not isinstance(storage.get("options", {}), dict):
        raise BadConfig(f"{path}: [storage] and [storage.options] have to be tables")
    if rootless() and path in _SYSTEM:  # system roots are not this user's (containers-storage.conf(5))
        storage = {key: value for key, value in storage.items() if key not in ("graphroot", "runroot")}
    return {"driver": "", **storage}


def _root(given: dict[str, Any]) -> str:
    if root := _text(given, "graphroot"):
        return root
    if not rootless():
        return _GRAPH_ROOT
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return _text(given, "rootless_storage_path") or os.path.join(data, "containers", "storage")


def _run_root() -> str:
    if not rootless():
        return _RUN_ROOT
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    return os.path.join(runtime, "containers")


def _text(table: dict[str, Any], key: str) -> str:
    """A path of storage.conf with ``$HOME`` and ``$UID`` filled in; "" when it is not there."""
    value = table.get(key) or ""
    if not isinstance(value, str):
        raise BadConfig(f"storage.conf: {key} is not a text")
    return value.replace("$HOME", os.path.expanduser("~")).replace("$UID", str(os.geteuid()))


def _found_driver(root: str) -> str:
    """The driver that has images in *root*, else the one containers/storage prefers."""
    return next((each for each in DRIVERS if os.path.isdir(os.path.join(root, each + "-images"))), DRIVERS[0])


def policy_scopes(ref: StorageRef) -> list[str]:
    """The scopes of a trust policy for *ref*, most specific first (containers-policy.json(5), containers-storage:)."""
    place = locate(ref)
    store, named = f"[{place.driver}@{place.root}]", ref.named
    scopes = [store + str(named or "") + (f"@{ref.image_id}" if ref.image_id else "")]
    if named is not None:
        name = named.name
        tagged = [f"{store}{named}"] if ref.image_id else []
        scopes += tagged + ([f"{store}{name}:{named.tag}"] if named.tag and named.digest else [])
        while name:
            scopes.append(store + name)
            name = name.rpartition("/")[0]
    return [*scopes, store, f"[{place.root}]"]


#: Options of storage.conf that change what layers look like on the disk.
_FORMATS: Final = ("mount_program", "force_mask", "ignore_chown_errors", "use_composefs")


def refuse_unwritable(place: Place) -> None:
    """Raise Unsupported unless layers that are unpacked here are what podman would make of them."""
    reason = ""
    if os.geteuid() != 0 or not _whole_machine():
        reason = "only root of the machine can write one natively"
    elif os.path.exists("/sys/fs/selinux/enforce"):
        reason = "layers would need SELinux labels"
    elif option := next((each for each in _FORMATS if each in _driver_options(place)), ""):
        reason = f"the option {option} is set"
    if reason:
        raise Unsupported(
            f"cannot write to containers-storage:{place}: {reason}",
            hint="copy to docker-archive:FILE, then podman load -i FILE",
        )


def _whole_machine() -> bool:
    """Whether this user namespace is the machine's own."""
    try:
        return Path("/proc/self/uid_map").read_text(encoding="ascii").split() == ["0", "0", "4294967295"]
    except OSError:
        return False


def _driver_options(place: Place) -> set[str]:
    options = _configured().get("options") or {}
    tables = [options, options.get(place.driver) or {}]
    given = {option.partition("=")[0].rpartition(".")[2] for option in place.options}
    return given | {key for table in tables if isinstance(table, dict) for key, value in table.items() if value}
