/* Watching file descriptors. */
#include "loop/watch.h"

#include "loop/exit.h"
#include "loop/handle.h"
#include "loop/io.h"
#include "py/call.h"

#include <errno.h>
#include <fcntl.h>

/* -- the table ------------------------------------------------------------------------------------- */

/* Make room for fd, which must be open: that bounds the table by the limit on descriptors. */
static int
watches_grow(LoopObject *loop, int fd)
{
    if (fcntl(fd, F_GETFD) < 0) {
        return fl_raise_errno(-errno);
    }
    size_t len = loop->watches_len ? (size_t)loop->watches_len : 16;
    while (len <= (size_t)fd) {
        len *= 2;
    }
    fl_watch *watches = PyMem_Realloc(loop->watches, len * sizeof(fl_watch));
    if (watches == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memset(watches + loop->watches_len, 0, (len - (size_t)loop->watches_len) * sizeof(fl_watch));
    loop->watches = watches;
    loop->watches_len = (int)len;
    return 0;
}

/* The entry of fd, or NULL when it has none. */
static fl_watch *
watch_get(LoopObject *loop, int fd)
{
    return fd >= 0 && fd < loop->watches_len ? &loop->watches[fd] : NULL;
}

static unsigned
watch_wanted(const fl_watch *watch)
{
    unsigned io_wanted = watch->io == NULL ? 0 : watch->io->wanted;
    return io_wanted | (watch->target[FL_READING] ? FL_READ : 0) |
           (watch->target[FL_WRITING] ? FL_WRITE : 0);
}

/* Tell the backend to watch fd for exactly `wanted`.  Each registration is a generation of its own: the number
   may name another file than it did, while a duplicate of that one still reports under it. */
static int
watch_arm(LoopObject *loop, int fd, unsigned wanted)
{
    const fl_backend_ops *ops = loop->ops;
    fl_watch *watch = &loop->watches[fd];
    if (watch->armed == 0) {
        watch->generation++;
    }
    int rc = ops->arm(loop->backend, fd, watch->generation, watch->armed, wanted);
    if (rc == 1) {
        watch->generation++;
        rc = ops->arm(loop->backend, fd, watch->generation, wanted, wanted);
    }
    if (rc < 0) {
        return fl_raise_errno(rc);
    }
    watch->armed = (uint8_t)wanted;
    watch->changed = loop->polls;
    return 0;
}

/* Watch for what is still wanted, or for nothing.  Errors do not matter: fd may have been closed. */
static void
watch_disarm(LoopObject *loop, int fd, unsigned wanted)
{
    fl_watch *watch = &loop->watches[fd];
    if (wanted == 0) {
        loop->ops->forget(loop->backend, fd);
    }
    else {
        loop->ops->arm(loop->backend, fd, watch->generation, watch->armed, wanted);
    }
    watch->armed = (uint8_t)wanted;
    watch->changed = loop->polls;
}

/* -- objects that deal with readiness themselves --------------------------------------------------- */

static void
target_discard(fl_state *state, PyObject *target)
{
    if (target == NULL) {
        return;
    }
    if (Py_TYPE(target) == state->Handle_type) {
        fl_handle_cancel((HandleObject *)target);
        fl_handle_release((HandleObject *)target);
    }
    else {
        Py_DECREF(target);
    }
}

/* Nobody deals with the descriptor any more; the reference to whoever did becomes the caller's (or NULL). */
static PyObject *
watch_evict(fl_watch *watch)
{
    fl_io *io = watch->io;
    if (io == NULL) {
        return NULL;
    }
    watch->io = NULL;
    io->wanted = 0;
    return io->object;
}

/* Make room in fd's entry for add_reader() or a sock_…() call: -1 with RuntimeError when a transport uses fd. */
static int
watch_claim(LoopObject *loop, int fd)
{
    fl_watch *watch = &loop->watches[fd];
    if (watch->io == NULL) {
        return 0;
    }
    if (watch->io->lent) {
        watch_disarm(loop, fd, 0);
        Py_XDECREF(watch_evict(watch));
        return 0;
    }
    PyErr_Format(PyExc_RuntimeError, "File descriptor %d is used by transport %R", fd,
                 watch->io->object);
    return -1;
}

/* Give the entry of io's descriptor, which is armed for it already, to io.  Whoever had it before has lost the
   descriptor: it was closed behind his back, or given to a transport. */
static void
watch_hand_over(LoopObject *loop, fl_io *io, unsigned wanted)
{
    fl_watch *watch = &loop->watches[io->fd];
    PyObject *before = watch_evict(watch);
    fl_watch old = *watch;
    watch->target[FL_READING] = watch->target[FL_WRITING] = watch->fileobj = watch->owner = NULL;
    watch->io = io;
    io->wanted = (uint8_t)wanted;
    Py_INCREF(io->object);
    Py_XDECREF(before); /* may run anything, as what follows */
    target_discard(loop->state, old.target[FL_READING]);
    target_discard(loop->state, old.target[FL_WRITING]);
    Py_XDECREF(old.fileobj);
    Py_XDECREF(old.owner);
}

int
fl_io_watch(LoopObject *loop, fl_io *io, unsigned wanted)
{
    if (wanted == 0) {
        fl_io_forget(loop, io);
        return 0;
    }
    if (io->fd < 0) {
        return fl_raise_errno(-EBADF);
    }
    if (fl_loop_check_closed(loop) < 0 ||
        (io->fd >= loop->watches_len && watches_grow(loop, io->fd) < 0)) {
        return -1;
    }
    if (io->wanted == wanted) {
        return 0;
    }
    fl_watch *watch = &loop->watches[io->fd];
    if (watch->io != io && watch->io != NULL) {
        watch->armed = 0; /* another file */
    }
    if (watch_arm(loop, io->fd, wanted) < 0) {
        return -1;
    }
    if (watch->io == io) {
        io->wanted = (uint8_t)wanted;
    }
    else {
        watch_hand_over(loop, io, wanted);
    }
    return 0;
}

void
fl_io_forget(LoopObject *loop, fl_io *io)
{
    fl_watch *watch = watch_get(loop, io->fd);
    if (watch == NULL || watch->io != io) {
        return;
    }
    if (loop->backend != NULL) {
        watch_disarm(loop, io->fd, 0);
    }
    Py_XDECREF(watch_evict(watch));
}

/* -- Handles: add_reader() and the like ------------------------------------------------------------ */

int
fl_watch_add(LoopObject *loop, int fd, fl_direction direction, PyObject *target, PyObject *fileobj)
{
    if (fl_loop_check_closed(loop) < 0 || (fd >= loop->watches_len && watches_grow(loop, fd) < 0) ||
        watch_claim(loop, fd) < 0 ||
        watch_arm(loop, fd, watch_wanted(&loop->watches[fd]) | fl_direction_mask(direction)) < 0) {
        target_discard(loop->state, target);
        return -1;
    }
    fl_watch *watch = &loop->watches[fd];
    PyObject *before = watch->target[direction];
    PyObject *fileobj_before = watch->fileobj;
    watch->target[direction] = target;
    watch->fileobj = Py_NewRef(fileobj);
    Py_CLEAR(watch->owner);
    target_discard(loop->state, before);
    Py_XDECREF(fileobj_before);
    return 0;
}

int
fl_watch_remove(LoopObject *loop, int fd, fl_direction direction)
{
    fl_watch *watch = watch_get(loop, fd);
    if (loop->closed || watch == NULL) {
        return 0;
    }
    if (watch->io != NULL && !watch->io->closing && !watch->io->lent) {
        return watch_claim(loop, fd);
    }
    if (watch->target[direction] == NULL) {
        return 0;
    }
    PyObject *before = watch->target[direction];
    watch->target[direction] = NULL;
    unsigned wanted = watch_wanted(watch);
    watch_disarm(loop, fd, wanted);
    PyObject *fileobj = wanted == 0 ? watch->fileobj : NULL;
    if (wanted == 0) {
        watch->fileobj = NULL;
    }
    target_discard(loop->state, before);
    Py_XDECREF(fileobj);
    return 1;
}

int
fl_watch_find(LoopObject *loop, PyObject *fileobj)
{
    for (int fd = 0; fd < loop->watches_len; fd++) {
        if (loop->watches[fd].fileobj == fileobj) {
            return fd;
        }
    }
    return -1;
}

/* -- Futures: waiting once ------------------------------------------------------------------------- */

static bool
weakref_is_to(PyObject *ref, PyObject *object)
{
    PyObject *referent;
    bool same = PyWeakref_GetRef(ref, &referent) == 1 && referent == object;
    Py_XDECREF(referent);
    return same;
}

/* A weak reference to the socket; NULL for one of a type without them, which then owns nothing, or with an
   exception. */
static PyObject *
watch_owner(PyObject *sock)
{
    PyObject *owner = PyWeakref_NewRef(sock, NULL);
    if (owner == NULL && PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Clear();
    }
    return owner;
}

/* The backend still watches fd for the direction on behalf of this very socket object. */
static bool
watch_is_armed_for(const fl_watch *watch, fl_direction direction, PyObject *sock)
{
    return (watch->armed & fl_direction_mask(direction)) && watch->owner != NULL &&
           weakref_is_to(watch->owner, sock);
}

/* Have the backend watch fd for sock, besides what it watches already.  0, or -1 with an exception. */
static int
watch_arm_for(LoopObject *loop, int fd, fl_direction direction, PyObject *sock)
{
    PyObject *owner = watch_owner(sock); /* an allocation, which may run anything: first */
    if (owner == NULL && PyErr_Occurred()) {
        return -1;
    }
    fl_watch *watch = watch_get(loop, fd);
    if (watch == NULL || fl_loop_check_closed(loop) < 0) {
        Py_XDECREF(owner);
        return -1;
    }
    unsigned kept = watch->owner != NULL && weakref_is_to(watch->owner, sock) ? watch->armed : 0;
    if (watch_arm(loop, fd, watch_wanted(watch) | kept | fl_direction_mask(direction)) < 0) {
        Py_XDECREF(owner);
        return -1;
    }
    Py_XSETREF(watch->owner, owner);
    return 0;
}

int
fl_watch_wait(LoopObject *loop, int fd, fl_direction direction, PyObject *future, PyObject *sock)
{
    if (fl_loop_check_closed(loop) < 0 || (fd >= loop->watches_len && watches_grow(loop, fd) < 0) ||
        watch_claim(loop, fd) < 0 ||
        (!watch_is_armed_for(&loop->watches[fd], direction, sock) &&
         watch_arm_for(loop, fd, direction, sock) < 0)) {
        return -1;
    }
    fl_watch *watch = &loop->watches[fd];
    PyObject *before = watch->target[direction];
    watch->target[direction] = Py_NewRef(future);
    target_discard(loop->state, before);
    return 0;
}

void
fl_watch_abandon(LoopObject *loop, int fd, fl_direction direction, PyObject *future)
{
    fl_watch *watch = watch_get(loop, fd);
    if (watch != NULL && watch->target[direction] == future) {
        watch->target[direction] = NULL;
        Py_DECREF(future);
    }
}

/* -- events ---------------------------------------------------------------------------------------- */

/* The target is told that its direction is ready. */
static int
watch_fire(LoopObject *loop, int fd, fl_direction direction)
{
    PyObject *target = loop->watches[fd].target[direction];
    if (Py_TYPE(target) != loop->state->Handle_type) {
        loop->watches[fd].target[direction] = NULL;
        int rc = loop->state->complete_waiter(target);
        Py_DECREF(target);
        return rc;
    }
    if (((HandleObject *)target)->cancelled) {
        return fl_watch_remove(loop, fd, direction) < 0 ? -1 : 0;
    }
    return fl_loop_push(loop, Py_NewRef(target), FL_READY_HANDLE);
}

int
fl_watch_wake(LoopObject *loop, int fd, fl_direction direction)
{
    fl_watch *watch = watch_get(loop, fd);
    PyObject *target = watch == NULL ? NULL : watch->target[direction];
    bool waits = target != NULL && Py_TYPE(target) != loop->state->Handle_type;
    return waits ? watch_fire(loop, fd, direction) : 0;
}

/* A new backend in place of the old one.  0, or -errno with the old one still there. */
static int
backend_replace(LoopObject *loop)
{
    fl_backend *fresh;
    int err = loop->ops->open(&fresh);
    if (err < 0) {
        return err;
    }
    loop->ops->close(loop->backend);
    loop->backend = fresh;
    return 0;
}

/* Watch everything anew. */
static void
watches_rearm(LoopObject *loop)
{
    for (int i = 0; i < loop->watches_len; i++) {
        fl_watch *watch = &loop->watches[i];
        watch->armed = 0;
        Py_CLEAR(watch->owner);
        if (watch_wanted(watch) != 0 && watch_arm(loop, i, watch_wanted(watch)) < 0) {
            PyErr_Clear(); /* closed as well; removing it is its owner's business */
        }
    }
}

/* A file that is not (or no more) the one watched under this number reports events: it was closed while
   a duplicate of it lives on, so its registration cannot be named any more.  A new backend forgets it. */
static int
watch_rebuild(LoopObject *loop, int fd)
{
    int err = backend_replace(loop);
    if (err < 0) { /* no descriptor, no memory: the event comes again, and so does the attempt */
        return 0;
    }
    watches_rearm(loop);
    fl_watch *watch = watch_get(loop, fd);
    bool careless =
        watch != NULL && watch->fileobj != NULL; /* else a socket that was only received from */
    PyObject *result = PyObject_CallMethod(
        loop->state->logger, careless ? "warning" : "debug", "si",
        "file descriptor %d was closed while watched and a duplicate of it is open; "
        "remove_reader() and remove_writer() belong before close()",
        fd);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* An event for which nobody waits: watch for less, so that it does not come again. */
static int
watch_ignore(LoopObject *loop, const fl_event *event)
{
    fl_watch *watch = watch_get(loop, event->fd);
    if (watch != NULL && watch->changed == loop->polls) {
        return 0; /* it was true when the kernel said so */
    }
    if (watch == NULL || watch->armed == 0) {
        int forgotten = loop->ops->forget(loop->backend, event->fd);
        return forgotten < 0 ? watch_rebuild(loop, event->fd) : 0;
    }
    if (watch->generation != event->generation) {
        return watch_rebuild(loop, event->fd);
    }
    watch_disarm(loop, event->fd, watch_wanted(watch));
    return 0;
}

/* One event; what is queued before it comes first. */
static int
watch_event(LoopObject *loop, const fl_event *event, bool queued)
{
    fl_watch *watch = watch_get(loop, event->fd);
    bool current = watch != NULL && watch->generation == event->generation;
    unsigned wanted = current ? watch_wanted(watch) & event->ready : 0;
    if (wanted == 0) {
        return watch_ignore(loop, event);
    }
    if (watch->io != NULL && queued) {
        return fl_io_tell_later(loop, watch->io, wanted);
    }
    if (watch->io != NULL) {
        fl_io_tell(loop, watch->io, wanted);
        return 0;
    }
    if ((wanted & FL_READ) && watch_fire(loop, event->fd, FL_READING) < 0) {
        return -1;
    }
    watch = watch_get(loop, event->fd); /* completing a future may have run anything */
    if ((wanted & FL_WRITE) && watch != NULL && watch->target[FL_WRITING] != NULL) {
        return watch_fire(loop, event->fd, FL_WRITING);
    }
    return 0;
}

void
fl_watch_dispatch(LoopObject *loop, const fl_event *events, int n)
{
    fl_backend *backend = loop->backend; /* a new one reports again what is still ready */
    bool queued = fl_ring_len(&loop->ready) > 0;
    for (int i = 0; i < n && loop->backend == backend && loop->exit == NULL; i++) {
        if (watch_event(loop, &events[i], queued) < 0) {
            fl_exit_with_raised(loop);
        }
    }
}

/* -- the end --------------------------------------------------------------------------------------- */

void
fl_watch_clear(LoopObject *loop)
{
    fl_watch *watches = loop->watches;
    int len = loop->watches_len;
    loop->watches = NULL;
    loop->watches_len = 0;
    for (int fd = 0; fd < len; fd++) {
        target_discard(loop->state, watches[fd].target[FL_READING]);
        target_discard(loop->state, watches[fd].target[FL_WRITING]);
        Py_XDECREF(watch_evict(&watches[fd]));
        Py_XDECREF(watches[fd].fileobj);
        Py_XDECREF(watches[fd].owner);
    }
    PyMem_Free(watches);
}

static int
target_traverse(fl_state *state, PyObject *target, visitproc visit, void *arg)
{
    if (target != NULL && Py_TYPE(target) == state->Handle_type) {
        return fl_handle_visit_watching(target, visit, arg);
    }
    Py_VISIT(target);
    return 0;
}

int
fl_watch_traverse(LoopObject *loop, visitproc visit, void *arg)
{
    for (int fd = 0; fd < loop->watches_len; fd++) {
        fl_watch *watch = &loop->watches[fd];
        for (int i = 0; i < 2; i++) {
            int rc = target_traverse(loop->state, watch->target[i], visit, arg);
            if (rc != 0) {
                return rc;
            }
        }
        Py_VISIT(watch->fileobj);
        Py_VISIT(watch->owner);
        if (watch->io != NULL) {
            Py_VISIT(watch->io->object);
        }
    }
    return 0;
}
