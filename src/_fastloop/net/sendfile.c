/* sendfile(2) as an operation of a SockCall: the kernel sends a file's bytes without their passing through this process. */
#include "net/sendfile.h"

#include "py/call.h"

#include <errno.h>
#include <sys/sendfile.h>

/* One system call, without the interpreter's lock, since it may have to read the disk: bytes sent, or -errno. */
static ssize_t
sendfile_once(int fd, int file, off_t offset, size_t count)
{
    ssize_t n;
    int error;
    Py_BEGIN_ALLOW_THREADS
    n = sendfile(fd, file, &offset, count);
    error = errno;
    Py_END_ALLOW_THREADS
    return n < 0 ? -error : n;
}

static int
attempt_sendfile(SockCallObject *call, PyObject **result)
{
    int file;
    long long offset;
    Py_ssize_t count;
    if (!PyArg_ParseTuple(call->args[0], "iLn", &file, &offset, &count)) {
        return -1;
    }
    int fd = fl_sock_fileno(call);
    if (fd < 0) {
        return -1;
    }
    ssize_t n = sendfile_once(fd, file, (off_t)offset, (size_t)count);
    if (n < 0 && fl_try_later(n)) {
        return 0;
    }
    if (n < 0) {
        errno = (int)-n; /* ENOMEM too is an OSError: the kernel's lack of memory is none of ours */
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    *result = PyLong_FromSsize_t(n);
    return *result == NULL ? -1 : 1;
}

const fl_sock_op fl_sock_sendfile = {FL_SOCK_CORO("sock_sendfile"), FL_WRITING, attempt_sendfile};
