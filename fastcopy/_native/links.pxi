# Included by pump.pyx: a lent socket becomes an fc_link, through OpenSSL's own object where every gate opens.


cdef int _load_tls():
    if os.environ.get("FASTCOPY_TLS") == "sslsocket" or sys.implementation.name != "cpython":
        return 0
    if sys.version_info[:2] not in KNOWN_SIZES or sizeof(void *) != 8 or hasattr(sys, "gettotalrefcount"):
        return 0
    try:
        import _ssl
        path = _ssl.__file__
    except (ImportError, AttributeError):
        return 0
    return _ssl._SSLSocket.__basicsize__ in KNOWN_SIZES[sys.version_info[:2]] and fc_tls_load(path.encode())


cdef int tls_loaded = _load_tls()
TLS = "native" if tls_loaded else "sslsocket"


def force_sslsocket(bint on):
    """A switch for tests and benchmarks: use SSLSocket's own methods from now on, as FASTCOPY_TLS=sslsocket does."""
    global tls_loaded
    tls_loaded = 0 if on else _load_tls()


def uses_openssl():
    """Whether links lent from now on may be used through OpenSSL itself."""
    return bool(tls_loaded)


cdef void *ssl_pointer(object sslobj):
    """OpenSSL's object behind *sslobj*, or NULL: the field after the object header and one pointer."""
    import _ssl
    if not tls_loaded or type(sslobj) is not _ssl._SSLSocket:
        return NULL
    cdef void *found = (<void **><void *>sslobj)[3]
    return found if fc_tls_owns(found, <void *>sslobj) else NULL


cdef Py_ssize_t python_io(fc_link *l, void *buf, size_t n, int writing, fc_fault *fault) noexcept with gil:
    """The named fallback: the SSLSocket's own methods, with the interpreter's lock."""
    cdef object sock = <object>l.py
    cdef short want = select.POLLOUT if writing else select.POLLIN
    cdef Py_ssize_t done = FC_AGAIN
    try:
        view = PyMemoryView_FromMemory(<char *>buf, <Py_ssize_t>n, PyBUF_READ if writing else PyBUF_WRITE)
        done = sock.send(view) if writing else sock.recv_into(view)
    except ssl.SSLWantReadError:
        want = select.POLLIN
    except ssl.SSLWantWriteError:
        want = select.POLLOUT
    except (BlockingIOError, InterruptedError):
        pass
    except (OSError, ValueError) as error:
        text = (getattr(error, "strerror", None) or str(error)).encode("utf-8", "replace")
        return fc_fail(fault, 0, 0 if isinstance(error, ssl.SSLError) else getattr(error, "errno", 0) or 0, text)
    if writing:
        l.write_want = want
    else:
        l.read_want = want
    return done


cdef object attach(fc_link *l, object sock):
    """Point *l* at *sock*; returns what must be kept alive."""
    fc_link_init(l, sock.fileno())
    if l.fd < 0:
        raise ValueError("the socket is closed")
    if not isinstance(sock, ssl.SSLSocket):
        return sock
    if sock.gettimeout() != 0:
        raise ValueError("a lent SSLSocket must be non-blocking")
    sslobj = sock._sslobj
    if sslobj is None:
        raise ValueError("the SSLSocket has no TLS connection")
    l.ssl = ssl_pointer(sslobj)
    if l.ssl != NULL:
        fc_tls_prepare(l.ssl)
    else:
        l.py = <void *>sock
        l.py_io = <fc_py_io>python_io
    return sock, sslobj
