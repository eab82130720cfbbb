/* Inlets and outlets: the ends a pump moves bytes between. */
#ifndef FASTCOPY_ENDS_H
#define FASTCOPY_ENDS_H

#include "fc.h"
#include "h2.h"

enum { FC_SOCKET, FC_FILE, FC_MEMORY, FC_NULL, FC_H2 };

typedef struct {
    int kind;
    fc_link link;
    fc_event stop; /* ends whoever reads from this inlet, and nobody else */
    uint64_t length, done;
    int64_t offset;        /* file */
    const uint8_t *prefix; /* body bytes that came before; the whole body for FC_MEMORY */
    size_t prefix_len;
    int fresh; /* the last read came back full: more may be waiting */
    int lowat; /* SO_RCVLOWAT as we set it; 0: never touched */
    h2_state h2;
} fc_inlet;

typedef struct {
    int kind;
    fc_link link;
    int64_t offset;
    uint64_t sent; /* body bytes accepted by the far end's kernel or file */
    fc_bytes answer;
    h2_state h2;
    /* owned by the pump */
    uint64_t pos;    /* blob position written */
    uint64_t since;  /* waiting since (ns), 0 when not */
    uint64_t held;   /* ns others waited for this one since it last caught up */
    uint64_t unlooked; /* bytes since the last look for an early answer */
    int listen, failed, clean; /* clean: nothing taken is still on its way */
    fc_fault fault;
} fc_outlet;

/* Bytes (> 0), 0 when the length is reached, FC_AGAIN or FC_FAIL (fault->why is set). */
ssize_t fc_inlet_read(fc_inlet *in, uint8_t *buf, size_t n, fc_fault *fault);
int fc_inlet_settle(fc_inlet *in, fc_fault *fault); /* 1 nothing owed to the peer, FC_AGAIN, FC_FAIL */
int fc_inlet_pollable(const fc_inlet *in);
/* Before sleeping: let poll() wake us for a batch instead of for every segment. 1 when it does. `on` 0: as it was. */
int fc_inlet_batch(fc_inlet *in, int on);
#define FC_BATCH_TICK 50000000u /* ns: a trickle below a batch is looked at this often, so that it counts as progress */
short fc_inlet_want(const fc_inlet *in);
/* Sleeps until the inlet may have bytes. 0, or FC_FAIL with STOPPED or SOURCE_STALLED. */
int fc_inlet_wait(fc_inlet *in, uint64_t since, uint64_t stall, fc_fault *fault);
/* Waits for at least one byte, then takes what is there. Bytes, 0 at the end, or FC_FAIL. */
ssize_t fc_inlet_fetch(fc_inlet *in, uint8_t *buf, size_t n, uint64_t stall, fc_fault *fault);
void fc_inlet_close(fc_inlet *in);

/* Body bytes taken (0 too: only a pending frame moved), FC_AGAIN, FC_FAIL. `fin`: they end the body. */
ssize_t fc_outlet_write(fc_outlet *o, const uint8_t *data, size_t n, int fin, fc_fault *fault);
/* 1 when what was taken has left, and with `fin` the end of the body too; FC_AGAIN, FC_FAIL. */
int fc_outlet_settle(fc_outlet *o, int fin, fc_fault *fault);
/* Looks for an early answer: 0 none, FC_FAIL with ANSWERED or SINK_LOST. */
int fc_outlet_listen(fc_outlet *o, fc_fault *fault);
int fc_outlet_pollable(const fc_outlet *o);
short fc_outlet_want(const fc_outlet *o);
void fc_outlet_close(fc_outlet *o);

int fc_h2_inlet_settle(fc_inlet *in, fc_fault *fault);
ssize_t fc_h2_inlet_read(fc_inlet *in, uint8_t *buf, size_t n, fc_fault *fault);
ssize_t fc_h2_outlet_write(fc_outlet *o, const uint8_t *data, size_t n, int fin, fc_fault *fault);
int fc_h2_outlet_settle(fc_outlet *o, int fin, fc_fault *fault);
int fc_h2_outlet_listen(fc_outlet *o, fc_fault *fault);

#endif
