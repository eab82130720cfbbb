/* DATA frames out: headers beside the slab's own bytes, windows kept honest, control frames between frames.
 *
 *   plain   sendmsg([stage | payload of the open frame | header, payload | header, payload | ...])
 *   TLS     the same bytes assembled into whole 16 KiB records in `stage`, one SSL_write each
 *
 * `stage` holds frame bytes that must leave before anything else. A control frame waits in `tx` and enters
 * `stage` only between two frames.
 */
#include "ends.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

/* 16 frames of 16 KiB are one slab: more headers per call gained nothing. */
#define FRAMES_PER_CALL 16
#define TLS_RECORD 16384u

static int oom(fc_fault *fault) {
    return fc_fail(fault, FC_SINK_LOST, 0, "out of memory");
}

/* Payload the next DATA frame may carry, 0 when the windows are shut. */
static uint32_t next_payload(const h2_state *h, size_t n, int64_t used) {
    int64_t room = h->stream_window - used;
    if (h->connection_window - used < room) room = h->connection_window - used;
    if (room > (int64_t)h->max_frame) room = h->max_frame;
    if (room > (int64_t)n) room = (int64_t)n;
    return room > 0 ? (uint32_t)room : 0;
}

static void open_frame(h2_state *h, uint8_t *head, uint32_t payload, int ends) {
    h2_put_head(head, payload, H2_DATA, ends ? H2_END_STREAM : 0, h->id);
    h->stream_window -= payload;
    h->connection_window -= payload;
    h->open_rest = payload;
    h->open_ends = ends;
}

static void pay(h2_state *h, uint32_t n) {
    h->open_rest -= n;
    if (!h->open_rest && h->open_ends) h->ended = 1;
}

static int stage_control(h2_state *h) {
    if (h->open_rest || !h->tx.len) return 0;
    if (fc_bytes_add(&h->stage, h->tx.p, h->tx.len)) return FC_FAIL;
    h->tx.len = 0;
    return 0;
}

/* An empty DATA frame ends a body that has no byte left to carry the flag. */
static int stage_end(h2_state *h) {
    uint8_t head[H2_HEAD];
    open_frame(h, head, 0, 1);
    h->ended = 1;
    return fc_bytes_add(&h->stage, head, H2_HEAD);
}

static int send_stage(fc_outlet *o, fc_fault *fault) {
    while (o->h2.stage.len) {
        ssize_t n = fc_link_write(&o->link, o->h2.stage.p, o->h2.stage.len, fault);
        if (n < 0) return (int)n;
        fc_bytes_drop(&o->h2.stage, (size_t)n);
    }
    return 1;
}

/* TLS ------------------------------------------------------------------------------------------- */

static ssize_t fill_record(h2_state *h, const uint8_t *data, size_t n, int fin) {
    size_t used = 0;
    while (used < n && h->stage.len + H2_HEAD < TLS_RECORD) {
        uint8_t head[H2_HEAD];
        uint32_t part = h->open_rest;
        if (!part) {
            part = next_payload(h, n - used, 0);
            if (!part) break;
            open_frame(h, head, part, fin && used + part == n);
            if (fc_bytes_add(&h->stage, head, H2_HEAD)) return FC_FAIL;
        }
        if (part > n - used) part = (uint32_t)(n - used);
        if (part > TLS_RECORD - h->stage.len) part = (uint32_t)(TLS_RECORD - h->stage.len);
        if (fc_bytes_add(&h->stage, data + used, part)) return FC_FAIL;
        pay(h, part);
        used += part;
    }
    return (ssize_t)used;
}

static ssize_t write_records(fc_outlet *o, const uint8_t *data, size_t n, int fin, fc_fault *fault) {
    h2_state *h = &o->h2;
    size_t done = 0;
    for (;;) {
        int left = send_stage(o, fault);
        if (left < 0) return done && left == FC_AGAIN ? (ssize_t)done : left;
        if (stage_control(h)) return oom(fault);
        ssize_t used = fill_record(h, data + done, n - done, fin);
        if (used < 0) return oom(fault);
        if (used == 0 && !h->stage.len) return done ? (ssize_t)done : FC_AGAIN;
        done += (size_t)used;
    }
}

/* Plain ----------------------------------------------------------------------------------------- */

typedef struct {
    struct iovec iov[2 + 2 * FRAMES_PER_CALL];
    uint8_t head[FRAMES_PER_CALL][H2_HEAD];
    uint32_t payload[FRAMES_PER_CALL];
    int frames, iovs;
    uint32_t opening; /* payload of the frame that was open before the call */
} batch;

static void add_piece(batch *b, const void *p, size_t n) {
    b->iov[b->iovs].iov_base = (void *)p;
    b->iov[b->iovs++].iov_len = n;
}

static void plan(batch *b, const h2_state *h, const uint8_t *data, size_t n, int fin) {
    int64_t window = 0;
    size_t used = 0;
    b->frames = b->iovs = 0;
    b->opening = h->open_rest < n ? h->open_rest : (uint32_t)n;
    if (h->stage.len) add_piece(b, h->stage.p, h->stage.len);
    if (b->opening) add_piece(b, data, b->opening);
    used = b->opening;
    if (b->opening < h->open_rest) return;
    while (used < n && b->frames < FRAMES_PER_CALL) {
        uint32_t part = next_payload(h, n - used, window);
        if (!part) return;
        int ends = fin && used + part == n;
        h2_put_head(b->head[b->frames], part, H2_DATA, ends ? H2_END_STREAM : 0, h->id);
        add_piece(b, b->head[b->frames], H2_HEAD);
        add_piece(b, data + used, part);
        b->payload[b->frames++] = part;
        used += part;
        window += part;
    }
}

/* What the kernel took, in order: stage, open payload, then whole or begun frames. Returns body bytes. */
static ssize_t account(batch *b, h2_state *h, size_t took, fc_fault *fault) {
    size_t staged = took < h->stage.len ? took : h->stage.len;
    size_t body = 0;
    fc_bytes_drop(&h->stage, staged);
    took -= staged;
    body = took < b->opening ? took : b->opening;
    if (b->opening) pay(h, (uint32_t)body);
    took -= body;
    for (int i = 0; i < b->frames && took; i++) {
        uint8_t head[H2_HEAD];
        size_t part = took < H2_HEAD ? took : H2_HEAD;
        open_frame(h, head, b->payload[i], b->head[i][4] & H2_END_STREAM);
        if (part < H2_HEAD && fc_bytes_add(&h->stage, b->head[i] + part, H2_HEAD - part)) return oom(fault);
        took -= part;
        part = took < b->payload[i] ? took : b->payload[i];
        pay(h, (uint32_t)part);
        took -= part;
        body += part;
    }
    return (ssize_t)body;
}

static ssize_t write_batch(fc_outlet *o, const uint8_t *data, size_t n, int fin, fc_fault *fault) {
    h2_state *h = &o->h2;
    struct msghdr msg;
    batch b;
    ssize_t took;
    if (stage_control(h)) return oom(fault);
    plan(&b, h, data, n, fin);
    if (!b.iovs) return FC_AGAIN;
    memset(&msg, 0, sizeof msg);
    msg.msg_iov = b.iov;
    msg.msg_iovlen = (size_t)b.iovs;
    took = sendmsg(o->link.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (took < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return FC_AGAIN;
    if (took < 0) return fc_fail(fault, FC_SINK_LOST, errno, strerror(errno));
    return account(&b, h, (size_t)took, fault);
}

/* Both ------------------------------------------------------------------------------------------ */

static ssize_t heard_instead(fc_outlet *o, ssize_t result, fc_fault *fault) {
    fc_fault heard;
    if (result != FC_FAIL) return result;
    fault->why = FC_SINK_LOST;
    if (fc_outlet_listen(o, &heard) == FC_FAIL && heard.why == FC_ANSWERED) *fault = heard;
    return FC_FAIL;
}

ssize_t fc_h2_outlet_write(fc_outlet *o, const uint8_t *data, size_t n, int fin, fc_fault *fault) {
    int records = o->link.ssl || o->link.py;
    if (n == 0) return 0;
    return heard_instead(o, (records ? write_records : write_batch)(o, data, n, fin, fault), fault);
}

int fc_h2_outlet_settle(fc_outlet *o, int fin, fc_fault *fault) {
    h2_state *h = &o->h2;
    if (stage_control(h)) return oom(fault);
    if (fin && !h->ended && !h->open_rest && stage_end(h)) return oom(fault);
    return (int)heard_instead(o, send_stage(o, fault), fault);
}

static int answered(fc_outlet *o, fc_fault *fault) {
    h2_frame *f = &o->h2.frame;
    if (fc_bytes_add(&o->answer, f->head, H2_HEAD) || fc_bytes_add(&o->answer, f->body.p, f->body.len))
        return oom(fault);
    h2_frame_reset(f);
    return fc_fail(fault, FC_ANSWERED, 0, "the destination answered before the end of the body");
}

static int take_frame(fc_outlet *o, fc_fault *fault) {
    h2_state *h = &o->h2;
    uint8_t type = h->frame.type;
    int bad = 0;
    if (type == H2_HEADERS || (type == H2_RST_STREAM && h->frame.stream == h->id)) return answered(o, fault);
    if (type == H2_GOAWAY && !h2_goaway_spares_us(h)) return answered(o, fault);
    if (type == H2_SETTINGS) bad = h2_apply_settings(h);
    else if (type == H2_WINDOW_UPDATE) bad = h2_apply_window(h);
    else if (type != H2_PING && type != H2_PRIORITY && type != H2_GOAWAY && type != H2_RST_STREAM)
        return answered(o, fault);
    if (bad) return answered(o, fault); /* a protocol error: the owner's codec will name it */
    if (h2_keep(h, fault) || h2_answer_control(h)) return oom(fault);
    h2_frame_reset(&h->frame);
    return 0;
}

static ssize_t next_frame(fc_outlet *o, fc_fault *fault) {
    h2_frame *f = &o->h2.frame;
    ssize_t got = h2_gather_head(f, &o->link, fault);
    if (got <= 0) return got;
    if (f->length > 1u << 20) return answered(o, fault);
    return h2_gather_body(f, &o->link, fault);
}

int fc_h2_outlet_listen(fc_outlet *o, fc_fault *fault) {
    for (;;) {
        ssize_t got = next_frame(o, fault);
        if (got == FC_AGAIN) return 0;
        if (got == 0) return fc_fail(fault, FC_SINK_LOST, 0, "the destination closed the connection");
        if (got == FC_FAIL) {
            if (fault->why != FC_ANSWERED) fault->why = FC_SINK_LOST;
            return FC_FAIL;
        }
        if (take_frame(o, fault)) return FC_FAIL;
    }
}
