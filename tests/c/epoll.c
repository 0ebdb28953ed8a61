/* The epoll backend: what it reports, how it puts right what it was told wrongly, and how it waits. */
#include "backend/backend.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "check.h"

#define CAPACITY 16
#define MILLISECOND 1000000
#define FOREVER (-1)

static const fl_backend_ops *const epoll = &fl_backend_epoll;
static fl_event events[CAPACITY];

/* epoll_pwait2 goes through syscall(); here it can be made to look like an old kernel's. */
static bool kernel_is_old;
static int pwait2_calls;
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

long
__wrap_syscall(long number, ...)
{
    va_list list;
    va_start(list, number);
    long a[6];
    for (int i = 0; i < 6; i++) {
        a[i] = va_arg(list, long);
    }
    va_end(list);
    pwait2_calls++;
    if (kernel_is_old) {
        errno = ENOSYS;
        return -1;
    }
    return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static fl_backend *
new_backend(void)
{
    fl_backend *backend = NULL;
    CHECK(epoll->open(&backend) == 0);
    return backend;
}

static void
new_pair(int pair[2])
{
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
}

static void
close_pair(const int pair[2])
{
    close(pair[0]);
    close(pair[1]);
}

static void
send_byte(int fd)
{
    CHECK(write(fd, "x", 1) == 1);
}

/* Poll without blocking. */
static int
poll_now(fl_backend *backend)
{
    memset(events, 0xff, sizeof(events));
    return epoll->wait(backend, events, CAPACITY, 0);
}

static void
check_one_event(fl_backend *backend, int fd, uint32_t generation, unsigned ready)
{
    CHECK(poll_now(backend) == 1);
    CHECK(events[0].fd == fd && events[0].generation == generation && events[0].ready == ready);
}

static void
reports_what_was_asked_for(void)
{
    fl_backend *backend = new_backend();
    int pair[2];
    new_pair(pair);
    CHECK(strcmp(epoll->name, "epoll") == 0);
    CHECK(poll_now(backend) == 0);
    CHECK(epoll->arm(backend, pair[0], 7, 0, FL_READ) == 0);
    CHECK(poll_now(backend) == 0);
    send_byte(pair[1]);
    check_one_event(backend, pair[0], 7, FL_READ);
    check_one_event(backend, pair[0], 7, FL_READ); /* level-triggered: again until it is read */
    CHECK(epoll->arm(backend, pair[0], 7, FL_READ, FL_READ | FL_WRITE) == 0);
    check_one_event(backend, pair[0], 7, FL_READ | FL_WRITE);
    CHECK(epoll->arm(backend, pair[0], 7, FL_READ | FL_WRITE, FL_WRITE) == 0);
    check_one_event(backend, pair[0], 7, FL_WRITE);
    CHECK(epoll->forget(backend, pair[0]) == 0);
    CHECK(poll_now(backend) == 0);
    CHECK(epoll->forget(backend, pair[0]) == -ENOENT);
    close_pair(pair);
    CHECK(epoll->forget(backend, pair[0]) == -EBADF);
    epoll->close(backend);
}

/* A hang-up or an error shows to readers and to writers. */
static void
reports_the_end_of_a_peer_both_ways(void)
{
    fl_backend *backend = new_backend();
    int pair[2];
    for (unsigned wanted = FL_READ; wanted <= (FL_READ | FL_WRITE); wanted++) {
        new_pair(pair);
        CHECK(epoll->arm(backend, pair[0], 1, 0, wanted) == 0);
        close(pair[1]);
        check_one_event(backend, pair[0], 1, FL_READ | FL_WRITE);
        close(pair[0]);
    }
    CHECK(pipe2(pair, O_NONBLOCK) == 0);
    CHECK(epoll->arm(backend, pair[1], 1, 0, FL_WRITE) == 0);
    check_one_event(backend, pair[1], 1, FL_WRITE);
    close(pair[0]);
    check_one_event(backend, pair[1], 1, FL_READ | FL_WRITE);
    close(pair[1]);
    epoll->close(backend);
}

static void
carries_the_generation(void)
{
    fl_backend *backend = new_backend();
    const uint32_t generations[] = {0, 1, 0x7fffffff, 0x80000000, UINT32_MAX};
    unsigned known = 0;
    int pair[2];
    new_pair(pair);
    send_byte(pair[1]);
    for (size_t i = 0; i < sizeof(generations) / sizeof(*generations); i++) {
        CHECK(epoll->arm(backend, pair[0], generations[i], known, FL_READ) == 0);
        check_one_event(backend, pair[0], generations[i], FL_READ);
        known = FL_READ;
    }
    close_pair(pair);
    epoll->close(backend);
}

/* The number of a closed descriptor is taken by a new one while an event of the old one is in hand. */
static void
a_stale_event_is_known_by_its_generation(void)
{
    fl_backend *backend = new_backend();
    int old[2], new[2];
    new_pair(old);
    new_pair(new);
    send_byte(old[1]);
    CHECK(epoll->arm(backend, old[0], 1, 0, FL_READ) == 0);
    check_one_event(backend, old[0], 1, FL_READ);
    CHECK(epoll->forget(backend, old[0]) == 0);
    CHECK(dup2(new[0], old[0]) == old[0]);
    CHECK(epoll->arm(backend, old[0], 2, 0, FL_READ) == 0);
    CHECK(events[0].fd == old[0] && events[0].generation != 2);
    CHECK(poll_now(backend) == 0);
    send_byte(new[1]);
    check_one_event(backend, old[0], 2, FL_READ);
    close_pair(old);
    close_pair(new);
    epoll->close(backend);
}

/* The caller believes a descriptor is watched; the kernel forgot it when it was closed. */
static void
what_the_kernel_forgot_is_added(void)
{
    fl_backend *backend = new_backend();
    int old[2], new[2];
    new_pair(old);
    new_pair(new);
    CHECK(epoll->arm(backend, old[0], 1, 0, FL_READ) == 0);
    CHECK(dup2(new[0], old[0]) == old[0]);
    send_byte(new[1]);
    CHECK(poll_now(backend) == 0);
    CHECK(epoll->arm(backend, old[0], 2, FL_READ, FL_READ | FL_WRITE) == 1);
    check_one_event(backend, old[0], 2, FL_READ | FL_WRITE);
    CHECK(epoll->arm(backend, old[0], 2, FL_READ | FL_WRITE, FL_READ) == 0);
    check_one_event(backend, old[0], 2, FL_READ);
    close_pair(old);
    close_pair(new);
    epoll->close(backend);
}

/* The caller believes a descriptor is not watched; the kernel knows it. */
static void
what_the_kernel_knows_is_modified(void)
{
    fl_backend *backend = new_backend();
    int pair[2];
    new_pair(pair);
    send_byte(pair[1]);
    CHECK(epoll->arm(backend, pair[0], 1, 0, FL_READ) == 0);
    CHECK(epoll->arm(backend, pair[0], 2, 0, FL_WRITE) == 0);
    check_one_event(backend, pair[0], 2, FL_WRITE);
    close_pair(pair);
    epoll->close(backend);
}

/* epoll watches open files, not descriptors: while a duplicate lives, the closed one keeps firing. */
static void
a_closed_descriptor_with_a_duplicate_keeps_firing(void)
{
    fl_backend *backend = new_backend();
    int old[2], new[2];
    new_pair(old);
    new_pair(new);
    CHECK(epoll->arm(backend, old[0], 1, 0, FL_READ) == 0);
    int duplicate = dup(old[0]);
    close(old[0]);
    send_byte(old[1]);
    check_one_event(backend, old[0], 1, FL_READ);
    CHECK(epoll->forget(backend, old[0]) == -EBADF); /* nothing can stop it */
    CHECK(epoll->arm(backend, old[0], 2, FL_READ, FL_WRITE) == -EBADF);

    /* A new file under the old number: both fire, told apart by their generations. */
    CHECK(dup2(new[0], old[0]) == old[0]);
    CHECK(epoll->arm(backend, old[0], 2, FL_READ, FL_READ) == 1);
    send_byte(new[1]);
    CHECK(poll_now(backend) == 2);
    CHECK(events[0].fd == old[0] && events[1].fd == old[0]);
    CHECK(events[0].generation + events[1].generation == 3);
    CHECK(epoll->forget(backend, old[0]) == 0);
    check_one_event(backend, old[0], 1, FL_READ);

    /* The cure is another backend. */
    epoll->close(backend);
    backend = new_backend();
    CHECK(epoll->arm(backend, old[0], 3, 0, FL_READ) == 0);
    check_one_event(backend, old[0], 3, FL_READ);
    close(duplicate);
    close_pair(old);
    close_pair(new);
    epoll->close(backend);
}

static void
refuses_what_cannot_be_watched(void)
{
    fl_backend *backend = new_backend();
    int file = open("/proc/self/exe", O_RDONLY);
    CHECK(file >= 0);
    CHECK(epoll->arm(backend, file, 1, 0, FL_READ) == -EPERM);
    CHECK(epoll->arm(backend, file, 1, FL_READ, FL_WRITE) == -EPERM);
    CHECK(epoll->forget(backend, file) < 0);
    close(file);
    CHECK(epoll->arm(backend, file, 1, 0, FL_READ) == -EBADF);
    CHECK(epoll->arm(backend, file, 1, FL_READ, FL_READ) == -EBADF);
    CHECK(epoll->arm(backend, -1, 1, 0, FL_READ) == -EBADF);
    CHECK(epoll->forget(backend, -1) == -EBADF);
    CHECK(poll_now(backend) == 0);
    epoll->close(backend);
}

/* A descriptor that becomes readable after this time. */
static int
new_alarm(int64_t ns)
{
    struct itimerspec when = {.it_value = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000}};
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    CHECK(fd >= 0 && timerfd_settime(fd, 0, &when, NULL) == 0);
    return fd;
}

static void
a_wait_does_not_end_early(void)
{
    fl_backend *backend = new_backend();
    const int64_t timeouts[] = {
        0, 1, 999, 1000, 150000, MILLISECOND, MILLISECOND + 1, 3 * MILLISECOND + 500000};
    for (size_t i = 0; i < sizeof(timeouts) / sizeof(*timeouts); i++) {
        int64_t started = fl_clock_ns();
        CHECK(epoll->wait(backend, events, CAPACITY, timeouts[i]) == 0);
        CHECK(fl_clock_ns() - started >= timeouts[i]);
    }
    epoll->close(backend);
}

static void
a_wait_ends_with_an_event(void)
{
    const int64_t hour = 3600 * (int64_t)1000 * MILLISECOND;
    const int64_t cut_to_nothing =
        ((int64_t)1 << 32) * MILLISECOND; /* its milliseconds as an int are 0 */
    const int64_t timeouts[] = {FOREVER, INT64_MIN, INT64_MAX, hour, cut_to_nothing};
    for (size_t i = 0; i < sizeof(timeouts) / sizeof(*timeouts); i++) {
        fl_backend *backend = new_backend();
        int alarm = new_alarm(2 * MILLISECOND);
        CHECK(epoll->arm(backend, alarm, 1, 0, FL_READ) == 0);
        CHECK(epoll->wait(backend, events, CAPACITY, timeouts[i]) == 1);
        CHECK(events[0].fd == alarm && events[0].ready == FL_READ);
        close(alarm);
        epoll->close(backend);
    }
}

static void
ignore(int number)
{
    (void)number;
}

static void
a_signal_ends_a_wait(void)
{
    fl_backend *backend = new_backend();
    struct sigaction action = {.sa_handler = ignore};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    const int64_t timeouts[] = {FOREVER, 3600 * (int64_t)1000 * MILLISECOND};
    for (size_t i = 0; i < sizeof(timeouts) / sizeof(*timeouts); i++) {
        /* It comes again and again, so that one which comes before the wait does no harm. */
        struct itimerval soon = {.it_value = {.tv_usec = 2000}, .it_interval = {.tv_usec = 2000}};
        struct itimerval off = {0};
        CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
        CHECK(epoll->wait(backend, events, CAPACITY, timeouts[i]) == -EINTR);
        CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
    }
    epoll->close(backend);
}

/* Without epoll_pwait2 the wait is in whole milliseconds, never a shorter one, and the kernel is asked once. */
static void
an_old_kernel_is_waited_for_in_milliseconds(void)
{
    fl_backend *backend = new_backend();
    int64_t started = fl_clock_ns();
    kernel_is_old = true;
    pwait2_calls = 0;
    for (int64_t timeout = 100000; timeout < 2 * MILLISECOND; timeout += 300000) {
        started = fl_clock_ns();
        CHECK(epoll->wait(backend, events, CAPACITY, timeout) == 0);
        CHECK(fl_clock_ns() - started >= timeout);
    }
    CHECK(pwait2_calls == 1);
    epoll->close(backend);
    a_wait_does_not_end_early();
    a_wait_ends_with_an_event();
    a_signal_ends_a_wait();
    kernel_is_old = false;
}

/* More are ready than fit: none is lost or starved, and nothing is written past the array. */
static void
many_events_come_in_portions(int capacity)
{
    enum { MANY = 700 };
    static fl_event portion[MANY];
    static int fds[MANY];
    static bool seen[MANY + 1000];
    memset(seen, 0, sizeof(seen));
    fl_backend *backend = new_backend();
    for (int i = 0; i < MANY; i++) {
        fds[i] = eventfd(1, 0);
        CHECK(fds[i] >= 0 && fds[i] < MANY + 1000);
        CHECK(epoll->arm(backend, fds[i], (uint32_t)i, 0, FL_READ) == 0);
    }
    int count = 0;
    for (int waits = 0; count < MANY; waits++) {
        CHECK(waits < 2 * MANY);
        portion[capacity < MANY ? capacity : 0].fd = -2;
        int n = epoll->wait(backend, portion, capacity, 0);
        CHECK(n > 0 && n <= capacity);
        CHECK(capacity == MANY || portion[capacity].fd == -2);
        for (int i = 0; i < n; i++) {
            CHECK(portion[i].fd == fds[portion[i].generation]);
            count += !seen[portion[i].fd];
            seen[portion[i].fd] = true;
        }
    }
    for (int i = 0; i < MANY; i++) {
        close(fds[i]);
    }
    epoll->close(backend);
}

/* A forked child shares the kernel's table: closing its copy must leave the parent's as it was. */
static void
a_child_closes_its_copy(void)
{
    fl_backend *backend = new_backend();
    int pair[2], status;
    new_pair(pair);
    CHECK(epoll->arm(backend, pair[0], 1, 0, FL_READ) == 0);
    pid_t child = fork();
    if (child == 0) {
        epoll->close(backend);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    send_byte(pair[1]);
    check_one_event(backend, pair[0], 1, FL_READ);
    close_pair(pair);
    epoll->close(backend);
}

static void *
wake_after_a_while(void *backend)
{
    usleep(2000);
    epoll->wake(backend);
    return NULL;
}

/* From another thread, and without an event: the wait ends, and reports nothing. */
static void
a_wake_up_ends_a_wait(void)
{
    fl_backend *backend = new_backend();
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        int64_t started = fl_clock_ns();
        CHECK(pthread_create(&thread, NULL, wake_after_a_while, backend) == 0);
        CHECK(epoll->wait(backend, events, CAPACITY, FOREVER) == 0);
        CHECK(fl_clock_ns() - started >= 2 * MILLISECOND);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    epoll->close(backend);
}

/* One that comes too early ends the next wait, and only that, however many there were. */
static void
a_wake_up_is_not_lost_and_not_repeated(void)
{
    fl_backend *backend = new_backend();
    for (int times = 1; times <= 3; times++) {
        for (int i = 0; i < times; i++) {
            epoll->wake(backend);
        }
        CHECK(epoll->wait(backend, events, CAPACITY, FOREVER) == 0);
        int64_t started = fl_clock_ns();
        CHECK(epoll->wait(backend, events, CAPACITY, 3 * MILLISECOND) == 0);
        CHECK(fl_clock_ns() - started >= 3 * MILLISECOND);
    }
    epoll->close(backend);
}

static void
a_wake_up_hides_no_event(void)
{
    fl_backend *backend = new_backend();
    int pairs[3][2];
    for (uint32_t i = 0; i < 3; i++) {
        new_pair(pairs[i]);
        send_byte(pairs[i][1]);
        CHECK(epoll->arm(backend, pairs[i][0], i, 0, FL_READ) == 0);
        epoll->wake(backend);
    }
    CHECK(poll_now(backend) == 3);
    for (int i = 0; i < 3; i++) {
        CHECK(events[i].fd == pairs[events[i].generation][0] && events[i].ready == FL_READ);
        close_pair(pairs[i]);
    }
    epoll->close(backend);
}

static void
the_clock_is_that_of_the_timeouts(void)
{
    int64_t before = fl_clock_ns(), now = epoll->now(NULL);
    CHECK(before <= now && now <= fl_clock_ns());
}

static void
a_backend_is_not_inherited_and_leaves_no_descriptor(void)
{
    int free_fds[2] = {dup(0), dup(0)};
    close_pair(free_fds);
    fl_backend *backend = new_backend();
    CHECK(fcntl(free_fds[0], F_GETFD) == FD_CLOEXEC); /* the lowest free numbers are the backend's */
    CHECK(fcntl(free_fds[1], F_GETFD) == FD_CLOEXEC);
    epoll->close(backend);
    CHECK(fcntl(free_fds[0], F_GETFD) == -1);
    CHECK(fcntl(free_fds[1], F_GETFD) == -1);
}

static void
opening_can_fail(void)
{
    fl_backend *backend = NULL;
    out_of_memory = true;
    CHECK(epoll->open(&backend) == -ENOMEM);
    out_of_memory = false;
    int fds[5000], count = 0;
    while (count < 5000 && (fds[count] = dup(0)) >= 0) {
        count++;
    }
    CHECK(count < 5000); /* test_c.py sets the limit on open files */
    CHECK(epoll->open(&backend) == -EMFILE);
    int last = fds[--count]; /* for one of the two that are needed */
    close(last);
    CHECK(epoll->open(&backend) == -EMFILE);
    CHECK(fcntl(last, F_GETFD) == -1);
    while (count > 0) {
        close(fds[--count]);
    }
    epoll->close(new_backend());
}

int
main(void)
{
    reports_what_was_asked_for();
    reports_the_end_of_a_peer_both_ways();
    carries_the_generation();
    a_stale_event_is_known_by_its_generation();
    what_the_kernel_forgot_is_added();
    what_the_kernel_knows_is_modified();
    a_closed_descriptor_with_a_duplicate_keeps_firing();
    refuses_what_cannot_be_watched();
    a_wait_does_not_end_early();
    a_wait_ends_with_an_event();
    a_signal_ends_a_wait();
    an_old_kernel_is_waited_for_in_milliseconds();
    many_events_come_in_portions(1);
    many_events_come_in_portions(100);
    many_events_come_in_portions(700);
    a_wake_up_ends_a_wait();
    a_wake_up_is_not_lost_and_not_repeated();
    a_wake_up_hides_no_event();
    the_clock_is_that_of_the_timeouts();
    a_child_closes_its_copy();
    a_backend_is_not_inherited_and_leaves_no_descriptor();
    opening_can_fail();
    return 0;
}
