/* Freelists: the memory of a few dead objects of each frequent type, to be used again. */
#ifndef FL_PY_FREELIST_H
#define FL_PY_FREELIST_H

#include "state.h"

#include <stdbool.h>

/* A dead object come alive with a new head, its other fields as they were; NULL when there is none. */
static inline PyObject *
fl_freelist_take(fl_freelist *list, PyTypeObject *type)
{
#if FL_HAS_FREELISTS
    if (list->len > 0) {
        return PyObject_Init(list->items[--list->len], type);
    }
#endif
    (void)list;
    (void)type;
    return NULL;
}

/* Keep the memory of an object that is being deallocated.  False when it has to be freed: there is no list, or no more
   room in it. */
static inline bool
fl_freelist_give_plain(fl_freelist *list, PyObject *dead)
{
#if FL_HAS_FREELISTS
    if (list != NULL && list->len < list->limit) {
        list->items[list->len++] = dead;
        return true;
    }
#endif
    (void)list;
    (void)dead;
    return false;
}

/* The same for an object of the collector's types: one that it has marked as finalized is freed as well. */
static inline bool
fl_freelist_give(fl_freelist *list, PyObject *dead)
{
    return !PyObject_GC_IsFinalized(dead) && fl_freelist_give_plain(list, dead);
}

#endif
