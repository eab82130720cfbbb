/* HTTP/2 framing (RFC 9113) for one lent stream: just what body bytes need, everything else is handed back. */
#ifndef FASTCOPY_H2_H
#define FASTCOPY_H2_H

#include "fc.h"

enum {
    H2_DATA = 0, H2_HEADERS = 1, H2_PRIORITY = 2, H2_RST_STREAM = 3, H2_SETTINGS = 4, H2_PING = 6,
    H2_GOAWAY = 7, H2_WINDOW_UPDATE = 8
};
enum { H2_END_STREAM = 0x1, H2_ACK = 0x1, H2_PADDED = 0x8 };
#define H2_HEAD 9
#define H2_MAX_WINDOW 0x7fffffff
/* A peer that floods us with control frames is cut off: 64 KiB is 3800 PINGs during one body. */
#define H2_REPLAY_LIMIT (1u << 16)

typedef struct {
    uint8_t head[H2_HEAD]; /* header bytes gathered so far: `have` of them */
    unsigned have;
    uint32_t length, stream;
    uint8_t type, flags;
    fc_bytes body; /* payload of a frame that is not our DATA */
} h2_frame;

typedef struct {
    uint32_t id, max_frame;
    fc_bytes tx;     /* control frames we owe the peer */
    fc_bytes replay; /* frames the owner of the connection must still see */
    h2_frame frame;
    int ended; /* END_STREAM seen (receiving) or written (sending) */
    /* receiving */
    int64_t stream_credit, connection_credit, stream_target, connection_target;
    uint64_t consumed, stream_granted, connection_granted;
    uint32_t data_rest, pad_rest;
    int in_data, want_pad;
    /* sending */
    int64_t stream_window, connection_window, initial_window;
    uint32_t open_rest; /* payload bytes the open DATA frame still needs */
    int open_ends;      /* the open frame carries END_STREAM */
    fc_bytes stage;     /* frame bytes that must leave before anything else */
} h2_state;

uint32_t h2_u32(const uint8_t *p);
void h2_put_head(uint8_t *p, uint32_t length, int type, int flags, uint32_t stream);
int h2_frame_ready(h2_frame *f);           /* header complete: parsed into the fields */
void h2_frame_reset(h2_frame *f);
/* One step of reading a non-DATA frame. > 0 complete, 0 end of stream, FC_AGAIN, FC_FAIL. */
ssize_t h2_gather_head(h2_frame *f, fc_link *l, fc_fault *fault);
ssize_t h2_gather_body(h2_frame *f, fc_link *l, fc_fault *fault);
int h2_keep(h2_state *h, fc_fault *fault); /* the gathered frame goes into replay */
int h2_answer_control(h2_state *h);        /* acknowledges SETTINGS and PING into tx */
int h2_apply_settings(h2_state *h);        /* sending side: initial window and frame size */
int h2_apply_window(h2_state *h);          /* sending side: WINDOW_UPDATE */
int h2_goaway_spares_us(const h2_state *h);
int h2_flush(h2_state *h, fc_link *l, fc_fault *fault); /* 1 nothing owed any more, FC_AGAIN, FC_FAIL */
int h2_grant(h2_state *h, uint64_t body_rest);          /* WINDOW_UPDATE when half is consumed */
void h2_free(h2_state *h);

#endif
