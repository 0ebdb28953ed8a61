/* The run loop: turns of poll, timers and ready work. */
#include "loop/current.h"
#include "loop/exit.h"
#include "loop/handle.h"
#include "loop/io.h"
#include "loop/timers.h"
#include "loop/watch.h"

#include "base/clock.h"
#include "py/call.h"

#include <errno.h>
#include <unistd.h>

#ifndef FL_POLL_TURNS
#define FL_POLL_TURNS 64 /* with work ready, poll after this many turns at the latest … */
#endif
#ifndef FL_POLL_NS
#define FL_POLL_NS 250000 /* … or after this many nanoseconds */
#endif
#define EVENTS_PER_POLL 256

/* -- scheduling ------------------------------------------------------------------------------------ */

int
fl_loop_push(LoopObject *loop, PyObject *item, fl_ready_kind kind)
{
    if (fl_ring_push(&loop->ready, fl_ready_word(item, kind)) < 0) {
        Py_DECREF(item);
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

void
fl_loop_update_direct(LoopObject *loop)
{
    loop->direct = !loop->closed && !loop->debug && !(loop->overrides & FL_OVERRIDE_CALL_SOON);
}

int
fl_loop_check_closed(LoopObject *loop)
{
    if (!loop->closed) {
        return 0;
    }
    PyErr_SetString(PyExc_RuntimeError, loop->forked ? "Event loop belongs to the parent process"
                                                     : "Event loop is closed");
    return -1;
}

int
fl_loop_check_thread(LoopObject *loop)
{
    if (loop->debug && loop->thread_id != 0 && loop->thread_id != PyThread_get_thread_ident()) {
        PyErr_SetString(
            PyExc_RuntimeError,
            "Non-thread-safe operation invoked on an event loop other than the current one");
        return -1;
    }
    return 0;
}

/* -- the clock ------------------------------------------------------------------------------------- */

/* Read the clock of the timers, in seconds: the one given, or what an overridden time() says.  0 or -1. */
static int
loop_time(LoopObject *loop, int64_t now, double *seconds)
{
    if (!(loop->overrides & FL_OVERRIDE_TIME)) {
        *seconds = fl_clock_seconds(now);
        return 0;
    }
    PyObject *time = PyObject_CallMethodNoArgs((PyObject *)loop, loop->state->str_time);
    *seconds = time == NULL ? -1.0 : PyFloat_AsDouble(time);
    Py_XDECREF(time);
    return PyErr_Occurred() ? -1 : 0;
}

char *
fl_loop_scratch(LoopObject *loop)
{
    if (loop->scratch == NULL) {
        loop->scratch = PyMem_RawMalloc(FL_SCRATCH);
        if (loop->scratch == NULL) {
            PyErr_NoMemory();
        }
    }
    return loop->scratch;
}

/* -- waking ---------------------------------------------------------------------------------------- */

void
fl_loop_wake(LoopObject *loop)
{
    if (loop->sleeping) {
        loop->sleeping = false;
        uint64_t one = 1;
        (void)!write(loop->wake_fd, &one, sizeof(one)); /* cannot fail on a counter this low */
    }
}

void
fl_loop_drain_wake(LoopObject *loop)
{
    uint64_t count;
    (void)!read(loop->wake_fd, &count, sizeof(count));
}

/* -- polling --------------------------------------------------------------------------------------- */

/* Wait without the interpreter lock; whoever schedules work meanwhile writes to wake_fd. */
static int
loop_wait_blocking(LoopObject *loop, fl_event *events, int64_t timeout)
{
    fl_backend *backend = loop->backend;
    int n;
    loop->sleeping = true;
    Py_BEGIN_ALLOW_THREADS
    n = backend->ops->wait(backend, events, EVENTS_PER_POLL, timeout);
    Py_END_ALLOW_THREADS
    loop->sleeping = false;
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
    fl_backend *backend = loop->backend;
    loop->polls++;
    int n = timeout == 0 ? backend->ops->wait(backend, events, EVENTS_PER_POLL, 0)
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
    int64_t now = fl_clock_ns();
    double seconds;
    if (loop_time(loop, now, &seconds) < 0) {
        return -1;
    }
    bool busy = fl_ring_len(&loop->ready) > 0 || loop->stopping;
    int64_t wait = busy ? 0 : fl_timers_wait(loop, seconds);
    if (loop_poll_is_due(loop, wait, now)) {
        if (loop_poll(loop, wait) < 0) {
            return -1;
        }
        now = fl_clock_ns();
        if (loop_time(loop, now, &seconds) < 0) {
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

int
fl_loop_check_slow(LoopObject *loop, PyObject *item, int64_t begin)
{
    fl_state *state = loop->state;
    double seconds = fl_clock_seconds(fl_clock_ns() - begin);
    if (seconds < loop->slow_callback_duration) {
        return 0;
    }
    bool is_handle =
        Py_IS_TYPE(item, state->Handle_type) || Py_IS_TYPE(item, state->TimerHandle_type);
    PyObject *name = is_handle ? PyObject_CallOneArg(state->format_handle, item) : Py_NewRef(item);
    if (name == NULL) {
        return -1;
    }
    PyObject *result = PyObject_CallMethod(state->logger, "warning", "sOd",
                                           "Executing %s took %.3f seconds", name, seconds);
    Py_DECREF(name);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* In debug mode: run one item, remembering the handle and watching the time it takes. */
static void
loop_run_word_debug(LoopObject *loop, uintptr_t word)
{
    PyObject *item = Py_NewRef(fl_io_ready_object(word));
    bool is_handle = fl_ready_kind_of(word) == FL_READY_HANDLE;
    Py_XSETREF(loop->current_handle, is_handle ? Py_NewRef(item) : NULL);
    int64_t begin = fl_clock_ns();
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

/* The run ends with an exception: what was written before it still leaves. */
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

/* -- the end --------------------------------------------------------------------------------------- */

static void
loop_close_descriptors(LoopObject *loop)
{
    if (loop->backend != NULL) {
        loop->backend->ops->close(loop->backend);
        loop->backend = NULL;
    }
    if (loop->wake_fd >= 0) {
        close(loop->wake_fd);
        loop->wake_fd = -1;
    }
}

static void
loop_drop_ready(LoopObject *loop)
{
    while (fl_ring_len(&loop->ready) > 0) {
        uintptr_t word = fl_ring_pop(&loop->ready);
        if (fl_ready_kind_of(word) == FL_READY_HANDLE) {
            fl_handle_release((HandleObject *)fl_ready_item(word));
        }
        else {
            Py_DECREF(fl_io_ready_object(word));
        }
    }
}

void
fl_loop_shut(LoopObject *loop)
{
    loop->closed = true;
    fl_loop_update_direct(loop);
    loop_close_descriptors(loop);
    fl_watch_clear(loop);
    fl_io_clear(loop);
    fl_timers_clear(loop);
    loop_drop_ready(loop);
}

void
fl_loop_forked(LoopObject *loop)
{
    loop->forked = true;
    loop->closed = true;
    fl_loop_update_direct(loop);
    loop_close_descriptors(loop);
}
