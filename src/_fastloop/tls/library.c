/* Finding the SSL behind a Python object, and making sure of it before it is used. */
#include "tls/library.h"

#include "py/types.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* The beginning of _ssl._SSLSocket and _ssl._SSLContext in all releases that FL_SSL_SOCKET_SIZES lists. */
typedef struct {
    PyObject_HEAD
    PyObject *socket; /* a weak reference; NULL for an SSLObject */
    fl_ssl *ssl;
    PyObject *context;
} SSLSocketHead;

typedef struct {
    PyObject_HEAD
    fl_ssl_ctx *ctx;
} SSLContextHead;

#define TRIAL_NAME "fastloop.invalid" /* the name that the trial connection would ask for */

/* -- the SSL behind an object ---------------------------------------------------------------------- */

static bool
library_knows_size(PyTypeObject *type)
{
    static const Py_ssize_t sizes[] = FL_SSL_SOCKET_SIZES;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        if (type->tp_basicsize == sizes[i]) {
            return type->tp_itemsize == 0;
        }
    }
    return false;
}

/* Whether the fields are what Python says they are.  Reads no more than the two objects. */
static bool
library_head_fits(SSLSocketHead *head, PyObject *context)
{
    return head->socket == NULL && head->ssl != NULL && (uintptr_t)head->ssl % sizeof(void *) == 0 &&
           head->context == context && ((SSLContextHead *)context)->ctx != NULL;
}

/* Whether OpenSSL confirms that this SSL belongs to these objects, and works on memory. */
static bool
library_ssl_fits(const fl_libssl *lib, SSLSocketHead *head)
{
    fl_ssl *ssl = head->ssl;
    if (lib->SSL_get_ex_data(ssl, 0) != head ||
        lib->SSL_get_SSL_CTX(ssl) != ((SSLContextHead *)head->context)->ctx) {
        return false;
    }
    fl_bio *in = lib->SSL_get_rbio(ssl), *out = lib->SSL_get_wbio(ssl);
    return in != NULL && out != NULL && in != out && lib->BIO_method_type(in) == FL_BIO_TYPE_MEM &&
           lib->BIO_method_type(out) == FL_BIO_TYPE_MEM;
}

/* The SSL behind a _ssl._SSLSocket, or NULL, also with an exception. */
static fl_ssl *
library_ssl_of(TLSLibraryObject *self, PyObject *socket, bool trusted)
{
    PyObject *context = PyObject_GetAttrString(socket, "context");
    if (context == NULL) {
        return NULL;
    }
    SSLSocketHead *head = (SSLSocketHead *)socket;
    bool fits = library_head_fits(head, context) &&
                (trusted || fl_memory_is_readable(head->ssl, 64)) &&
                library_ssl_fits(&self->lib, head);
    Py_DECREF(context);
    return fits ? head->ssl : NULL;
}

fl_ssl *
fl_tls_library_ssl(TLSLibraryObject *self, PyObject *sslobject, PyObject **socket)
{
    if (self->refusal != NULL || (PyObject *)Py_TYPE(sslobject) != self->SSLObject) {
        return NULL;
    }
    *socket = PyObject_GetAttrString(sslobject, "_sslobj");
    fl_ssl *ssl = *socket != NULL && (PyObject *)Py_TYPE(*socket) == self->SSLSocket
                      ? library_ssl_of(self, *socket, true)
                      : NULL;
    if (ssl == NULL) {
        PyErr_Clear();
        Py_CLEAR(*socket);
    }
    return ssl;
}

/* -- the trial, once in each interpreter ----------------------------------------------------------- */

/* An SSLObject that nobody else has, asking for TRIAL_NAME. */
static PyObject *
trial_sslobject(TLSLibraryObject *self, PyObject *ssl)
{
    PyObject *protocol = PyObject_GetAttrString(ssl, "PROTOCOL_TLS_CLIENT");
    PyObject *context =
        protocol == NULL ? NULL : PyObject_CallMethod(ssl, "SSLContext", "O", protocol);
    PyObject *in = context == NULL ? NULL : PyObject_CallNoArgs(self->MemoryBIO);
    PyObject *out = in == NULL ? NULL : PyObject_CallNoArgs(self->MemoryBIO);
    PyObject *sslobject =
        out == NULL ? NULL
                    : PyObject_CallMethod(context, "wrap_bio", "OOis", in, out, 0, TRIAL_NAME);
    Py_XDECREF(out);
    Py_XDECREF(in);
    Py_XDECREF(context);
    Py_XDECREF(protocol);
    return sslobject;
}

/* Whether a memory BIO reads the memory it is given, and no further, and leaves it as it was. */
static bool
trial_input_works(const fl_libssl *lib, fl_bio *bio)
{
    const char text[] = "abc";
    char lent[] = "abc", copy[sizeof(text)];
    fl_buf_mem memory = {.data = lent, .length = 3, .max = 3};
    size_t n = 0;
    lib->BIO_ctrl(bio, FL_BIO_C_SET_BUF_MEM, FL_BIO_NOCLOSE, &memory);
    return lib->BIO_ctrl(bio, FL_BIO_CTRL_PENDING, 0, NULL) == 3 &&
           lib->BIO_read_ex(bio, copy, 2, &n) && n == 2 && memcmp(copy, text, 2) == 0 &&
           lib->BIO_ctrl(bio, FL_BIO_CTRL_PENDING, 0, NULL) == 1 && strcmp(lent, text) == 0;
}

/* Whether a memory BIO puts what is written into the memory it was given, behind what is there. */
static bool
trial_output_works(const fl_libssl *lib, fl_bio *bio)
{
    fl_buf_mem memory = {0};
    size_t n = 0;
    lib->BIO_ctrl(bio, FL_BIO_C_SET_BUF_MEM, FL_BIO_NOCLOSE, &memory);
    bool works = lib->BIO_write_ex(bio, "ab", 2, &n) && n == 2 &&
                 lib->BIO_write_ex(bio, "cd", 2, &n) && memory.length == 4 && memory.max >= 4 &&
                 memcmp(memory.data, "abcd", 4) == 0;
    lib->CRYPTO_free(memory.data, __FILE__, __LINE__);
    return works;
}

/* Whether the memory behind a BIO of the trial connection can be exchanged as openssl.c does it. */
static bool
trial_memory_works(const fl_libssl *lib, fl_bio *bio,
                   bool (*works)(const fl_libssl *lib, fl_bio *bio))
{
    fl_buf_mem *first = NULL;
    lib->BIO_ctrl(bio, FL_BIO_C_GET_BUF_MEM_PTR, 0, &first);
    if (first == NULL || first->length != 0) {
        return false;
    }
    lib->BIO_ctrl(bio, FL_BIO_CTRL_SET_CLOSE, FL_BIO_NOCLOSE, NULL);
    bool worked = works(lib, bio);
    lib->BIO_ctrl(bio, FL_BIO_C_SET_BUF_MEM, FL_BIO_CLOSE, first);
    return worked;
}

/* Whether a name given through Python is found through the pointer, and all the rest works. */
static bool
trial_passes(TLSLibraryObject *self, PyObject *socket)
{
    const fl_libssl *lib = &self->lib;
    fl_ssl *ssl = library_ssl_of(self, socket, false);
    const char *name =
        ssl == NULL ? NULL : lib->SSL_get_servername(ssl, FL_TLSEXT_NAMETYPE_HOST_NAME);
    return name != NULL && strcmp(name, TRIAL_NAME) == 0 &&
           trial_memory_works(lib, lib->SSL_get_rbio(ssl), trial_input_works) &&
           trial_memory_works(lib, lib->SSL_get_wbio(ssl), trial_output_works);
}

/* NULL, or the reason why OpenSSL must not be called. */
static const char *
trial_run(TLSLibraryObject *self, PyObject *ssl)
{
    PyObject *sslobject = trial_sslobject(self, ssl);
    PyObject *socket = sslobject == NULL ? NULL : PyObject_GetAttrString(sslobject, "_sslobj");
    bool passed = socket != NULL && (PyObject *)Py_TYPE(sslobject) == self->SSLObject &&
                  (PyObject *)Py_TYPE(socket) == self->SSLSocket && trial_passes(self, socket);
    PyErr_Clear();
    Py_XDECREF(socket);
    Py_XDECREF(sslobject);
    return passed ? NULL : "the objects of _ssl, or OpenSSL, are not as expected";
}

/* Look for OpenSSL's functions.  NULL, or a reason not to use them; also with an exception. */
static const char *
library_find_functions(TLSLibraryObject *self, PyObject *ssl)
{
    PyObject *path = NULL, *version = NULL, *number = NULL;
    const char *refusal = "the module _ssl is not a shared object";
    PyObject *module = PyImport_ImportModule("_ssl");
    if (module != NULL && (path = PyModule_GetFilenameObject(module)) != NULL &&
        (version = PyObject_GetAttrString(ssl, "OPENSSL_VERSION")) != NULL &&
        (number = PyObject_GetAttrString(ssl, "OPENSSL_VERSION_NUMBER")) != NULL) {
        const char *path_text = PyUnicode_AsUTF8(path);
        const char *version_text = PyUnicode_AsUTF8(version);
        unsigned long value = PyLong_AsUnsignedLong(number);
        if (!PyErr_Occurred()) {
            refusal = fl_libssl_find(&self->lib, path_text, version_text, value);
        }
    }
    Py_XDECREF(number);
    Py_XDECREF(version);
    Py_XDECREF(path);
    Py_XDECREF(module);
    return refusal;
}

/* Decide whether OpenSSL may be called.  What goes wrong here is only a reason not to. */
static const char *
library_decide(TLSLibraryObject *self, PyObject *ssl)
{
    const char *wish = getenv("FASTLOOP_TLS");
    if (wish != NULL && strcmp(wish, "python") == 0) {
        return "FASTLOOP_TLS=python";
    }
    if (!library_knows_size((PyTypeObject *)self->SSLSocket)) {
        return "this release of Python is not known";
    }
    const char *refusal = library_find_functions(self, ssl);
    PyErr_Clear();
    return refusal != NULL ? refusal : trial_run(self, ssl);
}

/* -- making it ------------------------------------------------------------------------------------- */

static int
library_take_names(TLSLibraryObject *self, PyObject *ssl)
{
    PyObject *module = PyImport_ImportModule("_ssl");
    if (module == NULL) {
        return -1;
    }
    self->SSLSocket = PyObject_GetAttrString(module, "_SSLSocket");
    Py_DECREF(module);
    if (self->SSLSocket == NULL ||
        (self->MemoryBIO = PyObject_GetAttrString(ssl, "MemoryBIO")) == NULL ||
        (self->SSLObject = PyObject_GetAttrString(ssl, "SSLObject")) == NULL ||
        (self->SSLWantReadError = PyObject_GetAttrString(ssl, "SSLWantReadError")) == NULL ||
        (self->SSLWantWriteError = PyObject_GetAttrString(ssl, "SSLWantWriteError")) == NULL ||
        (self->SSLZeroReturnError = PyObject_GetAttrString(ssl, "SSLZeroReturnError")) == NULL ||
        (self->SSLCertVerificationError =
             PyObject_GetAttrString(ssl, "SSLCertVerificationError")) == NULL) {
        return -1;
    }
    if (!PyType_Check(self->SSLSocket)) {
        PyErr_SetString(PyExc_ImportError, "_ssl._SSLSocket is not a type");
        return -1;
    }
    return 0;
}

static TLSLibraryObject *
library_new(fl_state *state)
{
    PyObject *ssl = PyImport_ImportModule("ssl");
    if (ssl == NULL) {
        return NULL;
    }
    PyTypeObject *type = state->TLSLibrary_type;
    TLSLibraryObject *self = (TLSLibraryObject *)type->tp_alloc(type, 0);
    if (self != NULL && library_take_names(self, ssl) < 0) {
        Py_CLEAR(self);
    }
    if (self != NULL) {
        self->refusal = library_decide(self, ssl);
    }
    Py_DECREF(ssl);
    return self;
}

TLSLibraryObject *
fl_tls_library(fl_state *state)
{
    if (state->tls_library == NULL) {
        TLSLibraryObject *library = library_new(state);
        if (library != NULL && state->tls_library == NULL) { /* making it has called Python */
            state->tls_library = Py_NewRef((PyObject *)library);
        }
        Py_XDECREF(library);
    }
    return (TLSLibraryObject *)state->tls_library;
}

static int
TLSLibrary_traverse(TLSLibraryObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->MemoryBIO);
    Py_VISIT(self->SSLObject);
    Py_VISIT(self->SSLWantReadError);
    Py_VISIT(self->SSLWantWriteError);
    Py_VISIT(self->SSLZeroReturnError);
    Py_VISIT(self->SSLCertVerificationError);
    Py_VISIT(self->SSLSocket);
    return 0;
}

static void
TLSLibrary_dealloc(TLSLibraryObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    fl_libssl_close(&self->lib);
    Py_XDECREF(self->MemoryBIO);
    Py_XDECREF(self->SSLObject);
    Py_XDECREF(self->SSLWantReadError);
    Py_XDECREF(self->SSLWantWriteError);
    Py_XDECREF(self->SSLZeroReturnError);
    Py_XDECREF(self->SSLCertVerificationError);
    Py_XDECREF(self->SSLSocket);
    type->tp_free(self);
    Py_DECREF(type);
}

PyDoc_STRVAR(TLSLibrary_doc, "What this interpreter knows of its ssl module.");

static PyType_Slot library_slots[] = {
    {Py_tp_doc, (void *)TLSLibrary_doc},
    {Py_tp_dealloc, TLSLibrary_dealloc},
    {Py_tp_traverse, TLSLibrary_traverse},
    {0, NULL},
};

static PyType_Spec library_spec = {
    .name = "fastloop._fastloop._TLSLibrary",
    .basicsize = sizeof(TLSLibraryObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = library_slots,
};

int
fl_tls_library_setup_types(PyObject *module, fl_state *state)
{
    return fl_add_type(module, &library_spec, NULL, "_TLSLibrary", &state->TLSLibrary_type);
}
