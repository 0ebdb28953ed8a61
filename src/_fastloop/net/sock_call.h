/* SockCall: the coroutine that loop.sock_recv() and the like return.  It tries the operation, waits for
   the descriptor when it would block, and tries again. */
#ifndef FL_NET_SOCK_CALL_H
#define FL_NET_SOCK_CALL_H

#include "loop/loop.h"
#include "loop/watch.h"
#include "task/coro.h"

typedef struct fl_sock_call SockCallObject;

/* One kind of operation. */
typedef struct {
    fl_coro_ops coro;       /* FL_SOCK_CORO with the name of the loop's method */
    fl_direction direction; /* what to wait for when it would block */
    /* Try once: 1 with a new reference in *result, 0 when it would block, -1 with an exception. */
    int (*attempt)(SockCallObject *call, PyObject **result);
} fl_sock_op;

struct fl_sock_call {
    FL_CORO_FIELDS;
    LoopObject *loop; /* owned */
    const fl_sock_op *op;
    PyObject *sock;    /* owned */
    PyObject *args[2]; /* owned or NULL: the operation's own arguments */
    PyObject *future;  /* owned: pending while the call waits, else NULL */
    Py_buffer view;    /* of the data to send; view.obj == NULL until the first attempt */
    Py_ssize_t sent;   /* bytes of it that are gone */
    int fd;            /* waited for, while `future` is not NULL */
    bool waited;       /* the descriptor was reported ready at least once */
    bool plain;        /* sock is exactly a socket.socket: system calls may replace its methods */
};

/* How the operation of that name is a coroutine. */
#define FL_SOCK_CORO(name)                                                                         \
    {"Loop." name,                                                                                 \
     fl_sock_call_resume,                                                                          \
     fl_sock_call_waits,                                                                           \
     fl_sock_call_awaited,                                                                         \
     fl_sock_call_release,                                                                         \
     fl_sock_call_traverse}

PySendResult fl_sock_call_resume(CoroObject *coro, PyObject **result);
bool fl_sock_call_waits(CoroObject *coro);
PyObject *fl_sock_call_awaited(CoroObject *coro);
void fl_sock_call_release(CoroObject *coro);
int fl_sock_call_traverse(CoroObject *coro, visitproc visit, void *arg);

extern const fl_sock_op fl_sock_recv, fl_sock_recv_into, fl_sock_recvfrom, fl_sock_recvfrom_into,
    fl_sock_sendall, fl_sock_sendto, fl_sock_accept, fl_sock_connect;

/* A new call, not started.  args are op's own arguments (NULL where there is none). */
PyObject *fl_sock_call_new(LoopObject *loop, const fl_sock_op *op, PyObject *sock, PyObject *first,
                           PyObject *second);

/* The socket's descriptor, or -1 with an exception: OSError EBADF when it was closed. */
int fl_sock_fileno(SockCallObject *call);

/* Add the type SockCall to the module state.  0 or -1. */
int fl_sock_call_setup_types(PyObject *module, fl_state *state);

#endif
