/* The one way out of a run.  SystemExit and KeyboardInterrupt ask for it, whoever's code raises them, and so does an
   exception that nobody can be told of.  It waits in loop->exit until the work under way comes back to the run loop, or to
   the method that Python has called.  What other threads do with the loop's objects while it runs ends nobody's run: it
   waits in loop->exit_elsewhere for the end of their method. */
#ifndef FL_LOOP_EXIT_H
#define FL_LOOP_EXIT_H

#include "loop/loop.h"

/* The run ends with the raised exception, which is taken; one that was to end it before joins the chain of its contexts. */
void fl_exit_with_raised(LoopObject *loop);

/* Whether the raised exception is SystemExit or KeyboardInterrupt. */
bool fl_exit_is_asked(void);

/* If it is, end the run with it; else it stays raised.  Returns which. */
bool fl_exit_if_asked(LoopObject *loop);

/* Tell the loop's exception handler of exc (borrowed), as if in its except clause.  `context` is taken, NULL: an
   exception is raised instead.  What goes wrong in that ends the run. */
void fl_exit_report(LoopObject *loop, PyObject *context, PyObject *exc);

/* Nothing waits, for this thread or another. */
static inline bool
fl_exit_is_idle(const LoopObject *loop)
{
    return loop->exit == NULL && loop->exit_elsewhere == NULL;
}

/* The slow half of fl_exit_begin(), when something waits. */
PyObject *fl_exit_set_aside(LoopObject *loop);

/* A method that Python calls, and in which the run may have to end, begins with this.  Returns what is to end it
   already, which goes on waiting. */
static inline PyObject *
fl_exit_begin(LoopObject *loop)
{
    return fl_exit_is_idle(loop) ? NULL : fl_exit_set_aside(loop);
}

/* The slow half of fl_exit_end(), when something waits or was set aside. */
int fl_exit_raise(LoopObject *loop, PyObject *before, int rc);

/* Such a method ends with this: its caller gets what was to end the run since then.  rc is the outcome without that, -1
   with an exception, and else is returned. */
static inline int
fl_exit_end(LoopObject *loop, PyObject *before, int rc)
{
    return before == NULL && fl_exit_is_idle(loop) ? rc : fl_exit_raise(loop, before, rc);
}

#endif
