/* Bodies that are pushed: feed() and finish() over the pump's one loop. */
#include "pump.h"

#include <stdio.h>

/* Feeding: the caller's buffer stands in for the ring while it is passed on. */
static void push(fc_pump *p, const uint8_t *data, size_t n, fc_report *rep) {
    uint8_t *ring = p->ring;
    size_t cap = p->cap;
    if (n) {
        p->ring = (uint8_t *)data;
        p->cap = n;
        p->origin = p->filled;
        p->filled += n;
        FC_ADD(p->total_read, n);
    }
    fc_pump_cycle(p, NULL, FEED, rep);
    rep->read = n;
    p->ring = ring;
    p->cap = cap;
}

void fc_pump_feed(fc_pump *p, const uint8_t *data, size_t n, fc_report *rep) {
    if (p->end != FC_UNKNOWN || !p->expected || n == 0) {
        push(p, data, n, rep);
        return;
    }
    if (p->holding) push(p, p->held, 1, rep);
    if (p->holding && rep->why != FC_DONE) return;
    push(p, data, n - 1, rep);
    rep->read = n;
    p->held[0] = data[n - 1];
    p->holding = 1;
}

void fc_pump_finish(fc_pump *p, fc_report *rep) {
    if (p->end == FC_UNKNOWN) p->end = p->filled + (uint64_t)p->holding;
    if (p->holding) push(p, p->held, 1, rep);
    else fc_pump_cycle(p, NULL, FEED, rep);
    p->holding = 0;
    if (rep->why == FC_DONE && p->digested < p->end) {
        rep->why = FC_SOURCE_LOST;
        snprintf(rep->text, sizeof rep->text, "the body is shorter than stated");
    }
}
