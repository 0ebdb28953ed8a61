/* The functions of the OpenSSL that Python's _ssl module has loaded, found at run time.  No header of OpenSSL is
   needed to build: the prototypes stand here, as OpenSSL 3 documents them. */
#ifndef FL_TLS_LIBSSL_H
#define FL_TLS_LIBSSL_H

#include <stddef.h>
#include <stdint.h>

typedef struct ssl_st fl_ssl;
typedef struct ssl_ctx_st fl_ssl_ctx;
typedef struct bio_st fl_bio;

/* OpenSSL's BUF_MEM, which is public: the memory behind a memory BIO. */
typedef struct {
    size_t length; /* bytes in it */
    char *data;
    size_t max; /* bytes it has room for */
    unsigned long flags;
} fl_buf_mem;

/* X(type, name, (parameters)) */
#define FL_LIBSSL_FUNCTIONS(X)                                                                     \
    X(int, SSL_read_ex, (fl_ssl *, void *, size_t, size_t *))                                      \
    X(int, SSL_write_ex, (fl_ssl *, const void *, size_t, size_t *))                               \
    X(int, SSL_get_error, (const fl_ssl *, int))                                                   \
    X(int, SSL_pending, (const fl_ssl *))                                                          \
    X(fl_bio *, SSL_get_rbio, (const fl_ssl *))                                                    \
    X(fl_bio *, SSL_get_wbio, (const fl_ssl *))                                                    \
    X(fl_ssl_ctx *, SSL_get_SSL_CTX, (const fl_ssl *))                                             \
    X(void *, SSL_get_ex_data, (const fl_ssl *, int))                                              \
    X(const char *, SSL_get_servername, (const fl_ssl *, int))                                     \
    X(uint64_t, SSL_get_options, (const fl_ssl *))                                                 \
    X(long, SSL_ctrl, (fl_ssl *, int, long, void *))                                               \
    X(long, BIO_ctrl, (fl_bio *, int, long, void *))                                               \
    X(int, BIO_write_ex, (fl_bio *, const void *, size_t, size_t *))                               \
    X(int, BIO_read_ex, (fl_bio *, void *, size_t, size_t *))                                      \
    X(int, BIO_method_type, (const fl_bio *))                                                      \
    X(unsigned long, ERR_peek_error, (void))                                                       \
    X(void, ERR_clear_error, (void))                                                               \
    X(void *, CRYPTO_malloc, (size_t, const char *, int))                                          \
    X(void, CRYPTO_free, (void *, const char *, int))                                              \
    X(unsigned long, OpenSSL_version_num, (void))                                                  \
    X(const char *, OpenSSL_version, (int))

/* Constants of OpenSSL's headers. */
enum {
    FL_SSL_ERROR_WANT_READ = 2,
    FL_SSL_ERROR_ZERO_RETURN = 6,
    FL_TLSEXT_NAMETYPE_HOST_NAME = 0,
    FL_OPENSSL_VERSION = 0,
    FL_SSL_OP_ALLOW_CLIENT_RENEGOTIATION = 1 << 8,
    FL_SSL_CTRL_MODE = 33,
    FL_SSL_MODE_RELEASE_BUFFERS = 0x10,
    FL_BIO_TYPE_MEM = 0x0401,
    FL_BIO_NOCLOSE = 0,
    FL_BIO_CLOSE = 1,
    FL_BIO_CTRL_SET_CLOSE = 9,
    FL_BIO_CTRL_PENDING = 10,
    FL_BIO_C_SET_BUF_MEM = 114,
    FL_BIO_C_GET_BUF_MEM_PTR = 115,
    FL_BIO_C_SET_BUF_MEM_EOF_RETURN = 130,
};

typedef struct {
    void *handle; /* of dlopen(), or NULL: nothing was found */
#define FL_FUNCTION(type, name, parameters) type(*name) parameters;
    FL_LIBSSL_FUNCTIONS(FL_FUNCTION)
#undef FL_FUNCTION
} fl_libssl;

/* Fill in the functions that the loaded shared object at `path`, the _ssl module, uses.  `version` is what that
   module says of its OpenSSL.  NULL, or the reason why they are not to be used. */
const char *fl_libssl_find(fl_libssl *lib, const char *path, const char *version,
                           unsigned long number);

/* Give back what fl_libssl_find() has taken, if anything. */
void fl_libssl_close(fl_libssl *lib);

/* Whether `size` bytes at `address` can be read, asked of the kernel. */
int fl_memory_is_readable(const void *address, size_t size);

#endif
