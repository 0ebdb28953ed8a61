/* epoll(7), level-triggered.  Events carry generation << 32 | fd.  What wakes is an eventfd(2). */
#include "backend/backend.h"

#include "base/clock.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define EPOLL_BATCH 256    /* events taken from the kernel in one call */
#define EPOLL_WAKE_FD (-1) /* what an event says of the eventfd: no descriptor that is watched */

typedef struct {
    int epfd;
    int wake_fd;
    bool has_pwait2; /* false once the kernel has said ENOSYS (before 5.11) */
} epoll_backend;

static int
epoll_control(epoll_backend *self, int op, int fd, uint32_t generation, unsigned wanted)
{
    struct epoll_event event = {0};
    event.events = (wanted & FL_READ ? EPOLLIN : 0) | (wanted & FL_WRITE ? EPOLLOUT : 0);
    event.data.u64 = (uint64_t)generation << 32 | (uint32_t)fd;
    return epoll_ctl(self->epfd, op, fd, &event) < 0 ? -errno : 0;
}

static void
epoll_close(fl_backend *backend)
{
    epoll_backend *self = (epoll_backend *)backend;
    close(self->epfd);
    if (self->wake_fd >= 0) {
        close(self->wake_fd);
    }
    free(self);
}

/* The wake-up is edge-triggered: each write is one event, and nobody has to read it away. */
static int
epoll_watch_wake(epoll_backend *self)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = (uint32_t)EPOLL_WAKE_FD};
    self->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->wake_fd < 0) {
        return -errno;
    }
    return epoll_ctl(self->epfd, EPOLL_CTL_ADD, self->wake_fd, &event) < 0 ? -errno : 0;
}

static int
epoll_open(fl_backend **out)
{
    epoll_backend *self = malloc(sizeof(*self));
    if (self == NULL) {
        return -ENOMEM;
    }
    self->has_pwait2 = true;
    self->wake_fd = -1;
    self->epfd = epoll_create1(EPOLL_CLOEXEC);
    if (self->epfd < 0) {
        int err = -errno;
        free(self);
        return err;
    }
    int err = epoll_watch_wake(self);
    if (err < 0) {
        epoll_close((fl_backend *)self);
        return err;
    }
    *out = (fl_backend *)self;
    return 0;
}

static int
epoll_arm(fl_backend *backend, int fd, uint32_t generation, unsigned known, unsigned wanted)
{
    epoll_backend *self = (epoll_backend *)backend;
    if (known == 0) {
        int err = epoll_control(self, EPOLL_CTL_ADD, fd, generation, wanted);
        return err == -EEXIST ? epoll_control(self, EPOLL_CTL_MOD, fd, generation, wanted) : err;
    }
    int err = epoll_control(self, EPOLL_CTL_MOD, fd, generation, wanted);
    if (err != -ENOENT) {
        return err;
    }
    err = epoll_control(self, EPOLL_CTL_ADD, fd, generation, wanted);
    return err < 0 ? err : 1;
}

static int
epoll_forget(fl_backend *backend, int fd)
{
    return epoll_control((epoll_backend *)backend, EPOLL_CTL_DEL, fd, 0, 0);
}

/* Milliseconds for epoll_wait, rounded up: a timer must not fire early. */
static int
epoll_milliseconds(int64_t timeout)
{
    if (timeout < 0) {
        return -1;
    }
    int64_t ms = timeout / 1000000 + (timeout % 1000000 != 0);
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

/* epoll_pwait2 goes through syscall() so that the binary needs no newer C library than Python does. */
static int
epoll_wait_precisely(epoll_backend *self, struct epoll_event *events, int capacity, int64_t timeout)
{
#ifdef SYS_epoll_pwait2
    if (timeout > 0 && self->has_pwait2) {
        struct timespec limit = {.tv_sec = timeout / 1000000000, .tv_nsec = timeout % 1000000000};
        int n = (int)syscall(SYS_epoll_pwait2, self->epfd, events, capacity, &limit, NULL, 0);
        if (n >= 0 || errno != ENOSYS) {
            return n < 0 ? -errno : n;
        }
        self->has_pwait2 = false;
    }
#endif
    int n = epoll_wait(self->epfd, events, capacity, epoll_milliseconds(timeout));
    return n < 0 ? -errno : n;
}

static unsigned
epoll_readiness(uint32_t events)
{
    return (events & ~EPOLLOUT ? FL_READ : 0) | (events & ~EPOLLIN ? FL_WRITE : 0);
}

static int
epoll_wait_events(fl_backend *backend, fl_event *out, int capacity, int64_t timeout)
{
    struct epoll_event events[EPOLL_BATCH];
    if (capacity > EPOLL_BATCH) {
        capacity = EPOLL_BATCH;
    }
    int n = epoll_wait_precisely((epoll_backend *)backend, events, capacity, timeout);
    int reported = 0;
    for (int i = 0; i < n; i++) {
        int fd = (int)(uint32_t)events[i].data.u64;
        if (fd != EPOLL_WAKE_FD) {
            out[reported].fd = fd;
            out[reported].generation = (uint32_t)(events[i].data.u64 >> 32);
            out[reported].ready = epoll_readiness(events[i].events);
            reported++;
        }
    }
    return n < 0 ? n : reported;
}

static int64_t
epoll_now(const fl_backend *backend)
{
    (void)backend;
    return fl_clock_ns();
}

static void
epoll_wake(fl_backend *backend)
{
    uint64_t one = 1;
    (void)!write(((epoll_backend *)backend)->wake_fd, &one,
                 sizeof(one)); /* a counter that high is never reached */
}

const fl_backend_ops fl_backend_epoll = {
    .name = "epoll",
    .open = epoll_open,
    .close = epoll_close,
    .arm = epoll_arm,
    .forget = epoll_forget,
    .wait = epoll_wait_events,
    .now = epoll_now,
    .wake = epoll_wake,
};
