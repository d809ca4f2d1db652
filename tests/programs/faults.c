/* Faults for a program that works on a folder (LD_PRELOAD). Its disk can fail, or
 * be slow or full; its clock can be wrong; its writes can be recorded for the
 * simulation of a power cut.
 *
 *   FAULTS_FOLDER   only files below this folder are affected
 *   FAULTS_CONTROL  a file of seven 64-bit numbers, read at every call:
 *                   - errno of every write, 0 for none
 *                   - errno of every sync, 0 for none
 *                   - delay of every sync, in microseconds
 *                   - seconds by which the wall clock is ahead
 *                   - seconds by which both clocks are moved on
 *                   - count of syncs asked for (this library adds)
 *                   - count of writes asked for (this library adds)
 *   FAULTS_RECORD   the file to record in. Each entry is four 64-bit numbers:
 *                   kind (1 write, 2 sync, 3 truncate, 4 failed sync), inode,
 *                   offset, length. The bytes of a write follow.
 *
 * The shared memory beside a WAL is mapped, so this library does not see it.
 * SQLite makes it anew after a power cut.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct control { volatile int64_t write_errno, sync_errno, sync_delay, clock, passed; int64_t syncs, writes; };

static struct control none, *control = &none;
static const char *folder;
static int record = -1;
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("FAULTS_CONTROL");
    folder = getenv("FAULTS_FOLDER");
    int file = path ? open(path, O_RDWR) : -1;
    if (file >= 0) {
        void *mapped = mmap(0, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (mapped != MAP_FAILED) control = mapped;
    }
    if ((path = getenv("FAULTS_RECORD"))) record = open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);
}

/* The inode of a descriptor's file; 0 if the file is not affected. */
static int64_t concerned(int fd) {
    char link[64], path[PATH_MAX];
    struct stat stat;
    if (!folder || fd < 3 || fd == record) return 0;
    char *end = link + sizeof link - 1;
    *end = 0;
    for (int rest = fd; end == link + sizeof link - 1 || rest; rest /= 10) *--end = '0' + rest % 10;
    end -= 14;
    memcpy(end, "/proc/self/fd/", 14);
    ssize_t length = readlink(end, path, sizeof path);
    size_t prefix = strlen(folder);
    if (length < (ssize_t)prefix || memcmp(path, folder, prefix)) return 0;
    return fstat(fd, &stat) ? 0 : (int64_t)stat.st_ino;
}

static void note(int64_t kind, int64_t file, int64_t offset, int64_t length, const void *bytes) {
    int64_t entry[4] = {kind, file, offset, length};
    struct iovec parts[2] = {{entry, sizeof entry}, {(void *)bytes, bytes ? length : 0}};
    if (record >= 0) syscall(SYS_writev, record, parts, 2);
}

static ssize_t put(int fd, const void *bytes, size_t count, off_t offset, int at) {
    int64_t file = concerned(fd);
    if (!file) return at ? syscall(SYS_pwrite64, fd, bytes, count, offset) : syscall(SYS_write, fd, bytes, count);
    __atomic_add_fetch(&control->writes, 1, __ATOMIC_SEQ_CST);
    if (control->write_errno) { errno = control->write_errno; return -1; }
    pthread_mutex_lock(&order);
    if (!at) offset = lseek(fd, 0, SEEK_CUR);
    ssize_t written = at ? syscall(SYS_pwrite64, fd, bytes, count, offset) : syscall(SYS_write, fd, bytes, count);
    if (written > 0) note(1, file, offset, written, bytes);
    pthread_mutex_unlock(&order);
    return written;
}

ssize_t write(int fd, const void *bytes, size_t count) { return put(fd, bytes, count, 0, 0); }
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) { return put(fd, bytes, count, offset, 1); }
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) { return put(fd, bytes, count, offset, 1); }

static int sync_file(int fd, int call) {
    int64_t file = concerned(fd);
    if (!file) return syscall(call, fd);
    __atomic_add_fetch(&control->syncs, 1, __ATOMIC_SEQ_CST);
    // The test may shorten the delay while a sync waits.
    for (int64_t waited = 0; waited < control->sync_delay; waited += 1000) usleep(1000);
    if (control->sync_errno) {
        note(4, file, 0, 0, 0);
        errno = control->sync_errno;
        return -1;
    }
    pthread_mutex_lock(&order);
    int failed = syscall(call, fd);
    if (!failed) note(2, file, 0, 0, 0);
    pthread_mutex_unlock(&order);
    return failed;
}

int fsync(int fd) { return sync_file(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_file(fd, SYS_fdatasync); }

int ftruncate(int fd, off_t length) {
    int64_t file = concerned(fd);
    if (file && control->write_errno) { errno = control->write_errno; return -1; }
    pthread_mutex_lock(&order);
    int failed = syscall(SYS_ftruncate, fd, length);
    if (file && !failed) note(3, file, length, 0, 0);
    pthread_mutex_unlock(&order);
    return failed;
}
int ftruncate64(int fd, off64_t length) { return ftruncate(fd, length); }

int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, time);
    if (failed) return failed;
    if (clock == CLOCK_REALTIME) time->tv_sec += control->clock + control->passed;
    if (clock == CLOCK_MONOTONIC) time->tv_sec += control->passed;
    return failed;
}
