/* The floor: the least a client of one thread can do to copy an image and still verify it.
 *
 * floor SOURCE DESTINATION REPOSITORY TAG     (http://host:port or https://host:port)
 *
 * One kept-alive connection to each side, blocking sockets, one 256 KiB buffer: GET the blob, POST and
 * PUT it, recv + SHA-256 + send in turn, the last bytes withheld until the digest agrees; then PUT the
 * manifest verbatim. No existence checks, no retries, no progress: whatever a real client costs above
 * this is the price of being a real client. TLS certificates are verified (SSL_CERT_FILE).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER (256 * 1024)
#define HEAD_MAX 16384

struct link {
    int fd;
    SSL *ssl;
    char authority[256];
    char head[HEAD_MAX]; /* the answer's head, then body bytes that came along with it */
    size_t have, pos;
};

struct answer {
    int status;
    long long length;
    char location[4096], type[256];
};

static SSL_CTX *tls;

static void die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "floor: ");
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static size_t receive(struct link *l, char *into, size_t room) {
    if (l->pos < l->have) {
        size_t n = l->have - l->pos < room ? l->have - l->pos : room;
        memcpy(into, l->head + l->pos, n);
        l->pos += n;
        return n;
    }
    if (l->ssl) {
        size_t n = 0;
        if (SSL_read_ex(l->ssl, into, room, &n) != 1) die("%s: TLS read failed", l->authority);
        return n;
    }
    ssize_t n;
    do n = recv(l->fd, into, room, 0);
    while (n < 0 && errno == EINTR);
    if (n <= 0) die("%s: connection lost", l->authority);
    return (size_t)n;
}

static void transmit(struct link *l, const char *from, size_t size) {
    if (l->ssl) {
        size_t n;
        if (size && SSL_write_ex(l->ssl, from, size, &n) != 1) die("%s: TLS write failed", l->authority);
        return;
    }
    while (size) {
        ssize_t n = send(l->fd, from, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) die("%s: connection lost", l->authority);
        from += n, size -= (size_t)n;
    }
}

static void start_tls(struct link *l, const char *host) {
    l->ssl = SSL_new(tls);
    X509_VERIFY_PARAM *rules = SSL_get0_param(l->ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(rules, host) != 1) {
        X509_VERIFY_PARAM_set1_host(rules, host, 0);
        SSL_set_tlsext_host_name(l->ssl, host);
    }
    SSL_set_fd(l->ssl, l->fd);
    if (SSL_connect(l->ssl) != 1) {
        ERR_print_errors_fp(stderr);
        die("%s: TLS handshake failed", l->authority);
    }
}

static void open_link(struct link *l, const char *url) {
    int secure = !strncmp(url, "https://", 8);
    const char *authority = strstr(url, "://") + 3;
    snprintf(l->authority, sizeof l->authority, "%s", authority);
    char host[256];
    snprintf(host, sizeof host, "%s", authority);
    char *colon = strrchr(host, ':');
    if (!colon) die("%s: a port is required", url);
    *colon = 0;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1))};
    if (inet_pton(AF_INET, host, &to.sin_addr) != 1) die("%s: an IPv4 address is required", url);
    l->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(l->fd, (struct sockaddr *)&to, sizeof to)) die("%s: %s", url, strerror(errno));
    int on = 1;
    setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (secure) start_tls(l, host);
}

static void ask(struct link *l, const char *format, ...) {
    char request[8192];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(request, sizeof request - 512, format, args);
    va_end(args);
    n += snprintf(request + n, 512, "Host: %s\r\nUser-Agent: floor\r\n\r\n", l->authority);
    transmit(l, request, (size_t)n);
}

static void read_field(struct answer *a, const char *line) {
    if (!strncasecmp(line, "content-length:", 15)) a->length = atoll(line + 15);
    if (!strncasecmp(line, "location:", 9)) sscanf(line + 9, " %4095s", a->location);
    if (!strncasecmp(line, "content-type:", 13)) sscanf(line + 13, " %255s", a->type);
}

static struct answer hear(struct link *l, int wanted, const char *what) {
    struct answer a = {.length = -1};
    char *end;
    l->have = l->pos = 0;
    do {
        if (l->have >= HEAD_MAX - 1) die("%s: head too long", l->authority);
        size_t n = receive(&(struct link){.fd = l->fd, .ssl = l->ssl}, l->head + l->have, HEAD_MAX - 1 - l->have);
        l->have += n;
        l->head[l->have] = 0;
        end = strstr(l->head, "\r\n\r\n");
    } while (!end);
    l->pos = (size_t)(end + 4 - l->head);
    *end = 0;
    sscanf(l->head, "HTTP/1.1 %d", &a.status);
    for (char *line = strchr(l->head, '\n'); line; line = strchr(line + 1, '\n')) read_field(&a, line + 1);
    if (a.status != wanted) die("%s: %s answered %d", l->authority, what, a.status);
    return a;
}

static char *body_of(struct link *l, long long length) {
    char *body = malloc((size_t)length + 1);
    for (long long got = 0; got < length;) got += (long long)receive(l, body + got, (size_t)(length - got));
    body[length] = 0;
    return body;
}

static void drain(struct link *l, long long length) {
    if (length > 0) free(body_of(l, length));
}

static void check(EVP_MD_CTX *hash, const char *digest) {
    unsigned char sum[32];
    char text[72] = "sha256:";
    EVP_DigestFinal_ex(hash, sum, NULL);
    for (int i = 0; i < 32; i++) sprintf(text + 7 + 2 * i, "%02x", sum[i]);
    if (strcmp(text, digest)) die("got %s, the manifest promises %s", text, digest);
}

static void pump(struct link *from, struct link *to, long long left, const char *digest) {
    static char buffer[BUFFER];
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    EVP_DigestInit_ex(hash, EVP_sha256(), NULL);
    while (left) {
        size_t n = receive(from, buffer, left < BUFFER ? (size_t)left : BUFFER);
        EVP_DigestUpdate(hash, buffer, n);
        left -= (long long)n;
        if (!left) check(hash, digest);
        transmit(to, buffer, n);
    }
    EVP_MD_CTX_free(hash);
}

static void copy_blob(struct link *from, struct link *to, const char *repository, const char *digest) {
    ask(from, "GET /v2/%s/blobs/%s HTTP/1.1\r\n", repository, digest);
    struct answer body = hear(from, 200, "GET blob");
    ask(to, "POST /v2/%s/blobs/uploads/ HTTP/1.1\r\nContent-Length: 0\r\n", repository);
    struct answer place = hear(to, 202, "POST upload");
    drain(to, place.length);
    char *path = strstr(place.location, "://") ? strchr(strstr(place.location, "://") + 3, '/') : place.location;
    ask(to, "PUT %s%cdigest=%s HTTP/1.1\r\nContent-Length: %lld\r\nContent-Type: application/octet-stream\r\n",
        path, strchr(path, '?') ? '&' : '?', digest, body.length);
    pump(from, to, body.length, digest);
    drain(to, hear(to, 201, "PUT blob").length);
}

static void copy_blobs(struct link *from, struct link *to, const char *repository, const char *manifest) {
    char digest[72];
    for (const char *at = manifest; (at = strstr(at, "\"sha256:")); at += 8)
        if (sscanf(at, "\"%71[a-z0-9:]\"", digest) == 1) copy_blob(from, to, repository, digest);
}

int main(int argc, char **argv) {
    if (argc != 5) die("usage: floor SOURCE DESTINATION REPOSITORY TAG");
    static struct link from, to;
    signal(SIGPIPE, SIG_IGN);
    tls = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_default_verify_paths(tls);
    SSL_CTX_set_options(tls, SSL_OP_IGNORE_UNEXPECTED_EOF);
    open_link(&from, argv[1]);
    open_link(&to, argv[2]);
    ask(&from, "GET /v2/%s/manifests/%s HTTP/1.1\r\nAccept: application/vnd.oci.image.manifest.v1+json\r\n",
        argv[3], argv[4]);
    struct answer a = hear(&from, 200, "GET manifest");
    char *manifest = body_of(&from, a.length);
    copy_blobs(&from, &to, argv[3], manifest);
    ask(&to, "PUT /v2/%s/manifests/%s HTTP/1.1\r\nContent-Type: %s\r\nContent-Length: %lld\r\n", argv[3], argv[4],
        a.type, a.length);
    transmit(&to, manifest, (size_t)a.length);
    drain(&to, hear(&to, 201, "PUT manifest").length);
    free(manifest);
    return 0;
}
