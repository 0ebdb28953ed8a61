/* The inbox.  Whoever posts holds the interpreter lock, so a list of its own would only be one more queue on the way
   to the ring, and an order of its own: what is posted goes to the ring at once, and the inbox is no more than the
   knowledge of whether the loop waits. */
#include "loop/inbox.h"

int
fl_inbox_post(LoopObject *loop, HandleObject *handle)
{
    if (fl_loop_push(loop, (PyObject *)handle, FL_READY_HANDLE) < 0) {
        return -1;
    }
    if (loop->sleeping) { /* once for each wait */
        loop->sleeping = false;
        loop->ops->wake(loop->backend);
    }
    return 0;
}
