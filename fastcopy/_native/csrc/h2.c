/* Frames in, control frames out, both windows. Pure but for fc_link reads and writes. */
#include "h2.h"

#include <stdlib.h>
#include <string.h>

uint32_t h2_u32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put_u32(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

void h2_put_head(uint8_t *p, uint32_t length, int type, int flags, uint32_t stream) {
    p[0] = (uint8_t)(length >> 16);
    p[1] = (uint8_t)(length >> 8);
    p[2] = (uint8_t)length;
    p[3] = (uint8_t)type;
    p[4] = (uint8_t)flags;
    put_u32(p + 5, stream);
}

int h2_frame_ready(h2_frame *f) {
    if (f->have < H2_HEAD) return 0;
    f->length = (uint32_t)f->head[0] << 16 | (uint32_t)f->head[1] << 8 | f->head[2];
    f->type = f->head[3];
    f->flags = f->head[4];
    f->stream = h2_u32(f->head + 5) & H2_MAX_WINDOW;
    return 1;
}

void h2_frame_reset(h2_frame *f) {
    f->have = 0;
    f->body.len = 0;
}

ssize_t h2_gather_head(h2_frame *f, fc_link *l, fc_fault *fault) {
    while (f->have < H2_HEAD) {
        ssize_t n = fc_link_read(l, f->head + f->have, H2_HEAD - f->have, fault);
        if (n <= 0) return n;
        f->have += (unsigned)n;
    }
    h2_frame_ready(f);
    return 1;
}

ssize_t h2_gather_body(h2_frame *f, fc_link *l, fc_fault *fault) {
    uint8_t some[512];
    while (f->body.len < f->length) {
        size_t want = f->length - f->body.len;
        ssize_t n = fc_link_read(l, some, want < sizeof some ? want : sizeof some, fault);
        if (n <= 0) return n;
        if (fc_bytes_add(&f->body, some, (size_t)n)) return fc_fail(fault, FC_FRAME, 0, "out of memory");
    }
    return 1;
}

int h2_keep(h2_state *h, fc_fault *fault) {
    const h2_frame *f = &h->frame;
    if (h->replay.len + f->length > H2_REPLAY_LIMIT + h->max_frame)
        return fc_fail(fault, FC_FRAME, 0, "too many control frames");
    if (fc_bytes_add(&h->replay, f->head, H2_HEAD) || fc_bytes_add(&h->replay, f->body.p, f->body.len))
        return fc_fail(fault, FC_FRAME, 0, "out of memory");
    return 0;
}

static int owe(h2_state *h, int type, int flags, uint32_t stream, const uint8_t *body, uint32_t n) {
    uint8_t head[H2_HEAD];
    h2_put_head(head, n, type, flags, stream);
    return fc_bytes_add(&h->tx, head, H2_HEAD) || fc_bytes_add(&h->tx, body, n) ? FC_FAIL : 0;
}

int h2_answer_control(h2_state *h) {
    const h2_frame *f = &h->frame;
    if (f->flags & H2_ACK) return 0;
    if (f->type == H2_SETTINGS) return owe(h, H2_SETTINGS, H2_ACK, 0, NULL, 0);
    if (f->type == H2_PING && f->length == 8) return owe(h, H2_PING, H2_ACK, 0, f->body.p, 8);
    return 0;
}

int h2_apply_settings(h2_state *h) {
    const h2_frame *f = &h->frame;
    if (f->flags & H2_ACK) return 0;
    if (f->length % 6 || f->stream) return FC_FAIL;
    for (uint32_t at = 0; at + 6 <= f->length; at += 6) {
        unsigned key = (unsigned)f->body.p[at] << 8 | f->body.p[at + 1];
        uint32_t value = h2_u32(f->body.p + at + 2);
        if (key == 4) { /* SETTINGS_INITIAL_WINDOW_SIZE changes open streams by the difference: 6.9.2 */
            if (value > H2_MAX_WINDOW) return FC_FAIL;
            h->stream_window += (int64_t)value - h->initial_window;
            h->initial_window = value;
        } else if (key == 5) { /* SETTINGS_MAX_FRAME_SIZE */
            if (value < 16384 || value > 16777215) return FC_FAIL;
            h->max_frame = value;
        }
    }
    return h->stream_window > H2_MAX_WINDOW ? FC_FAIL : 0;
}

int h2_apply_window(h2_state *h) {
    const h2_frame *f = &h->frame;
    if (f->length != 4) return FC_FAIL;
    uint32_t more = h2_u32(f->body.p) & H2_MAX_WINDOW;
    if (!more) return FC_FAIL;
    if (f->stream == 0) h->connection_window += more;
    else if (f->stream == h->id) h->stream_window += more;
    return h->connection_window > H2_MAX_WINDOW || h->stream_window > H2_MAX_WINDOW ? FC_FAIL : 0;
}

/* A graceful GOAWAY (NO_ERROR, last stream at or above ours) lets our stream finish: 6.8. */
int h2_goaway_spares_us(const h2_state *h) {
    const h2_frame *f = &h->frame;
    if (f->length < 8) return 0;
    return (h2_u32(f->body.p) & H2_MAX_WINDOW) >= h->id && h2_u32(f->body.p + 4) == 0;
}

int h2_flush(h2_state *h, fc_link *l, fc_fault *fault) {
    while (h->tx.len) {
        ssize_t n = fc_link_write(l, h->tx.p, h->tx.len, fault);
        if (n < 0) return (int)n;
        fc_bytes_drop(&h->tx, (size_t)n);
    }
    return 1;
}

static int top_up(h2_state *h, uint32_t stream, int64_t *credit, int64_t target, uint64_t *granted) {
    uint8_t body[4];
    int64_t more = target - *credit;
    if (more <= 0 || *credit > target / 2) return 0;
    put_u32(body, (uint32_t)more);
    *credit += more;
    *granted += (uint64_t)more;
    return owe(h, H2_WINDOW_UPDATE, 0, stream, body, 4);
}

int h2_grant(h2_state *h, uint64_t body_rest) {
    int bad = top_up(h, 0, &h->connection_credit, h->connection_target, &h->connection_granted);
    if (!h->ended && body_rest > 0 && (int64_t)body_rest > h->stream_credit)
        bad |= top_up(h, h->id, &h->stream_credit, h->stream_target, &h->stream_granted);
    return bad;
}

void h2_free(h2_state *h) {
    fc_bytes_free(&h->tx);
    fc_bytes_free(&h->replay);
    fc_bytes_free(&h->stage);
    fc_bytes_free(&h->frame.body);
}
