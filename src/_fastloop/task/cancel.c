/* Cancelling a task, and through it whatever it waits for. */
#include "task/task.h"

int
fl_task_cancel(TaskObject *self, PyObject *msg)
{
    self->log_tb = false;
    if (self->status != FL_PENDING) {
        return 0;
    }
    self->num_cancels++;
    if (self->fut_waiter != NULL) {
        if (Py_EnterRecursiveCall(" while cancelling a chain of tasks")) {
            return -1;
        }
        PyObject *waiter = Py_NewRef(self->fut_waiter);
        int cancelled = fl_future_cancel_any(self->state, waiter, msg);
        Py_DECREF(waiter);
        Py_LeaveRecursiveCall();
        if (cancelled != 0) {
            return cancelled;
        }
    }
    self->must_cancel = true;
    Py_XSETREF(self->cancel_msg, msg == Py_None ? NULL : Py_XNewRef(msg));
    return 1;
}

/* Any other object that a task may wait for, asyncio's own futures included. */
static int
future_cancel_foreign(fl_state *state, PyObject *future, PyObject *msg)
{
    PyObject *kwnames = PyTuple_Pack(1, state->str_msg);
    if (kwnames == NULL) {
        return -1;
    }
    PyObject *args[] = {future, msg == NULL ? Py_None : msg};
    PyObject *answer = PyObject_VectorcallMethod(state->str_cancel, args, 1, kwnames);
    Py_DECREF(kwnames);
    int truth = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    return truth;
}

int
fl_future_cancel_any(fl_state *state, PyObject *future, PyObject *msg)
{
    if (Py_IS_TYPE(future, state->Task_type)) {
        return fl_task_cancel((TaskObject *)future, msg);
    }
    if (Py_IS_TYPE(future, state->Future_type)) {
        return fl_future_cancel((FutureObject *)future, msg);
    }
    return future_cancel_foreign(state, future, msg);
}
