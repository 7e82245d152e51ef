/* What the three parts of the launcher share.  See launcher.c. */

#ifndef DEJAVUD_LAUNCHER_H
#define DEJAVUD_LAUNCHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { MAX_PARTS = 4, MAX_NEEDS = 8, MAX_PATH = 2048, DIGEST_BYTES = 32 };

/* A folder of files, compressed, at a place in this executable. */
struct part {
    char name[32];
    char folder[64]; /* what it is unpacked as: its name and the first half of its digest */
    off_t offset, compressed_bytes;
    size_t manifest_bytes; /* its content begins with the list of its files: "MODE SIZE PATH" a line, MODE x or - */
    long long unpacked_bytes;
    uint8_t digest[DIGEST_BYTES]; /* BLAKE2b of the compressed bytes */
};

/* A library of the machine and a symbol version that it must have. */
struct need {
    char library[64], version[32];
};

/* What is attached to this executable. */
struct bundle {
    int fd;
    int n_parts, n_needs;
    struct part parts[MAX_PARTS];
    struct need needs[MAX_NEEDS];
};

/* Print "dejavud: …" and end with the exit status of what cannot start. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Write "A/B" or "A" into a buffer of MAX_PATH bytes; fails when it does not fit. */
void join(char *to, const char *folder, const char *name);

/* Fill `folder` (MAX_PATH bytes) with the user's own cache folder, made if need be: on a file system that allows programs. */
void find_cache(char *folder);

/* Return the descriptor of the part's folder in the cache, locked against being swept, for as long as this process lives;
   unpack it there first unless it is there, whole. */
int ensure_part(const struct bundle *bundle, const struct part *part, const char *cache);

/* BLAKE2b (RFC 7693) with a digest of DIGEST_BYTES and no key. */
struct blake2b {
    uint64_t state[8], length;
    uint8_t block[128];
    size_t n_block;
};
void blake2b_start(struct blake2b *hash);
void blake2b_feed(struct blake2b *hash, const void *data, size_t n_bytes);
void blake2b_finish(struct blake2b *hash, uint8_t digest[DIGEST_BYTES]);

#endif
