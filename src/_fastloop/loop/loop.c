/* The loop object: birth, scheduling, checks, clock, scratch memory, wake-up and death.  The lowest file of loop/. */
#include "loop/loop.h"

#include "py/call.h"

#include <sys/eventfd.h>
#include <unistd.h>

/* -- birth ----------------------------------------------------------------------------------------- */

static int
loop_open_descriptors(LoopObject *self)
{
    int err = fl_backend_epoll.open(&self->backend);
    if (err < 0) {
        return fl_raise_errno(err);
    }
    self->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->wake_fd < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    err = self->backend->ops->arm(self->backend, self->wake_fd, FL_WAKE_GENERATION, 0, FL_READ);
    return err < 0 ? fl_raise_errno(err) : 0;
}

static int
loop_read_debug_mode(LoopObject *self)
{
    PyObject *debug = PyObject_CallMethod(self->state->coroutines, "_is_debug_mode", NULL);
    int truth = debug == NULL ? -1 : PyObject_IsTrue(debug);
    Py_XDECREF(debug);
    self->debug = truth > 0;
    return truth < 0 ? -1 : 0;
}

int
fl_loop_init(LoopObject *self, fl_state *state)
{
    self->state = fl_state_hold(state);
    self->wake_fd = -1;
    self->slow_callback_duration = 0.1;
    fl_list_init(&self->tasks);
    fl_list_init(&self->corked);
    fl_heap_init(&self->timers);
    fl_list_append(&state->loops, &self->link);
    if (fl_ring_init(&self->ready) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    return loop_open_descriptors(self) < 0 ? -1 : loop_read_debug_mode(self);
}

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

/* -- checks ---------------------------------------------------------------------------------------- */

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

int
fl_loop_check_slow(LoopObject *loop, PyObject *item, int64_t begin)
{
    fl_state *state = loop->state;
    double seconds = fl_clock_seconds(fl_loop_now(loop) - begin);
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

/* -- the clock ------------------------------------------------------------------------------------- */

int
fl_loop_time(LoopObject *loop, int64_t now, double *seconds)
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

/* -- scratch memory -------------------------------------------------------------------------------- */

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

/* -- death ----------------------------------------------------------------------------------------- */

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

void
fl_loop_close(LoopObject *loop)
{
    loop->closed = true;
    fl_loop_update_direct(loop);
    loop_close_descriptors(loop);
}

void
fl_loop_forked(LoopObject *loop)
{
    loop->forked = true;
    fl_loop_close(loop);
}

void
fl_loop_free(LoopObject *loop)
{
    while (loop->tasks.next != &loop->tasks) {
        fl_list_remove(loop->tasks.next); /* a task that was given another loop */
    }
    fl_ring_free(&loop->ready);
    PyMem_RawFree(loop->scratch);
    fl_list_remove(&loop->link);
}
