/* Socket addresses to and from Python objects. */
#include "net/address.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

void
fl_inet_set(fl_inet *inet, const struct sockaddr *address, socklen_t len)
{
    inet->len = 0;
    bool known = len >= sizeof(sa_family_t) &&
                 (address->sa_family == AF_INET || address->sa_family == AF_INET6);
    if (known && len <= sizeof(inet->v6)) {
        memcpy(&inet->v6, address, len);
        inet->len = (uint8_t)len;
    }
}

/* -- to Python ------------------------------------------------------------------------------------- */

static PyObject *
object_from_v4(const struct sockaddr_in *address)
{
    char host[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &address->sin_addr, host, sizeof(host));
    return Py_BuildValue("(si)", host, (int)ntohs(address->sin_port));
}

static PyObject *
object_from_v6(const struct sockaddr_in6 *address)
{
    char host[INET6_ADDRSTRLEN];
    inet_ntop(AF_INET6, &address->sin6_addr, host, sizeof(host));
    return Py_BuildValue("(siII)", host, (int)ntohs(address->sin6_port),
                         (unsigned)ntohl(address->sin6_flowinfo), (unsigned)address->sin6_scope_id);
}

/* A path, "" for an unnamed socket, bytes for Linux's abstract names. */
static PyObject *
object_from_unix(const struct sockaddr_un *address, socklen_t len)
{
    size_t path = offsetof(struct sockaddr_un, sun_path);
    size_t n = len > path ? len - path : 0;
    if (n > 0 && address->sun_path[0] == '\0') {
        return PyBytes_FromStringAndSize(address->sun_path, (Py_ssize_t)n);
    }
    return PyUnicode_DecodeFSDefaultAndSize(address->sun_path,
                                            (Py_ssize_t)strnlen(address->sun_path, n));
}

PyObject *
fl_address_object(const struct sockaddr *address, socklen_t len)
{
    if (len == 0) {
        return Py_NewRef(Py_None);
    }
    switch (address->sa_family) {
    case AF_INET:
        return object_from_v4((const struct sockaddr_in *)address);
    case AF_INET6:
        return object_from_v6((const struct sockaddr_in6 *)address);
    case AF_UNIX:
        return object_from_unix((const struct sockaddr_un *)address, len);
    default:
        return NULL;
    }
}

/* -- from Python ----------------------------------------------------------------------------------- */

/* An exact int of at most `limit` at position i; -1 when it is something else. */
static long long
item_number(PyObject *tuple, Py_ssize_t i, long long limit)
{
    if (i >= PyTuple_GET_SIZE(tuple)) {
        return 0;
    }
    PyObject *item = PyTuple_GET_ITEM(tuple, i);
    int overflow;
    long long value = PyLong_CheckExact(item) ? PyLong_AsLongLongAndOverflow(item, &overflow) : -1;
    return value >= 0 && value <= limit ? value : -1;
}

/* The numeric host in the tuple as text, or NULL. */
static const char *
item_host(PyObject *tuple)
{
    PyObject *host = PyTuple_GET_ITEM(tuple, 0);
    bool plain = PyUnicode_CheckExact(host) && PyUnicode_IS_COMPACT_ASCII(host);
    const char *text = plain ? (const char *)PyUnicode_1BYTE_DATA(host) : NULL;
    return text != NULL && strlen(text) == (size_t)PyUnicode_GET_LENGTH(host) ? text : NULL;
}

int
fl_inet_parse(fl_inet *inet, int family, PyObject *object)
{
    Py_ssize_t n = PyTuple_CheckExact(object) ? PyTuple_GET_SIZE(object) : 0;
    const char *host = n >= 2 ? item_host(object) : NULL;
    long long port = host == NULL ? -1 : item_number(object, 1, 65535);
    if (port < 0) {
        return 0;
    }
    memset(inet, 0, sizeof(*inet));
    if (family == AF_INET && n == 2 && inet_pton(AF_INET, host, &inet->v4.sin_addr) == 1) {
        inet->v4.sin_family = AF_INET;
        inet->v4.sin_port = htons((uint16_t)port);
        inet->len = sizeof(inet->v4);
        return 1;
    }
    long long flow = family == AF_INET6 ? item_number(object, 2, 0xFFFFF) : -1;
    long long scope = flow < 0 || n > 4 ? -1 : item_number(object, 3, UINT32_MAX);
    if (scope < 0 || inet_pton(AF_INET6, host, &inet->v6.sin6_addr) != 1) {
        return 0;
    }
    inet->v6.sin6_family = AF_INET6;
    inet->v6.sin6_port = htons((uint16_t)port);
    inet->v6.sin6_flowinfo = htonl((uint32_t)flow);
    inet->v6.sin6_scope_id = (uint32_t)scope;
    inet->len = sizeof(inet->v6);
    return 1;
}
