/* Running a loop. */
#ifndef FL_LOOP_RUN_H
#define FL_LOOP_RUN_H

#include "loop/loop.h"

/* Run turns until stop() was called.  0, or -1 with the exception that ends run_forever(). */
int fl_loop_run(LoopObject *loop);

#endif
