/* Every difference between the Pythons we build for.  Nothing else tests PY_VERSION_HEX. */
#ifndef FL_COMPAT_H
#define FL_COMPAT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* -- capabilities: what the running asyncio does, by version ------------------------------------- */

/* format_helpers._format_callback_source(debug=): arguments are shown in debug mode only. */
#define FL_HAS_FORMAT_DEBUG (PY_VERSION_HEX >= 0x030D0000)
/* Task(eager_start=True) and asyncio.eager_task_factory. */
#define FL_HAS_EAGER_START (PY_VERSION_HEX >= 0x030C0000)
/* A second __init__() of a Future or Task raises RuntimeError. */
#define FL_HAS_SINGLE_INIT (PY_VERSION_HEX >= 0x030F0000)
/* create_task() hands name= and all other keywords to a task factory; before, it names the task itself. */
#define FL_HAS_FACTORY_KEYWORDS (PY_VERSION_HEX >= 0x030E0000)
/* Task(context=) must be a Context. */
#define FL_HAS_CONTEXT_CHECK (PY_VERSION_HEX >= 0x030F0000)
/* call_soon_threadsafe() returns a handle whose cancel() waits for a callback under way. */
#define FL_HAS_THREADSAFE_HANDLE (PY_VERSION_HEX >= 0x030E0000)
/* throw(type, value, traceback) is deprecated. */
#define FL_HAS_THROW_DEPRECATED (PY_VERSION_HEX >= 0x030C0000)
/* uncancel() down to zero also takes back a cancellation not yet delivered. */
#define FL_HAS_UNCANCEL_CLEARS (PY_VERSION_HEX >= 0x030D0000)
/* The current task lives in the thread state, reached through _asyncio._swap_current_task. */
#define FL_HAS_SWAP_CURRENT_TASK (PY_VERSION_HEX >= 0x030E0000)
/* Futures know who awaits them (asyncio.capture_call_graph). */
#define FL_HAS_AWAITED_BY (PY_VERSION_HEX >= 0x030E0000)
/* Modules declare whether they work in an interpreter with a lock of its own. */
#define FL_HAS_OWN_GIL_SLOT (PY_VERSION_HEX >= 0x030C0000)
/* Freelists are shared by the threads of an interpreter, so they need its lock. */
#ifdef Py_GIL_DISABLED
#define FL_HAS_FREELISTS 0
#else
#define FL_HAS_FREELISTS 1
#endif

/* sizeof(PySSLSocket) in the releases whose layout tls/ knows; free-threaded ones lock each object. */
#if defined(Py_GIL_DISABLED) || PY_VERSION_HEX >= 0x03100000
#define FL_SSL_SOCKET_SIZES {0}
#elif PY_VERSION_HEX >= 0x030F0000
#define FL_SSL_SOCKET_SIZES {72}
#elif PY_VERSION_HEX >= 0x030D0000
#define FL_SSL_SOCKET_SIZES {80, 88}
#elif PY_VERSION_HEX >= 0x030C0000
#define FL_SSL_SOCKET_SIZES {80}
#else
#define FL_SSL_SOCKET_SIZES {96}
#endif

/* How transport.write() words its TypeError; %R shows the type's name. */
#if PY_VERSION_HEX >= 0x030E0000
#define FL_WRITE_TYPE_ERROR "data argument must be a bytes, bytearray, or memoryview object, not %R"
#else
#define FL_WRITE_TYPE_ERROR "data argument must be a bytes-like object, not %R"
#endif
/* sendto(b"") sends an empty datagram. */
#define FL_SENDS_EMPTY_DATAGRAMS (PY_VERSION_HEX >= 0x030D0000)
/* What a datagram waiting to be sent counts for besides its bytes. */
#define FL_DATAGRAM_HEADER (PY_VERSION_HEX >= 0x030D0000 ? 8 : 0)

/* -- newer API on older Pythons -------------------------------------------------------------------- */

#if PY_VERSION_HEX < 0x030D0000
/* Return 1 and a new reference, 0 and NULL when there is no such attribute, or -1 with an exception. */
static inline int
PyObject_GetOptionalAttr(PyObject *object, PyObject *name, PyObject **result)
{
    return _PyObject_LookupAttr(object, name, result);
}
#endif

#if PY_VERSION_HEX < 0x030D0000
/* Store a new reference to what ref refers to: 1, or 0 and NULL when it is dead.  (-1: not a reference.) */
static inline int
PyWeakref_GetRef(PyObject *ref, PyObject **object)
{
    PyObject *borrowed = PyWeakref_GetObject(ref);
    if (borrowed == NULL) {
        *object = NULL;
        return -1;
    }
    *object = borrowed == Py_None ? NULL : Py_NewRef(borrowed);
    return *object != NULL;
}
#endif

#if PY_VERSION_HEX < 0x030E0000
/* Take a new reference, unless the object is being deallocated: 1 or 0. */
static inline int
PyUnstable_TryIncRef(PyObject *object)
{
    if (Py_REFCNT(object) == 0) {
        return 0;
    }
    Py_INCREF(object);
    return 1;
}
#endif

#if PY_VERSION_HEX < 0x030C0000
/* Take the raised exception away, normalised and with its traceback; a new reference or NULL. */
static inline PyObject *
PyErr_GetRaisedException(void)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (type == NULL) {
        return NULL;
    }
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(value, traceback);
    }
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
}

/* Raise exc, whose reference is taken; NULL: raise nothing. */
static inline void
PyErr_SetRaisedException(PyObject *exc)
{
    if (exc == NULL) {
        PyErr_Clear();
        return;
    }
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(exc)), exc, PyException_GetTraceback(exc));
}
#endif

#endif
