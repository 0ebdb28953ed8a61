/* sendfile(2) as an operation of a SockCall. */
#ifndef FL_NET_SENDFILE_H
#define FL_NET_SENDFILE_H

#include "net/sock_call.h"

/* Send some of a file; its argument is a tuple (the file's descriptor, offset, bytes at most).  The result is the
   number of bytes sent, 0 at the end of the file. */
extern const fl_sock_op fl_sock_sendfile;

#endif
