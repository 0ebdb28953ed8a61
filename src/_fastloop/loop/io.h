/* What the loop knows of the objects above it that deal with readiness themselves: transports, listeners. */
#ifndef FL_LOOP_IO_H
#define FL_LOOP_IO_H

#include "loop/loop.h"

typedef struct {
    /* The descriptor is ready for `ready` (FL_READ | FL_WRITE) of what is watched for.  The caller holds a
       reference to io->object. */
    void (*ready)(fl_io *io, unsigned ready);
    /* Send what was written while a callback ran, which has returned now.  NULL: it is never corked. */
    void (*flush)(fl_io *io);
    /* Its first and its last turn, as fl_io_queue() was asked.  NULL: never asked. */
    void (*begin)(fl_io *io);
    void (*end)(fl_io *io);
} fl_io_ops;

/* What an fl_io may be due besides FL_READ and FL_WRITE. */
enum {
    FL_IO_BEGIN = 4,
    FL_IO_END = 8,
};

/* Part of the object that deals with a descriptor.  While it is watched or corked, the loop owns a reference to
   the object. */
struct fl_io {
    const fl_io_ops *ops;
    PyObject *object; /* what this is a part of; not owned */
    fl_list cork;     /* in loop->corked, when flush() is to be called */
    int fd;           /* -1 once given up */
    uint8_t wanted;   /* FL_READ | FL_WRITE: what it is watched for; 0: nothing, and the table of
                         descriptors does not know it.  Written by fl_io_watch() and its like alone */
    uint8_t due;      /* what it is about to be told, by FL_READY_IO words: FL_READ … FL_IO_END */
    bool closing;     /* close() was called: it is watched until that is done */
    bool lent;        /* others may watch the descriptor, for a while */
};

/* Tell io that its descriptor is ready, at once. */
void fl_io_tell(LoopObject *loop, fl_io *io, unsigned ready);

/* The same behind what is queued already.  0, or -1 with MemoryError. */
int fl_io_tell_later(LoopObject *loop, fl_io *io, unsigned ready);

/* Have begin() (FL_IO_BEGIN) or end() (FL_IO_END) called behind what is queued already.  0, or -1 with RuntimeError when
   the loop is closed or MemoryError. */
int fl_io_queue(LoopObject *loop, fl_io *io, unsigned turn);

/* The work of a FL_READY_IO word, which carries io and owns a reference to its object. */
void fl_io_run_ready(LoopObject *loop, PyObject *word_item);

/* The object of which a ready word owns a reference. */
static inline PyObject *
fl_io_ready_object(uintptr_t word)
{
    PyObject *item = fl_ready_item(word);
    return fl_ready_kind_of(word) == FL_READY_IO ? ((fl_io *)item)->object : item;
}

/* Have flush() called as soon as the running callback returns. */
void fl_io_cork(LoopObject *loop, fl_io *io);

/* Not any more. */
void fl_io_uncork(fl_io *io);

/* Flush whoever is corked, until somebody's code ends the run. */
void fl_io_flush_all(LoopObject *loop);

/* The same after a callback, where mostly nobody is. */
static inline void
fl_io_flush(LoopObject *loop)
{
    if (loop->corked.next != &loop->corked) {
        fl_io_flush_all(loop);
    }
}

/* Forget everybody who is corked, in a loop that ends. */
void fl_io_clear(LoopObject *loop);

#endif
