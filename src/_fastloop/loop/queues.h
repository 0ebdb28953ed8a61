/* What the queues of a loop hold: the ready ring, the timers, the table of descriptors, the corked. */
#ifndef FL_LOOP_QUEUES_H
#define FL_LOOP_QUEUES_H

#include "loop/loop.h"

/* Visit everything in the queues of a loop that does not run. */
int fl_queues_traverse(LoopObject *loop, visitproc visit, void *arg);

/* Close the loop and drop everything that is queued, timed or watched.  Runs arbitrary code. */
void fl_queues_shut(LoopObject *loop);

#endif
