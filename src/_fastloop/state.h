/* Module state: everything the module would otherwise keep in static variables, so that each
   interpreter has its own.  One list each for types, strings and imports; state.c expands them. */
#ifndef FL_STATE_H
#define FL_STATE_H

#include "compat.h"
#include "base/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef FL_FREELIST_MAX
#define FL_FREELIST_MAX 256 /* dead objects kept of each kind; tests shrink it */
#endif

/* X(name): PyTypeObject *name##_type */
#define FL_TYPES(X)                                                                                \
    X(Future)                                                                                      \
    X(FutureIter)                                                                                  \
    X(Task)                                                                                        \
    X(Handle)                                                                                      \
    X(TimerHandle)                                                                                 \
    X(BaseLoop)                                                                                    \
    X(SockCall)                                                                                    \
    X(StreamTransport)                                                                             \
    X(ReadPipeTransport)                                                                           \
    X(WritePipeTransport)                                                                          \
    X(DatagramTransport)                                                                           \
    X(BaseServer)                                                                                  \
    X(Listener)                                                                                    \
    X(TLSLibrary)                                                                                  \
    X(TLSEngine)                                                                                   \
    X(TLSLayer)                                                                                    \
    X(SSLTransport)

/* X(name): PyObject *str_##name, the interned string "name" */
#define FL_STRINGS(X)                                                                              \
    X(__class__)                                                                                   \
    X(__name__)                                                                                    \
    X(_decref_socketios)                                                                           \
    X(_io_refs)                                                                                    \
    X(_asyncio_future_blocking)                                                                    \
    X(_loop)                                                                                       \
    X(_wakeup)                                                                                     \
    X(accept)                                                                                      \
    X(accepted)                                                                                    \
    X(add_done_callback)                                                                           \
    X(addr)                                                                                        \
    X(address)                                                                                     \
    X(backlog)                                                                                     \
    X(buf)                                                                                         \
    X(buffer_updated)                                                                              \
    X(bufsize)                                                                                     \
    X(call_at)                                                                                     \
    X(call_exception_handler)                                                                      \
    X(call_soon)                                                                                   \
    X(callback)                                                                                    \
    X(cancel)                                                                                      \
    X(close)                                                                                       \
    X(connect)                                                                                     \
    X(connect_ex)                                                                                  \
    X(connection_lost)                                                                             \
    X(connection_made)                                                                             \
    X(context)                                                                                     \
    X(coro)                                                                                        \
    X(count)                                                                                       \
    X(data)                                                                                        \
    X(data_received)                                                                               \
    X(datagram_received)                                                                           \
    X(debug)                                                                                       \
    X(default)                                                                                     \
    X(delay)                                                                                       \
    X(direct)                                                                                      \
    X(do_handshake)                                                                                \
    X(eager_start)                                                                                 \
    X(enabled)                                                                                     \
    X(eof_received)                                                                                \
    X(error_received)                                                                              \
    X(exc)                                                                                         \
    X(exception)                                                                                   \
    X(extra)                                                                                       \
    X(factory)                                                                                     \
    X(fd)                                                                                          \
    X(file)                                                                                        \
    X(future)                                                                                      \
    X(get_buffer)                                                                                  \
    X(get_debug)                                                                                   \
    X(get_loop)                                                                                    \
    X(gettimeout)                                                                                  \
    X(handle)                                                                                      \
    X(handshake_timeout)                                                                           \
    X(high)                                                                                        \
    X(is_running)                                                                                  \
    X(limit)                                                                                       \
    X(list_of_data)                                                                                \
    X(loop)                                                                                        \
    X(low)                                                                                         \
    X(message)                                                                                     \
    X(msg)                                                                                         \
    X(n)                                                                                           \
    X(name)                                                                                        \
    X(nbytes)                                                                                      \
    X(offset)                                                                                      \
    X(pause_writing)                                                                               \
    X(peername)                                                                                    \
    X(pending)                                                                                     \
    X(pipe)                                                                                        \
    X(protocol)                                                                                    \
    X(protocol_factory)                                                                            \
    X(read)                                                                                        \
    X(received)                                                                                    \
    X(recv)                                                                                        \
    X(recv_into)                                                                                   \
    X(recvfrom)                                                                                    \
    X(recvfrom_into)                                                                               \
    X(release)                                                                                     \
    X(remove_done_callback)                                                                        \
    X(result)                                                                                      \
    X(resume_writing)                                                                              \
    X(run_forever)                                                                                 \
    X(send)                                                                                        \
    X(sendto)                                                                                      \
    X(server)                                                                                      \
    X(server_hostname)                                                                             \
    X(server_side)                                                                                 \
    X(session)                                                                                     \
    X(set_name)                                                                                    \
    X(shutdown_timeout)                                                                            \
    X(sock)                                                                                        \
    X(socket)                                                                                      \
    X(sockname)                                                                                    \
    X(source_traceback)                                                                            \
    X(sslcontext)                                                                                  \
    X(task)                                                                                        \
    X(throw)                                                                                       \
    X(time)                                                                                        \
    X(transport)                                                                                   \
    X(unwrap)                                                                                      \
    X(waiter)                                                                                      \
    X(when)                                                                                        \
    X(write)                                                                                       \
    X(write_eof)

/* X(field, module, attribute): PyObject *field */
#define FL_IMPORTS(X)                                                                              \
    X(InvalidStateError, "asyncio.exceptions", "InvalidStateError")                                \
    X(CancelledError, "asyncio.exceptions", "CancelledError")                                      \
    X(asyncio_Future, "asyncio.futures", "Future")                                                 \
    X(asyncio_Task, "asyncio.tasks", "Task")                                                       \
    X(asyncio_Handle, "asyncio.events", "Handle")                                                  \
    X(asyncio_TimerHandle, "asyncio.events", "TimerHandle")                                        \
    X(events, "asyncio", "events")                                                                 \
    X(get_event_loop, "asyncio.events", "get_event_loop")                                          \
    X(get_running_loop, "asyncio.events", "_get_running_loop")                                     \
    X(set_running_loop, "asyncio.events", "_set_running_loop")                                     \
    X(ensure_future, "asyncio.tasks", "ensure_future")                                             \
    X(register_task, "asyncio.tasks", "_register_task")                                            \
    X(isfuture, "asyncio.futures", "isfuture")                                                     \
    X(iscoroutine, "asyncio.coroutines", "iscoroutine")                                            \
    X(coroutines, "asyncio", "coroutines")                                                         \
    X(future_repr, "asyncio.base_futures", "_future_repr")                                         \
    X(task_repr, "asyncio.base_tasks", "_task_repr")                                               \
    X(task_get_stack, "asyncio.base_tasks", "_task_get_stack")                                     \
    X(task_print_stack, "asyncio.base_tasks", "_task_print_stack")                                 \
    X(run_until_complete_cb, "asyncio.base_events", "_run_until_complete_cb")                      \
    X(extract_stack, "asyncio.format_helpers", "extract_stack")                                    \
    X(format_callback_source, "asyncio.format_helpers", "_format_callback_source")                 \
    X(format_handle, "asyncio.base_events", "_format_handle")                                      \
    X(check_ssl_socket, "asyncio.base_events", "_check_ssl_socket")                                \
    X(logger, "asyncio.log", "logger")                                                             \
    X(BufferedProtocol, "asyncio.protocols", "BufferedProtocol")                                   \
    X(asyncio_Transport, "asyncio.transports", "Transport")                                        \
    X(asyncio_ReadTransport, "asyncio.transports", "ReadTransport")                                \
    X(asyncio_DatagramTransport, "asyncio.transports", "DatagramTransport")                        \
    X(TransportSocket, "asyncio.trsock", "TransportSocket")                                        \
    X(SendfileMode, "asyncio.constants", "_SendfileMode")                                          \
    X(socket, "socket", "socket")                                                                  \
    X(get_asyncgen_hooks, "sys", "get_asyncgen_hooks")                                             \
    X(set_asyncgen_hooks, "sys", "set_asyncgen_hooks")                                             \
    X(get_origin_depth, "sys", "get_coroutine_origin_tracking_depth")                              \
    X(set_origin_depth, "sys", "set_coroutine_origin_tracking_depth")

/* What a word of the ready ring asks for; the tag in the low bits of an object pointer. */
typedef enum {
    FL_READY_HANDLE, /* run this Handle */
    FL_READY_STEP,   /* first or next step of this Task */
    FL_READY_WAKE,   /* what this Task waits for is done: step it with the outcome */
    FL_READY_DONE,   /* run the single done-callback of this Future */
    FL_READY_IO, /* tell this fl_io what it is due: that its turn has come, or its descriptor is ready */
    FL_READY_KINDS
} fl_ready_kind;

typedef struct fl_loop LoopObject;

/* Run one ready item, taking over the reference to it.  Exceptions end there: in the loop's exception handler, or in
   loop->exit. */
typedef void (*fl_ready_fn)(LoopObject *loop, PyObject *item);

typedef struct {
    PyObject *items[FL_FREELIST_MAX];
    int len;
    int limit; /* 0 once the module is gone: nothing is kept any more */
} fl_freelist;

typedef struct fl_state {
#define FL_FIELD(name) PyTypeObject *name##_type;
    FL_TYPES(FL_FIELD)
#undef FL_FIELD
#define FL_FIELD(name) PyObject *str_##name;
    FL_STRINGS(FL_FIELD)
#undef FL_FIELD
#define FL_FIELD(field, module, attribute) PyObject *field;
    FL_IMPORTS(FL_FIELD)
#undef FL_FIELD
    size_t users;                /* see fl_state_hold() */
    PyObject *current_tasks;     /* the live dict {loop: task} of asyncio; NULL from 3.14 on */
    PyObject *swap_current_task; /* _asyncio._swap_current_task; NULL before 3.14 */
    PyObject *face_of; /* the Python package's face_of(), or NULL: shown as __class__ of subclasses */
    PyObject *tls_library; /* what tls/ knows of the module ssl; NULL: not asked for yet */
    fl_ready_fn run_ready[FL_READY_KINDS];
    /* Complete the Future that waits for a descriptor; filled by task/, called by loop/. */
    int (*complete_waiter)(PyObject *future);
    /* Tasks among loops and futures that are not ours: filled by task/foreign.c, called by those below it. */
    const struct fl_foreign_ops *foreign;
    fl_list loops;               /* every live Loop of this interpreter, through LoopObject.link */
    uint64_t tasks_created;      /* for the names Task-1, Task-2 … */
    int tasks_listed;            /* whether asyncio.all_tasks() sees our own list of tasks */
    int wraps_stop_iteration;    /* set_exception(StopIteration) stores a RuntimeError */
    int create_task_takes_eager; /* create_task(eager_start=) is accepted */
    fl_freelist free_handles;
    fl_freelist free_timers;
    fl_freelist free_iters;
    fl_freelist free_futures; /* of exactly that type */
    fl_freelist free_tasks;
} fl_state;

extern struct PyModuleDef fl_module;

/* The module's own memory holds a pointer to the state, NULL before it was made. */
static inline fl_state *
fl_state_of_module(PyObject *module)
{
    return *(fl_state **)PyModule_GetState(module);
}

/* The state of the module that made `type` or one of its bases; NULL with an exception if there is none. */
static inline fl_state *
fl_state_of(PyTypeObject *type)
{
    PyObject *module = PyType_GetModuleByDef(type, &fl_module);
    return module == NULL ? NULL : fl_state_of_module(module);
}

/* The module counts as a user of the state, and so does what needs it to the very end of its life: loops, servers and
   TLS engines, of which there are few.  At the interpreter's end the collector may free the module before them.  They
   need no reference to the module that it would have to visit.

   Nothing else counts.  What belongs to a loop and holds it finds the state there.  Futures, which may belong to any
   loop or to none, and their iterators borrow it from their type, which holds the module: whatever can be reached has a
   state.  Only garbage may find it gone, when it is freed, and then asks fl_state_of_dying(). */
static inline fl_state *
fl_state_hold(fl_state *state)
{
    state->users++;
    return state;
}

static inline void
fl_state_release(fl_state *state)
{
    if (--state->users == 0) {
        PyMem_Free(state);
    }
}

/* The state that an object of `type`, which this module has made, has borrowed, at its deallocation.  NULL when the
   collector, freeing both, has cleared the type first: then the module may be gone, and the state with it. */
static inline fl_state *
fl_state_of_dying(PyTypeObject *type, fl_state *state)
{
    return ((PyHeapTypeObject *)type)->ht_module == NULL ? NULL : state;
}

/* The same for an object that knows only its type. */
static inline fl_state *
fl_state_by_type(PyTypeObject *type)
{
    PyObject *module = ((PyHeapTypeObject *)type)->ht_module;
    return module == NULL ? NULL : fl_state_of_module(module);
}

/* A new state with its strings and imports and one user, or NULL with an exception. */
fl_state *fl_state_new(void);
int fl_state_traverse(fl_state *state, visitproc visit, void *arg);
void fl_state_clear(fl_state *state);

#endif
