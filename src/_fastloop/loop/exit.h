/* The one way out of a run.  SystemExit and KeyboardInterrupt ask for it, whoever's code raises them, and so does an
   exception that nobody can be told of.  It waits in loop->exit until the work under way comes back to the run loop, or to
   the method that Python has called. */
#ifndef FL_LOOP_EXIT_H
#define FL_LOOP_EXIT_H

#include "loop/loop.h"

/* The run ends with the raised exception, which is taken; one that was to end it before becomes its context. */
void fl_exit_with_raised(LoopObject *loop);

/* Whether the raised exception is SystemExit or KeyboardInterrupt. */
bool fl_exit_is_asked(void);

/* If it is, end the run with it; else it stays raised.  Returns which. */
bool fl_exit_if_asked(LoopObject *loop);

/* Tell the loop's exception handler of exc (borrowed), as if in its except clause.  `context` is taken, NULL: an
   exception is raised instead.  What goes wrong in that ends the run. */
void fl_exit_report(LoopObject *loop, PyObject *context, PyObject *exc);

/* A method that Python calls, and in which the run may have to end, begins with this. */
static inline PyObject *
fl_exit_begin(LoopObject *loop)
{
    PyObject *before = loop->exit;
    loop->exit = NULL;
    return before;
}

/* The second half of fl_exit_end(), when there is something to raise. */
int fl_exit_raise(LoopObject *loop, PyObject *before, int rc);

/* Such a method ends with this: its caller gets what was to end the run since then, `before` goes on waiting.  rc is the
   outcome without that, -1 with an exception, and else is returned. */
static inline int
fl_exit_end(LoopObject *loop, PyObject *before, int rc)
{
    if (loop->exit != NULL) {
        return fl_exit_raise(loop, before, rc);
    }
    loop->exit = before;
    return rc;
}

#endif
