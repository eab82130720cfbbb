/* A registry that costs next to nothing, so that a client's own parallelism can be seen on a small machine.
 *
 * sink [--listen PORT] [--serve DIR]       (prints the port it listens on)
 *
 * Uploads of any kind are accepted, counted and thrown away unread (MSG_TRUNC): no hashing, no storage.
 * With --serve, DIR/HEX are blobs and manifests by their sha256 and DIR/tag-NAME is a link to one; they
 * are sent by sendfile. GET /sink/stats tells what arrived. It verifies nothing: never a registry for
 * anything but measuring. One thread per connection, plain HTTP/1.1, loopback only.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROOM (256 * 1024) /* read buffer of one connection; a head must fit in it */

static const char *directory;
static atomic_llong bytes_in, uploads, manifests, serial;

struct client {
    int fd;
    char room[ROOM + 1];
    size_t first, last; /* bytes read and not yet used are room[first..last] */
    char method[8], path[4096];
    long long length;
    int chunked, expects;
};

static int transmit(struct client *c, const char *from, size_t size) {
    while (size) {
        ssize_t n = send(c->fd, from, size, MSG_NOSIGNAL);
        if (n <= 0) return -1;
        from += n, size -= (size_t)n;
    }
    return 0;
}

static int answer(struct client *c, const char *format, ...) {
    char text[8192];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return transmit(c, text, (size_t)n);
}

static int empty(struct client *c, const char *status) {
    return answer(c, "HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n", status);
}

static void read_field(struct client *c, const char *line) {
    if (!strncasecmp(line, "content-length:", 15)) c->length = atoll(line + 15);
    if (!strncasecmp(line, "transfer-encoding: chunked", 26)) c->chunked = 1;
    if (!strncasecmp(line, "expect: 100", 11)) c->expects = 1;
}

static int read_more(struct client *c) {
    if (c->first) memmove(c->room, c->room + c->first, c->last - c->first);
    c->last -= c->first, c->first = 0;
    ssize_t n = c->last < ROOM ? recv(c->fd, c->room + c->last, ROOM - c->last, 0) : 0;
    if (n <= 0) return -1;
    c->last += (size_t)n;
    return 0;
}

/* A client that tries HTTPS first must learn at once that this is plain HTTP, as Go's servers let it. */
static int speaks_tls(struct client *c) { return c->first < c->last && c->room[c->first] == 0x16; }

/* Returns what lies before the next *end*, as a string, and steps over it. */
static char *read_until(struct client *c, const char *end) {
    for (;;) {
        c->room[c->last] = 0;
        char *start = c->room + c->first, *found = strstr(start, end);
        if (found) {
            *found = 0;
            c->first = (size_t)(found - c->room) + strlen(end);
            return start;
        }
        if (read_more(c) || speaks_tls(c)) return NULL;
    }
}

static int read_head(struct client *c) {
    char *head = read_until(c, "\r\n\r\n");
    if (!head) return -1;
    c->length = c->chunked = c->expects = 0;
    for (char *line = strchr(head, '\n'); line; line = strchr(line + 1, '\n')) read_field(c, line + 1);
    return sscanf(head, "%7s %4095s", c->method, c->path) == 2 ? 0 : -1;
}

static long long use_read(struct client *c, long long most) {
    long long n = (long long)(c->last - c->first) < most ? (long long)(c->last - c->first) : most;
    c->first += (size_t)n;
    atomic_fetch_add(&bytes_in, n);
    return n;
}

/* MSG_TRUNC on TCP: the kernel drops the bytes without copying them to us. */
static int discard(struct client *c, long long left) {
    for (left -= use_read(c, left); left;) {
        ssize_t n = recv(c->fd, NULL, left < (1 << 20) ? (size_t)left : 1 << 20, MSG_TRUNC);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return -1;
        left -= n;
        atomic_fetch_add(&bytes_in, n);
    }
    return 0;
}

/* Chunks are small and many: they are read in passing, the framing is in the bytes. */
static int discard_chunks(struct client *c) {
    for (;;) {
        char *line = read_until(c, "\r\n");
        if (!line) return -1;
        long long size = strtoll(line, NULL, 16);
        for (long long left = size; left; left -= use_read(c, left))
            if (c->first == c->last && read_more(c)) return -1;
        if (!read_until(c, "\r\n")) return -1;
        if (!size) return 0;
    }
}

static int discard_body(struct client *c) {
    if (c->expects && answer(c, "HTTP/1.1 100 Continue\r\n\r\n")) return -1;
    return c->chunked ? discard_chunks(c) : discard(c, c->length);
}

/* Which file a request means: DIR/HEX for a digest, what DIR/tag-NAME points at for a tag. */
static int find(const char *path, char *hex) {
    char link_path[4096];
    const char *name = strrchr(path, '/') + 1;
    if (!strncmp(name, "sha256:", 7)) return snprintf(hex, 65, "%s", name + 7), 0;
    snprintf(link_path, sizeof link_path, "%s/tag-%s", directory, name);
    ssize_t n = readlink(link_path, hex, 64);
    if (n != 64) return -1;
    hex[64] = 0;
    return 0;
}

static int serve(struct client *c) {
    char hex[65], file[4096];
    struct stat info;
    if (!directory || find(c->path, hex)) return empty(c, "404 Not Found");
    snprintf(file, sizeof file, "%s/%s", directory, hex);
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info)) return empty(c, "404 Not Found");
    int bad = answer(c, "HTTP/1.1 200 OK\r\nContent-Length: %lld\r\nDocker-Content-Digest: sha256:%s\r\nContent-Type: %s\r\n\r\n",
                     (long long)info.st_size, hex,
                     strstr(c->path, "/manifests/") ? "application/vnd.oci.image.manifest.v1+json" : "application/octet-stream");
    off_t at = 0;
    while (!bad && !strcmp(c->method, "GET") && at < info.st_size) bad = sendfile(c->fd, fd, &at, 1 << 20) <= 0;
    close(fd);
    return bad;
}

static int stats(struct client *c) {
    char text[256];
    int n = snprintf(text, sizeof text, "{\"bytes_in\": %lld, \"uploads\": %lld, \"manifests\": %lld}\n",
                     atomic_load(&bytes_in), atomic_load(&uploads), atomic_load(&manifests));
    return answer(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", n, text);
}

static int open_upload(struct client *c) {
    char *query = strchr(c->path, '?');
    if (query) *query = 0;
    size_t n = strlen(c->path);
    while (n && c->path[n - 1] == '/') c->path[--n] = 0;
    return answer(c, "HTTP/1.1 202 Accepted\r\nLocation: %s/%lld\r\nContent-Length: 0\r\n\r\n", c->path,
                  atomic_fetch_add(&serial, 1));
}

static int put(struct client *c) {
    int manifest = strstr(c->path, "/manifests/") != NULL;
    atomic_fetch_add(manifest ? &manifests : &uploads, 1);
    return answer(c, "HTTP/1.1 201 Created\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", c->path);
}

static int patch(struct client *c) {
    char *query = strchr(c->path, '?');
    if (query) *query = 0;
    return answer(c, "HTTP/1.1 202 Accepted\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", c->path);
}

static int dispatch(struct client *c) {
    if (!strcmp(c->path, "/v2/") || !strcmp(c->path, "/v2")) return empty(c, "200 OK");
    if (!strcmp(c->path, "/sink/stats")) return stats(c);
    if (!strcmp(c->method, "GET") || !strcmp(c->method, "HEAD")) return serve(c);
    if (!strcmp(c->method, "POST")) return open_upload(c);
    if (!strcmp(c->method, "PATCH")) return patch(c);
    if (!strcmp(c->method, "PUT")) return put(c);
    return empty(c, "405 Method Not Allowed");
}

static void *attend(void *data) {
    struct client *c = data;
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    while (!read_head(c) && !discard_body(c) && !dispatch(c)) continue;
    close(c->fd);
    free(c);
    return NULL;
}

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t size = sizeof at;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&at, size) || listen(fd, 512)) return perror("sink"), -1;
    getsockname(fd, (struct sockaddr *)&at, &size);
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv) {
    int port = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--listen")) port = atoi(argv[i + 1]);
        if (!strcmp(argv[i], "--serve")) directory = argv[i + 1];
    }
    signal(SIGPIPE, SIG_IGN);
    int listener = listen_on(port);
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    for (int fd; listener >= 0;) {
        if ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0) continue;
        struct client *c = malloc(sizeof *c);
        pthread_t thread;
        c->fd = fd, c->first = c->last = 0;
        if (pthread_create(&thread, &detached, attend, c)) close(fd), free(c);
    }
    return 1;
}
