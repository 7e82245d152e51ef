/* The user's cache folder and what is unpacked there: whole or not at all, once, by whichever process comes first.

   CACHE/NAME-DIGEST is a part's folder.  It is made beside its place and renamed, under a lock that only one process has; a
   process that uses it holds a shared lock on it, which its program inherits, so that an old version is deleted only when
   nothing runs from it.  A folder that misses a file, or has one of another size, is put aside and unpacked again. */

#define _GNU_SOURCE
#include "launcher.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <zstd.h>

enum { WINDOW_LOG = 27, BUFFER_BYTES = 1 << 20 };

/* -- where --------------------------------------------------------------------------------------------------------- */

/* Make a folder and those above it, for this user only; false where one cannot be made or the last that is there is another
   user's, as a home is under sudo: what is made there would not be theirs. */
static bool make_folders(const char *path) {
    char part[MAX_PATH];
    struct stat found;
    join(part, path, "");
    if (lstat(part, &found) == 0) return true;
    char *slash = strrchr(part, '/');
    if (!slash || slash == part) return false;
    *slash = '\0';
    if (!make_folders(part) || stat(part, &found) != 0) return false;
    if (found.st_uid != geteuid() && !(found.st_mode & S_ISVTX)) return false;
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

/* Whether programs of ours are safe in that folder and may run there. */
static bool is_usable(const char *folder) {
    struct stat found;
    struct statvfs system;
    return make_folders(folder) && lstat(folder, &found) == 0 && S_ISDIR(found.st_mode) && found.st_uid == geteuid() &&
           !(found.st_mode & (S_IWGRP | S_IWOTH)) && access(folder, W_OK | X_OK) == 0 && statvfs(folder, &system) == 0 &&
           !(system.f_flag & ST_NOEXEC);
}

static bool is_usable_below(char *folder, const char *variable, const char *below) {
    const char *value = getenv(variable);
    if (!value || value[0] != '/') return false;
    char first[MAX_PATH];
    snprintf(first, sizeof first, "%.*s", (int)strcspn(value, ":"), value); /* systemd may name several */
    join(folder, first, below);
    return is_usable(folder);
}

void find_cache(char *folder) {
    char name[64];
    if (getenv("DEJAVUD_BUNDLE_DIR")) {
        if (!is_usable_below(folder, "DEJAVUD_BUNDLE_DIR", ""))
            fail("DEJAVUD_BUNDLE_DIR must name a folder that is this user's own, that only this user may write to, and that is "
                 "not mounted noexec");
        return;
    }
    if (is_usable_below(folder, "CACHE_DIRECTORY", "bundle") || is_usable_below(folder, "XDG_CACHE_HOME", "dejavud/bundle") ||
        is_usable_below(folder, "HOME", ".cache/dejavud/bundle"))
        return;
    snprintf(name, sizeof name, "dejavud-bundle-%u", (unsigned)geteuid());
    join(folder, "/var/tmp", name);
    if (is_usable(folder)) return;
    join(folder, "/tmp", name);
    if (is_usable(folder)) return;
    fail("there is no folder to unpack into: neither ~/.cache, /var/tmp nor /tmp can be written to and run programs from; "
         "name one with DEJAVUD_BUNDLE_DIR");
}

/* -- deleting ------------------------------------------------------------------------------------------------------ */

static int delete_one(const char *path, const struct stat *found, int kind, struct FTW *walk) {
    (void)found, (void)kind, (void)walk;
    remove(path); /* what cannot be deleted is met again by the next to sweep */
    return 0;
}

/* Delete what lies in the cache besides `bundle`'s own parts: versions that nothing runs from, and what an unpacking that was
   killed left behind.  For who has the lock. */
static void sweep(const char *cache, const struct bundle *bundle) {
    DIR *entries = opendir(cache);
    char path[MAX_PATH], aside[MAX_PATH];
    for (struct dirent *entry; entries && (entry = readdir(entries));) {
        bool is_ours = false;
        for (int i = 0; i < bundle->n_parts; i++) is_ours |= strcmp(entry->d_name, bundle->parts[i].folder) == 0;
        if (is_ours || strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        join(path, cache, entry->d_name);
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0) continue;
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
            join(aside, cache, ".swept"); /* away in one step, so that nobody starts from half of it */
            if (entry->d_name[0] == '.' || rename(path, aside) != 0) join(aside, path, "");
            nftw(aside, delete_one, 16, FTW_DEPTH | FTW_PHYS);
        }
        close(fd);
    }
    if (entries) closedir(entries);
}

/* -- what is there ------------------------------------------------------------------------------------------------- */

/* Cut the next "MODE SIZE PATH" off a manifest; false at its end. */
static bool next_file(char **manifest, bool *is_program, long long *n_bytes, char **path) {
    char *line = *manifest, *end = line ? strchr(line, '\n') : NULL;
    if (!end) return false;
    *end = '\0';
    *manifest = end + 1;
    *is_program = line[0] == 'x';
    *n_bytes = strtoll(line + 1, path, 10);
    if (**path != ' ') return false;
    ++*path;
    return **path != '/' && !strstr(*path, "..");
}

static bool is_whole(int folder, const struct part *part) {
    char *manifest = calloc(1, part->manifest_bytes + 1), *rest = manifest, *path;
    int fd = openat(folder, "MANIFEST", O_RDONLY | O_CLOEXEC);
    bool is_whole = manifest && fd >= 0 && read(fd, manifest, part->manifest_bytes) == (ssize_t)part->manifest_bytes, is_program;
    struct stat found;
    for (long long n_bytes; is_whole && next_file(&rest, &is_program, &n_bytes, &path);)
        is_whole = fstatat(folder, path, &found, AT_SYMLINK_NOFOLLOW) == 0 && found.st_size == n_bytes;
    if (fd >= 0) close(fd);
    free(manifest);
    return is_whole;
}

/* Return the part's folder, locked; -1 when it is not there, or not whole, or just being swept. */
static int open_unpacked(const char *cache, const struct part *part) {
    char path[MAX_PATH];
    struct stat opened, there;
    join(path, cache, part->folder);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW); /* inherited: it is the program that uses the folder */
    if (fd < 0) return -1;
    bool is_locked = flock(fd, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK; /* a file system may have no locks */
    if (is_locked && fstat(fd, &opened) == 0 && lstat(path, &there) == 0 && opened.st_ino == there.st_ino && is_whole(fd, part))
        return fd;
    close(fd);
    return -1;
}

/* -- unpacking ----------------------------------------------------------------------------------------------------- */

/* Where the content of a part goes: first its manifest, then one file after the other. */
struct sink {
    const struct part *part;
    const char *folder;
    char *manifest, *rest;
    size_t n_manifest;
    int fd;
    long long n_left;
};

static int create(int folder, const char *path, mode_t mode) {
    int fd = openat(folder, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd >= 0 || errno != ENOENT) return fd;
    char above[MAX_PATH];
    join(above, path, "");
    for (char *slash = strchr(above, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdirat(folder, above, 0700);
        *slash = '/';
    }
    return openat(folder, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
}

static bool write_all(int fd, const char *data, size_t n_bytes) {
    while (n_bytes > 0) {
        ssize_t n = write(fd, data, n_bytes);
        if (n < 0 && errno != EINTR) return false;
        if (n > 0) data += n, n_bytes -= n;
    }
    return true;
}

/* Open the next file that has content, making the empty ones on the way; false when one cannot be made. */
static bool open_next(struct sink *sink, int folder) {
    bool is_program;
    char *path;
    while (sink->n_left == 0) {
        if (sink->fd >= 0) close(sink->fd);
        sink->fd = -1;
        if (!next_file(&sink->rest, &is_program, &sink->n_left, &path)) return errno = EILSEQ, false;
        sink->fd = create(folder, path, is_program ? 0700 : 0600);
        if (sink->fd < 0) return false;
    }
    return true;
}

static bool put(struct sink *sink, int folder, const char *data, size_t n_bytes) {
    while (n_bytes > 0) {
        size_t n = n_bytes;
        if (sink->n_manifest < sink->part->manifest_bytes) {
            if (n > sink->part->manifest_bytes - sink->n_manifest) n = sink->part->manifest_bytes - sink->n_manifest;
            memcpy(sink->manifest + sink->n_manifest, data, n);
            sink->n_manifest += n;
        } else {
            if (!open_next(sink, folder)) return false;
            if ((long long)n > sink->n_left) n = sink->n_left;
            if (!write_all(sink->fd, data, n)) return false;
            sink->n_left -= n;
        }
        data += n, n_bytes -= n;
        if (sink->n_manifest == sink->part->manifest_bytes && !sink->rest) {
            int fd = create(folder, "MANIFEST", 0600);
            if (fd < 0 || !write_all(fd, sink->manifest, sink->n_manifest)) return false;
            close(fd);
            sink->rest = sink->manifest;
        }
    }
    return true;
}

/* Unpack a part into a folder that is there and empty; false, with errno, when the system refuses; ends the process when the
   part is not what it was made as. */
static bool unpack_into(const struct bundle *bundle, const struct part *part, int folder) {
    static char in[BUFFER_BYTES], out[BUFFER_BYTES];
    struct sink sink = {.part = part, .manifest = calloc(1, part->manifest_bytes + 1), .fd = -1};
    struct blake2b hash;
    uint8_t digest[DIGEST_BYTES];
    ZSTD_DCtx *zstd = ZSTD_createDCtx();
    bool is_fine = sink.manifest && zstd, is_intact = true;
    if (zstd) ZSTD_DCtx_setParameter(zstd, ZSTD_d_windowLogMax, WINDOW_LOG);
    blake2b_start(&hash);
    for (off_t at = 0; is_fine && is_intact && at < part->compressed_bytes;) {
        size_t n = part->compressed_bytes - at < BUFFER_BYTES ? part->compressed_bytes - at : BUFFER_BYTES;
        ssize_t n_read = pread(bundle->fd, in, n, part->offset + at);
        if (n_read <= 0) break;
        at += n_read;
        blake2b_feed(&hash, in, n_read);
        for (ZSTD_inBuffer from = {in, n_read, 0}; is_fine && is_intact && from.pos < from.size;) {
            ZSTD_outBuffer to = {out, sizeof out, 0};
            is_intact = !ZSTD_isError(ZSTD_decompressStream(zstd, &to, &from));
            is_fine = put(&sink, folder, out, to.pos);
        }
    }
    if (is_fine && sink.fd >= 0) is_fine = close(sink.fd) == 0;
    int error = errno;
    ZSTD_freeDCtx(zstd);
    free(sink.manifest);
    blake2b_finish(&hash, digest);
    if (is_fine && (!is_intact || memcmp(digest, part->digest, DIGEST_BYTES) != 0)) error = EILSEQ, is_fine = false;
    errno = error;
    return is_fine;
}

static void unpack(const struct bundle *bundle, const struct part *part, const char *cache) {
    char partial[MAX_PATH], folder[MAX_PATH], name[64];
    snprintf(name, sizeof name, ".partial-%d", (int)getpid());
    join(partial, cache, name);
    join(folder, cache, part->folder);
    if (isatty(STDERR_FILENO)) fprintf(stderr, "dejavud: unpacking into %s (once)\n", folder);
    int fd = mkdir(partial, 0700) == 0 ? open(partial, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    bool is_done = fd >= 0 && unpack_into(bundle, part, fd);
    if (is_done && rename(partial, folder) != 0 && (errno == ENOTEMPTY || errno == EEXIST)) {
        char damaged[MAX_PATH]; /* or another's that was quicker, where there are no locks */
        snprintf(name, sizeof name, ".damaged-%d", (int)getpid());
        join(damaged, cache, name);
        is_done = rename(folder, damaged) == 0 && rename(partial, folder) == 0;
        nftw(damaged, delete_one, 16, FTW_DEPTH | FTW_PHYS);
    }
    if (fd >= 0) close(fd);
    if (is_done) return;
    int error = errno;
    nftw(partial, delete_one, 16, FTW_DEPTH | FTW_PHYS);
    if (error == EILSEQ) fail("this file is damaged: copy it again");
    fail("cannot unpack into %s: %s; it takes %lld MB; another place can be named with DEJAVUD_BUNDLE_DIR", cache,
         strerror(error), part->unpacked_bytes / 1000000 + 1);
}

int ensure_part(const struct bundle *bundle, const struct part *part, const char *cache) {
    int fd = open_unpacked(cache, part);
    if (fd >= 0) return fd;
    char path[MAX_PATH];
    join(path, cache, ".lock");
    int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0) fail("%s cannot be opened: %s", path, strerror(errno));
    while (flock(lock, LOCK_EX) != 0 && errno == EINTR) continue;
    fd = open_unpacked(cache, part); /* another process may have been first */
    if (fd < 0) {
        sweep(cache, bundle);
        unpack(bundle, part, cache);
        fd = open_unpacked(cache, part);
    }
    close(lock);
    if (fd < 0) fail("what was unpacked into %s does not stay there", cache);
    return fd;
}
