/* The loop's timers. */
#include "loop/timers.h"

#include <math.h>

#ifndef FL_TIMERS_PURGE_MIN
#define FL_TIMERS_PURGE_MIN 64 /* heaps up to this long are never purged as a whole */
#endif

#define LONGEST_WAIT 86400.0 /* seconds; asyncio waits no longer either */

HandleObject *
fl_timers_add(LoopObject *loop, double when, PyObject *callback, PyObject *const *args,
              Py_ssize_t nargs, PyObject *context)
{
    HandleObject *handle =
        fl_handle_new(loop, loop->state->TimerHandle_type, callback, args, nargs, context);
    if (handle == NULL) {
        return NULL;
    }
    handle->when = when;
    if (fl_heap_push(&loop->timers, when, handle) < 0) {
        Py_DECREF(handle);
        PyErr_NoMemory();
        return NULL;
    }
    handle->scheduled = true;
    return (HandleObject *)Py_NewRef(handle);
}

static bool
timer_is_live(void *item)
{
    return !((HandleObject *)item)->cancelled;
}

static HandleObject *
timers_pop(LoopObject *loop)
{
    HandleObject *handle = fl_heap_pop(&loop->timers);
    handle->scheduled = false;
    if (handle->cancelled) {
        loop->timers_cancelled--;
    }
    return handle;
}

/* Take all cancelled timers out of the heap, then release them: that may run weak reference callbacks,
   which may add timers. */
static int
timers_purge_all(LoopObject *loop)
{
    void **dropped = PyMem_New(void *, loop->timers_cancelled);
    if (dropped == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    size_t gone = fl_heap_filter(&loop->timers, timer_is_live, dropped);
    loop->timers_cancelled = 0;
    for (size_t i = 0; i < gone; i++) {
        ((HandleObject *)dropped[i])->scheduled = false;
    }
    for (size_t i = 0; i < gone; i++) {
        fl_handle_release(dropped[i]);
    }
    PyMem_Free(dropped);
    return 0;
}

int
fl_timers_purge(LoopObject *loop)
{
    if (loop->timers_cancelled == 0) {
        return 0;
    }
    if (loop->timers.len > FL_TIMERS_PURGE_MIN && loop->timers_cancelled > loop->timers.len / 2) {
        return timers_purge_all(loop);
    }
    const fl_deadline *top;
    while ((top = fl_heap_top(&loop->timers)) != NULL && !timer_is_live(top->item)) {
        fl_handle_release(timers_pop(loop));
    }
    return 0;
}

int
fl_timers_fire(LoopObject *loop, double now)
{
    const fl_deadline *top;
    while ((top = fl_heap_top(&loop->timers)) != NULL && top->when <= now) {
        HandleObject *handle = timers_pop(loop);
        if (handle->cancelled) {
            fl_handle_release(handle);
        }
        else if (fl_loop_push(loop, (PyObject *)handle, FL_READY_HANDLE) < 0) {
            return -1;
        }
    }
    return 0;
}

int64_t
fl_timers_wait(LoopObject *loop, double now)
{
    const fl_deadline *top = fl_heap_top(&loop->timers);
    if (top == NULL) {
        return -1;
    }
    double seconds = top->when - now;
    if (seconds <= 0.0) {
        return 0;
    }
    return (int64_t)ceil(fmin(seconds, LONGEST_WAIT) * 1e9);
}

void
fl_timers_clear(LoopObject *loop)
{
    while (fl_heap_top(&loop->timers) != NULL) {
        fl_handle_release(timers_pop(loop));
    }
    fl_heap_free(&loop->timers);
}
