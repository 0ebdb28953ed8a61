/* Future: a result that is not there yet, and who waits for it. */
#ifndef FL_TASK_FUTURE_H
#define FL_TASK_FUTURE_H

#include "loop/loop.h"

typedef enum { FL_PENDING, FL_CANCELLED, FL_FINISHED } fl_future_status;

/* The fields of a Future.  `callbacks` is one of
     NULL                nobody waits
     a Task              that task awaits the future and nobody else waits
     a tuple (fn, ctx)   one done-callback; on a future that is done: it is queued as FL_READY_DONE
     a list              several of the above */
#define FL_FUTURE_FIELDS                                                                           \
    PyObject_HEAD                                                                                  \
    fl_state *state;         /* borrowed from the type, see fl_state_hold() */                                                \
    PyObject *loop;          /* owned; NULL before __init__() */                                   \
    PyObject *callbacks;     /* owned; see above */                                                \
    PyObject *result;        /* owned; FL_FINISHED: the result, or the exception if `failed` */    \
    PyObject *exception_tb;  /* owned; the exception's traceback when it was stored, or NULL */    \
    PyObject *cancel_msg;    /* owned or NULL */                                                   \
    PyObject *cancelled_exc; /* owned; the CancelledError to hand out once, or NULL */             \
    PyObject *source_tb;     /* owned; debug mode: the stack where it was made */                  \
    PyObject *dict;                                                                                \
    PyObject *weakrefs;                                                                            \
    uint8_t status;          /* fl_future_status */                                                \
    bool failed;             /* `result` is an exception */                                        \
    bool log_tb;             /* the exception has not been retrieved yet */                        \
    bool blocking;           /* _asyncio_future_blocking */                                        \
    bool native              /* `loop` is a LoopObject */

typedef struct {
    FL_FUTURE_FIELDS;
} FutureObject;

/* What a Task begins with: the same fields, by their names and as `future`. */
#define FL_FUTURE_BASE                                                                             \
    union {                                                                                        \
        FutureObject future;                                                                       \
        struct {                                                                                   \
            FL_FUTURE_FIELDS;                                                                      \
        };                                                                                         \
    }

/* Exactly a Future or a Task: no Python subclass has changed what its methods do. */
static inline bool
fl_future_is_exact(fl_state *state, PyObject *object)
{
    return Py_IS_TYPE(object, state->Future_type) || Py_IS_TYPE(object, state->Task_type);
}

/* The loop when it is one of ours and scheduling on it needs no check; else NULL. */
static inline LoopObject *
fl_future_unchecked_loop(FutureObject *future)
{
    return future->native && ((LoopObject *)future->loop)->unchecked ? (LoopObject *)future->loop
                                                                     : NULL;
}

/* A new pending object of exactly `type`, which begins as a Future, made from `list` if it holds one; all
   further fields are zero.  NULL with an exception on failure. */
FutureObject *fl_future_alloc(LoopObject *loop, fl_freelist *list, PyTypeObject *type);

/* A new pending Future of one of our loops, or NULL with an exception. */
PyObject *fl_future_new(LoopObject *loop);

/* (Re-)initialise: asyncio's Future.__init__(loop=loop); loop may be NULL or None.  0 or -1. */
int fl_future_init(FutureObject *future, PyObject *loop);

/* Raise RuntimeError when __init__() never ran.  0 or -1. */
int fl_future_check_init(FutureObject *future);

/* asyncio's set_result() and set_exception().  0, or -1 with InvalidStateError or what scheduling the
   callbacks raised. */
int fl_future_set_result(FutureObject *future, PyObject *result);
int fl_future_set_exception(FutureObject *future, PyObject *exception);

/* asyncio's Future.cancel(msg): 1, 0 when it was done, or -1 with an exception. */
int fl_future_cancel(FutureObject *future, PyObject *msg);

/* The outcome: 1 with the result in *out, 0 with the exception to raise in *out (its traceback set anew,
   marked as retrieved), or -1 with an exception when it is pending or something failed. */
int fl_future_outcome(FutureObject *future, PyObject **out);

/* The CancelledError of a cancelled future, handed out once and then made anew. */
PyObject *fl_future_make_cancelled_error(FutureObject *future);

/* At the end of its life: report an exception that was never retrieved. */
void fl_future_finalize(FutureObject *future);

int fl_future_traverse(FutureObject *future, visitproc visit, void *arg);
int fl_future_clear(FutureObject *future);

#endif
