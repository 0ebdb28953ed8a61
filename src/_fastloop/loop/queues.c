/* What the queues of a loop hold: shown to the collector, and dropped when the loop ends. */
#include "loop/queues.h"

#include "loop/handle.h"
#include "loop/io.h"
#include "loop/timers.h"
#include "loop/watch.h"

static int
ready_traverse(LoopObject *loop, visitproc visit, void *arg)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < fl_ring_len(&loop->ready); i++) {
        uintptr_t word = fl_ring_at(&loop->ready, i);
        PyObject *item = fl_io_ready_object(word);
        rc = fl_ready_kind_of(word) == FL_READY_HANDLE ? fl_handle_visit_queued(item, visit, arg)
                                                       : visit(item, arg);
    }
    return rc;
}

int
fl_queues_traverse(LoopObject *loop, visitproc visit, void *arg)
{
    int rc = ready_traverse(loop, visit, arg);
    for (size_t i = 0; rc == 0 && i < loop->timers.len; i++) {
        rc = fl_handle_visit_queued(loop->timers.entries[i].item, visit, arg);
    }
    return rc != 0 ? rc : fl_watch_traverse(loop, visit, arg);
}

static void
ready_drop(LoopObject *loop)
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
fl_queues_shut(LoopObject *loop)
{
    fl_loop_close(loop);
    fl_watch_clear(loop);
    fl_io_clear(loop);
    fl_timers_clear(loop);
    ready_drop(loop);
}
