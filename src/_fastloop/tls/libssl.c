/* Finding OpenSSL's functions in the process. */
#include "tls/libssl.h"

#include "base/os.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

/* The function called `name` among those that the object depends on.  NULL also when the whole program has another
   one of that name: then nobody knows which of them _ssl calls. */
static void *
libssl_symbol(void *handle, const char *name)
{
    void *found = dlsym(handle, name);
    void *global = dlsym(RTLD_DEFAULT, name);
    return global == NULL || global == found ? found : NULL;
}

/* Whether all functions are there and belong to one OpenSSL. */
static int
libssl_fill(fl_libssl *lib)
{
    void *symbol;
#define FL_FIND(type, name, parameters)                                                            \
    if ((symbol = libssl_symbol(lib->handle, #name)) == NULL) {                                    \
        return 0;                                                                                  \
    }                                                                                              \
    memcpy(&lib->name, &symbol, sizeof(symbol));
    FL_LIBSSL_FUNCTIONS(FL_FIND)
#undef FL_FIND
    return 1;
}

/* NULL, or the reason why what was filled in is not to be used. */
static const char *
libssl_doubt(const fl_libssl *lib, const char *version, unsigned long number)
{
    if (strncmp(version, "OpenSSL 3.", strlen("OpenSSL 3.")) != 0) {
        return "the library is not OpenSSL 3";
    }
    if (lib->OpenSSL_version_num() != number ||
        strcmp(lib->OpenSSL_version(FL_OPENSSL_VERSION), version) != 0) {
        return "the library found is not the one that _ssl uses";
    }
    return NULL;
}

const char *
fl_libssl_find(fl_libssl *lib, const char *path, const char *version, unsigned long number)
{
    lib->handle = dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
    if (lib->handle == NULL) {
        return "the module _ssl is not a loaded shared object";
    }
    const char *doubt = libssl_fill(lib) ? libssl_doubt(lib, version, number)
                                         : "a function of OpenSSL was not found";
    if (doubt != NULL) {
        fl_libssl_close(lib);
    }
    return doubt;
}

void
fl_libssl_close(fl_libssl *lib)
{
    if (lib->handle != NULL) {
        dlclose(lib->handle);
        lib->handle = NULL;
    }
}

int
fl_memory_is_readable(const void *address, size_t size)
{
    int ends[2];
    if (fl_os_pipe(ends) < 0) {
        return 0;
    }
    ssize_t n = write(ends[1], address, size); /* EFAULT instead of a crash */
    close(ends[0]);
    close(ends[1]);
    return n == (ssize_t)size;
}
