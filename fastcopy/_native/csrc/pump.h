/* The pump: k fillers -> byte ring -> digest in order -> N outlets.  run() is its inline case.
 *
 *      filled by            [digested, covered)   [min pos, digested)        < min pos
 *   run(): this thread  ->  waits for the digest  waits for slow outlets  ->  free again
 *   fill(): k threads       (holes allowed)       (lag counted)
 *
 * Positions count from the pump's first byte; offset in memory = (position - origin) % cap.
 * Memory: slab * slabs bytes, allocated once; nothing else grows but answers and replays (bounded).
 * Lock order: `lock` guards cover, claims, base and the flags named below; nothing is called under it
 * that can wait.
 */
#ifndef FASTCOPY_PUMP_H
#define FASTCOPY_PUMP_H

#include "ends.h"

#include <pthread.h>

#define FC_MAX_OUTLETS 64
#define FC_UNKNOWN UINT64_MAX

typedef struct {
    pthread_mutex_t lock;
    uint64_t rate, burst; /* bytes per second (0: unlimited), bytes */
    double tokens;
    uint64_t at;
} fc_rate;

void fc_rate_init(fc_rate *r, uint64_t rate, uint64_t burst);
void fc_rate_set(fc_rate *r, uint64_t rate, uint64_t burst);
size_t fc_rate_take(fc_rate *r, size_t want, uint64_t *wait_ns); /* 0: come back in wait_ns */
void fc_rate_return(fc_rate *r, size_t unused);

typedef struct {
    uint64_t first, last; /* [first, last) */
} fc_span;

typedef struct {
    fc_span *p;
    size_t len, cap;
} fc_spans;

/* What hashes: filled in by the owner of the state. */
typedef struct {
    void (*update)(void *state, const void *data, size_t n);
    void (*peek)(const void *state, uint8_t *out); /* digest so far, state untouched */
    void *state;
    unsigned size;
} fc_digester;

typedef struct {
    int why, err, outlet; /* outlet: index at fault or -1 */
    char text[120];
    uint64_t read, wait_in, work, wait_out;
} fc_report;

typedef struct {
    uint8_t *ring;
    size_t cap, slab;
    uint64_t origin, end; /* end: FC_UNKNOWN until finish() */
    uint64_t filled, digested, base;
    int verified, broken; /* broken: why this pump may not go on */
    const fc_digester *digester;
    const uint8_t *expected;
    uint64_t stall, lag; /* ns; lag 0: none */
    fc_rate *rate;
    fc_outlet **outlets;
    int count, last_failed;
    fc_event stop, data;
    pthread_mutex_t lock;
    pthread_cond_t room;
    fc_spans cover, claims;
    int draining, drain_sleeps, readers; /* readers: fillers that wait for their source, not for room */
    uint64_t total_read, total_written, wait_in, work, wait_out; /* counters, relaxed loads */
    uint8_t held[1];
    int holding;
} fc_pump;

/* What feeds the loop: an inlet on this thread, fillers on others, the caller's buffer. */
typedef enum { RUN, DRAIN, FEED } fc_mode;

int fc_pump_init(fc_pump *p, size_t slab, size_t slabs); /* 0 or an errno */
void fc_pump_free(fc_pump *p);
void fc_pump_stop(fc_pump *p);
void fc_pump_run(fc_pump *p, fc_inlet *in, fc_report *rep); /* in NULL: drain */
void fc_pump_cycle(fc_pump *p, fc_inlet *in, fc_mode mode, fc_report *rep);
void fc_pump_feed(fc_pump *p, const uint8_t *data, size_t n, fc_report *rep);
void fc_pump_finish(fc_pump *p, fc_report *rep);

/* ring.c: the filler's side. */
int fc_pump_claim(fc_pump *p, uint64_t first, uint64_t length); /* 0, 1 when it overlaps, 2 out of range */
void fc_pump_fill(fc_pump *p, fc_inlet *in, uint64_t first, fc_report *rep);
uint64_t fc_ring_covered(fc_pump *p);             /* contiguous bytes ready from `digested` on: the new end */
void fc_ring_advance(fc_pump *p, uint64_t base);  /* room for fillers */
int fc_spans_add(fc_spans *s, uint64_t first, uint64_t last);
int fc_spans_touch(const fc_spans *s, uint64_t first, uint64_t last);
void fc_spans_trim(fc_spans *s, uint64_t below);
void fc_spans_remove(fc_spans *s, uint64_t first);

void fc_pump_settle_inlet(fc_pump *p, fc_inlet *in, fc_fault *fault);

/* How a filler and run() read: as much as is there, into contiguous memory. */
ssize_t fc_read_some(fc_pump *p, fc_inlet *in, uint8_t *to, size_t room, uint64_t *pause, fc_fault *fault);

#endif
