/* Making heap types. */
#include "py/types.h"

int
fl_add_type(PyObject *module, PyType_Spec *spec, PyTypeObject *base, const char *name,
            PyTypeObject **slot)
{
    *slot = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, (PyObject *)base);
    return *slot == NULL ? -1 : PyModule_AddObjectRef(module, name, (PyObject *)*slot);
}
