/* Data by SSL_read() and SSL_write().  The SSL keeps the two memory BIOs that the SSLObject was made with; only the
   memory behind them is exchanged (BIO_set_mem_buf), so that input is read where the caller has it and output is
   sent from where OpenSSL has put it. */
#include "tls/engine.h"

#include <string.h>

#define SPARE_MAX (512 * 1024) /* bytes of output memory kept for the next write */
#define RECORD_EXTRA 96 /* at least what a record adds to its plaintext: if it is more, OpenSSL gets more memory */

static const fl_libssl *
openssl_lib(TLSEngineObject *self)
{
    return &self->library->lib;
}

static void
openssl_attach(TLSEngineObject *self, fl_bio *bio, fl_buf_mem *memory, int close)
{
    openssl_lib(self)->BIO_ctrl(bio, FL_BIO_C_SET_BUF_MEM, close, memory);
}

/* -- input ----------------------------------------------------------------------------------------- */

static size_t
openssl_pending(TLSEngineObject *self)
{
    return (size_t)openssl_lib(self)->BIO_ctrl(self->in, FL_BIO_CTRL_PENDING, 0, NULL);
}

/* Copy bytes behind those in the memory of a BIO, which is ours.  0, or -1 with MemoryError. */
static int
openssl_append(TLSEngineObject *self, fl_bio *bio, const char *data, size_t len)
{
    size_t n;
    if (len > 0 && !openssl_lib(self)->BIO_write_ex(bio, data, len, &n)) {
        openssl_lib(self)->ERR_clear_error();
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

/* … behind those in self->kept, to which `in` is attached unless it is lent something. */
static int
openssl_feed(TLSEngineObject *self, const char *data, size_t len)
{
    return openssl_append(self, self->in, data, len);
}

/* Give the memory of `kept` back when all of it was consumed. */
static void
openssl_drop_kept(TLSEngineObject *self)
{
    if (!self->lending && self->kept.data != NULL && openssl_pending(self) == 0) {
        openssl_lib(self)->CRYPTO_free(self->kept.data, __FILE__, __LINE__);
        memset(&self->kept, 0, sizeof(self->kept));
        openssl_attach(self, self->in, &self->kept, FL_BIO_NOCLOSE);
    }
}

static int
openssl_keep_rest(TLSEngineObject *self)
{
    if (!self->lending) {
        openssl_drop_kept(self);
        return 0;
    }
    size_t left = openssl_pending(self);
    const char *rest = self->lent.data + self->lent.length - left;
    self->lending = false;
    openssl_attach(self, self->in, &self->kept, FL_BIO_NOCLOSE);
    return openssl_feed(self, rest, left);
}

/* Behind what was kept there is no place for what is somewhere else. */
static int
openssl_lend(TLSEngineObject *self, const char *data, size_t len)
{
    if (self->kept.data != NULL) {
        return openssl_feed(self, data, len);
    }
    self->lent = (fl_buf_mem){.data = (char *)data, .length = len, .max = len};
    self->lending = true;
    openssl_attach(self, self->in, &self->lent, FL_BIO_NOCLOSE);
    return 0;
}

static int
openssl_feed_eof(TLSEngineObject *self)
{
    openssl_lib(self)->BIO_ctrl(self->in, FL_BIO_C_SET_BUF_MEM_EOF_RETURN, 0, NULL);
    return 0;
}

static Py_ssize_t
openssl_unread(TLSEngineObject *self)
{
    Py_ssize_t n = (Py_ssize_t)openssl_pending(self);
    if (n == 0) {
        n = openssl_lib(self)->SSL_pending(self->ssl);
    }
    if (n == 0) {
        openssl_drop_kept(self);
    }
    return n;
}

/* -- data ------------------------------------------------------------------------------------------ */

/* SSL_get_error() looks into the thread's queue of errors: nothing may be left in it from before. */
static void
openssl_clear_errors(TLSEngineObject *self)
{
    if (openssl_lib(self)->ERR_peek_error() != 0) { /* much cheaper than to clear an empty queue */
        openssl_lib(self)->ERR_clear_error();
    }
}

/* SSL_read() or SSL_write() has not succeeded: what to do now, FL_TLS_FAILED without an exception. */
static int
openssl_outcome(TLSEngineObject *self)
{
    switch (openssl_lib(self)->SSL_get_error(self->ssl, 0)) {
    case FL_SSL_ERROR_WANT_READ:
        return FL_TLS_WANTS_INPUT;
    case FL_SSL_ERROR_ZERO_RETURN:
        return FL_TLS_CLOSE_NOTIFY;
    default:
        return FL_TLS_FAILED;
    }
}

/* An SSL that has failed fails again, and OpenSSL's error queue still tells why: repeated through Python, the
   call raises Python's own exception. */
static Py_ssize_t
openssl_read(TLSEngineObject *self, char *buffer, size_t size)
{
    size_t n;
    openssl_clear_errors(self);
    if (openssl_lib(self)->SSL_read_ex(self->ssl, buffer, size, &n)) {
        return (Py_ssize_t)n;
    }
    int outcome = openssl_outcome(self);
    if (outcome == FL_TLS_FAILED && openssl_keep_rest(self) == 0) {
        return fl_tls_sslobject_ops.read(self, buffer, size);
    }
    openssl_drop_kept(self);
    return outcome;
}

/* Memory for at least `size` bytes: the spare, or new.  NULL: there is none. */
static char *
openssl_take_spare(TLSEngineObject *self, size_t *size)
{
    fl_tls_spare *spare = self->spare;
    if (spare == NULL || spare->size < *size) {
        return openssl_lib(self)->CRYPTO_malloc(*size, __FILE__, __LINE__);
    }
    char *memory = spare->data;
    *size = spare->size;
    spare->data = NULL;
    spare->size = 0;
    return memory;
}

/* Have room for what becomes of `len` bytes, so that OpenSSL need not enlarge the memory by and by.  Without
   memory OpenSSL may have more luck with smaller pieces, or says so. */
static void
openssl_make_room(TLSEngineObject *self, size_t len)
{
    fl_buf_mem *sealed = &self->sealed;
    size_t need = len + (len / FL_TLS_RECORD_MAX + 1) * RECORD_EXTRA;
    size_t left = sealed->length - self->taken;
    if (sealed->max - sealed->length >= need) {
        return;
    }
    size_t size = 2 * left + need;
    char *memory = openssl_take_spare(self, &size);
    if (memory == NULL) {
        return;
    }
    if (left > 0) {
        memcpy(memory, sealed->data + self->taken, left);
    }
    openssl_lib(self)->CRYPTO_free(sealed->data, __FILE__, __LINE__);
    *sealed = (fl_buf_mem){.data = memory, .length = left, .max = size};
    self->taken = 0;
    openssl_attach(self, self->out, sealed, FL_BIO_NOCLOSE);
}

static Py_ssize_t
openssl_write(TLSEngineObject *self, const char *data, size_t len)
{
    size_t n;
    openssl_make_room(self, len);
    openssl_clear_errors(self);
    if (openssl_lib(self)->SSL_write_ex(self->ssl, data, len, &n)) {
        return (Py_ssize_t)n;
    }
    int outcome = openssl_outcome(self);
    return outcome == FL_TLS_WANTS_INPUT ? outcome : fl_tls_sslobject_ops.write(self, data, len);
}

/* -- output ---------------------------------------------------------------------------------------- */

static int
openssl_put_first(TLSEngineObject *self, const char *data, size_t len)
{
    return openssl_append(self, self->out, data, len);
}

static int
openssl_output(TLSEngineObject *self, const char **data, size_t *len)
{
    *data = self->sealed.data + self->taken;
    *len = self->sealed.length - self->taken;
    return 0;
}

/* All output is sent: leave the memory to the next writer, or give it back. */
static void
openssl_release_output(TLSEngineObject *self)
{
    fl_tls_spare *spare = self->spare;
    char *unused = self->sealed.data;
    if (spare != NULL && self->sealed.max <= SPARE_MAX && self->sealed.max > spare->size) {
        unused = spare->data;
        spare->data = self->sealed.data;
        spare->size = self->sealed.max;
    }
    openssl_lib(self)->CRYPTO_free(unused, __FILE__, __LINE__);
    memset(&self->sealed, 0, sizeof(self->sealed));
    self->taken = 0;
    openssl_attach(self, self->out, &self->sealed, FL_BIO_NOCLOSE);
}

static void
openssl_output_taken(TLSEngineObject *self, size_t n)
{
    self->taken += n;
    if (self->taken == self->sealed.length) {
        openssl_release_output(self);
    }
    else if (self->taken > self->sealed.length / 2) { /* so that it does not grow without end */
        self->sealed.length -= self->taken;
        memmove(self->sealed.data, self->sealed.data + self->taken, self->sealed.length);
        self->taken = 0;
        openssl_attach(self, self->out, &self->sealed, FL_BIO_NOCLOSE);
    }
}

/* -- spare memory ---------------------------------------------------------------------------------- */

static void
spare_free(PyObject *capsule)
{
    fl_tls_spare *spare = PyCapsule_GetPointer(capsule, NULL);
    spare->library->lib.CRYPTO_free(spare->data, __FILE__, __LINE__);
    Py_DECREF(spare->library);
    PyMem_Free(spare);
}

/* A capsule with a spare, or NULL with MemoryError. */
static PyObject *
spare_new(TLSLibraryObject *library)
{
    fl_tls_spare *spare = PyMem_Calloc(1, sizeof(*spare));
    PyObject *capsule = spare == NULL ? PyErr_NoMemory() : PyCapsule_New(spare, NULL, spare_free);
    if (capsule == NULL) {
        PyMem_Free(spare);
        return NULL;
    }
    spare->library = (TLSLibraryObject *)Py_NewRef((PyObject *)library);
    return capsule;
}

int
fl_tls_share_spare(TLSEngineObject *self, PyObject **slot)
{
    if (self->socket == NULL) { /* the SSLObject's BIOs have memory of their own */
        return 0;
    }
    if (*slot == NULL && (*slot = spare_new(self->library)) == NULL) {
        return -1;
    }
    Py_XSETREF(self->share, Py_NewRef(*slot));
    self->spare = PyCapsule_GetPointer(self->share, NULL);
    return 0;
}

/* -- beginning and end ----------------------------------------------------------------------------- */

/* Python code runs in the middle of data only in ways that are rare: leave them to Python.  It would run for
   contexts with message or keylog callbacks, and for the SNI callback when a client renegotiates. */
static bool
openssl_suits(TLSEngineObject *self, fl_ssl *ssl)
{
    if (openssl_lib(self)->SSL_get_options(ssl) & FL_SSL_OP_ALLOW_CLIENT_RENEGOTIATION) {
        return false;
    }
    static const char *const callbacks[] = {"_msg_callback", "keylog_filename"};
    PyObject *context = PyObject_GetAttrString(self->sslobject, "context");
    bool suits = context != NULL;
    for (size_t i = 0; suits && i < sizeof(callbacks) / sizeof(*callbacks); i++) {
        PyObject *callback = PyObject_GetAttrString(context, callbacks[i]);
        suits = callback == Py_None;
        Py_XDECREF(callback);
    }
    Py_XDECREF(context);
    PyErr_Clear();
    return suits;
}

/* From now on the memory of a BIO is ours; *memory is what it was. */
static void
openssl_take_memory(TLSEngineObject *self, fl_bio *bio, fl_buf_mem **memory)
{
    const fl_libssl *lib = openssl_lib(self);
    lib->BIO_ctrl(bio, FL_BIO_C_GET_BUF_MEM_PTR, 0, memory);
    lib->BIO_ctrl(bio, FL_BIO_CTRL_SET_CLOSE, FL_BIO_NOCLOSE, NULL);
}

int
fl_tls_openssl_begin(TLSEngineObject *self)
{
    PyObject *socket;
    fl_ssl *ssl = fl_tls_library_ssl(self->library, self->sslobject, &socket);
    if (ssl == NULL) {
        return 0;
    }
    if (!openssl_suits(self, ssl)) {
        Py_DECREF(socket);
        return 0;
    }
    self->socket = socket;
    self->ssl = ssl;
    self->in = openssl_lib(self)->SSL_get_rbio(ssl);
    self->out = openssl_lib(self)->SSL_get_wbio(ssl);
    openssl_take_memory(self, self->in, &self->first_in);
    openssl_take_memory(self, self->out, &self->first_out);
    openssl_attach(self, self->in, &self->kept, FL_BIO_NOCLOSE);
    openssl_attach(self, self->out, &self->sealed, FL_BIO_NOCLOSE);
    return 1;
}

static void
openssl_detach(TLSEngineObject *self)
{
    openssl_attach(self, self->in, self->first_in, FL_BIO_CLOSE);
    openssl_attach(self, self->out, self->first_out, FL_BIO_CLOSE);
    openssl_lib(self)->CRYPTO_free(self->kept.data, __FILE__, __LINE__);
    openssl_lib(self)->CRYPTO_free(self->sealed.data, __FILE__, __LINE__);
}

const fl_tls_ops fl_tls_openssl_ops = {
    .feed = openssl_feed,
    .lend = openssl_lend,
    .keep_rest = openssl_keep_rest,
    .feed_eof = openssl_feed_eof,
    .pending = openssl_unread,
    .read = openssl_read,
    .write = openssl_write,
    .put_first = openssl_put_first,
    .output = openssl_output,
    .output_taken = openssl_output_taken,
    .detach = openssl_detach,
};
