/* Corked objects: what was written during a callback leaves when it returns. */
#include "loop/io.h"

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

int
fl_io_flush_all(LoopObject *loop)
{
    while (loop->corked.next != &loop->corked && !loop->closed) {
        fl_io *io = FL_LIST_OWNER(loop->corked.next, fl_io, cork);
        fl_list_remove(&io->cork);
        PyObject *object = io->object; /* its reference was the list's */
        int rc = io->ops->flush(io);
        Py_DECREF(object);
        if (rc < 0) {
            return -1;
        }
    }
    return 0;
}

void
fl_io_clear(LoopObject *loop)
{
    while (loop->corked.next != &loop->corked) {
        fl_io_uncork(FL_LIST_OWNER(loop->corked.next, fl_io, cork));
    }
}
