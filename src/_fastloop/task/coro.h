/* Coroutine objects written in C: what a method returns that asyncio has as `async def`. */
#ifndef FL_TASK_CORO_H
#define FL_TASK_CORO_H

#include "state.h"

typedef struct fl_coro CoroObject;

/* What tells one kind of coroutine from another. */
typedef struct {
    const char *qualname; /* with its class, as in "Loop.sock_recv"; __name__ is what follows the last dot */
    /* Begin or go on: PYGEN_NEXT with what the task is to wait for, PYGEN_RETURN with the result, or PYGEN_ERROR with
       an exception, as a new reference.  Called only if it does not wait any more. */
    PySendResult (*resume)(CoroObject *coro, PyObject **result);
    /* What it waits for since it was last resumed has not happened yet. */
    bool (*waits)(CoroObject *coro);
    /* That thing as `cr_await` shows it, borrowed, or NULL. */
    PyObject *(*awaited)(CoroObject *coro);
    /* It has returned, failed or been given up, once: let go of everything, and stop waiting. */
    void (*release)(CoroObject *coro);
    /* tp_traverse of what release() lets go of. */
    int (*traverse)(CoroObject *coro, visitproc visit, void *arg);
} fl_coro_ops;

/* The fields with which the struct of each kind begins. */
#define FL_CORO_FIELDS                                                                             \
    PyObject_HEAD                                                                                  \
    const fl_coro_ops *ops;                                                                        \
    bool started; /* it was resumed or given up at least once */                                   \
    bool running; /* resume() is on the C stack */                                                 \
    bool finished /* release() was called */

struct fl_coro {
    FL_CORO_FIELDS;
};

/* A new coroutine, not started, all further fields zero; or NULL with an exception. */
CoroObject *fl_coro_new(PyTypeObject *type, const fl_coro_ops *ops);

/* What PyType_FromModuleAndSpec() needs to know of a kind of coroutine. */
typedef struct {
    const char *name; /* with the module */
    const char *doc;
    int basicsize;
} fl_coro_spec;

/* Make the type, keep it in *slot and add it to the module.  0, or -1 with an exception. */
int fl_coro_add_type(PyObject *module, const fl_coro_spec *spec, PyTypeObject **slot);

#endif
