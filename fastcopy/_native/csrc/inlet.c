/* Reading ends: a socket body with its prefix, a file range, memory, DATA frames of one stream. */
#include "ends.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static ssize_t lost(fc_fault *fault, const char *text) {
    return fc_fail(fault, FC_SOURCE_LOST, 0, text);
}

static ssize_t read_prefix(fc_inlet *in, uint8_t *buf, size_t n) {
    size_t take = n < in->prefix_len ? n : in->prefix_len;
    memcpy(buf, in->prefix, take);
    in->prefix += take;
    in->prefix_len -= take;
    return (ssize_t)take;
}

static ssize_t read_socket(fc_inlet *in, uint8_t *buf, size_t n, fc_fault *fault) {
    ssize_t got = fc_link_read(&in->link, buf, n, fault);
    if (got == 0) return lost(fault, "the source closed the connection before the end of the body");
    if (got == FC_FAIL) fault->why = FC_SOURCE_LOST;
    /* A short read of a plain socket emptied it: hash now instead of asking again in vain. */
    in->fresh = in->link.ssl || in->link.py || got == (ssize_t)n;
    return got;
}

static ssize_t read_file(fc_inlet *in, uint8_t *buf, size_t n, fc_fault *fault) {
    ssize_t got = pread(in->link.fd, buf, n, (off_t)in->offset);
    if (got < 0 && errno == EINTR) return FC_AGAIN;
    if (got < 0) return fc_fail(fault, FC_SOURCE_LOST, errno, strerror(errno));
    if (got == 0) return lost(fault, "the file is shorter than stated");
    in->offset += got;
    return got;
}

static ssize_t read_kind(fc_inlet *in, uint8_t *buf, size_t n, fc_fault *fault) {
    if (in->prefix_len) return read_prefix(in, buf, n);
    if (in->kind == FC_SOCKET) return read_socket(in, buf, n, fault);
    if (in->kind == FC_FILE) return read_file(in, buf, n, fault);
    if (in->kind == FC_H2) return fc_h2_inlet_read(in, buf, n, fault);
    return lost(fault, "the memory is shorter than stated");
}

ssize_t fc_inlet_read(fc_inlet *in, uint8_t *buf, size_t n, fc_fault *fault) {
    uint64_t rest = in->length - in->done;
    ssize_t got;
    if (rest == 0 || n == 0) return 0;
    in->fresh = 1;
    got = read_kind(in, buf, n < rest ? n : (size_t)rest, fault);
    if (got > 0) FC_ADD(in->done, (uint64_t)got);
    return got;
}

int fc_inlet_settle(fc_inlet *in, fc_fault *fault) {
    return in->kind == FC_H2 ? fc_h2_inlet_settle(in, fault) : 1;
}

int fc_inlet_pollable(const fc_inlet *in) {
    return in->kind == FC_SOCKET || in->kind == FC_H2;
}

/* A server writes 32 KiB at a time; waking for each of them costs a context switch, and a slab that is mostly empty.
 * Bytes that libssl holds already are not in the socket, so under TLS the tail is never waited for in batches. */
#define FC_BATCH (256 << 10)

int fc_inlet_batch(fc_inlet *in, int on) {
    uint64_t rest = in->length - in->done;
    int want = 1;
    if (on && in->kind == FC_SOCKET && !in->link.py) {
        if (in->link.ssl) want = rest > 2 * FC_BATCH ? FC_BATCH : 1;
        else want = rest < FC_BATCH ? (int)rest : FC_BATCH;
    }
    if (want < 1) want = 1;
    if (want == (in->lowat ? in->lowat : 1)) return want > 1;
    if (setsockopt(in->link.fd, SOL_SOCKET, SO_RCVLOWAT, &want, sizeof want)) return 0;
    in->lowat = want;
    return want > 1;
}

short fc_inlet_want(const fc_inlet *in) {
    short want = in->link.read_want;
    if (in->kind == FC_H2 && in->h2.tx.len) want |= in->link.write_want;
    return want;
}

int fc_inlet_wait(fc_inlet *in, uint64_t since, uint64_t stall, fc_fault *fault) {
    struct pollfd f[2] = {{in->stop.rd, POLLIN, 0}, {in->link.fd, fc_inlet_want(in), 0}};
    uint64_t now = fc_now();
    if (in->stop.set) return fc_fail(fault, FC_STOPPED, 0, "stopped");
    if (now - since >= stall) return fc_fail(fault, FC_SOURCE_STALLED, 0, "the source sent nothing in time");
    poll(f, fc_inlet_pollable(in) ? 2 : 1, (int)((stall - (now - since)) / 1000000 % 60000) + 1);
    return in->stop.set ? fc_fail(fault, FC_STOPPED, 0, "stopped") : 0;
}

static ssize_t fetch(fc_inlet *in, uint8_t *buf, size_t n, uint64_t stall, fc_fault *fault) {
    uint64_t since = fc_now();
    size_t done = 0;
    while (done < n && in->done < in->length) {
        ssize_t got = fc_inlet_read(in, buf + done, n - done, fault);
        if (got > 0) done += (size_t)got;
        else if (done) break;
        else if (got == FC_FAIL || fc_inlet_wait(in, since, stall, fault)) return FC_FAIL;
    }
    if (in->done == in->length) fc_inlet_settle(in, fault);
    return (ssize_t)done;
}

ssize_t fc_inlet_fetch(fc_inlet *in, uint8_t *buf, size_t n, uint64_t stall, fc_fault *fault) {
    fc_pipe_guard guard;
    ssize_t got;
    fc_pipe_begin(&guard);
    got = fetch(in, buf, n, stall, fault);
    fc_pipe_end(&guard);
    return got;
}

void fc_inlet_close(fc_inlet *in) {
    fc_event_close(&in->stop);
    h2_free(&in->h2);
}

/* HTTP/2 ----------------------------------------------------------------------------------------- */

static ssize_t finish_frame(fc_inlet *in, fc_fault *fault) {
    h2_state *h = &in->h2;
    h2_frame_reset(&h->frame);
    h->in_data = 0;
    if (h2_grant(h, in->length - in->done)) return fc_fail(fault, FC_FRAME, 0, "out of memory");
    return 0;
}

/* Our DATA header has arrived: windows first (padding counts, 6.9.1), then the payload may flow. */
static ssize_t open_data(fc_inlet *in, fc_fault *fault) {
    h2_state *h = &in->h2;
    uint32_t n = h->frame.length;
    if ((int64_t)n > h->stream_credit || (int64_t)n > h->connection_credit)
        return fc_fail(fault, FC_FRAME, 0, "the source overran its flow-control window");
    h->stream_credit -= n;
    h->connection_credit -= n;
    h->consumed += n;
    h->in_data = 1;
    h->data_rest = n;
    h->pad_rest = 0;
    h->want_pad = (h->frame.flags & H2_PADDED) != 0;
    if (h->want_pad && n == 0) return fc_fail(fault, FC_FRAME, 0, "a padded DATA frame without a pad length");
    return 0;
}

static ssize_t read_pad_length(fc_inlet *in, fc_fault *fault) {
    h2_state *h = &in->h2;
    uint8_t pad;
    ssize_t got = fc_link_read(&in->link, &pad, 1, fault);
    if (got <= 0) return got;
    h->want_pad = 0;
    h->data_rest -= 1;
    if (pad > h->data_rest) return fc_fail(fault, FC_FRAME, 0, "DATA padding longer than its frame");
    h->pad_rest = pad;
    h->data_rest -= pad;
    return 1;
}

static ssize_t skip_padding(fc_inlet *in, fc_fault *fault) {
    uint8_t waste[256];
    while (in->h2.pad_rest) {
        ssize_t got = fc_link_read(&in->link, waste, in->h2.pad_rest, fault);
        if (got <= 0) return got;
        in->h2.pad_rest -= (uint32_t)got;
    }
    return 1;
}

/* END_STREAM with the body complete ends well; before that the source is lost. */
static ssize_t close_data(fc_inlet *in, uint64_t done, fc_fault *fault) {
    h2_state *h = &in->h2;
    if (h->frame.flags & H2_END_STREAM) h->ended = 1;
    if (finish_frame(in, fault)) return FC_FAIL;
    if (h->ended && done < in->length) return lost(fault, "the source ended the stream before the end of the body");
    return 0;
}

/* Control frames: acknowledged, kept for the owner; whatever ends or changes the stream ends the run. */
static ssize_t take_control(fc_inlet *in, fc_fault *fault) {
    h2_state *h = &in->h2;
    uint8_t type = h->frame.type;
    int harmless = type == H2_SETTINGS || type == H2_PING || type == H2_WINDOW_UPDATE || type == H2_PRIORITY ||
                   (type == H2_GOAWAY && h2_goaway_spares_us(h));
    if (h2_keep(h, fault)) return FC_FAIL;
    if (!harmless) {
        h2_frame_reset(&h->frame);
        return fc_fail(fault, FC_FRAME, 0, "a frame that is not body arrived");
    }
    if (h2_answer_control(h)) return fc_fail(fault, FC_FRAME, 0, "out of memory");
    return finish_frame(in, fault);
}

/* One non-body step: 1 go on, 0 end of connection, FC_AGAIN, FC_FAIL. */
static ssize_t between_bodies(fc_inlet *in, fc_fault *fault) {
    h2_state *h = &in->h2;
    ssize_t got = h2_gather_head(&h->frame, &in->link, fault);
    if (got <= 0) return got;
    if (h->frame.length > h->max_frame) return fc_fail(fault, FC_FRAME, 0, "a frame above the allowed size");
    if (h->frame.type == H2_DATA && h->frame.stream == h->id) return open_data(in, fault) ? FC_FAIL : 1;
    got = h2_gather_body(&h->frame, &in->link, fault);
    if (got <= 0) return got;
    return take_control(in, fault) ? FC_FAIL : 1;
}

static ssize_t body_step(fc_inlet *in, uint8_t *buf, size_t n, fc_fault *fault) {
    h2_state *h = &in->h2;
    uint64_t rest = in->length - in->done;
    ssize_t got;
    if (h->data_rest > rest) return fc_fail(fault, FC_FRAME, 0, "more DATA than the stated length");
    got = fc_link_read(&in->link, buf, n < h->data_rest ? n : h->data_rest, fault);
    if (got > 0) h->data_rest -= (uint32_t)got;
    return got;
}

/* Payload that completes its frame closes it at once, so that END_STREAM and windows are never late. */
static ssize_t after_body(fc_inlet *in, ssize_t got, fc_fault *fault) {
    h2_state *h = &in->h2;
    fc_fault later;
    ssize_t pad;
    if (h->data_rest) return got;
    pad = skip_padding(in, &later);
    if (pad > 0 && close_data(in, in->done + (uint64_t)got, fault)) {
        if (!h->ended) return FC_FAIL;
    }
    return got;
}

static ssize_t one_step(fc_inlet *in, uint8_t *buf, size_t n, ssize_t *body, fc_fault *fault) {
    h2_state *h = &in->h2;
    *body = 0;
    if (!h->in_data) return between_bodies(in, fault);
    if (h->want_pad) return read_pad_length(in, fault);
    if (h->data_rest) {
        ssize_t got = body_step(in, buf, n, fault);
        if (got > 0) got = *body = after_body(in, got, fault);
        return got;
    }
    if (h->pad_rest) return skip_padding(in, fault);
    return close_data(in, in->done, fault) ? FC_FAIL : 1;
}

ssize_t fc_h2_inlet_read(fc_inlet *in, uint8_t *buf, size_t n, fc_fault *fault) {
    ssize_t got, body, sent;
    fault->why = 0;
    if (in->h2.ended) return lost(fault, "the source ended the stream before the end of the body");
    do {
        got = one_step(in, buf, n, &body, fault);
    } while (got > 0 && !body);
    sent = h2_flush(&in->h2, &in->link, fault);
    if (sent == FC_FAIL) return fc_fail(fault, FC_SOURCE_LOST, fault->err, fault->text);
    if (got == 0) return lost(fault, "the source closed the connection before the end of the body");
    if (got == FC_FAIL && !fault->why) fault->why = FC_SOURCE_LOST;
    return got;
}

/* After the last body byte: the padding of its frame, then what we owe the peer. */
int fc_h2_inlet_settle(fc_inlet *in, fc_fault *fault) {
    h2_state *h = &in->h2;
    ssize_t left = 1;
    fault->why = 0;
    if (h->in_data && !h->data_rest && !h->want_pad) {
        left = skip_padding(in, fault);
        if (left > 0 && close_data(in, in->done, fault)) left = FC_FAIL;
    }
    if (left > 0) left = h2_flush(h, &in->link, fault);
    if (left == 0) return (int)lost(fault, "the source closed the connection inside a frame");
    if (left == FC_FAIL && !fault->why) fault->why = FC_SOURCE_LOST;
    return (int)left;
}
