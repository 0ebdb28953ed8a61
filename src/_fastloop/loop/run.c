/* The run loop: turns of poll, timers and ready work. */
#include "loop/run.h"

#include "loop/current.h"
#include "loop/exit.h"
#include "loop/handle.h"
#include "loop/inbox.h"
#include "loop/io.h"
#include "loop/timers.h"
#include "loop/watch.h"

#include "py/call.h"

#include <errno.h>

#ifndef FL_POLL_TURNS
#define FL_POLL_TURNS 64 /* with work ready, poll after this many turns at the latest */
#endif
#ifndef FL_POLL_NS
#define FL_POLL_NS 250000 /* with work ready, poll after this many nanoseconds at the latest */
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
        fl_loop_check_closed(loop) < 0) { /* a signal handler may have forked */
        return -1;
    }
    fl_io_flush(loop); /* or have written to a transport */
    if (loop->exit != NULL) {
        return 0;
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
    if (n < 0) {
        return fl_raise_errno(n);
    }
    fl_watch_dispatch(loop, events, n);
    return 0;
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
    return loop->exit != NULL ? 0 : fl_timers_fire(loop, seconds);
}

/* -- running --------------------------------------------------------------------------------------- */

static void
loop_run_word(LoopObject *loop, uintptr_t word)
{
    loop->state->run_ready[fl_ready_kind_of(word)](loop, fl_ready_item(word));
}

/* In debug mode: run one item, remembering the handle and watching the time it takes. */
static void
loop_run_word_debug(LoopObject *loop, uintptr_t word)
{
    PyObject *item = Py_NewRef(fl_io_ready_object(word));
    bool is_handle = fl_ready_kind_of(word) == FL_READY_HANDLE;
    Py_XSETREF(loop->current_handle, is_handle ? Py_NewRef(item) : NULL);
    int64_t begin = fl_loop_now(loop);
    loop_run_word(loop, word);
    if (loop->exit == NULL && fl_loop_check_slow(loop, item, begin) < 0) {
        fl_exit_with_raised(loop);
    }
    Py_CLEAR(loop->current_handle);
    if (is_handle) {
        fl_handle_release((HandleObject *)item);
    }
    else {
        Py_DECREF(item);
    }
}

/* Run what is ready now; what gets ready meanwhile waits for the next turn. */
static void
loop_run_ready(LoopObject *loop)
{
    for (size_t n = fl_ring_len(&loop->ready);
         n > 0 && fl_ring_len(&loop->ready) > 0 && loop->exit == NULL; n--) {
        uintptr_t word = fl_ring_pop(&loop->ready);
        if (loop->debug) {
            loop_run_word_debug(loop, word);
        }
        else {
            loop_run_word(loop, word);
        }
        fl_io_flush(loop);
    }
}

/* One turn: poll when it is due, then run what is ready. */
static void
loop_turn(LoopObject *loop)
{
    if (fl_loop_check_closed(loop) < 0 || fl_timers_purge(loop) < 0 || loop_collect(loop) < 0) {
        fl_exit_with_raised(loop);
    }
    loop_run_ready(loop);
}

/* The run ends with an exception: what was written before it is still sent. */
static void
loop_flush_last(LoopObject *loop)
{
    PyObject *exit = fl_exit_begin(loop);
    fl_io_flush(loop);
    if (fl_exit_end(loop, exit, 0) < 0) {
        PyErr_WriteUnraisable((PyObject *)loop);
    }
}

int
fl_loop_run(LoopObject *loop)
{
    PyObject *before = fl_exit_begin(loop);
    fl_loop_poll_soon(loop); /* a run begins with a poll, however short it is */
    do {
        loop_turn(loop);
    } while (!loop->stopping && loop->exit == NULL);
    if (loop->exit != NULL) {
        loop_flush_last(loop);
    }
    return fl_exit_end(loop, before, 0);
}
