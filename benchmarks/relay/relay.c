/* A wire of a given length and width: delays both directions of every TCP connection, caps each one's rate.
 *
 * relay --connect PORT [--listen PORT] [--delay-ms MS] [--rate BYTES_PER_S]    (prints its port)
 *
 * Every byte leaves MS after it came in, each way, so the round-trip time is 2 x MS; a connection's first
 * bytes wait one round trip more, for the handshake that the loopback answered at once. --rate holds for
 * each connection and each direction. What a direction may hold is bounded, so senders feel back-pressure;
 * ends and resets travel with the same delay. SIGTERM prints {"connections", "most", "up", "down"}
 * (how many, most at once, bytes from and to clients). One thread, epoll and one timer; it looks at no
 * byte. Linux, 127.0.0.1 only.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define CHUNK 65536
#define HOLD_MAX (32L << 20) /* one direction: 15 ms of 2 GB/s, more than a small machine's loopback gives */
#define HOLD_MIN (256L << 10)
#define CHUNKS_MAX 4096
#define BURST_NS 4000000LL /* a capped direction may send this much time's worth at once */

typedef int64_t ns;

struct chunk {
    struct chunk *next;
    ns due;
    size_t size, sent;
    char data[CHUNK];
};

struct way { /* one direction of a connection */
    int in, out;
    struct chunk *first, *last;
    size_t held, chunks;
    ns opened;     /* bytes count as arrived no earlier */
    ns paid_until; /* rate: up to when the bytes sent have used the line */
    ns end_due;
    int ended, reset, shut, blocked, resting;
    uint64_t *count;
};

struct end { /* one socket, as epoll knows it */
    struct pair *pair;
    int fd, absent;
    uint32_t wanted;
};

struct pair {
    struct pair *next, *previous;
    struct way up, down;
    struct end client, server;
    int ready, dead;
};

static struct pair *pairs;
static struct chunk *spare;
static struct sockaddr_in upstream = {.sin_family = AF_INET};
static int poller, timer;
static ns delay, horizon; /* horizon: when the next thing is due */
static double rate;
static long hold = HOLD_MAX;
static uint64_t connections, now_open, most, total_up, total_down;
static volatile sig_atomic_t stopping;
static char listener_mark, timer_mark;

static ns now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (ns)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void wake_at(ns due) {
    if (due < horizon) horizon = due;
}

static struct chunk *take_chunk(void) {
    struct chunk *c = spare;
    if (c) spare = c->next;
    else c = malloc(sizeof *c);
    c->next = NULL, c->sent = 0;
    return c;
}

static void drop_first(struct way *w) {
    struct chunk *c = w->first;
    w->first = c->next, w->chunks--;
    if (!w->first) w->last = NULL;
    c->next = spare, spare = c;
}

static void append(struct way *w, struct chunk *c) {
    if (w->last) w->last->next = c;
    else w->first = c;
    w->last = c, w->held += c->size, w->chunks++;
    *w->count += c->size;
}

static ns departure(struct way *w, ns t) { return (t > w->opened ? t : w->opened) + delay; }

/* Full until half of it has left again: readers and writers alternate in large steps. */
static int full(struct way *w) {
    long least = w->resting ? hold / 2 : hold;
    w->resting = (long)w->held >= least || w->chunks >= CHUNKS_MAX;
    return w->resting;
}

static void end_way(struct way *w, int reset) {
    w->ended = 1, w->reset = reset;
    w->end_due = departure(w, now());
}

static void fill(struct way *w) {
    while (!w->ended && !full(w)) {
        struct chunk *c = take_chunk();
        ssize_t n = recv(w->in, c->data, CHUNK, 0);
        c->size = n > 0 ? (size_t)n : 0, c->due = departure(w, now());
        if (n > 0) append(w, c);
        else c->next = spare, spare = c;
        if (n == 0) end_way(w, 0);
        if (n < 0 && errno != EAGAIN && errno != EINTR) end_way(w, 1);
        if (n < CHUNK) return;
    }
}

/* What the rate lets through now. Half a burst at least, or the rest of a chunk: a trickle of tiny
 * segments would cost both ends more CPU than the bytes. */
static size_t allowed(struct way *w, size_t size, ns t) {
    if (rate <= 0) return size;
    if (w->paid_until < t - BURST_NS) w->paid_until = t - BURST_NS;
    double room = (double)(t - w->paid_until) * rate / 1e9, least = rate * (double)BURST_NS / 2e9;
    if ((double)size <= room) return size;
    return room < least ? 0 : (size_t)room;
}

static ns next_allowance(struct way *w) { return w->paid_until + BURST_NS / 2; }

static void finish(struct pair *p, struct way *w) {
    if (w->end_due > now()) return wake_at(w->end_due);
    if (w->reset) p->dead = 1;
    else shutdown(w->out, SHUT_WR);
    w->shut = 1;
}

/* Sends what is due and allowed; says when to look again. */
static void flush(struct pair *p, struct way *w) {
    for (struct chunk *c; (c = w->first) && !w->blocked;) {
        ns t = now();
        if (c->due > t) return wake_at(c->due);
        size_t size = allowed(w, c->size - c->sent, t);
        if (!size) return wake_at(next_allowance(w));
        ssize_t n = send(w->out, c->data + c->sent, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) w->blocked = 1;
        else if (n < 0) p->dead = 1;
        if (n < 0) return;
        if (rate > 0) w->paid_until += (ns)((double)n * 1e9 / rate);
        w->held -= (size_t)n, c->sent += (size_t)n;
        if (c->sent == c->size) drop_first(w);
    }
    if (w->ended && !w->first && !w->shut) finish(p, w);
}

static void register_end(struct end *e, int operation) {
    struct epoll_event event = {.events = e->wanted, .data.ptr = e};
    epoll_ctl(poller, operation, e->fd, &event);
    e->absent = operation == EPOLL_CTL_DEL;
}

/* Level-triggered interest: read while there is room, write only after having been blocked. */
static void watch(struct end *e, struct way *reads, struct way *writes) {
    uint32_t wanted = (!reads->ended && !full(reads) ? EPOLLIN : 0u) | (writes->blocked ? EPOLLOUT : 0u);
    if (wanted == e->wanted && !(e->absent && wanted)) return;
    e->wanted = wanted;
    register_end(e, e->absent ? EPOLL_CTL_ADD : EPOLL_CTL_MOD);
}

static void close_end(struct end *e, int reset) {
    struct linger gone = {1, 0};
    if (reset) setsockopt(e->fd, SOL_SOCKET, SO_LINGER, &gone, sizeof gone);
    close(e->fd);
}

static void close_pair(struct pair *p) {
    if (p->previous) p->previous->next = p->next;
    else pairs = p->next;
    if (p->next) p->next->previous = p->previous;
    while (p->up.first) drop_first(&p->up);
    while (p->down.first) drop_first(&p->down);
    close_end(&p->client, p->dead), close_end(&p->server, p->dead);
    free(p);
    now_open--;
}

static void tend(struct pair *p) {
    if (p->ready) fill(&p->up), fill(&p->down);
    flush(p, &p->up), flush(p, &p->down);
    p->ready = 0;
    if (p->dead || (p->up.shut && p->down.shut)) return close_pair(p);
    watch(&p->client, &p->up, &p->down);
    watch(&p->server, &p->down, &p->up);
}

static void make_end(struct end *e, struct pair *p, int fd) {
    int on = 1;
    *e = (struct end){.pair = p, .fd = fd, .wanted = EPOLLIN};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    register_end(e, EPOLL_CTL_ADD);
}

static int connect_upstream(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&upstream, sizeof upstream)) return close(fd), -1;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static void admit(int listener) {
    int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (client < 0) return;
    int server = connect_upstream();
    if (server < 0) return (void)close(client);
    struct pair *p = calloc(1, sizeof *p);
    p->up = (struct way){.in = client, .out = server, .opened = now() + 2 * delay, .count = &total_up};
    p->down = (struct way){.in = server, .out = client, .count = &total_down};
    make_end(&p->client, p, client), make_end(&p->server, p, server);
    p->next = pairs;
    if (pairs) pairs->previous = p;
    pairs = p;
    connections++;
    if (++now_open > most) most = now_open;
}

static void notice(struct end *e, uint32_t events) {
    e->pair->ready = 1;
    if (events & EPOLLOUT) (e == &e->pair->client ? &e->pair->down : &e->pair->up)->blocked = 0;
    /* errors and hang-ups are reported whether wanted or not: keep them from spinning the loop */
    if (!e->wanted && (events & (EPOLLERR | EPOLLHUP)) && !e->absent) register_end(e, EPOLL_CTL_DEL);
}

static void arm(void) {
    struct itimerspec at = {0};
    if (horizon != INT64_MAX) at.it_value.tv_sec = horizon / 1000000000, at.it_value.tv_nsec = horizon % 1000000000;
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
}

static void turn(int listener) {
    struct epoll_event events[64];
    uint64_t rings;
    int n = epoll_wait(poller, events, 64, -1);
    for (int i = 0; i < n; i++) {
        void *what = events[i].data.ptr;
        if (what == &listener_mark) admit(listener);
        else if (what == &timer_mark) (void)!read(timer, &rings, sizeof rings);
        else notice(what, events[i].events);
    }
    horizon = INT64_MAX;
    for (struct pair *p = pairs, *next; p; p = next) next = p->next, tend(p);
    arm();
}

static void stop(int number) { (void)number, stopping = 1; }

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t size = sizeof at;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&at, size) || listen(fd, 512)) return perror("relay"), -1;
    getsockname(fd, (struct sockaddr *)&at, &size);
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    return fd;
}

static void mark(int fd, void *as) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = as};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

static int options(int argc, char **argv) {
    int port = 0;
    upstream.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--listen")) port = atoi(argv[i + 1]);
        if (!strcmp(argv[i], "--connect")) upstream.sin_port = htons((uint16_t)atoi(argv[i + 1]));
        if (!strcmp(argv[i], "--delay-ms")) delay = (ns)(atof(argv[i + 1]) * 1e6);
        if (!strcmp(argv[i], "--rate")) rate = atof(argv[i + 1]);
    }
    if (rate > 0) hold = (long)(rate * (double)delay / 1e9) * 2;
    hold = hold < HOLD_MIN ? HOLD_MIN : hold > HOLD_MAX ? HOLD_MAX : hold;
    return port;
}

int main(int argc, char **argv) {
    int port = options(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = stop}, NULL);
    poller = epoll_create1(EPOLL_CLOEXEC);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    int listener = listen_on(port);
    if (listener < 0) return 1;
    mark(listener, &listener_mark), mark(timer, &timer_mark);
    while (!stopping) turn(listener);
    printf("{\"connections\": %llu, \"most\": %llu, \"up\": %llu, \"down\": %llu}\n", (unsigned long long)connections,
           (unsigned long long)most, (unsigned long long)total_up, (unsigned long long)total_down);
    return 0;
}
