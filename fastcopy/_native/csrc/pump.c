/* One event loop for run(), drain() and feed(): read, digest, write what can be written, sleep if nothing moved. */
#include "pump.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define DISAGREES "the bytes do not have the expected digest"

typedef struct {
    fc_pump *p;
    fc_inlet *in;
    fc_mode mode;
    fc_report *rep;
    fc_fault src;     /* the source's failure; told only after what came before it has been passed on */
    uint64_t since;   /* waiting for the source since (ns), 0 when not */
    uint64_t pause;   /* the rate limit's wait (ns) */
    uint64_t paused;  /* total of such waits: neither work nor anybody's fault */
    int moved;
} fc_cycle;

int fc_pump_init(fc_pump *p, size_t slab, size_t slabs) {
    int err;
    memset(p, 0, sizeof *p);
    p->stop.rd = p->stop.wr = p->data.rd = p->data.wr = -1;
    p->slab = slab;
    p->cap = slab * slabs;
    p->last_failed = -1;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->room, NULL);
    if ((err = fc_event_open(&p->stop)) || (err = fc_event_open(&p->data))) return err;
    return posix_memalign((void **)&p->ring, 4096, p->cap);
}

void fc_pump_free(fc_pump *p) {
    free(p->ring);
    free(p->cover.p);
    free(p->claims.p);
    fc_event_close(&p->stop);
    fc_event_close(&p->data);
    pthread_cond_destroy(&p->room);
    pthread_mutex_destroy(&p->lock);
}

static void wake_fillers(fc_pump *p) {
    pthread_mutex_lock(&p->lock);
    pthread_cond_broadcast(&p->room);
    pthread_mutex_unlock(&p->lock);
}

void fc_pump_stop(fc_pump *p) {
    fc_event_raise(&p->stop);
    wake_fillers(p);
}

static size_t contiguous(const fc_pump *p, uint64_t at, uint64_t upto) {
    size_t off = (size_t)((at - p->origin) % p->cap);
    uint64_t n = upto - at;
    return n < p->cap - off ? (size_t)n : p->cap - off;
}

static uint8_t *memory_at(const fc_pump *p, uint64_t at) {
    return p->ring + (at - p->origin) % p->cap;
}

/* Outlets ------------------------------------------------------------------------------------------ */

static int at_end(const fc_pump *p, const fc_outlet *o) {
    return p->end != FC_UNKNOWN && o->pos == p->end;
}

static int pending(const fc_pump *p, const fc_outlet *o) {
    return !o->failed && (o->pos < p->digested || !o->clean || (at_end(p, o) && !p->verified));
}

static int listening(const fc_pump *p, const fc_outlet *o) {
    return !o->failed && fc_outlet_pollable(o) && (!at_end(p, o) || !o->clean);
}

static void detach(fc_cycle *c, int i, const fc_fault *fault) {
    fc_outlet *o = c->p->outlets[i];
    o->fault = *fault;
    FC_STORE(o->failed, fault->why);
    c->p->last_failed = i;
    c->moved = 1;
}

static void detach_slow(fc_cycle *c, int i, const char *text) {
    fc_fault fault;
    fc_fail(&fault, FC_SINK_STALLED, 0, text);
    detach(c, i, &fault);
}

static int listen_to(fc_cycle *c, int i) {
    fc_outlet *o = c->p->outlets[i];
    fc_fault fault;
    if (!listening(c->p, o) || (!o->listen && o->unlooked < c->p->slab)) return 0;
    c->moved |= o->listen;
    if (fc_outlet_listen(o, &fault) == 0) return 0;
    detach(c, i, &fault);
    return FC_FAIL;
}

static ssize_t write_piece(fc_cycle *c, fc_outlet *o, fc_fault *fault) {
    fc_pump *p = c->p;
    size_t n = contiguous(p, o->pos, p->digested);
    ssize_t put = fc_outlet_write(o, memory_at(p, o->pos), n, o->pos + n == p->end, fault);
    if (put <= 0) return put;
    o->pos += (uint64_t)put;
    o->unlooked += (uint64_t)put;
    o->since = 0;
    c->moved = 1;
    FC_ADD(p->total_written, (uint64_t)put);
    /* A short write of a plain socket filled it; libssl writes one record at a time. */
    if ((size_t)put < n && o->kind == FC_SOCKET && !o->link.ssl && !o->link.py) return FC_AGAIN;
    return put;
}

static void write_outlet(fc_cycle *c, int i) {
    fc_pump *p = c->p;
    fc_outlet *o = p->outlets[i];
    fc_fault fault;
    ssize_t put = 1;
    int was_clean = o->clean;
    if (listen_to(c, i)) return;
    while (put > 0 && o->pos < p->digested) put = write_piece(c, o, &fault);
    if (put != FC_FAIL) {
        o->clean = fc_outlet_settle(o, at_end(p, o) && p->verified, &fault);
        if (o->clean == FC_FAIL) put = FC_FAIL;
        o->clean = o->clean == 1;
        if (o->clean && !was_clean) c->moved = 1;
    }
    if (o->pos == p->digested) o->held = 0;
    if (put == FC_FAIL) detach(c, i, &fault);
    else if (pending(p, o) && !o->since) o->since = fc_now();
    else if (!pending(p, o)) o->since = 0;
}

static void write_step(fc_cycle *c) {
    fc_pump *p = c->p;
    uint64_t base = p->digested;
    for (int i = 0; i < p->count; i++) {
        fc_outlet *o = p->outlets[i];
        if (!o->failed && (pending(p, o) || o->listen || at_end(p, o))) write_outlet(c, i);
        if (!o->failed && o->pos < base) base = o->pos;
    }
    if (base == p->base) return;
    if (c->mode == DRAIN) fc_ring_advance(p, base);
    else p->base = base;
}

/* Source and digest -------------------------------------------------------------------------------- */

/* With one slab: read when everything has passed, so that the slab is used from its warm beginning. */
static int can_read(const fc_cycle *c) {
    const fc_pump *p = c->p;
    uint64_t room, least = p->cap > p->slab ? p->slab / 2 : p->slab;
    if (c->mode != RUN || c->src.why || c->in->done == c->in->length || p->filled == p->end) return 0;
    room = p->cap - (p->filled - p->base);
    return room >= least || room >= p->end - p->filled;
}

static void read_step(fc_cycle *c) {
    fc_pump *p = c->p;
    uint64_t upto;
    ssize_t got;
    if (!can_read(c)) return;
    if (p->filled == p->base) p->origin = p->filled;
    upto = p->base + p->cap < p->end ? p->base + p->cap : p->end;
    got = fc_read_some(p, c->in, memory_at(p, p->filled), contiguous(p, p->filled, upto), &c->pause, &c->src);
    if (got <= 0) return;
    p->filled += (uint64_t)got;
    c->rep->read += (uint64_t)got;
    c->since = 0;
    c->moved = 1;
}

static int agree(fc_cycle *c) {
    fc_pump *p = c->p;
    uint8_t out[64];
    if (p->verified || p->digested != p->end) return 1;
    if (p->expected) {
        p->digester->peek(p->digester->state, out);
        if (memcmp(out, p->expected, p->digester->size)) return 0;
    }
    p->verified = 1;
    return 1;
}

/* 1, or 0 when the whole disagrees with what was expected: its last piece then stays here. */
static int digest_step(fc_cycle *c) {
    fc_pump *p = c->p;
    size_t n;
    if (c->mode == DRAIN) p->filled = fc_ring_covered(p);
    while (p->digested < p->filled) {
        n = contiguous(p, p->digested, p->filled);
        if (c->mode == DRAIN && n > p->slab) n = p->slab;
        if (p->digester) p->digester->update(p->digester->state, memory_at(p, p->digested), n);
        FC_ADD(p->digested, n);
        c->moved = 1;
        if (c->mode == DRAIN) {
            c->rep->read += n;
            c->since = 0;
            break;
        }
    }
    return agree(c);
}

/* Sleeping ----------------------------------------------------------------------------------------- */

static int flushed(const fc_pump *p) {
    for (int i = 0; i < p->count; i++)
        if (pending(p, p->outlets[i])) return 0;
    return 1;
}

static int attached(const fc_pump *p) {
    int n = 0;
    for (int i = 0; i < p->count; i++) n += !p->outlets[i]->failed;
    return n;
}

/* Outlets that keep the others waiting: the ring is full and these have passed the least of it. */
static int laggard(const fc_cycle *c, const fc_outlet *o) {
    const fc_pump *p = c->p;
    int others = 0;
    if (!p->lag || !pending(p, o) || p->filled == p->end) return 0;
    for (int i = 0; i < p->count; i++) others |= !p->outlets[i]->failed && p->outlets[i]->pos == p->digested;
    if (p->cap == p->slab) return others;
    return others && p->cap - (p->filled - p->base) < p->slab && o->pos - p->base < p->slab;
}

static void lower(uint64_t *left, uint64_t now, uint64_t since, uint64_t limit) {
    uint64_t at = since + limit;
    uint64_t rest = at > now ? at - now : 0;
    if (rest < *left) *left = rest;
}

/* Detaches what has used up its time; otherwise tells how long sleeping is allowed (ns). */
static uint64_t allowance(fc_cycle *c, uint64_t now) {
    fc_pump *p = c->p;
    uint64_t left = 60000000000u;
    for (int i = 0; i < p->count; i++) {
        fc_outlet *o = p->outlets[i];
        if (!pending(p, o)) continue;
        if (now - o->since >= p->stall) detach_slow(c, i, "the destination took nothing in time");
        else if (p->lag && o->held >= p->lag) detach_slow(c, i, "the destination kept the others waiting");
        else lower(&left, now, o->since, p->stall);
        if (laggard(c, o)) lower(&left, now, now, p->lag - (o->held < p->lag ? o->held : p->lag));
    }
    if (c->since && now - c->since >= p->stall)
        fc_fail(&c->src, FC_SOURCE_STALLED, 0, "the source sent nothing in time");
    else if (c->since) lower(&left, now, c->since, p->stall);
    if (c->pause && c->pause < left) left = c->pause;
    return left;
}

/* Whether the source is what we wait for, and since when. A drain blames it only while no filler reads. */
static void watch_source(fc_cycle *c, uint64_t now) {
    int waits = c->mode == DRAIN ? c->p->digested < c->p->end && flushed(c->p) : can_read(c) && !c->pause;
    if (!waits) c->since = 0;
    else if (!c->since || (c->mode == DRAIN && FC_LOAD(c->p->readers))) c->since = now;
}

static int drain_may_sleep(fc_pump *p) {
    int idle;
    pthread_mutex_lock(&p->lock);
    fc_spans_trim(&p->cover, p->digested);
    idle = !(p->cover.len && p->cover.p[0].first == p->digested);
    p->drain_sleeps = idle;
    pthread_mutex_unlock(&p->lock);
    return idle;
}

typedef struct {
    struct pollfd f[FC_MAX_OUTLETS + 3];
    int outlet[FC_MAX_OUTLETS + 3];
    int n, batch;
} fc_polls;

static void watch(fc_polls *s, int fd, short events, int outlet) {
    s->f[s->n].fd = fd;
    s->f[s->n].events = events;
    s->f[s->n].revents = 0;
    s->outlet[s->n++] = outlet;
}

static void gather(fc_cycle *c, fc_polls *s) {
    fc_pump *p = c->p;
    s->n = s->batch = 0;
    watch(s, p->stop.rd, POLLIN, -1);
    if (c->mode == DRAIN) watch(s, p->data.rd, POLLIN, -1);
    if (c->mode == RUN) watch(s, c->in->stop.rd, POLLIN, -1);
    if (can_read(c) && !c->pause && fc_inlet_pollable(c->in)) {
        s->batch = fc_inlet_batch(c->in, 1);
        watch(s, c->in->link.fd, fc_inlet_want(c->in), -1);
    }
    for (int i = 0; i < p->count; i++) {
        fc_outlet *o = p->outlets[i];
        short want = pending(p, o) ? fc_outlet_want(o) : 0;
        if (listening(p, o)) want |= POLLIN;
        if (want && fc_outlet_pollable(o)) watch(s, o->link.fd, want, i);
    }
}

static void after_sleep(fc_cycle *c, fc_polls *s, uint64_t slept) {
    fc_pump *p = c->p;
    int out = !flushed(p);
    if (c->pause) c->paused += slept;
    else *(out ? &c->rep->wait_out : &c->rep->wait_in) += slept;
    if (!c->pause) FC_ADD(*(out ? &p->wait_out : &p->wait_in), slept);
    c->pause = 0;
    for (int i = 0; i < p->count; i++)
        if (laggard(c, p->outlets[i])) p->outlets[i]->held += slept;
    for (int i = 0; i < s->n; i++)
        if (s->outlet[i] >= 0 && (s->f[i].revents & ~POLLOUT)) p->outlets[s->outlet[i]]->listen = 1;
    if (c->mode == DRAIN && p->data.set) fc_event_clear(&p->data);
}

static void wait_step(fc_cycle *c) {
    fc_polls s;
    uint64_t now = fc_now(), left;
    watch_source(c, now);
    left = allowance(c, now);
    if (c->moved || c->src.why == FC_SOURCE_STALLED) return;
    if (c->mode == DRAIN && !drain_may_sleep(c->p)) return;
    if (can_read(c) && !fc_inlet_pollable(c->in) && !c->pause) return;
    gather(c, &s);
    if (s.batch && left > FC_BATCH_TICK) left = FC_BATCH_TICK;
    poll(s.f, (nfds_t)s.n, (int)((left + 999999) / 1000000));
    after_sleep(c, &s, fc_now() - now);
}

/* The loop ----------------------------------------------------------------------------------------- */

static int told(fc_cycle *c, const fc_fault *fault, int outlet) {
    c->rep->why = fault->why;
    c->rep->err = fault->err;
    c->rep->outlet = outlet;
    memcpy(c->rep->text, fault->text, sizeof c->rep->text);
    return 1;
}

static int tell(fc_cycle *c, int why, const char *text) {
    fc_fault fault;
    fc_fail(&fault, why, 0, text);
    return told(c, &fault, -1);
}

/* Whether the run is over, and how. */
static int over(fc_cycle *c) {
    fc_pump *p = c->p;
    if (p->count && !attached(p)) return told(c, &p->outlets[p->last_failed]->fault, p->last_failed);
    if (!flushed(p) || p->digested < p->filled) return 0;
    if (p->digested == p->end && p->verified) return tell(c, FC_DONE, "");
    if (c->src.why) return told(c, &c->src, -1);
    if (c->mode == FEED) return tell(c, FC_DONE, "");
    if (c->mode == RUN && c->in->done == c->in->length)
        return tell(c, FC_SOURCE_LOST, "the source is shorter than the blob");
    return 0;
}

static int stopped(const fc_cycle *c) {
    return c->p->stop.set || (c->in && c->in->stop.set);
}

/* A pump that has failed for good stays so: its slab may hold what nobody will take. */
static int refused(fc_cycle *c) {
    fc_pump *p = c->p;
    if (p->broken == FC_MISMATCH) return tell(c, FC_MISMATCH, DISAGREES);
    if (p->count && !attached(p)) return told(c, &p->outlets[p->last_failed]->fault, p->last_failed);
    return 0;
}

static void loop(fc_cycle *c) {
    for (;;) {
        c->moved = 0;
        if (stopped(c)) {
            tell(c, FC_STOPPED, "stopped");
            return;
        }
        read_step(c);
        if (!digest_step(c)) {
            tell(c, FC_MISMATCH, DISAGREES);
            return;
        }
        write_step(c);
        if (over(c)) return;
        if (!c->moved) wait_step(c);
    }
}

static void close_books(fc_cycle *c, uint64_t began) {
    fc_pump *p = c->p;
    fc_report *r = c->rep;
    r->work = fc_now() - began - r->wait_in - r->wait_out - c->paused;
    FC_ADD(p->work, r->work);
    if (r->why == FC_MISMATCH || r->outlet >= 0) {
        p->broken = r->why;
        wake_fillers(p);
    }
}

void fc_pump_cycle(fc_pump *p, fc_inlet *in, fc_mode mode, fc_report *rep) {
    fc_cycle c;
    fc_pipe_guard guard;
    fc_fault after = {0, 0, ""};
    uint64_t began = fc_now();
    memset(&c, 0, sizeof c);
    c.p = p;
    c.in = in;
    c.mode = mode;
    c.rep = rep;
    memset(rep, 0, sizeof *rep);
    rep->outlet = -1;
    fc_pipe_begin(&guard);
    if (!refused(&c)) loop(&c);
    if (in && rep->why == FC_DONE) fc_pump_settle_inlet(p, in, &after);
    fc_pipe_end(&guard);
    if (in) fc_inlet_batch(in, 0);
    close_books(&c, began);
}

void fc_pump_run(fc_pump *p, fc_inlet *in, fc_report *rep) {
    fc_pump_cycle(p, in, in ? RUN : DRAIN, rep);
}
