/* The event loop object: what every file of loop/ and above works on. */
#ifndef FL_LOOP_LOOP_H
#define FL_LOOP_LOOP_H

#include "state.h"
#include "backend/backend.h"
#include "base/clock.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/ring.h"

#include <stdbool.h>

typedef struct fl_io fl_io; /* see loop/io.h */

/* One file descriptor that somebody watches; loop->watches is indexed by descriptor. */
typedef struct {
    uint32_t generation; /* of the registration in force; events of another are stale */
    uint8_t armed; /* FL_READ | FL_WRITE: what the backend was last told; may be outdated when the
                            descriptor was closed behind our back */
    uint16_t changed; /* loop->polls when the backend was last told something: an event that was taken
                            from the kernel before is out of date */
    fl_io *io; /* who deals with readiness itself, or NULL; its object is owned.  Then there are
                            no targets */
    PyObject *target[2]; /* owned: whom readiness concerns, [0] reading and [1] writing: a Handle to run
                            each time, a Future to complete once, or NULL */
    PyObject *fileobj; /* owned: the object given to add_reader()/add_writer(), or NULL */
    PyObject *owner; /* owned weak reference to the socket for which `armed` is known to hold although
                            nobody waits at the moment, or NULL */
} fl_watch;

/* Python methods that C would bypass if nobody had overridden them. */
enum {
    FL_OVERRIDE_CALL_SOON = 1,
    FL_OVERRIDE_CALL_AT = 2,
    FL_OVERRIDE_TIME = 4,
    FL_OVERRIDE_RUN_FOREVER = 8,
};

struct fl_loop {
    PyObject_HEAD
    fl_state *state; /* held; NULL only before tp_new has filled it in */
    fl_list link;    /* in state->loops */

    /* Work.  Touched by the thread that holds the interpreter lock. */
    fl_ring ready;           /* words made by fl_ready_word(); each owns one reference */
    fl_heap timers;          /* items are owned TimerHandles */
    size_t timers_cancelled; /* of those in the heap */
    fl_list tasks;           /* pending Tasks of this loop, through TaskObject.link; not owned */

    /* Input and output. */
    const fl_backend_ops *ops; /* the backend's, also once it is closed */
    fl_backend *backend;       /* NULL once closed */
    fl_watch *watches;
    int watches_len;
    bool sleeping;  /* in a wait that may block, and nobody has ended it yet; see loop/inbox.h */
    int64_t polled; /* clock at the last poll, nanoseconds */
    int unpolled;   /* turns since then */
    bool poll_soon; /* the next turn polls */
    uint16_t polls; /* how many there were, modulo 65536 */

    fl_list corked; /* fl_io.cork of those who wrote during the running callback; they are owned */
    char *scratch;  /* FL_SCRATCH bytes for one system call's data, or NULL: not needed yet */
    PyObject *spare; /* owned: memory that connections hand to each other, of a kind that they know; or NULL */

    /* Status. */
    unsigned long thread_id; /* of the running thread; 0: not running */
    bool stopping;
    bool closed;
    bool forked; /* this process is a child of the one that made the loop */
    bool debug;
    bool unchecked;      /* scheduling needs no check: open, not debug, call_soon not overridden */
    bool origin_tracked; /* set_coroutine_origin_tracking_depth() is ours at the moment */
    unsigned overrides;  /* FL_OVERRIDE_… of the class and the instance */

    /* Owned, or NULL: the exception with which the run ends, and what a method raises in another thread (loop/exit.h). */
    PyObject *exit, *exit_elsewhere;

    /* The running task as asyncio sees it, published only when it changes; owned, NULL for none. */
    PyObject *published;

    PyObject *task_factory;   /* owned or NULL */
    PyObject *current_handle; /* owned: the Handle being run, in debug mode only */
    PyObject *saved_hooks;    /* owned: asynchronous generator hooks to restore, while running */
    PyObject *saved_origin_depth;  /* owned: while origin_tracked */
    double slow_callback_duration; /* seconds */
};

/* Fill in an object that is all zeros.  0, or -1 with an exception; then the object can be dropped like any. */
int fl_loop_init(LoopObject *loop, fl_state *state);

#ifndef FL_SCRATCH
#define FL_SCRATCH (1024 * 1024) /* bytes; what is never filled is never in memory */
#endif

/* The loop's scratch memory, whose contents last until the next call into Python; or NULL with MemoryError. */
char *fl_loop_scratch(LoopObject *loop);

static inline uintptr_t
fl_ready_word(PyObject *item, fl_ready_kind kind)
{
    return (uintptr_t)item | (uintptr_t)kind;
}

static inline PyObject *
fl_ready_item(uintptr_t word)
{
    return (PyObject *)(word & ~(uintptr_t)7);
}

static inline fl_ready_kind
fl_ready_kind_of(uintptr_t word)
{
    return (fl_ready_kind)(word & 7);
}

/* fl_loop_push() where the ring has no room and has to grow. */
int fl_loop_push_growing(LoopObject *loop, PyObject *item, fl_ready_kind kind);

/* Queue an item whose reference is taken, also on failure.  0, or -1 with MemoryError. */
static inline int
fl_loop_push(LoopObject *loop, PyObject *item, fl_ready_kind kind)
{
    if (fl_ring_is_full(&loop->ready)) {
        return fl_loop_push_growing(loop, item, kind);
    }
    fl_ring_put(&loop->ready, fl_ready_word(item, kind));
    return 0;
}

/* Raise RuntimeError when the loop is closed (or belongs to the parent process).  0 or -1. */
int fl_loop_check_closed(LoopObject *loop);

/* In debug mode raise RuntimeError when the loop runs in another thread.  0 or -1. */
int fl_loop_check_thread(LoopObject *loop);

/* Recompute loop->unchecked after closed, debug or overrides changed. */
void fl_loop_update_unchecked(LoopObject *loop);

/* The loop's clock, nanoseconds. */
static inline int64_t
fl_loop_now(LoopObject *loop)
{
    return loop->ops->now(loop->backend);
}

/* What the loop's own method time() says, which somebody has overridden, in seconds.  0, or -1 with an exception. */
int fl_loop_ask_time(LoopObject *loop, double *seconds);

/* What time() says when the clock says `now`.  Likewise. */
static inline int
fl_loop_time(LoopObject *loop, int64_t now, double *seconds)
{
    *seconds = fl_clock_seconds(now);
    return loop->overrides & FL_OVERRIDE_TIME ? fl_loop_ask_time(loop, seconds) : 0;
}

/* The next turn polls, although there is work: something of this process may be ready by now, and asyncio, which
   polls at every turn, would have noticed it. */
static inline void
fl_loop_poll_soon(LoopObject *loop)
{
    loop->poll_soon = true;
}

/* In debug mode: warn when what item has done since `begin` (clock, nanoseconds) took long.  0 or -1. */
int fl_loop_check_slow(LoopObject *loop, PyObject *item, int64_t begin);

/* Mark the loop closed, whose queues stay as they are, and close its descriptors. */
void fl_loop_close(LoopObject *loop);

/* After fork() in the child: close this process's copies and mark the loop unusable. */
void fl_loop_forked(LoopObject *loop);

/* Free what a loop with empty queues still owns, but for the state. */
void fl_loop_free(LoopObject *loop);

#endif
