/* The loop object: birth, scheduling, checks, clock, scratch memory and death.  The lowest file of loop/. */
#include "loop/loop.h"

#include "py/call.h"

/* -- birth ----------------------------------------------------------------------------------------- */

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
    self->ops = fl_backend_default();
    self->slow_callback_duration = 0.1;
    fl_list_init(&self->tasks);
    fl_list_init(&self->corked);
    fl_heap_init(&self->timers);
    fl_list_append(&state->loops, &self->link);
    if (fl_ring_init(&self->ready) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    int err = self->ops->open(&self->backend);
    return err < 0 ? fl_raise_errno(err) : loop_read_debug_mode(self);
}

/* -- scheduling ------------------------------------------------------------------------------------ */

int
fl_loop_push_growing(LoopObject *loop, PyObject *item, fl_ready_kind kind)
{
    if (fl_ring_push(&loop->ready, fl_ready_word(item, kind)) < 0) {
        Py_DECREF(item);
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

void
fl_loop_update_unchecked(LoopObject *loop)
{
    loop->unchecked = !loop->closed && !loop->debug && !(loop->overrides & FL_OVERRIDE_CALL_SOON);
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
fl_loop_ask_time(LoopObject *loop, double *seconds)
{
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

/* -- death ----------------------------------------------------------------------------------------- */

void
fl_loop_close(LoopObject *loop)
{
    fl_backend *backend = loop->backend;
    loop->closed = true;
    loop->sleeping = false; /* in a forked child: the parent's thread may wait */
    fl_loop_update_unchecked(loop);
    loop->backend = NULL;
    if (backend != NULL) {
        loop->ops->close(backend);
    }
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
