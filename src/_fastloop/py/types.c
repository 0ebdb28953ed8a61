/* Making heap types. */
#include "py/types.h"

int
fl_add_type(PyObject *module, PyType_Spec *spec, PyObject *base, const char *name,
            PyTypeObject **slot)
{
    *slot = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, base);
    return *slot == NULL ? -1 : PyModule_AddObjectRef(module, name, (PyObject *)*slot);
}

int
fl_type_add_methods(PyTypeObject *type, PyMethodDef *method)
{
    for (; method->ml_name != NULL; method++) {
        PyObject *descriptor = PyDescr_NewMethod(type, method);
        if (descriptor == NULL) {
            return -1;
        }
        int rc = PyObject_SetAttrString((PyObject *)type, method->ml_name, descriptor);
        Py_DECREF(descriptor);
        if (rc < 0) {
            return -1;
        }
    }
    return 0;
}
