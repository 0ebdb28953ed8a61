/* What all transports have in common: their life from connection_made() to connection_lost(), the calls into the
   protocol, what happens to errors, and the flow control of writing. */
#ifndef FL_NET_TRANSPORT_H
#define FL_NET_TRANSPORT_H

#include "loop/io.h"
#include "net/address.h"
#include "net/server.h"

typedef struct fl_transport TransportObject;

/* How far a transport's life is.  It only goes on, and may skip phases. */
typedef enum {
    FL_NEW,     /* its first turn has not come */
    FL_OPEN,    /* data passes, or is about to: behind connection_made(), or a handshake */
    FL_CLOSING, /* nothing is received for the protocol any more; what was written is still sent */
    FL_LOSING,  /* nothing is sent any more; connection_lost() is scheduled */
    FL_LOST,    /* connection_lost() was called */
} fl_phase;

/* Who wants to be told of what arrives, in fl_transport.wants. */
enum {
    FL_WANT_PROTOCOL = 1, /* the protocol, while the transport is open and reading is not paused */
    FL_WANT_LAYER =
        2, /* the layer for its own sake, whatever the protocol wants and also while closing */
    FL_WANT_READ_AHEAD = 4, /* the layer, which keeps what comes while reading is paused */
};

/* Where the kinds of transports differ. */
typedef struct {
    fl_io_ops io;                         /* first: fl_io.ops points here */
    const char *read_error, *write_error; /* messages for the exception handler */
    size_t high_water;                    /* bytes: the high watermark unless another is set */
    bool socket;                          /* it is one: get_extra_info() knows its names */
    bool quiet_errors; /* any OSError is the peer's doing; else only EIO is, and the others are reported */

    /* Bytes accepted and not yet given to the kernel; drop them; try to send what is corked now. */
    size_t (*unsent)(TransportObject *self);
    void (*discard)(TransportObject *self);
    void (*flush_cork)(TransportObject *self);

    /* -- what some do not have: NULL -- */

    /* abort(): send what is corked, whatever comes of it. */
    void (*flush_last)(TransportObject *self);
    /* This one becomes the protocol.  0 or -1. */
    int (*adopt)(TransportObject *self, PyObject *protocol);
    /* The first turn, instead of fl_transport_call_made(). */
    void (*begin)(TransportObject *self);
    /* close(): tell the peer before the end.  0 or -1. */
    int (*shutdown)(TransportObject *self);
    /* resume_reading() was called.  0 or -1. */
    int (*resumed)(TransportObject *self);
    /* connection_lost(exc or None) has been called.  0 or -1. */
    int (*lost)(TransportObject *self, PyObject *exc);
    /* What else get_extra_info() knows: a new reference, or NULL with or without an exception. */
    PyObject *(*info)(TransportObject *self, PyObject *key);
    /* The names that info() knows, up to NULL. */
    const char *const *infos;
} fl_transport_ops;

/* What every transport begins with. */
#define FL_TRANSPORT_FIELDS                                                                        \
    PyObject_HEAD                                                                                  \
    PyObject *extra;     /* owned: the dict that asyncio.BaseTransport calls _extra; NULL: not asked for */ \
    LoopObject *loop;    /* owned; NULL before __init__() */                                       \
    fl_io io;            /* fd, and whether close() or abort() was called */                       \
    PyObject *file;      /* owned: the socket or pipe object, kept when closed; or NULL: nobody asked for it */ \
    PyObject *protocol;  /* owned; NULL after connection_lost() */                                 \
    PyObject *context;   /* owned: the contextvars that all calls into the protocol see */         \
    PyObject *waiter;    /* owned or NULL: the future to complete once the connection can be used */ \
    PyObject *lost_exc;  /* owned or NULL: for connection_lost() */                                \
    ServerObject *server; /* owned or NULL */                                                      \
    fl_list server_link; /* in server->clients */                                                  \
    PyObject *dict;                                                                                \
    PyObject *weakrefs;                                                                            \
    fl_inet peer;        /* who is at the other end, as known from the beginning */                \
    fl_inet local;       /* the own name, kept when the descriptor goes */                         \
    size_t high_water;   /* bytes unsent: above, the protocol is told to pause */                   \
    size_t low_water;    /* bytes unsent: at or below, it is told to go on */                                   \
    int number;          /* the descriptor, also when it is closed */                              \
    unsigned vain_writes; /* from FL_LOSING on: 1, and one more for each write(): asyncio's _conn_lost */   \
    uint8_t phase;       /* fl_phase; fl_transport_enter() sets it */                              \
    uint8_t wants;       /* FL_WANT_…; fl_transport_rearm() acts on it */                          \
    bool held;           /* `file` is a socket whose descriptor its maker cannot close meanwhile */ \
    bool made;           /* connection_made() was called, so connection_lost() will be */          \
    bool paused;         /* pause_reading() */                                                     \
    bool draining;       /* told when the descriptor takes more bytes */                           \
    bool protocol_paused; /* pause_writing() was called */                                         \
    bool inside          /* a call into the protocol is under way in `context` */

struct fl_transport {
    FL_TRANSPORT_FIELDS;
};

/* What each kind of transport begins with: the same fields, by their names and as `transport`. */
#define FL_TRANSPORT_BASE                                                                          \
    union {                                                                                        \
        TransportObject transport;                                                                 \
        struct {                                                                                   \
            FL_TRANSPORT_FIELDS;                                                                   \
        };                                                                                         \
    }

#define FL_TRANSPORT_DEFAULT_HIGH (64 * 1024) /* bytes */

static inline const fl_transport_ops *
fl_transport_ops_of(const TransportObject *self)
{
    return (const fl_transport_ops *)self->io.ops;
}

/* close() or abort() was called, or the connection has ended by itself. */
static inline bool
fl_transport_is_closing(const TransportObject *self)
{
    return self->phase >= FL_CLOSING;
}

/* Have it told, or not any more, of what arrives on somebody's behalf (FL_WANT_…), from the next fl_transport_rearm() on. */
static inline void
fl_transport_want(TransportObject *self, unsigned who, bool wanted)
{
    self->wants = (uint8_t)(wanted ? self->wants | who : self->wants & ~who);
}

/* -- life ------------------------------------------------------------------------------------------ */

/* Go on to a later phase; nothing if it is there or beyond. */
void fl_transport_enter(TransportObject *self, fl_phase phase);

/* fl_transport_ops.io for a type with these ways of its own. */
#define FL_TRANSPORT_IO(ready_fn, flush_fn)                                                        \
    {.ready = ready_fn, .flush = flush_fn, .begin = fl_transport_begin, .end = fl_transport_end}

/* What it does and how much it buffers is as `ops` says from now on. */
void fl_transport_set_ops(TransportObject *self, const fl_transport_ops *ops);

/* Fill the common fields of an object that is all zero; `fd` stays the caller's on failure.  0 or -1. */
int fl_transport_init(TransportObject *self, LoopObject *loop, const fl_transport_ops *ops, int fd,
                      PyObject *protocol);

/* Have connection_made() called in the next turn, then `waiter` (NULL or None: nothing) completed and
   reading begun.  0 or -1. */
int fl_transport_schedule_made(TransportObject *self, PyObject *waiter);

/* The first turn of most: call connection_made() and begin to read. */
void fl_transport_call_made(TransportObject *self);

/* Complete the future in *waiter and drop it, if there is one: with exc unless that is NULL. */
void fl_transport_complete_waiter(TransportObject *self, PyObject **waiter, PyObject *exc);

/* The same when the connection is lost because of exc, NULL: it was closed.  Then it is ConnectionAbortedError. */
void fl_transport_fail_waiter(TransportObject *self, PyObject **waiter, PyObject *exc);

/* asyncio's close() and _force_close() (exc NULL: abort).  0 or -1. */
int fl_transport_close(TransportObject *self);
int fl_transport_force_close(TransportObject *self, PyObject *exc);

/* asyncio's _fatal_error() with the raised exception; SystemExit and KeyboardInterrupt end the run, and not the
   connection. */
void fl_transport_fatal(TransportObject *self, const char *message);

/* For methods that Python calls: try to send what is corked now.  0, or -1 with what user's code has raised that ends
   the run. */
int fl_transport_flush_cork(TransportObject *self);

/* The outcome rc of a step that ends a connection: an exception is reported. */
void fl_transport_report_close(TransportObject *self, int rc);

/* Have connection_lost(exc) called in the next turn; exc may be NULL.  0 or -1. */
int fl_transport_schedule_lost(TransportObject *self, PyObject *exc);

/* Call connection_lost() now. */
void fl_transport_call_lost(TransportObject *self);

/* fl_io_ops.{begin,end} of all transports. */
void fl_transport_begin(fl_io *io);
void fl_transport_end(fl_io *io);

/* Tell the loop what the transport is interested in.  0 or -1. */
int fl_transport_rearm(TransportObject *self);

/* The same when it was told of something that it is not interested in any more; an error ends the run, since the loop
   would tell it again and again. */
void fl_transport_rearm_ready(TransportObject *self);

int fl_transport_traverse(TransportObject *self, visitproc visit, void *arg);
void fl_transport_clear(TransportObject *self);
void fl_transport_finalize(TransportObject *self);

/* tp_dealloc in two halves, between which a type lets go of what is its own.  The first says whether the object is
   still to be deallocated. */
bool fl_transport_begin_dealloc(TransportObject *self);
void fl_transport_end_dealloc(TransportObject *self);

/* -- calls into the protocol ----------------------------------------------------------------------- */

/* protocol.name(first, second) (NULL: so many fewer arguments) in the transport's context: the result or NULL with
   an exception.  None when the transport is gone and has no protocol any more. */
PyObject *fl_transport_call_two(TransportObject *self, PyObject *name, PyObject *first,
                                PyObject *second);

static inline PyObject *
fl_transport_call(TransportObject *self, PyObject *name, PyObject *argument)
{
    return fl_transport_call_two(self, name, argument, NULL);
}

/* Give the raised exception to the loop's exception handler. */
void fl_transport_report(TransportObject *self, const char *message);

/* In debug mode: logger.level(format, self), errors of which are reported. */
void fl_transport_log(TransportObject *self, const char *level, const char *format);

/* protocol.name() has returned `result`, which is taken; NULL: the raised exception is reported, as a Handle reports one
   of its callback. */
void fl_transport_called(TransportObject *self, PyObject *name, PyObject *result);

/* -- flow control ---------------------------------------------------------------------------------- */

/* Call pause_writing() or resume_writing() if it is time to. */
void fl_transport_maybe_pause(TransportObject *self);
void fl_transport_maybe_resume(TransportObject *self);

/* Some of what was accepted was sent: tell the protocol to pause, or if it had paused before, to go on. */
void fl_transport_sent(TransportObject *self);

/* A write after connection_lost was scheduled: count, and warn from the fifth on.  0 or -1. */
int fl_transport_vain_write(TransportObject *self, const char *warning);

/* -- the Python face (transport_type.c) ------------------------------------------------------------- */

extern PyMethodDef fl_transport_methods[], fl_reading_methods[], fl_flow_methods[];

/* Where __dict__ and weak references are, for each type's PyMemberDef array. */
#define FL_TRANSPORT_OFFSETS                                                                       \
    {"__dictoffset__", T_PYSSIZET, offsetof(TransportObject, dict), READONLY, NULL},               \
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TransportObject, weakrefs), READONLY, NULL}

/* The attribute __dict__, for each type's PyGetSetDef array. */
#define FL_TRANSPORT_DICT                                                                          \
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL}

/* tp_init: everything was done by tp_new. */
int fl_transport_init_nothing(PyObject *self, PyObject *args, PyObject *kwargs);

/* Make a type that derives from one of asyncio's (or a tuple of them), with the attributes of every transport and the methods of
   `topics` (which ends with NULL), keep it in *slot and add it to the module.  0 or -1. */
int fl_transport_add_type(PyObject *module, PyType_Spec *spec, PyObject *base, const char *name,
                          PyTypeObject **slot, PyMethodDef *const *topics);

/* Watermarks in bytes from the arguments high and low of set_write_buffer_limits() and the like, either of which may be
   missing; `preset` is the high one if both are.  0, or -1 with an exception. */
int fl_watermarks_given(PyObject *const given[2], size_t preset, size_t *high_water,
                        size_t *low_water);

/* What repr() says about it: whether and what it reads and writes.  A new reference. */
PyObject *fl_transport_repr(TransportObject *self);

#endif
