/* Making heap types. */
#ifndef FL_PY_TYPES_H
#define FL_PY_TYPES_H

#include "state.h"

/* A new reference to an attribute's value, None standing for NULL. */
static inline PyObject *
fl_or_none(PyObject *object)
{
    return Py_NewRef(object == NULL ? Py_None : object);
}

/* Make the type, keep it in *slot and add it to the module under `name`; base is a type, a tuple of types or
   NULL.  0, or -1 with an exception. */
int fl_add_type(PyObject *module, PyType_Spec *spec, PyObject *base, const char *name,
                PyTypeObject **slot);

/* Put further methods into a type, whose array ends with an empty entry.  0, or -1 with an exception. */
int fl_type_add_methods(PyTypeObject *type, PyMethodDef *method);

#endif
