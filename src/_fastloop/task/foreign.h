/* Tasks among loops and futures that are not ours. */
#ifndef FL_TASK_FOREIGN_H
#define FL_TASK_FOREIGN_H

#include "task/task.h"

/* What those below foreign.c ask of it, through the state. */
struct fl_foreign_ops {
    /* Bound callables that step the task, for loops and futures that are not ours: the first takes no argument, the
       second the future that is done.  New references, or NULL. */
    PyObject *(*step_method)(TaskObject *task);
    PyObject *(*wakeup_method)(TaskObject *task);
    /* The task's coroutine has yielded `object`, which is none of our futures: have it wake the task.  1, 0 with the
       exception to throw into the coroutine, or -1 with one of the object's own. */
    int (*await)(TaskObject *task, PyObject *object);
};

/* Put these functions into the state. */
void fl_foreign_setup(fl_state *state);

#endif
