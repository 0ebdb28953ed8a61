/* Readiness backends.  A backend turns file descriptors into an array of events and never calls back,
   so that it can wait without the interpreter lock and be tested alone. */
#ifndef FL_BACKEND_BACKEND_H
#define FL_BACKEND_BACKEND_H

#include <stdint.h>

enum {
    FL_READ = 1,
    FL_WRITE = 2,
};

/* What wait() reports.  An error or a hang-up is reported as both readable and writable, so that
   whoever watches the descriptor meets it in the system call that follows. */
typedef struct {
    int fd;
    uint32_t generation; /* as given to arm(); the caller drops events of an older one */
    unsigned ready;      /* FL_READ | FL_WRITE */
} fl_event;

typedef struct fl_backend fl_backend; /* what it is, its own file knows */

typedef struct {
    const char *name;
    /* Return 0 and the new backend in *out, or -errno. */
    int (*open)(fl_backend **out);
    /* Close the descriptors of this process only: a forked child may close its copies without
       disturbing the parent's registrations. */
    void (*close)(fl_backend *backend);
    /* Watch fd for `wanted`; `known` is what it was watched for before, 0 for nothing.  A wrong
       `known` (fd was closed and its number taken again) is put right.
       Return 0; 1 when the kernel knew less than `known` said, so that fd is another file now; or -errno. */
    int (*arm)(fl_backend *backend, int fd, uint32_t generation, unsigned known, unsigned wanted);
    /* Stop watching fd.  Return 0, or -errno when it was not watched. */
    int (*forget)(fl_backend *backend, int fd);
    /* Wait for events at most timeout nanoseconds (0: do not block, negative: no limit) and fill up to
       `capacity` of them.  Return their number, 0 too when woken, or -errno (-EINTR when a signal came). */
    int (*wait)(fl_backend *backend, fl_event *events, int capacity, int64_t timeout);
    /* The clock of wait()'s timeouts: nanoseconds since whenever.  `backend` is NULL once it is closed. */
    int64_t (*now)(const fl_backend *backend);
    /* End the wait() that another thread is in, or else the next one, by nothing that is reported.  Callable
       from any thread; it cannot fail. */
    void (*wake)(fl_backend *backend);
} fl_backend_ops;

extern const fl_backend_ops fl_backend_epoll;

/* The backend that every loop gets. */
const fl_backend_ops *fl_backend_default(void);

#endif
