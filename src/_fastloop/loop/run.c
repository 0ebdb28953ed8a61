/* The run loop: turns of poll, timers and ready work. */
#include "loop/run.h"

#include "loop/current.h"
#include "loop/handle.h"
#include "loop/inbox.h"
#include "loop/io.h"
#include "loop/timers.h"
#include "loop/watch.h"

#include "py/call.h"

#include <errno.h>

#ifndef FL_POLL_TURNS
#define FL_POLL_TURNS 64 /* with work ready, poll after this many turns at the latest … */
#endif
#ifndef FL_POLL_NS
#define FL_POLL_NS 250000 /* … or after this many nanoseconds */
#endif
#define EVENTS_PER_POLL 256

/* -- polling --------------------------------------------------------------------------------------- */

/* Wait without the interpreter lock. */
static int
loop_wait_blocking(LoopObject *loop, fl_event *events, int64_t timeout)
{
    const fl_backend_ops *ops = loop->ops;
    fl_backend *backend = loop->backend;
    int n;
    fl_inbox_begin_wait(loop);
    Py_BEGIN_ALLOW_THREADS
    n = ops->wait(backend, events, EVENTS_PER_POLL, timeout);
    Py_END_ALLOW_THREADS
    fl_inbox_end_wait(loop);
    return n;
}

/* Take events from the kernel, waiting up to timeout nanoseconds.  0, or -1 with an exception. */
static int
loop_poll(LoopObject *loop, int64_t timeout)
{
    fl_event events[EVENTS_PER_POLL];
    if (fl_current_publish(loop, NULL) < 0 || PyErr_CheckSignals() < 0 ||
        fl_loop_check_closed(loop) < 0 || /* a signal handler may have forked */
        fl_io_flush(loop) < 0) {          /* or have written to a transport */
        return -1;
    }
    if (fl_ring_len(&loop->ready) > 0 || loop->stopping) {
        timeout = 0; /* a signal handler scheduled something */
    }
    loop->polls++;
    int n = timeout == 0 ? loop->ops->wait(loop->backend, events, EVENTS_PER_POLL, 0)
                         : loop_wait_blocking(loop, events, timeout);
    if (n == -EINTR) {
        return PyErr_CheckSignals();
    }
    if (loop->forked) {
        return fl_loop_check_closed(loop);
    }
    return n < 0 ? fl_raise_errno(n) : fl_watch_dispatch(loop, events, n);
}

/* With work to do (wait == 0) the kernel is not asked at every turn, but often enough not to starve
   input. */
static bool
loop_poll_is_due(LoopObject *loop, int64_t wait, int64_t now)
{
    return wait != 0 || loop->stopping || loop->poll_soon || ++loop->unpolled >= FL_POLL_TURNS ||
           now - loop->polled >= FL_POLL_NS;
}

/* Poll when it is due, then move the due timers to the ready ring.  0, or -1 with an exception. */
static int
loop_collect(LoopObject *loop)
{
    int64_t now = fl_loop_now(loop);
    double seconds;
    if (fl_loop_time(loop, now, &seconds) < 0) {
        return -1;
    }
    bool busy = fl_ring_len(&loop->ready) > 0 || loop->stopping;
    int64_t wait = busy ? 0 : fl_timers_wait(loop, seconds);
    if (loop_poll_is_due(loop, wait, now)) {
        if (loop_poll(loop, wait) < 0) {
            return -1;
        }
        now = fl_loop_now(loop);
        if (fl_loop_time(loop, now, &seconds) < 0) {
            return -1;
        }
        loop->polled = now;
        loop->unpolled = 0;
        loop->poll_soon = false;
    }
    return fl_timers_fire(loop, seconds);
}

/* -- running --------------------------------------------------------------------------------------- */

static int
loop_run_word(LoopObject *loop, uintptr_t word)
{
    return loop->state->run_ready[fl_ready_kind_of(word)](loop, fl_ready_item(word));
}

/* In debug mode: run one item, remembering the handle and watching the time it takes. */
static int
loop_run_word_debug(LoopObject *loop, uintptr_t word)
{
    PyObject *item = Py_NewRef(fl_io_ready_object(word));
    bool is_handle = fl_ready_kind_of(word) == FL_READY_HANDLE;
    Py_XSETREF(loop->current_handle, is_handle ? Py_NewRef(item) : NULL);
    int64_t begin = fl_loop_now(loop);
    int rc = loop_run_word(loop, word);
    if (rc == 0) {
        rc = fl_loop_check_slow(loop, item, begin);
    }
    Py_CLEAR(loop->current_handle);
    if (is_handle) {
        fl_handle_release((HandleObject *)item);
    }
    else {
        Py_DECREF(item);
    }
    return rc;
}

/* Run what is ready now; what gets ready meanwhile waits for the next turn. */
static int
loop_run_ready(LoopObject *loop)
{
    for (size_t n = fl_ring_len(&loop->ready); n > 0 && fl_ring_len(&loop->ready) > 0; n--) {
        uintptr_t word = fl_ring_pop(&loop->ready);
        int rc = loop->debug ? loop_run_word_debug(loop, word) : loop_run_word(loop, word);
        if (rc < 0 || fl_io_flush(loop) < 0) {
            return -1;
        }
    }
    return 0;
}

/* One turn: poll when it is due, then run what is ready. */
static int
loop_turn(LoopObject *loop)
{
    if (fl_loop_check_closed(loop) < 0 || fl_timers_purge(loop) < 0 || loop_collect(loop) < 0) {
        return -1;
    }
    return loop_run_ready(loop);
}

/* An exception ends the run: what was written before it still leaves.  Returns -1 with the exception. */
static int
loop_leave(LoopObject *loop)
{
    PyObject *leaving = PyErr_GetRaisedException();
    if (fl_io_flush(loop) < 0) {
        PyErr_WriteUnraisable((PyObject *)loop);
    }
    PyErr_SetRaisedException(leaving);
    return -1;
}

int
fl_loop_run(LoopObject *loop)
{
    fl_loop_poll_soon(loop); /* a run begins with a poll, however short it is */
    do {
        if (loop_turn(loop) < 0) {
            return loop_leave(loop);
        }
    } while (!loop->stopping);
    return 0;
}
