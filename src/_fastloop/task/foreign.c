/* Tasks among loops and futures that are not ours: a Task of ours stepped by another loop's call_soon(), a future of
   another kind that a Task of ours awaits, and things that are no futures at all. */
#include "task/foreign.h"

#include "loop/current.h"
#include "task/step.h"

/* -- stepped by others ----------------------------------------------------------------------------- */

/* One step on a loop of another kind, which has entered the context.  exc is taken. */
static int
foreign_step(TaskObject *self, PyObject *exc)
{
    fl_state *state = self->state;
    if (fl_task_begin_step(self, &exc) < 0) {
        Py_XDECREF(exc);
        return -1;
    }
    PyObject *loop = Py_NewRef(self->loop);
    int rc = fl_current_swap(state, loop, (PyObject *)self, NULL);
    if (rc == 0) {
        rc = fl_task_resume(self, exc);
        PyObject *raised = PyErr_GetRaisedException();
        rc = fl_current_swap(state, loop, NULL, NULL) < 0 ? -1 : rc;
        if (raised != NULL) {
            PyErr_SetRaisedException(raised);
        }
    }
    else {
        Py_XDECREF(exc);
    }
    Py_DECREF(loop);
    return rc;
}

/* One step on one of our loops when a handle has entered the context.  exc is taken. */
static int
foreign_step_of_handle(TaskObject *self, PyObject *exc)
{
    if (fl_task_begin_step(self, &exc) < 0 ||
        fl_current_publish((LoopObject *)self->loop, (PyObject *)self) < 0) {
        Py_XDECREF(exc);
        return -1;
    }
    return fl_task_resume(self, exc);
}

static PyObject *
foreign_step_called(TaskObject *self, PyObject *exc)
{
    int rc = self->native ? foreign_step_of_handle(self, exc) : foreign_step(self, exc);
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

/* What a foreign call_soon() gets. */
static PyObject *
Task_step(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    TaskObject *self = (TaskObject *)object;
    PyObject *exc = self->throw_next;
    self->throw_next = NULL;
    return foreign_step_called(self, exc);
}

/* What a foreign future gets as done-callback. */
static PyObject *
Task_wakeup(PyObject *object, PyObject *future)
{
    TaskObject *self = (TaskObject *)object;
    return foreign_step_called(self, fl_task_waiter_exception(self->state, future));
}

static PyMethodDef step_method = {"task_step", Task_step, METH_NOARGS, NULL};
static PyMethodDef wakeup_method = {"task_wakeup", Task_wakeup, METH_O, NULL};

static PyObject *
foreign_step_method(TaskObject *self)
{
    return PyCFunction_New(&step_method, (PyObject *)self);
}

static PyObject *
foreign_wakeup_method(TaskObject *self)
{
    return PyCFunction_New(&wakeup_method, (PyObject *)self);
}

/* -- awaiting others ------------------------------------------------------------------------------- */

/* The loop of any future: get_loop(), else _loop.  A new reference or NULL. */
static PyObject *
foreign_loop(fl_state *state, PyObject *future)
{
    PyObject *get_loop;
    int found = PyObject_GetOptionalAttr(future, state->str_get_loop, &get_loop);
    if (found <= 0) {
        return found < 0 ? NULL : PyObject_GetAttr(future, state->str__loop);
    }
    PyObject *loop = PyObject_CallNoArgs(get_loop);
    Py_DECREF(get_loop);
    return loop;
}

/* future.add_done_callback(wakeup, context=context) */
static int
foreign_add_wakeup(TaskObject *self, PyObject *future)
{
    fl_state *state = self->state;
    PyObject *wakeup = foreign_wakeup_method(self);
    PyObject *kwnames = wakeup == NULL ? NULL : PyTuple_Pack(1, state->str_context);
    PyObject *result = NULL;
    if (kwnames != NULL) {
        PyObject *args[] = {future, wakeup, self->context};
        result = PyObject_VectorcallMethod(state->str_add_done_callback, args, 2, kwnames);
    }
    Py_XDECREF(wakeup);
    Py_XDECREF(kwnames);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Whether the coroutine did what asyncio's protocol for futures of any kind asks for; results as for `await`. */
static int
foreign_check(TaskObject *self, PyObject *future, PyObject *blocking)
{
    PyObject *loop = foreign_loop(self->state, future);
    if (loop == NULL) {
        return -1;
    }
    bool same_loop = loop == self->loop;
    Py_DECREF(loop);
    if (!same_loop) {
        PyErr_Format(PyExc_RuntimeError, "Task %R got Future %R attached to a different loop", self,
                     future);
        return 0;
    }
    int awaited = PyObject_IsTrue(blocking);
    if (awaited == 0) {
        PyErr_Format(PyExc_RuntimeError, "yield was used instead of yield from in task %R with %R",
                     self, future);
    }
    if (awaited > 0 && future == (PyObject *)self) {
        PyErr_Format(PyExc_RuntimeError, "Task cannot await on itself: %R", self);
        return 0;
    }
    return awaited;
}

/* It yielded something that is no future at all: an exception to throw into it. */
static void
foreign_refuse(TaskObject *self, PyObject *object)
{
    if (PyGen_CheckExact(object)) {
        PyErr_Format(PyExc_RuntimeError,
                     "yield was used instead of yield from for generator in task %R with %R", self,
                     object);
    }
    else {
        PyErr_Format(PyExc_RuntimeError, "Task got bad yield: %R", object);
    }
}

/* It yielded an object that says whether it is awaited. */
static int
foreign_await_future(TaskObject *self, PyObject *future, PyObject *blocking)
{
    int awaited = foreign_check(self, future, blocking);
    if (awaited <= 0) {
        return awaited;
    }
    if (PyObject_SetAttr(future, self->state->str__asyncio_future_blocking, Py_False) < 0 ||
        foreign_add_wakeup(self, future) < 0) {
        return -1;
    }
    return 1;
}

static int
foreign_await(TaskObject *self, PyObject *object)
{
    PyObject *blocking;
    int found =
        PyObject_GetOptionalAttr(object, self->state->str__asyncio_future_blocking, &blocking);
    if (found < 0) {
        return -1;
    }
    if (found == 0 || blocking == Py_None) {
        Py_XDECREF(blocking);
        foreign_refuse(self, object);
        return 0;
    }
    int awaited = foreign_await_future(self, object, blocking);
    Py_DECREF(blocking);
    return awaited;
}

static const struct fl_foreign_ops foreign_ops = {
    .step_method = foreign_step_method,
    .wakeup_method = foreign_wakeup_method,
    .await = foreign_await,
};

void
fl_foreign_setup(fl_state *state)
{
    state->foreign = &foreign_ops;
}
