/* What one interpreter knows of its ssl module: the classes, and whether OpenSSL may be called directly. */
#ifndef FL_TLS_LIBRARY_H
#define FL_TLS_LIBRARY_H

#include "state.h"
#include "tls/libssl.h"

typedef struct {
    PyObject_HEAD
    PyObject *MemoryBIO; /* owned, of the module ssl, as the next five */
    PyObject *SSLObject;
    PyObject *SSLWantReadError;
    PyObject *SSLWantWriteError;
    PyObject *SSLZeroReturnError;
    PyObject *SSLCertVerificationError;
    PyObject *SSLSocket; /* owned: _ssl._SSLSocket, the object behind an SSLObject */
    const char *refusal; /* why OpenSSL is not called directly, or NULL: it may be */
    fl_libssl lib;       /* usable unless there is a refusal */
} TLSLibraryObject;

/* The interpreter's library, borrowed from the state; made when first asked for.  NULL with an exception. */
TLSLibraryObject *fl_tls_library(fl_state *state);

/* The SSL behind an object of the exact class ssl.SSLObject, after checks that nothing is amiss with it; it lives as
   long as *socket, the _ssl._SSLSocket whose reference the caller gets.  NULL without an exception if OpenSSL must
   not be called directly for this object. */
fl_ssl *fl_tls_library_ssl(TLSLibraryObject *library, PyObject *sslobject, PyObject **socket);

/* Add the type to the module state.  0 or -1. */
int fl_tls_library_setup_types(PyObject *module, fl_state *state);

#endif
