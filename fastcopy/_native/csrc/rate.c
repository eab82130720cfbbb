/* A token bucket that many pumps share. */
#include "pump.h"

/* Less than this is not worth waking up for, unless less is wanted. */
#define WORTHWHILE 16384

void fc_rate_init(fc_rate *r, uint64_t rate, uint64_t burst) {
    pthread_mutex_init(&r->lock, NULL);
    r->rate = rate;
    r->burst = burst;
    r->tokens = (double)burst;
    r->at = fc_now();
}

static void refill(fc_rate *r) {
    uint64_t now = fc_now();
    r->tokens += (double)(now - r->at) * (double)r->rate / 1e9;
    if (r->tokens > (double)r->burst) r->tokens = (double)r->burst;
    r->at = now;
}

void fc_rate_set(fc_rate *r, uint64_t rate, uint64_t burst) {
    pthread_mutex_lock(&r->lock);
    refill(r);
    FC_STORE(r->rate, rate);
    r->burst = burst;
    pthread_mutex_unlock(&r->lock);
}

size_t fc_rate_take(fc_rate *r, size_t want, uint64_t *wait_ns) {
    size_t got = 0, least;
    *wait_ns = 0;
    if (!FC_LOAD(r->rate)) return want;
    pthread_mutex_lock(&r->lock);
    refill(r);
    least = want < WORTHWHILE ? want : WORTHWHILE;
    if (least > r->burst) least = r->burst;
    if (!r->rate) got = want;
    else if (r->tokens >= (double)least) got = r->tokens < (double)want ? (size_t)r->tokens : want;
    else *wait_ns = (uint64_t)(((double)least - r->tokens) * 1e9 / (double)r->rate) + 1;
    if (r->rate) r->tokens -= (double)got;
    pthread_mutex_unlock(&r->lock);
    return got;
}

void fc_rate_return(fc_rate *r, size_t unused) {
    if (!unused || !FC_LOAD(r->rate)) return;
    pthread_mutex_lock(&r->lock);
    r->tokens += (double)unused;
    pthread_mutex_unlock(&r->lock);
}
