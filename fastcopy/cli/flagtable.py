"""The table of flags: every flag of skopeo 1.24, where it goes or why it is refused, and fastcopy's own.

Owns names, letters, help texts and destinations; data and nothing else. How values become Options is build.py's work.
"""

from __future__ import annotations

from fastcopy.cli import govalues as go
from fastcopy.cli.flags import BOOL, DURATION, INT, INTS, PATH, RATE, SIZE, STRING, STRINGS, UINT, Flag, Kind

_AUTHFILE = "path of the registry credentials file. Default is ${XDG_RUNTIME_DIR}/containers/auth.json"
_NO_SIGNING = "signing while copying is not implemented; sign the copied manifest with `standalone-sign`"
_NO_CRYPT = "encrypted layers are copied as they are; encrypting and decrypting is not implemented"
_HTTP = Kind("auto|1.1|2", go.OneOf("auto", "1.1", "2"))
_PROGRESS = Kind("auto|tty|plain|json|none", go.OneOf("auto", "tty", "plain", "json", "none"))

VERSION = Flag("version", BOOL, "print the version", short="v")
OLD_TLS_VERIFY = Flag(
    "tls-verify",
    BOOL,
    "Require HTTPS and verify certificates when accessing the registry",
    to="<source.tls_verify>,<destination.tls_verify>",
    hidden=True,
    warning="'--tls-verify' is deprecated, please set this on the specific subcommand",
)


def help_flag(command: str) -> Flag:
    """``-h, --help``, in every command."""
    return Flag("help", BOOL, f"help for {command}", short="h")


#: Accepted before and after the command (skopeo.md: persistent flags).
GLOBAL = (
    Flag("command-timeout", DURATION, "timeout for the command execution"),
    Flag("debug", BOOL, "enable debug output"),
    Flag("insecure-policy", BOOL, "run the tool without any policy check", to="run.insecure_policy"),
    Flag("override-arch", STRING, "use ARCH instead of the architecture of the machine for choosing images",
         to="copy.override_arch", shown="ARCH"),
    Flag("override-os", STRING, "use OS instead of the running OS for choosing images",
         to="copy.override_os", shown="OS"),
    Flag("override-variant", STRING, "use VARIANT instead of the running architecture variant for choosing images",
         to="copy.override_variant", shown="VARIANT"),
    Flag("policy", PATH, "Path to a trust policy file", to="run.policy"),
    Flag("registries-conf", PATH, "path to the registries.conf file",
         to="source.registries_conf,destination.registries_conf", hidden=True),
    Flag("registries.d", STRING, "use registry configuration files in DIR", shown="DIR",
         refused="signatures in lookaside storage are neither read nor written"),
    Flag("require-signed", BOOL, "require a signature, whatever the policy says",
         refused="signatures are not verified while copying; verify with `standalone-verify`"),
    Flag("tls-details", PATH, "path to a containers-tls-details.yaml file",
         to="source.tls_details,destination.tls_details", shown="PATH"),
    Flag("tmpdir", PATH, "directory used to store temporary files", to="run.tmpdir"),
    Flag("user-agent-prefix", STRING, "prefix to add to the user agent string",
         to="<source.user_agent>,<destination.user_agent>"),
)  # fmt: skip

AUTHFILE = Flag("authfile", PATH, _AUTHFILE, to="<source.authfile>,<destination.authfile>")


def docker(prefix: str, side: str) -> tuple[Flag, ...]:
    """How a registry is reached; *prefix* is "", "src-" or "dest-", *side* the half of Options it fills."""
    credentials = f"<{side}.credentials>"
    aliases: tuple[Flag, ...] = ()
    if prefix:
        help_text = "Use USERNAME[:PASSWORD] for accessing the registry"
        aliases = (
            Flag(f"{prefix}authfile", PATH, _AUTHFILE, to=f"<{side}.authfile>"),
            Flag(f"{prefix[0]}creds", STRING, help_text, to=credentials, shown="USERNAME[:PASSWORD]", hidden=True),
        )
    return (
        *aliases,
        Flag(f"{prefix}cert-dir", PATH, "use certificates at PATH (*.crt, *.cert, *.key) to connect to the registry "
             "or daemon", to=f"{side}.cert_dir", shown="PATH"),
        Flag(f"{prefix}creds", STRING, "Use USERNAME[:PASSWORD] for accessing the registry",
             to=credentials, shown="USERNAME[:PASSWORD]"),
        Flag(f"{prefix}no-creds", BOOL, "Access the registry anonymously", to=f"{side}.anonymous"),
        Flag(f"{prefix}password", STRING, "Password for accessing the registry", to=credentials),
        Flag(f"{prefix}registry-token", STRING, "Provide a Bearer token for accessing the registry", to=credentials),
        Flag(f"{prefix}tls-verify", BOOL, "require HTTPS and verify certificates when talking to the container "
             "registry or daemon", to=f"<{side}.tls_verify>"),
        Flag(f"{prefix}username", STRING, "Username for accessing the registry", to=credentials),
    )  # fmt: skip


def image(prefix: str, side: str) -> tuple[Flag, ...]:
    """`docker` and what the other transports need."""
    return (
        *docker(prefix, side),
        Flag(f"{prefix}daemon-host", STRING, "use docker daemon host at HOST (docker-daemon: only)",
             to=f"{side}.daemon_host", shown="HOST"),
        Flag(f"{prefix}shared-blob-dir", PATH, "DIRECTORY to use to share blobs across OCI repositories",
             to=f"{side}.shared_blob_dir", shown="DIRECTORY"),
    )  # fmt: skip


DESTINATION = (
    *image("dest-", "destination"),
    Flag("dest-compress", BOOL, "Compress tarball image layers when saving to directory using the 'dir' transport. "
         "(default is same compression type as source)", to="<copy.compress>"),
    Flag("dest-compress-format", STRING, "FORMAT to use for the compression", to="copy.compression_format",
         shown="FORMAT"),
    Flag("dest-compress-level", INT, "LEVEL to use for the compression", to="copy.compression_level",
         shown="LEVEL"),
    Flag("dest-decompress", BOOL, "Decompress tarball image layers when saving to directory using the 'dir' transport. "
         "(default is same compression type as source)", to="<copy.compress>"),
    Flag("dest-force-compress-format", BOOL, "Force exclusive use of the compression algorithm set in "
         "--dest-compress-format",
         no_effect="every layer that has another compression than --dest-compress-format is recompressed in any case"),
    Flag("dest-oci-accept-uncompressed-layers", BOOL, "Allow uncompressed image layers when saving to an OCI image "
         "using the 'oci' transport. (default is to compress things that aren't compressed)",
         to="copy.accept_uncompressed"),
    Flag("dest-precompute-digests", BOOL, "Precompute digests to prevent uploading layers already on the registry "
         "using the 'docker' transport.",
         no_effect="every blob whose digest is known is looked for before it is sent; a layer that is recompressed has "
         "none, and nothing is spooled to find it"),
)  # fmt: skip

RETRY = (
    Flag("retry-delay", DURATION, "Fixed delay between retries. If not set, retry uses an exponential backoff delay.",
         to="run.retry_delay"),
    Flag("retry-times", INT, "the number of times to possibly retry", to="<run.retries>"),
)  # fmt: skip

SIGNING = (
    Flag("sign-by", STRING, "Sign the image using a GPG key with the specified FINGERPRINT", refused=_NO_SIGNING,
         shown="FINGERPRINT"),
    Flag("sign-by-sigstore", STRING, "Sign the image using a sigstore parameter file at PATH", refused=_NO_SIGNING,
         shown="PATH"),
    Flag("sign-by-sigstore-private-key", STRING, "Sign the image using a sigstore private key at PATH",
         refused=_NO_SIGNING, shown="PATH"),
    Flag("sign-by-sq-fingerprint", STRING, "Sign the image using a Sequoia-PGP key with the specified FINGERPRINT",
         refused=_NO_SIGNING, shown="FINGERPRINT"),
    Flag("sign-passphrase-file", STRING, "Read a passphrase for signing an image from PATH", refused=_NO_SIGNING,
         shown="PATH"),
)  # fmt: skip

COPYING = (
    Flag("format", STRING, "MANIFEST TYPE (oci, v2s1, or v2s2) to use in the destination (default is manifest type of "
         "source, with fallbacks)", to="<copy.format>", short="f"),
    Flag("preserve-digests", BOOL, "Preserve digests of images and lists", to="copy.preserve_digests"),
    Flag("remove-list-signatures", BOOL, "Do not copy the signatures of the list from source",
         refused="list signatures cannot be removed apart from those of the images; use --remove-signatures"),
    Flag("remove-signatures", BOOL, "Do not copy signatures from source", to="copy.remove_signatures"),
    *SIGNING,
    Flag("tls-verify", BOOL, "Require HTTPS and verify certificates when accessing the registries",
         to="<source.tls_verify>,<destination.tls_verify>", hidden=True,
         warning="'--tls-verify' is deprecated, instead use: --src-tls-verify, --dest-tls-verify"),
)  # fmt: skip

COPY = (
    Flag("additional-tag", STRINGS, "additional tags (supports docker-archive)", to="<copy.additional_tags>"),
    Flag("all", BOOL, "Copy all images if SOURCE-IMAGE is a list", to="<copy.multi_arch>", short="a"),
    Flag("decryption-key", STRINGS, "*Experimental* key needed to decrypt the image", refused=_NO_CRYPT),
    Flag("digestfile", STRING, "Write the digest of the pushed image to the specified file"),
    Flag("encrypt-layer", INTS, "*Experimental* the 0-indexed layer indices, with support for negative indexing",
         refused=_NO_CRYPT),
    Flag("encryption-key", STRINGS, "*Experimental* key with the encryption protocol to use needed to encrypt the "
         "image", refused=_NO_CRYPT),
    Flag("image-parallel-copies", UINT, "Maximum number of image layers to be copied (pulled/pushed) simultaneously. "
         "Default (0): adapts to the registries", to="run.parallel"),
    Flag("multi-arch", STRING, "How to handle multi-architecture images (system, all, index-only, or a comma-separated "
         "list of os/arch)", to="<copy.multi_arch>"),
    Flag("quiet", BOOL, "Suppress output information when copying images", short="q"),
    Flag("sign-identity", STRING, "Identity of signed image, must be a fully specified docker reference",
         refused=_NO_SIGNING),
    Flag("strip-removed-platforms", BOOL, "Remove the instances that are not copied from the list",
         to="copy.strip_removed_platforms"),
)  # fmt: skip

SYNC = (
    Flag("all", BOOL, "Copy all images if SOURCE-IMAGE is a list", to="<copy.multi_arch>", short="a"),
    Flag("append-suffix", STRING, "String to append to DESTINATION tags"),
    Flag("dest", STRING, "DESTINATION transport type", short="d"),
    Flag("digestfile", STRING, "Write the digests and Image References of the resulting images to the specified file, "
         "separated by newlines"),
    Flag("dry-run", BOOL, "Run without actually copying data"),
    Flag("keep-going", BOOL, "Do not abort the sync if any image copy fails"),
    Flag("scoped", BOOL, "Images at DESTINATION are prefix using the full source image path as scope"),
    Flag("src", STRING, "SOURCE transport type", short="s"),
)  # fmt: skip

_FORMAT = Kind("FORMAT", go.OneOf("native", "skopeo", "list", "image-syncer", "regsync", "dregsy", "mapping"))
_PRUNE = Kind("", go.OneOf("listed", "even-empty"), alone="listed")
_INTERVAL = Kind("INTERVAL", go.interval)
OWN_FROM = (
    Flag("config-format", _FORMAT, "the FORMAT of the file, where it cannot be told: native, skopeo, list, "
         "image-syncer, regsync, dregsy or mapping", ours=True),
    Flag("from", STRING, "PREFIX (host[:port][/path]) that the images of a list are below", shown="PREFIX", ours=True),
    Flag("rename", STRING, "how paths change on their way: s#regex#replacement#, or a template such as {name}",
         shown="RULE", ours=True),
    Flag("to", STRING, "PREFIX that they are copied to, under the same path and tag", shown="PREFIX", ours=True),
)  # fmt: skip
OWN_SYNC = (
    *OWN_FROM,
    Flag("config", STRING, "copy what a configuration FILE says (of fastcopy, skopeo, image-syncer, regsync or dregsy; "
         "- for standard input)", shown="FILE", ours=True),
    Flag("fail-fast", BOOL, "stop at the first image that fails (with --list and --config the others go on)",
         ours=True),
    Flag("failed", STRING, "write what is missing at the end to FILE, as a list for the next --list", shown="FILE",
         ours=True),
    Flag("list", STRING, "copy the images of a text FILE, one image:tag or source=destination a line (- for standard "
         "input)", shown="FILE", ours=True),
    Flag("quiet", BOOL, "show nothing but warnings and failures", short="q", ours=True),
    Flag("health", STRING, "answer /healthz and /readyz at [HOST]:PORT while it runs (:8080 is this machine only)",
         shown="[HOST]:PORT", ours=True),
    Flag("metrics", BOOL, "answer /metrics there as well, for Prometheus", ours=True),
    Flag("no-journal", BOOL, "keep no journal; an interrupted run starts its unfinished blobs anew", ours=True),
    Flag("plan", STRING, "carry out the plan that `plan --save FILE` wrote", shown="FILE", ours=True),
    Flag("prune", _PRUNE, "delete destination tags that left the source, in repositories whose entries all say `prune: "
         "true`; --prune=even-empty also where no tag is selected any more", ours=True),
    Flag("watch", _INTERVAL, "run again every INTERVAL (5m, 1h30m, seconds), counted from start to start, until a "
         "signal", shown="INTERVAL", ours=True),
)  # fmt: skip

INSPECT = (
    Flag("config", BOOL, "output configuration"),
    Flag("format", STRING, "Format the output to a Go template", short="f"),
    Flag("manifest-digest", STRING, "ALGORITHM of the digest shown (sha256 or sha512)", shown="ALGORITHM"),
    Flag("no-tags", BOOL, "Do not list the available tags from the repository in the output", short="n"),
    Flag("raw", BOOL, "output raw manifest or configuration"),
)  # fmt: skip

_AUTHFILES = (
    Flag("authfile", PATH, "path of the authentication file. Use REGISTRY_AUTH_FILE environment variable to override",
         to="<source.authfile>"),
    Flag("compat-auth-file", PATH, "path of a Docker-compatible config file to update instead"),
    Flag("tls-verify", BOOL, "require HTTPS and verify certificates when accessing the registry",
         to="<source.tls_verify>"),
)  # fmt: skip

LOGIN = (
    *_AUTHFILES,
    Flag("cert-dir", PATH, "use certificates at the specified path to access the registry", to="source.cert_dir"),
    Flag("get-login", BOOL, "Return the current login user for the registry"),
    Flag("password", STRING, "Password for registry", short="p"),
    Flag("password-stdin", BOOL, "Take the password from stdin"),
    Flag("username", STRING, "Username for registry", short="u"),
    Flag("verbose", BOOL, "Write more detailed information to stdout", short="v"),
)  # fmt: skip

LOGOUT = (
    *_AUTHFILES,
    Flag("all", BOOL, "Remove the cached credentials for all registries in the auth file", short="a"),
)

OWN_HTTP = Flag("http", _HTTP, "HTTP version; auto measures and remembers what is faster per registry",
                to="<source.http>,<destination.http>", ours=True)  # fmt: skip
OWN_COPYING = (
    OWN_HTTP,
    Flag("journal", PATH, "keep the journal in DIR, so that a run that was killed goes on where it was (sync: default "
         "$XDG_STATE_HOME/fastcopy)", shown="DIR", to="run.journal", ours=True),
    Flag("src-http", _HTTP, "as --http, for the source only", to="<source.http>", ours=True),
    Flag("dest-http", _HTTP, "as --http, for the destination only", to="<destination.http>", ours=True),
    Flag("bwlimit", RATE, "at most so many bytes per second over all transfers, as 20MiB/s", to="run.bandwidth",
         ours=True),
    Flag("digest-tags", BOOL, "copy the tags named after each manifest's digest, too: cosign's sha256-….sig, .att and "
         ".sbom", to="copy.digest_tags", ours=True),
    Flag("referrers", BOOL, "copy what refers to each manifest, too, and what refers to that (OCI 1.1: signatures, "
         "SBOMs, attestations)", to="copy.referrers", ours=True),
    Flag("referrer-type", STRINGS, "as --referrers, but only those of this artifact TYPE (may be given several times)",
         to="<copy.referrer_types>", shown="TYPE", ours=True),
    Flag("drain", BOOL, "let Ctrl-C finish what is in flight, as SIGTERM does; a second one ends at once", ours=True),
    Flag("drain-timeout", DURATION, "how long finishing what is in flight may take (default: as long as bytes move)",
         ours=True),
    Flag("stall-timeout", DURATION, "give a transfer up, and try again, when not one byte moved for so long (default "
         "1m)", to="run.stall", ours=True),
    Flag("memory", SIZE, "memory for all buffers together (default 96MiB)", to="run.memory", ours=True),
    Flag("progress", _PROGRESS, "how progress is shown; json writes one object per line to stdout", ours=True),
    Flag("report", STRING, "write what was done, as JSON, to FILE", shown="FILE", ours=True),
    Flag("digest-map", STRING, "write the digests of manifests that were changed, source and destination, to FILE",
         shown="FILE", ours=True),
)  # fmt: skip

SERVE = (
    Flag("auth", STRING, "ask for this USER:PASSWORD (Basic)", shown="USER:PASSWORD", ours=True),
    Flag("close-connections", BOOL, "end each HTTP/1.1 connection with its first answer, as some do", ours=True),
    Flag("listen", STRING, "ADDRESS:PORT to listen on (default 127.0.0.1:5000)", shown="ADDRESS:PORT", ours=True),
    Flag("max-connections", UINT, "reset a client's connections beyond N at once", shown="N", ours=True),
    Flag("name", STRING, "repository for images of the layout that are named by a bare tag", ours=True),
    Flag("read-only", BOOL, "refuse every push and delete", ours=True),
    Flag("tls", BOOL, "serve HTTPS with a certificate made for the occasion", ours=True),
    Flag("tls-cert", PATH, "serve HTTPS with this certificate chain (PEM)", shown="FILE", ours=True),
    Flag("tls-key", PATH, "the private key of --tls-cert (PEM)", shown="FILE", ours=True),
)  # fmt: skip

PLAN = (
    Flag("json", BOOL, "print JSON", ours=True),
    Flag("save", STRING, "write the plan to FILE, to be reviewed and carried out by `sync --plan FILE`", shown="FILE",
         ours=True),
)  # fmt: skip

STATUS = (
    Flag("journal", PATH, "DIR of the journals (default $XDG_STATE_HOME/fastcopy)", shown="DIR", ours=True),
    Flag("json", BOOL, "print JSON", ours=True),
)

STANDALONE_SIGN = (
    Flag("output", STRING, "output the signature to SIGNATURE", short="o", shown="SIGNATURE"),
    Flag("passphrase-file", STRING, "file that contains a passphrase for the --sign-by key"),
)
STANDALONE_VERIFY = (
    Flag("public-key-file", STRING, "File containing public keys. If not specified, will use local GPG keys."),
)
SIGSTORE_KEY = (
    Flag("output-prefix", STRING, "Write the keys to PREFIX.pub and PREFIX.private", shown="PREFIX"),
    Flag("passphrase-file", STRING, "Read a passphrase for the private key from PATH", shown="PATH"),
)
