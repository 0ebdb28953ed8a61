/* Making and unmaking the module's state from the lists in state.h. */
#include "state.h"

static int
state_intern(PyObject **field, const char *text)
{
    *field = PyUnicode_InternFromString(text);
    return *field == NULL ? -1 : 0;
}

static int
state_import(PyObject **field, const char *module_name, const char *attribute)
{
    PyObject *module = PyImport_ImportModule(module_name);
    if (module == NULL) {
        return -1;
    }
    *field = PyObject_GetAttrString(module, attribute);
    Py_DECREF(module);
    return *field == NULL ? -1 : 0;
}

/* Where asyncio keeps the current task of each loop. */
static int
state_find_current_task(fl_state *state)
{
#if FL_HAS_SWAP_CURRENT_TASK
    return state_import(&state->swap_current_task, "asyncio.tasks", "_swap_current_task");
#else
    if (state_import(&state->current_tasks, "asyncio.tasks", "_current_tasks") < 0) {
        return -1;
    }
    if (!PyDict_CheckExact(state->current_tasks)) {
        PyErr_SetString(PyExc_ImportError, "asyncio.tasks._current_tasks is not a dict");
        return -1;
    }
    return 0;
#endif
}

/* From now on the state keeps so many dead objects of each kind. */
static void
state_limit_freelists(fl_state *state, int limit)
{
    state->free_handles.limit = limit;
    state->free_timers.limit = limit;
    state->free_iters.limit = limit;
    state->free_futures.limit = limit;
    state->free_tasks.limit = limit;
}

static int
state_fill(fl_state *state)
{
    state_limit_freelists(state, FL_FREELIST_MAX);
    fl_list_init(&state->loops);
    state->users = 1;
    state->create_task_takes_eager = Py_Version >= 0x030D0300;
    state->wraps_stop_iteration = Py_Version >= 0x030C0600;
#define FL_MAKE(name)                                                                              \
    if (state_intern(&state->str_##name, #name) < 0) {                                             \
        return -1;                                                                                 \
    }
    FL_STRINGS(FL_MAKE)
#undef FL_MAKE
#define FL_MAKE(field, module, attribute)                                                          \
    if (state_import(&state->field, module, attribute) < 0) {                                      \
        return -1;                                                                                 \
    }
    FL_IMPORTS(FL_MAKE)
#undef FL_MAKE
    return state_find_current_task(state);
}

fl_state *
fl_state_new(void)
{
    fl_state *state = PyMem_Calloc(1, sizeof(fl_state));
    if (state == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    if (state_fill(state) < 0) {
        fl_state_clear(state);
        fl_state_release(state);
        return NULL;
    }
    return state;
}

int
fl_state_traverse(fl_state *state, visitproc visit, void *arg)
{
#define FL_VISIT(name) Py_VISIT(state->name##_type);
    FL_TYPES(FL_VISIT)
#undef FL_VISIT
#define FL_VISIT(field, module, attribute) Py_VISIT(state->field);
    FL_IMPORTS(FL_VISIT)
#undef FL_VISIT
    Py_VISIT(state->current_tasks);
    Py_VISIT(state->swap_current_task);
    Py_VISIT(state->face_of);
    Py_VISIT(state->tls_library);
    return 0;
}

static void
freelist_clear(fl_freelist *list, void (*release)(void *))
{
    while (list->len > 0) {
        release(list->items[--list->len]);
    }
}

void
fl_state_clear(fl_state *state)
{
    state_limit_freelists(state, 0);
    freelist_clear(&state->free_handles, PyObject_Free);
    freelist_clear(&state->free_timers, PyObject_GC_Del);
    freelist_clear(&state->free_iters, PyObject_GC_Del);
    freelist_clear(&state->free_futures, PyObject_GC_Del);
    freelist_clear(&state->free_tasks, PyObject_GC_Del);
#define FL_CLEAR(name) Py_CLEAR(state->name##_type);
    FL_TYPES(FL_CLEAR)
#undef FL_CLEAR
#define FL_CLEAR(name) Py_CLEAR(state->str_##name);
    FL_STRINGS(FL_CLEAR)
#undef FL_CLEAR
#define FL_CLEAR(field, module, attribute) Py_CLEAR(state->field);
    FL_IMPORTS(FL_CLEAR)
#undef FL_CLEAR
    Py_CLEAR(state->current_tasks);
    Py_CLEAR(state->swap_current_task);
    Py_CLEAR(state->face_of);
    Py_CLEAR(state->tls_library);
}
