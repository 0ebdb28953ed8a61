/* The module fastloop._fastloop: its functions, its slots and the chain of setup_types. */
#include "state.h"
#include "api/loop_type.h"
#include "api/methods.h"
#include "loop/handle.h"
#include "net/datagram.h"
#include "net/listener.h"
#include "net/pipe.h"
#include "net/sock_call.h"
#include "net/stream.h"
#include "task/future_iter.h"
#include "task/future_type.h"
#include "task/registry.h"
#include "task/task.h"
#include "tls/layer.h"

/* -- functions ------------------------------------------------------------------------------------- */

PyDoc_STRVAR(native_tasks_doc,
             "_native_tasks()\n--\n\n"
             "Return a list of the pending tasks of all loops of this interpreter.");

static PyObject *
module_native_tasks(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    return fl_registry_list(fl_state_of_module(module));
}

PyDoc_STRVAR(
    tasks_are_listed_doc,
    "_tasks_are_listed()\n--\n\n"
    "From now on asyncio.all_tasks() asks _native_tasks(): do not register tasks with asyncio.");

static PyObject *
module_tasks_are_listed(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    fl_state_of_module(module)->tasks_listed = 1;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(set_face_of_doc,
             "_set_face_of(function, /)\n--\n\n"
             "Have function(subclass, asyncio_class) tell what an instance of a subclass of Future or\n"
             "Task shows as its __class__.");

static PyObject *
module_set_face_of(PyObject *module, PyObject *function)
{
    Py_XSETREF(fl_state_of_module(module)->face_of, Py_NewRef(function));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(after_fork_in_child_doc,
             "_after_fork_in_child()\n--\n\n"
             "Close this process's copies of all loops' descriptors and mark the loops unusable.");

static PyObject *
module_after_fork_in_child(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    fl_list *loops = &fl_state_of_module(module)->loops;
    for (fl_list *node = loops->next; node != loops; node = node->next) {
        fl_loop_forked(FL_LIST_OWNER(node, LoopObject, link));
    }
    Py_RETURN_NONE;
}

static PyMethodDef module_methods[] = {
    {"_native_tasks", module_native_tasks, METH_NOARGS, native_tasks_doc},
    {"_tasks_are_listed", module_tasks_are_listed, METH_NOARGS, tasks_are_listed_doc},
    {"_set_face_of", module_set_face_of, METH_O, set_face_of_doc},
    {"_after_fork_in_child", module_after_fork_in_child, METH_NOARGS, after_fork_in_child_doc},
    {NULL},
};

/* -- the module ------------------------------------------------------------------------------------ */

static int
module_exec(PyObject *module)
{
    fl_state *state = fl_state_new();
    if (state == NULL) {
        return -1;
    }
    *(fl_state **)PyModule_GetState(module) = state;
    if (fl_handle_setup_types(module, state) < 0 || fl_future_iter_setup_types(module, state) < 0 ||
        fl_future_setup_types(module, state) < 0 || fl_task_setup_types(module, state) < 0 ||
        fl_sock_call_setup_types(module, state) < 0 || fl_loop_setup_types(module, state) < 0 ||
        fl_server_setup_types(module, state) < 0 || fl_stream_setup_types(module, state) < 0 ||
        fl_listener_setup_types(module, state) < 0 || fl_pipe_setup_types(module, state) < 0 ||
        fl_datagram_setup_types(module, state) < 0 || fl_tls_setup_types(module, state) < 0 ||
        fl_tls_layer_setup_types(module, state) < 0 ||
        PyModule_AddFunctions(module, fl_process_functions) < 0) {
        return -1;
    }
    return 0;
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    fl_state *state = fl_state_of_module(module);
    return state == NULL ? 0 : fl_state_traverse(state, visit, arg);
}

static int
module_clear(PyObject *module)
{
    fl_state *state = fl_state_of_module(module);
    if (state != NULL) {
        fl_state_clear(state);
    }
    return 0;
}

static void
module_free(void *module)
{
    fl_state *state = fl_state_of_module(module);
    if (state != NULL) {
        fl_state_clear(state);
        fl_state_release(state);
    }
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#if FL_HAS_OWN_GIL_SLOT
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

PyDoc_STRVAR(module_doc, "The event loop, Future and Task of fastloop, in C.");

struct PyModuleDef fl_module = {
    PyModuleDef_HEAD_INIT,         .m_name = "fastloop._fastloop", .m_doc = module_doc,
    .m_size = sizeof(fl_state *),  .m_methods = module_methods,    .m_slots = module_slots,
    .m_traverse = module_traverse, .m_clear = module_clear,        .m_free = module_free,
};

PyMODINIT_FUNC
PyInit__fastloop(void)
{
    return PyModuleDef_Init(&fl_module);
}
