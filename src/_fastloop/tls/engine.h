/* TLS with no I/O: bytes from the peer go in, plaintext comes out, and the other way round.  An engine owns an
   ssl.SSLObject, whose Python methods do handshake and shutdown, so that exceptions, SNI, ALPN, keylog and sessions
   are Python's own.  In between, data is decrypted and encrypted by SSL_read() and SSL_write() of the OpenSSL that
   _ssl has loaded (openssl.c), or by the SSLObject's methods where that is in doubt (sslobject.c).

   All functions need the interpreter lock and belong to one thread, the loop's.  The caller owns a reference to the
   engine during each call.  A call while another one on the same engine is under way, as from an SNI callback,
   raises RuntimeError.  Each call may have made output, also one that fails (an alert): take it afterwards. */
#ifndef FL_TLS_ENGINE_H
#define FL_TLS_ENGINE_H

#include "tls/library.h"

#include <stdbool.h>

#define FL_TLS_RECORD_MAX (16 * 1024) /* bytes that one record decrypts to at most */

typedef struct fl_tls TLSEngineObject;

/* Results below 1 of functions that return a number of bytes. */
enum {
    FL_TLS_WANTS_INPUT = 0,   /* nothing can be done before more input, or its end */
    FL_TLS_FAILED = -1,       /* with an exception */
    FL_TLS_CLOSE_NOTIFY = -2, /* the peer has sent its close_notify: no more data comes from it */
};

/* OpenSSL's memory for the output of whichever engine of a loop writes next. */
typedef struct {
    TLSLibraryObject *library; /* owned: by which it is given back */
    char *data;                /* or NULL: somebody uses it, or nobody has left any */
    size_t size;
} fl_tls_spare;

/* How data passes: where openssl.c and sslobject.c differ. */
typedef struct {
    int (*feed)(TLSEngineObject *self, const char *data, size_t len); /* 0 or -1 */
    int (*lend)(TLSEngineObject *self, const char *data, size_t len); /* until keep_rest(): 0 or -1 */
    int (*keep_rest)(TLSEngineObject *self);      /* copy what read() has left of them: 0 or -1 */
    int (*feed_eof)(TLSEngineObject *self);       /* 0 or -1 */
    Py_ssize_t (*pending)(TLSEngineObject *self); /* bytes not read, 0: read() has to wait; or -1 */
    Py_ssize_t (*read)(TLSEngineObject *self, char *buffer, size_t size); /* once: at most a record */
    Py_ssize_t (*write)(TLSEngineObject *self, const char *data, size_t len);
    int (*put_first)(TLSEngineObject *self, const char *data, size_t len); /* 0 or -1 */
    int (*output)(TLSEngineObject *self, const char **data, size_t *len);  /* 0 or -1 */
    void (*output_taken)(TLSEngineObject *self, size_t n);
    void (*detach)(TLSEngineObject *self); /* the engine ends, its SSLObject perhaps not */
} fl_tls_ops;

extern const fl_tls_ops fl_tls_openssl_ops;
extern const fl_tls_ops fl_tls_sslobject_ops;

struct fl_tls {
    PyObject_HEAD
    const fl_tls_ops *ops;
    fl_state *state;           /* held */
    TLSLibraryObject *library; /* owned */
    PyObject *sslobject; /* owned: what get_extra_info("ssl_object") shows; NULL before it was made */
    PyObject *failure;   /* owned: the exception that the next read raises, or NULL */
    bool busy;           /* a call is under way */
    bool connected;      /* the handshake is done */
    bool ended; /* end of file, close_notify or failure: a read has more to tell, even without input */

    /* openssl.c.  The two memory BIOs of the SSL get memory of ours, and at the end their own again. */
    PyObject *socket; /* owned: the _ssl._SSLSocket, which owns the SSL; NULL when sslobject.c is at work */
    fl_ssl *ssl;
    fl_bio *in, *out;
    fl_buf_mem *first_in;  /* the own memory of `in` */
    fl_buf_mem *first_out; /* the own memory of `out` */
    fl_buf_mem lent;       /* for `in`: the caller's bytes, attached while `lending` */
    fl_buf_mem kept;       /* for `in`: copies of what was not consumed */
    fl_buf_mem sealed;     /* for `out` */
    size_t taken;          /* bytes at the beginning of `sealed`, or of `output`, that are sent */
    PyObject *share;       /* owned: the capsule that holds `spare`, or NULL */
    fl_tls_spare *spare;   /* NULL: unused memory is given back at once */
    bool lending;

    /* sslobject.c */
    PyObject *incoming, *outgoing; /* owned: the ssl.MemoryBIO of each direction */
    PyObject *output; /* owned: bytes out of `outgoing`, not all of them taken; or NULL */
};

/* Which way data passes. */
typedef enum { FL_TLS_BEST, FL_TLS_OPENSSL, FL_TLS_SSLOBJECT } fl_tls_way;

/* A new engine, before its handshake.  The arguments are those of SSLContext.wrap_bio(); server_hostname and session may
   be NULL.  FL_TLS_BEST goes directly where that is possible; with FL_TLS_OPENSSL it is a RuntimeError where it is not. */
TLSEngineObject *fl_tls_new(fl_state *state, PyObject *sslcontext, bool server_side,
                            PyObject *server_hostname, PyObject *session, fl_tls_way way);

/* Leave memory that is not in use to other engines with the same slot, which belongs to a loop: an owned object, NULL at
   first.  0, or -1 with MemoryError. */
int fl_tls_share_spare(TLSEngineObject *self, PyObject **slot);

/* Copy bytes from the peer, for the handshake or for a later fl_tls_read().  0 or -1. */
int fl_tls_feed(TLSEngineObject *self, const char *data, size_t len);

/* No more bytes come from the peer.  0 or -1. */
int fl_tls_feed_eof(TLSEngineObject *self);

/* Go on with the handshake.  1: done, 0: wants input, -1: it has failed. */
int fl_tls_handshake(TLSEngineObject *self);

/* Whether OpenSSL's part of the handshake is not done, or -1 with an exception.  What follows is Python code's, such as
   that of a class derived from SSLObject which refuses the peer. */
int fl_tls_in_handshake(TLSEngineObject *self);

/* How much input is left: bytes as received, or decrypted where there are none of these.  -1 with an exception. */
Py_ssize_t fl_tls_pending(TLSEngineObject *self);

/* Decrypt as much as the input allows into the buffer, whose first `filled` of `size` bytes are data from an earlier call
   already.  How many are filled then, or FL_TLS_….  A failure behind some data is kept for the next call.  None of the
   user's code runs but a context's _msg_callback and, when a peer renegotiates TLS 1.2 with a pre-shared key, the callback
   for that key. */
Py_ssize_t fl_tls_read(TLSEngineObject *self, char *buffer, size_t size, size_t filled);

/* The same, into an empty buffer, of `len` more bytes from the peer.  They are decrypted where they stand; what is left of
   them, which is seldom anything, is copied, also after a failure. */
Py_ssize_t fl_tls_receive(TLSEngineObject *self, const char *data, size_t len, char *buffer,
                          size_t size);

/* Encrypt `len` > 0 bytes.  Their number, -1, or FL_TLS_WANTS_INPUT (while the peer renegotiates, in TLS 1.2): then
   call again after more input, with the same bytes in front.  What user's code may run: as for fl_tls_read(). */
Py_ssize_t fl_tls_write(TLSEngineObject *self, const char *data, size_t len);

/* Send a close_notify and wait for the peer's.  1: both were exchanged, 0: wants input, -1: failed.  Data that the peer
   has sent before must have been read. */
int fl_tls_shutdown(TLSEngineObject *self);

/* Before the handshake: have bytes in the output that are sent as they are, ahead of it.  0 or -1. */
int fl_tls_put_first(TLSEngineObject *self, const char *data, size_t len);

/* What is to be sent: a pointer into the engine's memory, good until the next call; *len is 0 when there is nothing.
   All of it, unless something is left of what was given before: then ask again after taking that.  0 or -1. */
int fl_tls_output(TLSEngineObject *self, const char **data, size_t *len);

/* The first n bytes of it are sent. */
void fl_tls_output_taken(TLSEngineObject *self, size_t n);

/* Add the types to the module state.  0 or -1. */
int fl_tls_setup_types(PyObject *module, fl_state *state);

/* -- between the files of tls/ ---------------------------------------------------------------------- */

/* Take over the SSL behind self->sslobject.  1, or 0 without an exception where that must not be done. */
int fl_tls_openssl_begin(TLSEngineObject *self);

/* What the exception of a method of `sslobject` means: FL_TLS_WANTS_INPUT or FL_TLS_CLOSE_NOTIFY, and it is cleared, or
   FL_TLS_FAILED. */
int fl_tls_outcome(TLSEngineObject *self);

#endif
