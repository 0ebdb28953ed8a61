/* What a child that fork_exec() has started says before it runs its program.  subprocess.Popen listens by os.read(),
   which detectors of blocking calls take for a call of the program's own. */
#include "api/methods.h"

#include "py/call.h"

#include <unistd.h>

#define MESSAGE_MAX 1024 /* bytes; fork_exec() sends less than a hundred */

/* Read once, without the interpreter's lock: the bytes read, 0 at the end, or -errno. */
static ssize_t
process_read_once(int fd, char *into, size_t size)
{
    ssize_t n;
    int error;
    Py_BEGIN_ALLOW_THREADS
    n = read(fd, into, size);
    error = errno;
    Py_END_ALLOW_THREADS
    return n < 0 ? -error : n;
}

/* Read to the end or until `size` bytes are there: their number, or -1 with an exception, a signal handler's included. */
static ssize_t
process_read(int fd, char *into, size_t size)
{
    size_t len = 0;
    ssize_t n;
    do {
        n = process_read_once(fd, into + len, size - len);
        if (n == -EINTR && PyErr_CheckSignals() < 0) {
            return -1;
        }
        len += n > 0 ? (size_t)n : 0;
    } while (n == -EINTR || (n > 0 && len < size));
    return n < 0 ? fl_raise_errno((int)n) : (ssize_t)len;
}

PyDoc_STRVAR(
    module_read_exec_error_doc,
    "_read_exec_error(fd, /)\n--\n\n"
    "Wait until a child of fork_exec(), at the other end of a pipe, runs its program or gives up.\n\n"
    "Return what it says of the reason as bytes, none if the program runs.");

static PyObject *
module_read_exec_error(PyObject *Py_UNUSED(module), PyObject *argument)
{
    char message[MESSAGE_MAX];
    int fd = fl_arg_fd(argument);
    ssize_t len = fd < 0 ? -1 : process_read(fd, message, sizeof(message));
    return len < 0 ? NULL : PyBytes_FromStringAndSize(message, len);
}

PyMethodDef fl_process_functions[] = {
    {"_read_exec_error", module_read_exec_error, METH_O, module_read_exec_error_doc},
    {NULL},
};
