"""The table of commands: name, usage, help, flags, and where the code is.

Owns what help says about commands. Imports no command: `run` names a function, loaded when the command is called, so
that ``--help`` and completion stay quick.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastcopy.cli import flagtable as table
from fastcopy.cli.flags import Flag, FlagSet

_TRANSPORTS = "containers-storage, dir, docker, docker-archive, docker-daemon, oci, oci-archive, tarball"
_NAMES = f'"TRANSPORT:DETAILS" names an image. Supported transports:\n{_TRANSPORTS}'


@dataclass(frozen=True, slots=True)
class Command:
    """One command. `refused` says why there is no `run`.

    `run` is ``module:function``; it is given the Call and returns the exit code, or a coroutine that does under trio.
    """

    name: str
    summary: str
    usage: str = ""
    long: str = ""
    examples: tuple[tuple[str, str], ...] = ()  #: (what it does, words behind the program's name)
    flags: tuple[Flag, ...] = ()
    run: str = ""
    refused: str = ""
    hidden: bool = False

    def flag_set(self) -> FlagSet:
        """The flags valid behind the command: global ones, its own (which hide global ones), and --help."""
        return FlagSet((*table.GLOBAL, *self.flags, table.help_flag(self.name)))


_SINGLE = (table.AUTHFILE, *table.image("", "source"), *table.RETRY, table.OWN_HTTP)
_REPOSITORY = (table.AUTHFILE, *table.docker("", "source"), *table.RETRY, table.OWN_HTTP)

COPY = Command(
    "copy",
    "Copy an IMAGE-NAME from one location to another",
    "copy [command options] SOURCE-IMAGE DESTINATION-IMAGE",
    f"Copy an image. {_NAMES}\n\n"
    "Every byte is verified while it streams; nothing is written to disk between two registries. Blobs that the\n"
    "destination has are not sent, and its name changes last, when everything it points at is there.",
    (
        ("from registry to registry", "copy docker://quay.io/skopeo/stable:latest docker://registry.example.com/skopeo:latest"),
        ("every platform of a list", "copy --all docker://docker.io/library/alpine docker://registry.example.com/alpine"),
        ("two platforms", "copy --multi-arch linux/amd64,linux/arm64 docker://docker.io/library/alpine "
         "docker://registry.example.com/alpine"),
        ("to a registry without TLS", "copy --dest-tls-verify=false docker://docker.io/library/alpine "
         "docker://localhost:5000/alpine"),
        ("for another program to watch", "copy --progress json docker://a.example/app:1 docker://b.example/app:1"),
        ("from podman's storage", "copy containers-storage:localhost/app:1 docker://registry.example.com/app:1"),
        ("into a Docker daemon", "copy docker://registry.example.com/app:1 docker-daemon:registry.example.com/app:1"),
    ),
    (table.AUTHFILE, *table.image("src-", "source"), *table.DESTINATION, *table.RETRY, *table.COPYING, *table.COPY,
     *table.OWN_COPYING),
    "fastcopy.cli.copying:run",
)  # fmt: skip

DELETE = Command(
    "delete",
    "Delete image IMAGE-NAME",
    "delete [command options] IMAGE-NAME",
    f"Delete an image (the manifest the name points at). {_NAMES}",
    (("", "delete docker://registry.example.com/example/pause:latest"),),
    _SINGLE,
    "fastcopy.cli.deleting:run",
)

INSPECT = Command(
    "inspect",
    "Inspect image IMAGE-NAME",
    "inspect [command options] IMAGE-NAME",
    f"Return low-level information about an image, without copying it. {_NAMES}",
    (
        ("", "inspect docker://registry.fedoraproject.org/fedora"),
        ("the configuration", "inspect --config docker://docker.io/alpine"),
        ("the manifest or list, byte by byte", "inspect --raw docker://docker.io/alpine"),
        ("with a Go template", 'inspect --format "Name: {{.Name}} Digest: {{.Digest}}" '
         "docker://registry.access.redhat.com/ubi8"),
    ),
    (*_SINGLE, *table.INSPECT),
    "fastcopy.cli.inspection:inspect",
)  # fmt: skip

LIST_TAGS = Command(
    "list-tags",
    "List tags in the transport/repository specified by the SOURCE-IMAGE",
    "list-tags [command options] SOURCE-IMAGE",
    "Return the list of tags of a repository.\n\nSupported transports:\ndocker, docker-archive",
    (("", "list-tags docker://docker.io/fedora"),),
    _REPOSITORY,
    "fastcopy.cli.inspection:list_tags",
)

LOGIN = Command(
    "login",
    "Login to a container registry",
    "login [command options] REGISTRY",
    "Check credentials against a registry and remember them in the authentication file.",
    (("", "login quay.io"), ("from a script", "login --username me --password-stdin quay.io <token.txt")),
    (*table.LOGIN, table.OWN_HTTP),
    "fastcopy.cli.logins:login",
)

LOGOUT = Command(
    "logout",
    "Logout of a container registry",
    "logout [command options] REGISTRY",
    "Forget the credentials of a registry in the authentication file.",
    (("", "logout quay.io"), ("of all registries", "logout --all")),
    table.LOGOUT,
    "fastcopy.cli.logins:logout",
)

MANIFEST_DIGEST = Command(
    "manifest-digest",
    "Compute a manifest digest of a file",
    "manifest-digest MANIFEST-FILE",
    "Compute the digest of a manifest, signatures of schema 1 left aside.",
    (("", "manifest-digest manifest.json"),),
    (),
    "fastcopy.cli.inspection:manifest_digest",
)

SERVE = Command(
    "serve",
    "Serve an OCI layout, or memory, as a registry",
    "serve [command options] [DIR]",
    "Serve images over the OCI distribution protocol: those of an OCI layout in DIR, which pushes add to, or an empty\n"
    "registry in memory that is gone when it ends. Ctrl-C ends it.",
    (
        ("a scratch registry", "serve"),
        ("a carried layout, nobody may change it", "serve --read-only --listen 0.0.0.0:5000 /media/usb/images"),
        ("with TLS and a password", "serve --tls --auth me:secret /srv/images"),
    ),
    table.SERVE,
    "fastcopy.cli.serving:run",
)

STANDALONE_SIGN = Command(
    "standalone-sign",
    "Create a signature using local files",
    "standalone-sign [command options] MANIFEST DOCKER-REFERENCE KEY-FINGERPRINT --output|-o SIGNATURE",
    "Create a simple signature of a manifest with the key of that fingerprint in the local GPG keyring.",
    (
        (
            "",
            "standalone-sign manifest.json r.example/app:1 1D8230F6CDB6A06716E414C1DB72F2188BB46CC8 -o app.sig",
        ),
    ),
    table.STANDALONE_SIGN,
    "fastcopy.cli.signing:sign",
)

STANDALONE_VERIFY = Command(
    "standalone-verify",
    "Verify a signature using local files",
    "standalone-verify [command options] MANIFEST DOCKER-REFERENCE KEY-FINGERPRINTS SIGNATURE",
    "Verify a simple signature of a manifest.\n\n"
    'KEY-FINGERPRINTS can be a comma separated list of fingerprints, or "any" if you trust all the keys in the public\n'
    "key file.",
    (
        (
            "",
            "standalone-verify manifest.json r.example/app:1 1D8230F6CDB6A06716E414C1DB72F2188BB46CC8 app.sig",
        ),
    ),
    table.STANDALONE_VERIFY,
    "fastcopy.cli.signing:verify",
)

SYNC = Command(
    "sync",
    "Synchronize one or more images from one location to another",
    "sync [command options] --src TRANSPORT --dest TRANSPORT SOURCE DESTINATION\n"
    "  sync [command options] --list FILE --from PREFIX --to PREFIX\n"
    "  sync [command options] --config FILE\n"
    "  sync [command options] --plan FILE",
    "Copy all the images from a SOURCE to a DESTINATION.\n\n"
    "Allowed SOURCE transports (specified with --src): docker, dir, yaml, oci.\n"
    "Allowed DESTINATION transports (specified with --dest): docker, dir, oci.\n\n"
    "With --list or --config instead, the images of a file are copied: every blob is downloaded once and uploaded\n"
    "once per destination registry, what is unchanged costs two requests, and one image that fails does not stop the\n"
    "others (exit code 3). Two sources with one destination are refused before anything is copied.",
    (
        ("a repository", "sync --src docker --dest dir --scoped registry.example.com/busybox /media/usb"),
        ("a list, one image:tag a line", "sync --list images.txt --from harbor-a.lan/proj --to harbor-b.lan/mirror"),
        ("into a layout, to be carried", "sync --list images.txt --from harbor-a.lan/proj --to oci:/media/usb/images"),
        ("and out of it", "sync --src oci --dest docker --scoped /media/usb/images harbor-b.lan/mirror"),
        ("what was planned", "sync --plan plan.json"),
        ("what failed, once more", "sync --list failed.txt --failed failed-again.txt"),
        ("a mirror, kept up to date", "sync --config mirror.yaml --watch 5m --health :8080 --metrics"),
    ),
    (table.AUTHFILE, *table.docker("src-", "source"), *table.docker("dest-", "destination"), *table.RETRY,
     *table.COPYING, *table.SYNC, *table.OWN_COPYING, *table.OWN_SYNC),
    "fastcopy.cli.syncing:run",
)  # fmt: skip

PLAN = Command(
    "plan",
    "Show what a sync would copy and cost",
    "plan [command options] --src TRANSPORT --dest TRANSPORT SOURCE DESTINATION\n"
    "  plan [command options] --list FILE --from PREFIX --to PREFIX\n"
    "  plan [command options] --config FILE",
    "Take what `sync` takes, with the same flags, and print what it would do: images to copy and already there, bytes\n"
    "to download and to upload per registry, bytes that are there or can be mounted, requests by kind, pulls needed\n"
    "against those left where a registry rations them. Nothing is written at the destinations.\n\n"
    "A plan that is saved can be reviewed, and carried out by `sync --plan FILE`: each source is read by the digest\n"
    "that was planned, also when its tag has moved.",
    (
        ("a list", "plan --list images.txt --from harbor-a.lan/proj --to harbor-b.lan/mirror"),
        ("reviewed, then carried out", "plan --config sync.yaml --save plan.json"),
        ("", "sync --plan plan.json"),
        ("for programs", "plan --config sync.yaml --json"),
    ),
    (table.AUTHFILE, *table.docker("src-", "source"), *table.docker("dest-", "destination"), *table.RETRY,
     *table.COPYING, *table.SYNC, *table.OWN_COPYING, *table.OWN_SYNC, *table.PLAN),
    "fastcopy.cli.planning:run",
)  # fmt: skip

CONVERT = Command(
    "convert",
    "Print a list or a configuration of another tool as fastcopy's own",
    "convert [command options] FILE",
    "Read a text list, or a configuration of skopeo, image-syncer, regsync or dregsy, and print what it means as YAML\n"
    "that `sync --config` reads. Nothing is contacted. Passwords are not printed.",
    (
        ("", "convert regsync.yml >sync.yaml"),
        ("a list with its prefixes", "convert --from harbor-a.lan/proj --to harbor-b.lan/mirror images.txt"),
    ),
    table.OWN_FROM,
    "fastcopy.cli.converting:run",
)

STATUS = Command(
    "status",
    "Show runs and how far they came",
    "status [command options] [RUN]",
    "Show what the journals say of runs: images done, failed and left, blobs at their destination. With RUN (the\n"
    "beginning of its key is enough) also what failed and why, and uploads that registries keep half-done. An\n"
    "interrupted run goes on with the same command. Nothing is contacted.",
    (("", "status"), ("one run", "status 3f2a"), ("for programs", "status --json")),
    table.STATUS,
    "fastcopy.cli.status:run",
)

COMPLETION = Command(
    "completion",
    "Print a completion script for bash, zsh or fish",
    "completion bash|zsh|fish",
    "Print a script that completes commands and flags in your shell.",
    (
        ("bash, for this shell", "completion bash >fastcopy.bash && source fastcopy.bash"),
        ("zsh", 'completion zsh >"${fpath[1]}/_fastcopy"'),
        ("fish", "completion fish >~/.config/fish/completions/fastcopy.fish"),
    ),
    (),
    "fastcopy.cli.completion:run",
)

HELP = Command("help", "Help about any command", "help [COMMAND]", "", (), (), "")

_SIGSTORE = "sigstore keys and signatures are not implemented; use cosign"

COMMANDS = {
    command.name: command
    for command in (
        COMPLETION,
        CONVERT,
        COPY,
        DELETE,
        Command("generate-sigstore-key", "Generate a sigstore public/private key pair",
                "generate-sigstore-key [command options] --output-prefix PREFIX", flags=table.SIGSTORE_KEY,
                refused=_SIGSTORE, hidden=True),
        HELP,
        INSPECT,
        LIST_TAGS,
        LOGIN,
        LOGOUT,
        MANIFEST_DIGEST,
        PLAN,
        SERVE,
        STANDALONE_SIGN,
        STANDALONE_VERIFY,
        STATUS,
        SYNC,
        Command("layers", "Get layers of IMAGE-NAME", "layers [command options] IMAGE-NAME [LAYER...]", flags=_SINGLE,
                refused="it is deprecated; use `copy` with a dir: destination", hidden=True),
        Command("experimental-image-proxy", "Interactive proxy for fetching container images",
                "experimental-image-proxy [command options]", flags=_SINGLE,
                refused="the image proxy's protocol is not implemented; bootc and rpm-ostree need skopeo", hidden=True),
        Command("untrusted-signature-dump-without-verification", "Dump contents of a signature WITHOUT VERIFYING IT",
                "untrusted-signature-dump-without-verification SIGNATURE",
                refused="a signature that nobody verified says nothing; use `standalone-verify`", hidden=True),
    )
}  # fmt: skip
