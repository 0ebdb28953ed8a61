/* Objects that deal with readiness themselves: telling them, and flushing what they wrote in a callback. */
#include "loop/io.h"

#include "loop/current.h"
#include "loop/exit.h"

/* -- readiness ------------------------------------------------------------------------------------- */

void
fl_io_tell(LoopObject *loop, fl_io *io, unsigned ready)
{
    PyObject *object = Py_NewRef(io->object);
    int64_t begin = loop->debug ? fl_loop_now(loop) : 0;
    io->ops->ready(io, ready);
    if (begin != 0 && loop->exit == NULL && fl_loop_check_slow(loop, object, begin) < 0) {
        fl_exit_with_raised(loop);
    }
    Py_DECREF(object);
    fl_io_flush(loop);
}

/* 0, or -1 with MemoryError. */
static int
io_push(LoopObject *loop, fl_io *io, unsigned due)
{
    if (fl_ring_push(&loop->ready, (uintptr_t)io | FL_READY_IO) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    Py_INCREF(io->object);
    io->due |= (uint8_t)due;
    return 0;
}

int
fl_io_tell_later(LoopObject *loop, fl_io *io, unsigned ready)
{
    if (io->due & (FL_READ | FL_WRITE)) { /* its word is queued */
        io->due |= (uint8_t)ready;
        return 0;
    }
    return io_push(loop, io, ready);
}

int
fl_io_queue(LoopObject *loop, fl_io *io, unsigned turn)
{
    return fl_loop_check_closed(loop) < 0 ? -1 : io_push(loop, io, turn);
}

static void
io_ready(fl_io *io, unsigned due)
{
    unsigned ready = due & io->wanted;
    if (ready != 0) {
        io->ops->ready(io, ready);
    }
}

/* There is a word for each turn and one for all readiness, and none says what it stands for.  They were queued in this order,
   since nothing is watched before the first turn and after the last was asked for: so each is taken for the first that is
   due, and has the place in the ring that it should have. */
static void
io_run(fl_io *io)
{
    unsigned due = io->due;
    if (due & FL_IO_BEGIN) {
        io->due &= (uint8_t)~FL_IO_BEGIN;
        io->ops->begin(io);
    }
    else if (due & (FL_READ | FL_WRITE)) {
        io->due &= (uint8_t)~(FL_READ | FL_WRITE);
        io_ready(io, due);
    }
    else if (due & FL_IO_END) {
        io->due &= (uint8_t)~FL_IO_END;
        io->ops->end(io);
    }
}

void
fl_io_run_ready(LoopObject *loop, PyObject *item)
{
    fl_io *io = (fl_io *)item;
    PyObject *object = io->object; /* its reference was the word's */
    if (fl_current_publish(loop, NULL) < 0) {
        fl_exit_with_raised(loop); /* and what it waits for is done all the same */
    }
    io_run(io);
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
