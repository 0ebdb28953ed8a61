/* Handle and TimerHandle: a callback with its arguments and context. */
#ifndef FL_LOOP_HANDLE_H
#define FL_LOOP_HANDLE_H

#include "loop/loop.h"

#define FL_HANDLE_INLINE 3 /* arguments kept in the handle itself */

typedef struct fl_waiter fl_waiter;

/* One struct serves both types.  It is kept small: a burst of callbacks costs what touching its handles
   costs.  The collector tracks timers only; a plain handle is visited through the queue that owns it, and
   one that somebody keeps lets go of what it referred to when it has run. */
typedef struct {
    PyObject_HEAD
    LoopObject *loop;                 /* owned; NULL once no queue has it */
    PyObject *context;                /* owned */
    PyObject *callback;               /* owned; NULL once cancelled, or run and kept by somebody */
    PyObject *args[FL_HANDLE_INLINE]; /* owned; with nargs > FL_HANDLE_INLINE args[0] is a tuple of all;
                                         without a callback args[0] is what remains of it: the former
                                         repr(), its code object, or NULL */
    PyObject *source_tb;              /* owned; debug mode: where the handle was made */
    PyObject *weakrefs;
    union {
        double when;        /* TimerHandle: deadline, seconds */
        fl_waiter *waiters; /* `threadsafe`: threads that wait for the end of the run, or NULL */
    };
    unsigned long runner; /* `threadsafe` and running: the thread that runs it */
    int nargs;
    bool timer; /* it is a TimerHandle */
    bool cancelled;
    bool running;   /* callback and args are in use: cancel() keeps them until the end of the run */
    bool scheduled; /* TimerHandle: in the heap */
    bool threadsafe; /* made by call_soon_threadsafe(): see fl_handle_wait_for_run() */
    bool watching;   /* it watches a descriptor, and may run many times */
    bool lent; /* the ready ring's reference is not counted: the counted ones are its users' */
    bool kept; /* it was handed out, and a user may still have it */
} HandleObject;

/* A new handle.  context NULL: a copy of the current one.  NULL with an exception on failure. */
HandleObject *fl_handle_new(LoopObject *loop, PyTypeObject *type, PyObject *callback,
                            PyObject *const *args, Py_ssize_t nargs, PyObject *context);

/* tp_dealloc of both types. */
void fl_handle_dealloc(HandleObject *handle);

/* Queue a new plain handle that is to be handed out: its reference stays with the caller, who gives it to a user.  The
   ring's is lent, that is not counted, so that it learns when the last user has dropped the handle.  Not for timers: what
   the collector tracks must not be deallocated while a queue has it, since that may be put off.
   0, or -1 with MemoryError, and the handle is gone. */
static inline int
fl_handle_queue_lent(LoopObject *loop, HandleObject *handle)
{
    if (fl_loop_push(loop, (PyObject *)handle, FL_READY_HANDLE) < 0) {
        return -1;
    }
    handle->lent = handle->kept = true;
    return 0;
}

/* A new reference for a user to a handle that a queue may own, None for NULL. */
PyObject *fl_handle_hand_out(PyObject *handle);

void fl_handle_cancel(HandleObject *handle);

/* From Python 3.14 on asyncio lets whoever cancels a thread-safe handle, or asks whether it is cancelled,
   from another thread wait while the callback runs.  Releases the interpreter lock while it waits. */
void fl_handle_wait_for_run(HandleObject *handle);

/* Call the callback in its context. */
void fl_handle_run(HandleObject *handle);

/* Call callback(*args) in context; nargsf as for a vectorcall.  0, or -1 with whatever was raised. */
int fl_run_in_context(PyObject *context, PyObject *callback, PyObject *const *args, size_t nargsf);

/* The raised exception of a callback ends the run, or goes to the exception handler, with handle as its origin. */
void fl_handle_report(LoopObject *loop, HandleObject *handle);

/* tp_traverse and tp_clear of TimerHandle. */
int fl_handle_traverse(HandleObject *handle, visitproc visit, void *arg);
int fl_handle_clear(HandleObject *handle);

/* Visit a handle in the ring or the heap: its references in its place, when no user has it, but for a timer that waits. */
int fl_handle_visit_queued(PyObject *handle, visitproc visit, void *arg);

/* The same for one in the watch table, of which the ring may have further references. */
int fl_handle_visit_watching(PyObject *handle, visitproc visit, void *arg);

/* A queue gives up a handle: it will not run (again).  Takes the reference. */
void fl_handle_release(HandleObject *handle);

/* The arguments as a new tuple, empty without a callback. */
PyObject *fl_handle_args(HandleObject *handle);

/* "name(args) at file:line" of a handle with a callback, worded by asyncio. */
PyObject *fl_handle_describe_call(HandleObject *handle);

/* The work of a FL_READY_HANDLE word. */
void fl_handle_run_ready(LoopObject *loop, PyObject *item);

/* Add the types to the module state and the run function for FL_READY_HANDLE.  0 or -1. */
int fl_handle_setup_types(PyObject *module, fl_state *state);

#endif
