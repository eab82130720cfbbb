# The C kernel as pump.pyx sees it; csrc/*.h say what everything means.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "csrc/pump.h" nogil:
    int FC_FAIL
    int FC_AGAIN
    int FC_MAX_OUTLETS
    uint64_t FC_UNKNOWN
    enum:
        FC_SOCKET
        FC_FILE
        FC_MEMORY
        FC_NULL
        FC_H2

    ctypedef struct fc_fault:
        int why
        int err
        char text[120]
    int fc_fail(fc_fault *fault, int why, int err, const char *text)

    ctypedef struct fc_bytes:
        uint8_t *p
        size_t len
    int fc_bytes_add(fc_bytes *b, const void *data, size_t n)

    ctypedef struct fc_event:
        int rd
        int wr
    int fc_event_open(fc_event *e)
    void fc_event_raise(fc_event *e)

    ctypedef struct fc_link
    ctypedef Py_ssize_t (*fc_py_io)(fc_link *l, void *buf, size_t n, int writing, fc_fault *fault) noexcept nogil
    ctypedef struct fc_link:
        int fd
        void *ssl
        void *py
        fc_py_io py_io
        short read_want
        short write_want
        int spilling
        const uint8_t *pre
        size_t pre_len
    void fc_link_init(fc_link *l, int fd)
    int fc_tls_load(const char *ssl_file)
    int fc_tls_owns(void *ssl, void *python_object)
    void fc_tls_prepare(void *ssl)

    ctypedef struct h2_frame:
        uint8_t head[9]
        unsigned have
        fc_bytes body
    ctypedef struct h2_state:
        uint32_t id
        uint32_t max_frame
        fc_bytes replay
        h2_frame frame
        int ended
        int in_data
        int64_t stream_credit
        int64_t connection_credit
        int64_t stream_target
        int64_t connection_target
        uint64_t consumed
        uint64_t stream_granted
        uint64_t connection_granted
        int64_t stream_window
        int64_t connection_window
        int64_t initial_window

    ctypedef struct fc_inlet:
        int kind
        fc_link link
        fc_event stop
        uint64_t length
        uint64_t done
        int64_t offset
        const uint8_t *prefix
        size_t prefix_len
        h2_state h2
    Py_ssize_t fc_inlet_fetch(fc_inlet *i, uint8_t *buf, size_t n, uint64_t stall, fc_fault *fault)
    void fc_inlet_close(fc_inlet *i)

    ctypedef struct fc_outlet:
        int kind
        fc_link link
        int64_t offset
        uint64_t sent
        fc_bytes answer
        h2_state h2
        uint64_t pos
        uint64_t since
        uint64_t held
        uint64_t unlooked
        int listen
        int failed
        int clean
        fc_fault fault
    void fc_outlet_close(fc_outlet *o)

    ctypedef struct fc_rate:
        uint64_t rate
        uint64_t burst
    void fc_rate_init(fc_rate *r, uint64_t rate, uint64_t burst)
    void fc_rate_set(fc_rate *r, uint64_t rate, uint64_t burst)
    size_t fc_rate_take(fc_rate *r, size_t want, uint64_t *wait_ns)

    ctypedef struct fc_digester:
        void (*update)(void *state, const void *data, size_t n) noexcept nogil
        void (*peek)(const void *state, uint8_t *out) noexcept nogil
        void *state
        unsigned size

    ctypedef struct fc_report:
        int why
        int err
        int outlet
        char text[120]
        uint64_t read
        uint64_t wait_in
        uint64_t work
        uint64_t wait_out

    ctypedef struct fc_pump:
        uint64_t end
        uint64_t filled
        uint64_t digested
        int holding
        const fc_digester *digester
        const uint8_t *expected
        uint64_t stall
        uint64_t lag
        fc_rate *rate
        fc_outlet **outlets
        int count
        uint64_t total_read
        uint64_t total_written
        uint64_t wait_in
        uint64_t work
        uint64_t wait_out
    int fc_pump_init(fc_pump *p, size_t slab, size_t slabs)
    void fc_pump_free(fc_pump *p)
    void fc_pump_stop(fc_pump *p)
    void fc_pump_run(fc_pump *p, fc_inlet *i, fc_report *rep)
    void fc_pump_feed(fc_pump *p, const uint8_t *data, size_t n, fc_report *rep)
    void fc_pump_finish(fc_pump *p, fc_report *rep)
    int fc_pump_claim(fc_pump *p, uint64_t first, uint64_t length)
    void fc_pump_fill(fc_pump *p, fc_inlet *i, uint64_t first, fc_report *rep)
