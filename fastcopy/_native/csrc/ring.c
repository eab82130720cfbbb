/* Fillers: each claims a span of the blob, waits for room, and marks what it has filled. */
#include "pump.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Sorted, disjoint spans ------------------------------------------------------------------------ */

static int insert_at(fc_spans *s, size_t i, uint64_t first, uint64_t last) {
    if (s->len == s->cap) {
        size_t cap = s->cap * 2 + 8;
        fc_span *p = realloc(s->p, cap * sizeof *p);
        if (!p) return ENOMEM;
        s->p = p;
        s->cap = cap;
    }
    memmove(s->p + i + 1, s->p + i, (s->len - i) * sizeof *s->p);
    s->p[i].first = first;
    s->p[i].last = last;
    s->len++;
    return 0;
}

static void remove_at(fc_spans *s, size_t i) {
    memmove(s->p + i, s->p + i + 1, (s->len - i - 1) * sizeof *s->p);
    s->len--;
}

/* Joins a neighbour that touches; spans never overlap, claims see to it. */
int fc_spans_add(fc_spans *s, uint64_t first, uint64_t last) {
    size_t i = 0;
    while (i < s->len && s->p[i].first < first) i++;
    if (i && s->p[i - 1].last == first) {
        s->p[i - 1].last = last;
        if (i < s->len && s->p[i].first == last) {
            s->p[i - 1].last = s->p[i].last;
            remove_at(s, i);
        }
        return 0;
    }
    if (i < s->len && s->p[i].first == last) {
        s->p[i].first = first;
        return 0;
    }
    return insert_at(s, i, first, last);
}

int fc_spans_touch(const fc_spans *s, uint64_t first, uint64_t last) {
    for (size_t i = 0; i < s->len; i++)
        if (s->p[i].first < last && first < s->p[i].last) return 1;
    return 0;
}

void fc_spans_trim(fc_spans *s, uint64_t below) {
    while (s->len && s->p[0].last <= below) remove_at(s, 0);
    if (s->len && s->p[0].first < below) s->p[0].first = below;
}

void fc_spans_remove(fc_spans *s, uint64_t first) {
    for (size_t i = 0; i < s->len; i++) {
        if (s->p[i].first != first) continue;
        remove_at(s, i);
        return;
    }
}

/* The ring ---------------------------------------------------------------------------------------- */

int fc_pump_claim(fc_pump *p, uint64_t first, uint64_t length) {
    int bad = 0;
    pthread_mutex_lock(&p->lock);
    if (first > p->end || length > p->end - first) bad = 2;
    else if (length && (first < p->digested || fc_spans_touch(&p->cover, first, first + length) ||
                        fc_spans_touch(&p->claims, first, first + length)))
        bad = 1;
    /* Claims do not join: each is removed by its first byte. */
    else if (length) bad = insert_at(&p->claims, p->claims.len, first, first + length) ? 3 : 0;
    pthread_mutex_unlock(&p->lock);
    return bad;
}

uint64_t fc_ring_covered(fc_pump *p) {
    uint64_t upto = p->digested;
    pthread_mutex_lock(&p->lock);
    fc_spans_trim(&p->cover, p->digested);
    if (p->cover.len && p->cover.p[0].first == p->digested) upto = p->cover.p[0].last;
    pthread_mutex_unlock(&p->lock);
    return upto;
}

void fc_ring_advance(fc_pump *p, uint64_t base) {
    pthread_mutex_lock(&p->lock);
    if (base != p->base) {
        p->base = base;
        pthread_cond_broadcast(&p->room);
    }
    pthread_mutex_unlock(&p->lock);
}

static int mark(fc_pump *p, uint64_t first, size_t n) {
    int bad;
    pthread_mutex_lock(&p->lock);
    bad = fc_spans_add(&p->cover, first, first + n);
    if (!bad && p->drain_sleeps && p->cover.p[0].first <= p->digested) {
        p->drain_sleeps = 0;
        fc_event_raise(&p->data);
    }
    pthread_mutex_unlock(&p->lock);
    return bad;
}

/* Waits until `need` bytes from `at` fit. The tick only serves inlets that are stopped meanwhile. */
static int wait_for_room(fc_pump *p, fc_inlet *in, uint64_t at, size_t need) {
    int stopped = 0;
    pthread_mutex_lock(&p->lock);
    while (at + need > p->base + p->cap) {
        struct timespec until;
        stopped = p->stop.set || in->stop.set || p->broken;
        if (stopped) break;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 50000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&p->room, &p->lock, &until);
    }
    pthread_mutex_unlock(&p->lock);
    return stopped || p->stop.set || in->stop.set;
}

/* `pause`: the rate limit's, which is nobody's stall. */
static int wait_for_source(fc_pump *p, fc_inlet *in, uint64_t since, uint64_t pause, fc_fault *fault) {
    struct pollfd f[3] = {{p->stop.rd, POLLIN, 0}, {in->stop.rd, POLLIN, 0}, {in->link.fd, 0, 0}};
    uint64_t waited = fc_now() - since;
    uint64_t left = pause ? pause : (waited < p->stall ? p->stall - waited : 0);
    f[2].events = fc_inlet_want(in);
    if (!left) return fc_fail(fault, FC_SOURCE_STALLED, 0, "the source sent nothing in time");
    if (!pause && fc_inlet_batch(in, 1) && left > FC_BATCH_TICK) left = FC_BATCH_TICK;
    poll(f, pause || !fc_inlet_pollable(in) ? 2 : 3, left > 60000000000u ? 60000 : (int)(left / 1000000) + 1);
    return p->stop.set || in->stop.set ? fc_fail(fault, FC_STOPPED, 0, "stopped") : 0;
}

ssize_t fc_read_some(fc_pump *p, fc_inlet *in, uint8_t *to, size_t room, uint64_t *pause, fc_fault *fault) {
    size_t done = 0;
    int failed = 0;
    *pause = 0;
    while (done < room && in->done < in->length) {
        size_t want = room - done;
        ssize_t got;
        if (p->rate) want = fc_rate_take(p->rate, want, pause);
        if (!want) break;
        got = fc_inlet_read(in, to + done, want, fault);
        if (p->rate) fc_rate_return(p->rate, want - (size_t)(got > 0 ? got : 0));
        failed = got == FC_FAIL;
        if (got < 0) break;
        done += (size_t)got;
        if (!in->fresh) break;
    }
    FC_ADD(p->total_read, done);
    if (failed && !done) return FC_FAIL;
    return done ? (ssize_t)done : FC_AGAIN;
}

/* The body is complete, so a peer that cannot take our last control frames is the owner's to discover. */
void fc_pump_settle_inlet(fc_pump *p, fc_inlet *in, fc_fault *fault) {
    uint64_t since = fc_now();
    fc_fault ignored;
    while (!fault->why && fc_inlet_settle(in, &ignored) == FC_AGAIN) wait_for_source(p, in, since, 0, fault);
}

static void fill_step(fc_pump *p, fc_inlet *in, uint64_t *at, size_t need, uint64_t *since, fc_report *rep,
                      fc_fault *fault) {
    uint64_t pause, before;
    size_t off = (size_t)((*at - p->origin) % p->cap);
    size_t room = need < p->cap - off ? need : p->cap - off;
    ssize_t got = fc_read_some(p, in, p->ring + off, room, &pause, fault);
    if (got > 0) {
        if (mark(p, *at, (size_t)got)) fc_fail(fault, FC_SOURCE_LOST, ENOMEM, "out of memory");
        *at += (uint64_t)got;
        *since = 0;
        rep->read += (uint64_t)got;
    } else if (got == FC_AGAIN) {
        before = fc_now();
        if (pause || !*since) *since = before;
        FC_ADD(p->readers, 1);
        wait_for_source(p, in, *since, pause, fault);
        FC_ADD(p->readers, -1);
        before = fc_now() - before;
        rep->wait_in += before;
        FC_ADD(p->wait_in, before);
    }
}

static void fill_loop(fc_pump *p, fc_inlet *in, uint64_t at, fc_report *rep, fc_fault *fault) {
    uint64_t since = 0;
    while (in->done < in->length && !fault->why) {
        uint64_t rest = in->length - in->done;
        size_t need = rest < p->slab ? (size_t)rest : p->slab;
        uint64_t before = fc_now();
        int stopped = wait_for_room(p, in, at, need);
        rep->wait_out += fc_now() - before;
        if (stopped) fc_fail(fault, FC_STOPPED, 0, "stopped");
        else fill_step(p, in, &at, need, &since, rep, fault);
    }
    if (!fault->why) fc_pump_settle_inlet(p, in, fault);
}

void fc_pump_fill(fc_pump *p, fc_inlet *in, uint64_t first, fc_report *rep) {
    fc_fault fault = {0, 0, ""};
    fc_pipe_guard guard;
    uint64_t began = fc_now();
    memset(rep, 0, sizeof *rep);
    rep->outlet = -1;
    fc_pipe_begin(&guard);
    fill_loop(p, in, first, rep, &fault);
    fc_inlet_batch(in, 0);
    fc_pipe_end(&guard);
    pthread_mutex_lock(&p->lock);
    fc_spans_remove(&p->claims, first);
    pthread_mutex_unlock(&p->lock);
    rep->why = fault.why;
    rep->err = fault.err;
    memcpy(rep->text, fault.text, sizeof rep->text);
    rep->work = fc_now() - began - rep->wait_in - rep->wait_out;
    FC_ADD(p->work, rep->work);
}
