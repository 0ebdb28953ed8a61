/* Objects that deal with readiness themselves: telling them, and flushing what they wrote in a callback. */
#include "loop/io.h"

#include "base/clock.h"
#include "loop/current.h"
#include "loop/exit.h"

/* -- readiness ------------------------------------------------------------------------------------- */

void
fl_io_tell(LoopObject *loop, fl_io *io, unsigned ready)
{
    PyObject *object = Py_NewRef(io->object);
    int64_t begin = loop->debug ? fl_clock_ns() : 0;
    io->ops->ready(io, ready);
    if (begin != 0 && loop->exit == NULL && fl_loop_check_slow(loop, object, begin) < 0) {
        fl_exit_with_raised(loop);
    }
    Py_DECREF(object);
    fl_io_flush(loop);
}

int
fl_io_tell_later(LoopObject *loop, fl_io *io, unsigned ready)
{
    bool queued = io->due != 0;
    io->due |= (uint8_t)ready;
    if (queued) {
        return 0;
    }
    uintptr_t word = (uintptr_t)io | FL_READY_IO;
    if (fl_ring_push(&loop->ready, word) < 0) {
        io->due = 0;
        PyErr_NoMemory();
        return -1;
    }
    Py_INCREF(io->object);
    return 0;
}

void
fl_io_run_ready(LoopObject *loop, PyObject *item)
{
    fl_io *io = (fl_io *)item;
    PyObject *object = io->object; /* its reference was the word's */
    unsigned ready = io->due & fl_io_watched(loop, io);
    io->due = 0;
    if (ready != 0 && fl_current_publish(loop, NULL) < 0) {
        fl_exit_with_raised(loop);
    }
    else if (ready != 0) {
        io->ops->ready(io, ready);
    }
    Py_DECREF(object);
}

/* -- corked ---------------------------------------------------------------------------------------- */

void
fl_io_cork(LoopObject *loop, fl_io *io)
{
    if (!fl_list_is_linked(&io->cork)) {
        Py_INCREF(io->object);
        fl_list_append(&loop->corked, &io->cork);
    }
}

void
fl_io_uncork(fl_io *io)
{
    if (fl_list_is_linked(&io->cork)) {
        fl_list_remove(&io->cork);
        Py_DECREF(io->object);
    }
}

void
fl_io_flush_all(LoopObject *loop)
{
    while (loop->corked.next != &loop->corked && !loop->closed && loop->exit == NULL) {
        fl_io *io = FL_LIST_OWNER(loop->corked.next, fl_io, cork);
        fl_list_remove(&io->cork);
        PyObject *object = io->object; /* its reference was the list's */
        io->ops->flush(io);
        Py_DECREF(object);
    }
}

void
fl_io_clear(LoopObject *loop)
{
    while (loop->corked.next != &loop->corked) {
        fl_io_uncork(FL_LIST_OWNER(loop->corked.next, fl_io, cork));
    }
}
