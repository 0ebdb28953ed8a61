/* The inbox of a loop: the only thing of it that other threads touch. */
#ifndef FL_LOOP_INBOX_H
#define FL_LOOP_INBOX_H

#include "loop/handle.h"

/* Have a handle run by the loop, as by fl_handle_queue_lent(), and end its wait.  From any thread, which does not
   touch the handle from then on.  0, or -1 with MemoryError. */
int fl_inbox_post(LoopObject *loop, HandleObject *handle);

/* Around a wait without the interpreter lock, for which the loop has nothing to run: whoever posts ends it. */
static inline void
fl_inbox_begin_wait(LoopObject *loop)
{
    loop->sleeping = true;
}

static inline void
fl_inbox_end_wait(LoopObject *loop)
{
    loop->sleeping = false;
}

#endif
