/* Which backend loops get is decided here and nowhere else. */
#include "backend/backend.h"

const fl_backend_ops *
fl_backend_default(void)
{
    return &fl_backend_epoll;
}
