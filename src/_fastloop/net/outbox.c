/* The queue of bytes to send.  bytes objects refer to nothing, so the collector need not know of them. */
#include "net/outbox.h"

void
fl_outbox_init(fl_outbox *outbox)
{
    outbox->items = outbox->few;
    outbox->head = outbox->len = 0;
    outbox->capacity = FL_OUTBOX_FEW;
    outbox->offset = outbox->size = 0;
}

/* Make room for one more at the end: by moving what there is to the front, or in more memory. */
static int
outbox_make_room(fl_outbox *outbox)
{
    PyObject **items = outbox->items;
    if (outbox->head > 0 && outbox->len <= outbox->capacity / 2) {
        memmove(items, items + outbox->head, outbox->len * sizeof(*items));
        outbox->head = 0;
        return 0;
    }
    uint32_t capacity = outbox->capacity * 4;
    if (capacity < outbox->capacity || (items = PyMem_Malloc(capacity * sizeof(*items))) == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(items, outbox->items + outbox->head, outbox->len * sizeof(*items));
    if (outbox->items != outbox->few) {
        PyMem_Free(outbox->items);
    }
    outbox->items = items;
    outbox->head = 0;
    outbox->capacity = capacity;
    return 0;
}

int
fl_outbox_append(fl_outbox *outbox, PyObject *bytes)
{
    if (outbox->head + outbox->len == outbox->capacity && outbox_make_room(outbox) < 0) {
        Py_DECREF(bytes);
        return -1;
    }
    outbox->items[outbox->head + outbox->len++] = bytes;
    outbox->size += (size_t)PyBytes_GET_SIZE(bytes);
    return 0;
}

int
fl_outbox_pieces(const fl_outbox *outbox, struct iovec *pieces, int max)
{
    size_t offset = outbox->offset;
    int n = 0;
    for (; n < max && (uint32_t)n < outbox->len; n++) {
        PyObject *bytes = outbox->items[outbox->head + (uint32_t)n];
        pieces[n].iov_base = PyBytes_AS_STRING(bytes) + offset;
        pieces[n].iov_len = (size_t)PyBytes_GET_SIZE(bytes) - offset;
        offset = 0;
    }
    return n;
}

PyObject *
fl_outbox_first(const fl_outbox *outbox)
{
    return Py_NewRef(outbox->items[outbox->head]);
}

/* Empty and without memory again. */
static void
outbox_reset(fl_outbox *outbox)
{
    if (outbox->items != outbox->few) {
        PyMem_Free(outbox->items);
    }
    fl_outbox_init(outbox);
}

void
fl_outbox_consume(fl_outbox *outbox, size_t n)
{
    outbox->size -= n;
    n += outbox->offset;
    while (outbox->len > 0) {
        PyObject *bytes = outbox->items[outbox->head];
        size_t len = (size_t)PyBytes_GET_SIZE(bytes);
        if (n < len) {
            break;
        }
        n -= len;
        outbox->head++;
        outbox->len--;
        Py_DECREF(bytes);
    }
    outbox->offset = n;
    if (outbox->len == 0) {
        outbox_reset(outbox);
    }
}

void
fl_outbox_truncate(fl_outbox *outbox, uint32_t len, size_t size)
{
    while (outbox->len > len) {
        Py_DECREF(outbox->items[outbox->head + --outbox->len]);
    }
    outbox->size = size;
}

void
fl_outbox_clear(fl_outbox *outbox)
{
    if (outbox->len > 0) {
        fl_outbox_consume(outbox, outbox->size);
    }
}
