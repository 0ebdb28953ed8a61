/* Who waits for a Future. */
#include "task/callbacks.h"

#include "loop/current.h"
#include "loop/exit.h"
#include "loop/handle.h"
#include "py/call.h"
#include "task/foreign.h"

/* -- entries --------------------------------------------------------------------------------------- */

PyObject *
fl_callbacks_entry(PyObject *fn, PyObject *context)
{
    PyObject *owned = context == NULL ? PyContext_CopyCurrent() : Py_NewRef(context);
    PyObject *entry = owned == NULL ? NULL : PyTuple_Pack(2, fn, owned);
    Py_XDECREF(owned);
    return entry;
}

/* A new list of the entries; they, not copies of them. */
static PyObject *
callbacks_snapshot(FutureObject *self)
{
    PyObject *callbacks = Py_XNewRef(self->callbacks);
    if (callbacks == NULL) {
        return PyList_New(0);
    }
    PyObject *list = NULL;
    if (PyList_CheckExact(callbacks)) {
        list = PyList_GetSlice(callbacks, 0, PyList_GET_SIZE(callbacks));
    }
    else if ((list = PyList_New(1)) != NULL) {
        PyList_SET_ITEM(list, 0, Py_NewRef(callbacks));
    }
    Py_DECREF(callbacks);
    return list;
}

static bool
entry_is_task(PyObject *entry)
{
    return !PyTuple_CheckExact(entry);
}

/* The callable of an entry: for a Task its bound wake-up.  A new reference. */
static PyObject *
entry_function(PyObject *entry)
{
    if (!entry_is_task(entry)) {
        return Py_NewRef(PyTuple_GET_ITEM(entry, 0));
    }
    TaskObject *task = (TaskObject *)entry;
    return task->state->foreign->wakeup_method(task);
}

static PyObject *
entry_context(PyObject *entry)
{
    return entry_is_task(entry) ? ((TaskObject *)entry)->context : PyTuple_GET_ITEM(entry, 1);
}

/* -- scheduling ------------------------------------------------------------------------------------ */

/* Queue one entry on a loop that needs no check. */
static int
entry_push(LoopObject *loop, FutureObject *self, PyObject *entry)
{
    if (entry_is_task(entry)) {
        return fl_loop_push(loop, Py_NewRef(entry), FL_READY_WAKE);
    }
    PyObject *argument = (PyObject *)self;
    HandleObject *handle = fl_handle_new(loop, self->state->Handle_type, PyTuple_GET_ITEM(entry, 0),
                                         &argument, 1, PyTuple_GET_ITEM(entry, 1));
    return handle == NULL ? -1 : fl_loop_push(loop, (PyObject *)handle, FL_READY_HANDLE);
}

/* Queue one entry through the loop's call_soon(), which may give the future another loop. */
static int
entry_call_soon(FutureObject *self, PyObject *entry)
{
    PyObject *fn = entry_function(entry);
    if (fn == NULL) {
        return -1;
    }
    PyObject *loop = Py_NewRef(self->loop);
    PyObject *context = Py_NewRef(entry_context(entry));
    int rc = fl_call_soon_method(self->state, loop, fn, (PyObject *)self, context);
    Py_DECREF(fn);
    Py_DECREF(loop);
    Py_DECREF(context);
    return rc;
}

/* Queue one entry, whose reference is taken. */
static int
entry_schedule(FutureObject *self, PyObject *entry)
{
    LoopObject *loop = fl_future_unchecked_loop(self);
    int rc = loop != NULL ? entry_push(loop, self, entry) : entry_call_soon(self, entry);
    Py_DECREF(entry);
    return rc;
}

/* Turn a single entry into a list of it.  Allocating may run anything (the collector, on 3.11). */
static int
callbacks_make_list(FutureObject *self)
{
    PyObject *list = PyList_New(0);
    if (list == NULL) {
        return -1;
    }
    PyObject *single = self->callbacks;
    if (single == NULL || PyList_CheckExact(single)) {
        Py_DECREF(list);
        return 0;
    }
    Py_INCREF(single);
    int rc = PyList_Append(list, single);
    if (rc == 0 && self->callbacks == single) {
        Py_SETREF(self->callbacks, Py_NewRef(list));
    }
    Py_DECREF(single);
    Py_DECREF(list);
    return rc;
}

/* Add an entry to those of a pending future; the reference is taken. */
static int
callbacks_append(FutureObject *self, PyObject *entry)
{
    if (self->callbacks != NULL && !PyList_CheckExact(self->callbacks) &&
        callbacks_make_list(self) < 0) {
        Py_DECREF(entry);
        return -1;
    }
    if (self->status != FL_PENDING) { /* completed meanwhile */
        return entry_schedule(self, entry);
    }
    if (self->callbacks == NULL) {
        self->callbacks = entry;
        return 0;
    }
    PyObject *list = Py_NewRef(self->callbacks);
    int rc = PyList_Append(list, entry);
    Py_DECREF(list);
    Py_DECREF(entry);
    return rc;
}

int
fl_callbacks_add(FutureObject *self, PyObject *entry)
{
    if (entry == NULL) {
        return -1;
    }
    return self->status == FL_PENDING ? callbacks_append(self, entry) : entry_schedule(self, entry);
}

static int
callbacks_schedule_list(FutureObject *self, PyObject *entries)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(entries); i++) {
        if (entry_schedule(self, Py_NewRef(PyList_GET_ITEM(entries, i))) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
callbacks_schedule_all(FutureObject *self)
{
    PyObject *entries = callbacks_snapshot(self);
    if (entries == NULL) {
        return -1;
    }
    Py_CLEAR(self->callbacks);
    int rc = callbacks_schedule_list(self, entries);
    Py_DECREF(entries);
    return rc;
}

int
fl_callbacks_schedule(FutureObject *self)
{
    PyObject *callbacks = self->callbacks;
    if (callbacks == NULL) {
        return 0;
    }
    LoopObject *loop = fl_future_unchecked_loop(self);
    if (loop == NULL || PyList_CheckExact(callbacks)) {
        return callbacks_schedule_all(self);
    }
    if (entry_is_task(callbacks)) {
        self->callbacks = NULL;
        return fl_loop_push(loop, callbacks, FL_READY_WAKE);
    }
    return fl_loop_push(loop, Py_NewRef(self), FL_READY_DONE);
}

/* The callback has failed: report that through a handle made for the purpose, as asyncio would have made one. */
static void
callback_report(LoopObject *loop, FutureObject *self, PyObject *entry)
{
    if (fl_exit_if_asked(loop)) {
        return;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *argument = (PyObject *)self;
    HandleObject *handle = fl_handle_new(loop, self->state->Handle_type, PyTuple_GET_ITEM(entry, 0),
                                         &argument, 1, PyTuple_GET_ITEM(entry, 1));
    PyErr_SetRaisedException(exc);
    if (handle == NULL) {
        fl_exit_with_raised(loop);
        return;
    }
    fl_handle_report(loop, handle);
    fl_handle_release(handle);
}

void
fl_callbacks_run_ready(LoopObject *loop, PyObject *item)
{
    FutureObject *self = (FutureObject *)item;
    PyObject *entry = self->callbacks;
    if (self->status == FL_PENDING || entry == NULL || entry_is_task(entry) ||
        PyList_CheckExact(entry)) {
        /* initialised anew in between */
        Py_DECREF(item);
        return;
    }
    self->callbacks = NULL;
    PyObject *args[] = {NULL, item};
    if (fl_current_publish(loop, NULL) < 0 ||
        fl_run_in_context(PyTuple_GET_ITEM(entry, 1), PyTuple_GET_ITEM(entry, 0), args + 1,
                          1 | PY_VECTORCALL_ARGUMENTS_OFFSET) < 0) {
        callback_report(loop, self, entry);
    }
    Py_DECREF(entry);
    Py_DECREF(item);
}

/* -- removing -------------------------------------------------------------------------------------- */

/* Replace the entries that are not equal to fn in the snapshot by None.  The number of the others, or -1. */
static Py_ssize_t
snapshot_keep_equal(PyObject *entries, PyObject *fn)
{
    Py_ssize_t equals = 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(entries); i++) {
        PyObject *function = entry_function(PyList_GET_ITEM(entries, i));
        int equal = function == NULL ? -1 : PyObject_RichCompareBool(function, fn, Py_EQ);
        Py_XDECREF(function);
        if (equal < 0) {
            return -1;
        }
        equals += equal;
        if (!equal && PyList_SetItem(entries, i, Py_NewRef(Py_None)) < 0) {
            return -1;
        }
    }
    return equals;
}

/* Whether entries[i..] holds this very entry; advances *i past it.  Both lists keep their order. */
static bool
snapshot_take(PyObject *entries, Py_ssize_t *i, PyObject *entry)
{
    for (Py_ssize_t j = *i; j < PyList_GET_SIZE(entries); j++) {
        if (PyList_GET_ITEM(entries, j) == entry) {
            *i = j + 1;
            return true;
        }
    }
    return false;
}

/* Drop the entries that stand in `gone`; others may have come or gone meanwhile. */
static int
callbacks_drop(FutureObject *self, PyObject *gone)
{
    PyObject *now = callbacks_snapshot(self);
    PyObject *kept = now == NULL ? NULL : PyList_New(0);
    Py_ssize_t next = 0;
    int rc = kept == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; rc == 0 && i < PyList_GET_SIZE(now); i++) {
        PyObject *entry = PyList_GET_ITEM(now, i);
        if (!snapshot_take(gone, &next, entry)) {
            rc = PyList_Append(kept, entry);
        }
    }
    Py_XDECREF(now);
    if (rc < 0) {
        Py_XDECREF(kept);
        return -1;
    }
    if (self->status != FL_PENDING) { /* completed meanwhile, and everyone queued */
        Py_DECREF(kept);
        return 0;
    }
    if (PyList_GET_SIZE(kept) == 0) {
        Py_CLEAR(kept);
    }
    Py_XSETREF(self->callbacks, kept);
    return 0;
}

Py_ssize_t
fl_callbacks_remove(FutureObject *self, PyObject *fn)
{
    if (self->callbacks == NULL || self->status != FL_PENDING) {
        return 0;
    }
    PyObject *entries = callbacks_snapshot(self);
    if (entries == NULL) {
        return -1;
    }
    Py_ssize_t removed = snapshot_keep_equal(entries, fn); /* runs any __eq__ */
    if (removed > 0 && self->status == FL_PENDING && callbacks_drop(self, entries) < 0) {
        removed = -1;
    }
    Py_DECREF(entries);
    return removed;
}

/* -- looking --------------------------------------------------------------------------------------- */

PyObject *
fl_callbacks_list(FutureObject *self)
{
    if (self->callbacks == NULL || self->status != FL_PENDING) {
        Py_RETURN_NONE;
    }
    PyObject *list = callbacks_snapshot(self);
    for (Py_ssize_t i = 0; list != NULL && i < PyList_GET_SIZE(list); i++) {
        PyObject *entry = PyList_GET_ITEM(list, i);
        if (!entry_is_task(entry)) {
            continue;
        }
        PyObject *wakeup = entry_function(entry);
        PyObject *pair = wakeup == NULL ? NULL : fl_callbacks_entry(wakeup, entry_context(entry));
        Py_XDECREF(wakeup);
        if (pair == NULL || PyList_SetItem(list, i, pair) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

PyObject *
fl_callbacks_awaiting_tasks(FutureObject *self)
{
    PyObject *entries = callbacks_snapshot(self);
    PyObject *tasks = entries == NULL ? NULL : PySet_New(NULL);
    for (Py_ssize_t i = 0; tasks != NULL && i < PyList_GET_SIZE(entries); i++) {
        PyObject *entry = PyList_GET_ITEM(entries, i);
        if (entry_is_task(entry) && PySet_Add(tasks, entry) < 0) {
            Py_CLEAR(tasks);
        }
    }
    Py_XDECREF(entries);
    if (tasks == NULL) {
        return NULL;
    }
    PyObject *result = PySet_GET_SIZE(tasks) == 0 ? Py_NewRef(Py_None) : PyFrozenSet_New(tasks);
    Py_DECREF(tasks);
    return result;
}
