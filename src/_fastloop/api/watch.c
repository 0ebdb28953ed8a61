/* Loop methods that watch descriptors: add_reader, remove_reader, add_writer, remove_writer. */
#include "api/methods.h"

#include "loop/handle.h"
#include "loop/watch.h"
#include "py/args.h"

static PyObject *
watch_add(LoopObject *self, fl_direction direction, const fl_signature *signature,
          PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *given[2];
    if (nargs < 2 || kwnames != NULL) {
        if (fl_args_bind(self->state, signature, args, nargs, kwnames, given) < 0) {
            return NULL;
        }
        args = given;
        nargs = 2;
    }
    int fd = fl_loop_check_closed(self) < 0 ? -1 : fl_arg_fd(args[0]);
    if (fd < 0) {
        return NULL;
    }
    HandleObject *handle =
        fl_handle_new(self, self->state->Handle_type, args[1], args + 2, nargs - 2, NULL);
    if (handle == NULL) {
        return NULL;
    }
    handle->watching = true;
    if (fl_watch_add(self, fd, direction, (PyObject *)handle, args[0]) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* The descriptor, of a closed file object too if it was given to add_reader() before.  -1 on error. */
static int
watch_fd(LoopObject *self, PyObject *fileobj)
{
    int fd = fl_arg_fd(fileobj);
    if (fd >= 0 || !PyErr_ExceptionMatches(PyExc_ValueError)) {
        return fd;
    }
    int known = fl_watch_find(self, fileobj);
    if (known >= 0) {
        PyErr_Clear();
    }
    return known;
}

static PyObject *
watch_remove(LoopObject *self, fl_direction direction, PyObject *fileobj)
{
    int fd = watch_fd(self, fileobj);
    int removed = fd < 0 ? -1 : fl_watch_remove(self, fd, direction);
    return removed < 0 ? NULL : PyBool_FromLong(removed);
}

PyDoc_STRVAR(Loop_add_reader_doc,
             "add_reader($self, fd, callback, *args)\n--\n\n"
             "Call callback(*args) in every turn in which fd can be read without blocking.\n\n"
             "fd is a file descriptor or an object with fileno(); a callback given before for it is\n"
             "replaced.  Raises ValueError for what is no descriptor and OSError for what cannot be\n"
             "watched, such as a regular file or a closed descriptor.");

static PyObject *
Loop_add_reader(LoopObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const fl_signature signature = {"add_reader", 2, 2, 2, {FL_PARAM(fd), FL_PARAM(callback)}};
    return watch_add(self, FL_READING, &signature, args, nargs, kwnames);
}

PyDoc_STRVAR(Loop_add_writer_doc,
             "add_writer($self, fd, callback, *args)\n--\n\n"
             "Call callback(*args) in every turn in which fd can be written without blocking.\n\n"
             "Arguments and errors are those of add_reader().");

static PyObject *
Loop_add_writer(LoopObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const fl_signature signature = {"add_writer", 2, 2, 2, {FL_PARAM(fd), FL_PARAM(callback)}};
    return watch_add(self, FL_WRITING, &signature, args, nargs, kwnames);
}

PyDoc_STRVAR(Loop_remove_reader_doc, "remove_reader($self, fd)\n--\n\n"
                                     "Stop watching fd for reading; return whether it was watched.");

static PyObject *
Loop_remove_reader(LoopObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *fileobj =
        fl_args_one(self->state, "remove_reader", FL_PARAM(fd), args, nargs, kwnames);
    return fileobj == NULL ? NULL : watch_remove(self, FL_READING, fileobj);
}

PyDoc_STRVAR(Loop_remove_writer_doc, "remove_writer($self, fd)\n--\n\n"
                                     "Stop watching fd for writing; return whether it was watched.");

static PyObject *
Loop_remove_writer(LoopObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *fileobj =
        fl_args_one(self->state, "remove_writer", FL_PARAM(fd), args, nargs, kwnames);
    return fileobj == NULL ? NULL : watch_remove(self, FL_WRITING, fileobj);
}

PyMethodDef fl_watch_methods[] = {
    {"add_reader", FL_FASTCALL(Loop_add_reader), FL_KEYWORDS, Loop_add_reader_doc},
    {"add_writer", FL_FASTCALL(Loop_add_writer), FL_KEYWORDS, Loop_add_writer_doc},
    {"remove_reader", FL_FASTCALL(Loop_remove_reader), FL_KEYWORDS, Loop_remove_reader_doc},
    {"remove_writer", FL_FASTCALL(Loop_remove_writer), FL_KEYWORDS, Loop_remove_writer_doc},
    {NULL},
};
