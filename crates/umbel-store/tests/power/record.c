/* Records what a process does to the files under one directory, in the order in which it does it:
 * preloaded into a real run, so that `power.rs` can say what a loss of power would have left.
 *
 * UMBEL_RECORD_ROOT names the directory, UMBEL_RECORD_TRACE the file that is written. One lock is
 * held over each call and its record: the trace is the order of things, not a guess at it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CREATE = 1, WRITE, TRUNCATE, SYNC, RENAME, UNLINK, MKDIR, SYNC_DIR, RANGE, SYNC_DATA };

#define FDS 65536

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *root;
static size_t root_len;
static int trace = -1;
static uint64_t inode_of[FDS]; /* 0: not ours */
static char *dir_of[FDS];      /* set for directories of ours */

#define REAL(name, ...) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static void put(const void *bytes, size_t len) {
    const char *at = bytes;
    while (len > 0) {
        ssize_t done = syscall(SYS_write, trace, at, len);
        if (done < 0) _exit(97);
        at += done;
        len -= (size_t)done;
    }
}

/* A record: kind, inode, number, then two strings of bytes with their lengths. */
static void record(uint8_t kind, uint64_t inode, uint64_t number,
                   const void *one, uint32_t one_len, const void *two, uint32_t two_len) {
    char head[25];
    head[0] = (char)kind;
    memcpy(head + 1, &inode, 8);
    memcpy(head + 9, &number, 8);
    memcpy(head + 17, &one_len, 4);
    memcpy(head + 21, &two_len, 4);
    put(head, sizeof head);
    put(one, one_len);
    put(two, two_len);
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("UMBEL_RECORD_TRACE");
    root = getenv("UMBEL_RECORD_ROOT");
    if (!path || !root) return;
    root_len = strlen(root);
    trace = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (trace < 0) _exit(98);
}

static int ours(const char *path) {
    return trace >= 0 && strncmp(path, root, root_len) == 0
        && (path[root_len] == '/' || path[root_len] == 0);
}

static uint64_t inode(int fd) {
    return fd >= 0 && fd < FDS ? inode_of[fd] : 0;
}

static void opened(int fd, const char *path, int fresh, int flags) {
    struct stat stat;
    if (fd < 0 || fd >= FDS || fstat(fd, &stat) != 0) return;
    inode_of[fd] = stat.st_ino;
    if (S_ISDIR(stat.st_mode)) {
        dir_of[fd] = strdup(path);
    } else if (fresh) {
        record(CREATE, stat.st_ino, 0, path, (uint32_t)strlen(path), 0, 0);
    } else if (flags & O_TRUNC) {
        record(TRUNCATE, stat.st_ino, 0, 0, 0, 0, 0);
    }
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        static int (*real)(const char *, int, ...); \
        if (!real) real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        if (!ours(path)) return real(path, flags, mode); \
        pthread_mutex_lock(&lock); \
        int fresh = access(path, F_OK) != 0; \
        int fd = real(path, flags, mode); \
        int error = errno; \
        opened(fd, path, fresh, flags); \
        pthread_mutex_unlock(&lock); \
        errno = error; \
        return fd; \
    }

OPEN(open)
OPEN(open64)

int close(int fd) {
    REAL(close);
    if (!inode(fd)) return real(fd);
    pthread_mutex_lock(&lock);
    inode_of[fd] = 0;
    free(dir_of[fd]);
    dir_of[fd] = 0;
    int done = real(fd);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t len) {
    REAL(write);
    if (!inode(fd)) return real(fd, bytes, len);
    pthread_mutex_lock(&lock);
    off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t done = real(fd, bytes, len);
    int error = errno;
    if (done > 0) record(WRITE, inode(fd), (uint64_t)at, bytes, (uint32_t)done, 0, 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

#define PWRITE(name, offset) \
    ssize_t name(int fd, const void *bytes, size_t len, offset at) { \
        REAL(name); \
        if (!inode(fd)) return real(fd, bytes, len, at); \
        pthread_mutex_lock(&lock); \
        ssize_t done = real(fd, bytes, len, at); \
        int error = errno; \
        if (done > 0) record(WRITE, inode(fd), (uint64_t)at, bytes, (uint32_t)done, 0, 0); \
        pthread_mutex_unlock(&lock); \
        errno = error; \
        return done; \
    }

PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

/* Calls that only succeed or fail, and are recorded when they succeeded. */
#define WITH_RECORD(call, ...) \
    pthread_mutex_lock(&lock); \
    int done = call; \
    int error = errno; \
    if (done == 0) record(__VA_ARGS__); \
    pthread_mutex_unlock(&lock); \
    errno = error; \
    return done;

#define FTRUNCATE(name, offset) \
    int name(int fd, offset len) { \
        REAL(name); \
        if (!inode(fd)) return real(fd, len); \
        WITH_RECORD(real(fd, len), TRUNCATE, inode(fd), (uint64_t)len, 0, 0, 0, 0) \
    }

FTRUNCATE(ftruncate, off_t)
FTRUNCATE(ftruncate64, off64_t)

#define SYNC_CALL(name, kind) \
    int name(int fd) { \
        REAL(name); \
        if (!inode(fd)) return real(fd); \
        const char *dir = dir_of[fd] ? dir_of[fd] : ""; \
        WITH_RECORD(real(fd), *dir ? SYNC_DIR : kind, inode(fd), 0, dir, (uint32_t)strlen(dir), 0, 0) \
    }

SYNC_CALL(fsync, SYNC)
SYNC_CALL(fdatasync, SYNC_DATA)

int sync_file_range(int fd, off64_t at, off64_t len, unsigned flags) {
    REAL(sync_file_range);
    if (!inode(fd)) return real(fd, at, len, flags);
    WITH_RECORD(real(fd, at, len, flags), RANGE, inode(fd), (uint64_t)at, 0, 0, 0, 0)
}

int rename(const char *from, const char *to) {
    REAL(rename);
    if (!ours(from)) return real(from, to);
    WITH_RECORD(real(from, to), RENAME, 0, 0, from, (uint32_t)strlen(from), to, (uint32_t)strlen(to))
}

int unlink(const char *path) {
    REAL(unlink);
    if (!ours(path)) return real(path);
    WITH_RECORD(real(path), UNLINK, 0, 0, path, (uint32_t)strlen(path), 0, 0)
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    if (!ours(path)) return real(path, mode);
    WITH_RECORD(real(path, mode), MKDIR, 0, 0, path, (uint32_t)strlen(path), 0, 0)
}
