/* Preloaded into a child process: system calls on sockets and pipes do less than they were asked to, or fail for no
 * reason, as they may do anywhere and hardly ever do on a quiet machine.
 *
 *   FAULT_SHORT=n   at most 1 to n bytes are transferred
 *   FAULT_AGAIN=n   every nth call fails with EAGAIN
 *   FAULT_EINTR=n   every nth call, and every nth epoll_wait(), fails with EINTR
 *   FAULT_LOG=path  where the number of calls cut short or failed is written at the end
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static unsigned long calls, faults;

static unsigned long
setting(const char *name)
{
    const char *value = getenv(name);
    return value == NULL ? 0 : strtoul(value, NULL, 10);
}

static int
is_stream(int fd)
{
    struct stat status;
    int saved = errno;
    int rc = fstat(fd, &status);
    errno = saved;
    return rc == 0 && S_ISSOCK(status.st_mode);
}

/* Whether this call is one that fails; errno says how. */
static int
fails(const char *name, int err)
{
    unsigned long period = setting(name);
    if (period == 0 || calls % period != 0) {
        return 0;
    }
    errno = err;
    faults++;
    return 1;
}

static int
fails_now(int fd)
{
    if (!is_stream(fd)) {
        return 0;
    }
    calls++;
    return fails("FAULT_AGAIN", EAGAIN) || fails("FAULT_EINTR", EINTR);
}

static size_t
shortened(int fd, size_t len)
{
    unsigned long most = setting("FAULT_SHORT");
    if (most == 0 || !is_stream(fd)) {
        return len;
    }
    size_t some = 1 + calls * 2654435761UL % most;
    faults += len > some;
    return len < some ? len : some;
}

/* The first bytes of an array of pieces: how many pieces, the last of which is cut. */
static int
shortened_pieces(int fd, const struct iovec *pieces, int count, struct iovec *cut)
{
    size_t size = 0;
    for (int i = 0; i < count; i++) {
        size += pieces[i].iov_len;
    }
    size = shortened(fd, size);
    for (int i = 0; i < count; i++) {
        cut[i] = pieces[i];
        if (cut[i].iov_len >= size) {
            cut[i].iov_len = size;
            return i + 1;
        }
        size -= cut[i].iov_len;
    }
    return count;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t
send(int fd, const void *data, size_t len, int flags)
{
    return fails_now(fd) ? -1 : REAL(send)(fd, data, shortened(fd, len), flags);
}

ssize_t
recv(int fd, void *data, size_t len, int flags)
{
    return fails_now(fd) ? -1 : REAL(recv)(fd, data, shortened(fd, len), flags);
}

ssize_t
read(int fd, void *data, size_t len)
{
    return fails_now(fd) ? -1 : REAL(read)(fd, data, shortened(fd, len));
}

ssize_t
write(int fd, const void *data, size_t len)
{
    return fails_now(fd) ? -1 : REAL(write)(fd, data, shortened(fd, len));
}

ssize_t
writev(int fd, const struct iovec *pieces, int count)
{
    struct iovec cut[1024];
    if (fails_now(fd)) {
        return -1;
    }
    count = count > 1024 ? 1024 : count;
    return REAL(writev)(fd, cut, shortened_pieces(fd, pieces, count, cut));
}

ssize_t
sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct iovec cut[1024];
    struct msghdr changed = *message;
    if (fails_now(fd)) {
        return -1;
    }
    int count = message->msg_iovlen > 1024 ? 1024 : (int)message->msg_iovlen;
    changed.msg_iov = cut;
    changed.msg_iovlen = (size_t)shortened_pieces(fd, message->msg_iov, count, cut);
    return REAL(sendmsg)(fd, &changed, flags);
}

ssize_t
sendfile64(int fd, int file, off64_t *offset, size_t len)
{
    return fails_now(fd) ? -1 : REAL(sendfile64)(fd, file, offset, shortened(fd, len));
}

int
accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
    return fails_now(fd) ? -1 : REAL(accept4)(fd, address, len, flags);
}

int
epoll_wait(int epfd, struct epoll_event *events, int count, int timeout)
{
    calls++;
    return fails("FAULT_EINTR", EINTR) ? -1 : REAL(epoll_wait)(epfd, events, count, timeout);
}

__attribute__((destructor)) static void
log_faults(void)
{
    const char *path = getenv("FAULT_LOG");
    FILE *log = path == NULL ? NULL : fopen(path, "w");
    if (log != NULL) {
        fprintf(log, "%lu\n", faults);
        fclose(log);
    }
}
