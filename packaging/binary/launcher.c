/* The head of the single file `dejavud`: a static program with compressed folders behind it.

   It unpacks them once into the user's cache folder and becomes the Python interpreter that lies there, as the daemon or,
   called dejavuctl or with the first argument ctl, as the client, which needs the first folder only.

   The file is: this program, the parts, a text that describes them, and 32 bytes that say how long the text is:
       part NAME OFFSET COMPRESSED_BYTES MANIFEST_BYTES UNPACKED_BYTES DIGEST
       need LIBRARY SYMBOL_VERSION
       DEJAVUD-BUNDLE-1 00000000000000\n

   The same program without anything behind it is bin/python of the unpacked folder: what sys.executable names, for the
   worker processes, and what a package's /usr/bin/dejavud leads to.  Both choose between the C libraries of the machine and, where those are missing or too old, our own;
   the unpacked folder has the needs as a file. */

#define _GNU_SOURCE
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXIT_CANNOT_START = 4, MAX_DESCRIPTION = 4096, FOOTER_BYTES = 32, MAX_ARGUMENTS = 8192 };

extern char **environ;

void fail(const char *format, ...) {
    va_list values;
    va_start(values, format);
    fputs("dejavud: ", stderr);
    vfprintf(stderr, format, values);
    fputs("\n", stderr);
    va_end(values);
    exit(EXIT_CANNOT_START);
}

void join(char *to, const char *folder, const char *name) {
    if (snprintf(to, MAX_PATH, *name ? "%s/%s" : "%s%s", folder, name) >= MAX_PATH) fail("this path is too long: %s", folder);
}

/* -- what is attached ---------------------------------------------------------------------------------------------- */

static void read_digest(const char *hex, uint8_t *digest) {
    for (int i = 0; i < DIGEST_BYTES; i++)
        if (sscanf(hex + 2 * i, "%2hhx", &digest[i]) != 1) fail("this file is damaged: copy it again");
}

static void parse(struct bundle *bundle, char *text) {
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        struct part *part = &bundle->parts[bundle->n_parts];
        struct need *need = &bundle->needs[bundle->n_needs];
        char hex[2 * DIGEST_BYTES + 1];
        long long offset, compressed;
        if (bundle->n_parts < MAX_PARTS && sscanf(line, "part %31s %lld %lld %zu %lld %64s", part->name, &offset, &compressed,
                                                  &part->manifest_bytes, &part->unpacked_bytes, hex) == 6) {
            part->offset = offset, part->compressed_bytes = compressed;
            read_digest(hex, part->digest);
            memcpy(part->folder, part->name, sizeof part->name);
            snprintf(part->folder + strlen(part->name), sizeof hex, "-%.16s", hex);
            bundle->n_parts++;
        } else if (bundle->n_needs < MAX_NEEDS && sscanf(line, "need %63s %31s", need->library, need->version) == 2) {
            bundle->n_needs++;
        } else {
            fail("this file is damaged: copy it again");
        }
    }
}

/* Read the description at the end of this executable; false when there is none. */
static bool read_bundle(struct bundle *bundle) {
    char footer[FOOTER_BYTES + 1] = "", text[MAX_DESCRIPTION + 1];
    memset(bundle, 0, sizeof *bundle);
    bundle->fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (bundle->fd < 0) fail("/proc/self/exe cannot be opened (%s): is /proc mounted?", strerror(errno));
    off_t end = lseek(bundle->fd, 0, SEEK_END);
    size_t n_text;
    if (pread(bundle->fd, footer, FOOTER_BYTES, end - FOOTER_BYTES) != FOOTER_BYTES ||
        sscanf(footer, "DEJAVUD-BUNDLE-1 %zu", &n_text) != 1)
        return false;
    if (n_text > MAX_DESCRIPTION || pread(bundle->fd, text, n_text, end - FOOTER_BYTES - n_text) != (ssize_t)n_text)
        fail("this file is damaged: copy it again");
    text[n_text] = '\0';
    parse(bundle, text);
    return true;
}

/* -- the C libraries ----------------------------------------------------------------------------------------------- */

/* Whether the library that the machine's loader would take has that symbol version. */
static bool machine_has(const struct need *need) {
    static const char *const folders[] = {"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64",
                                          "/lib", "/usr/lib"};
    char path[MAX_PATH];
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        struct stat found;
        join(path, folders[i], need->library);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) continue;
        bool has = false;
        if (fstat(fd, &found) == 0 && found.st_size > 0) {
            void *image = mmap(NULL, found.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
            if (image != MAP_FAILED) {
                has = memmem(image, found.st_size, need->version, strlen(need->version) + 1) != NULL; /* with its \0 */
                munmap(image, found.st_size);
            }
        }
        close(fd);
        return has;
    }
    return false;
}

static bool machine_has_all(const struct bundle *bundle) {
    if (access("/lib64/ld-linux-x86-64.so.2", X_OK) != 0) return false;
    for (int i = 0; i < bundle->n_needs; i++)
        if (!machine_has(&bundle->needs[i])) return false;
    return true;
}

/* Become the interpreter of the unpacked folder `base`. */
static _Noreturn void become_python(const struct bundle *bundle, const char *base, char *const options[], char *const arguments[]) {
    char python[MAX_PATH], libraries[MAX_PATH], loader[MAX_PATH], name[MAX_PATH], *argv[MAX_ARGUMENTS + 1];
    size_t n = 0;
    join(python, base, "bin/dejavud");
    join(libraries, base, "libc");
    join(loader, libraries, "dejavud");
    join(name, base, "bin/python");
    bool is_own = !machine_has_all(bundle);
    if (is_own) {
        char *const front[] = {loader, "--library-path", libraries, "--argv0", name, python};
        for (size_t i = 0; i < sizeof front / sizeof *front; i++) argv[n++] = front[i];
    } else {
        argv[n++] = name;
    }
    while (*options) argv[n++] = *options++;
    while (*arguments && n < MAX_ARGUMENTS) argv[n++] = *arguments++;
    if (*arguments) fail("there are too many arguments");
    argv[n] = NULL;
    execv(is_own ? loader : python, argv);
    fail("%s does not start: %s", is_own ? loader : python, strerror(errno));
}

/* -- the two programs ---------------------------------------------------------------------------------------------- */

static const char *last_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* What a person's own Python is set to is not for ours; its children get what ours needs. */
static void set_environment(const char *modules) {
    for (char **variable = environ; *variable;) {
        char name[MAX_PATH];
        size_t n_name = strcspn(*variable, "=");
        if (strncmp(*variable, "PYTHON", 6) == 0 && n_name < sizeof name) {
            memcpy(name, *variable, n_name);
            name[n_name] = '\0';
            unsetenv(name);
            variable = environ; /* they have moved */
        } else {
            variable++;
        }
    }
    unsetenv("DEJAVUD_BUNDLE_DIR");
    setenv("PYTHONPATH", modules, 1);
    setenv("PYTHONSAFEPATH", "1", 1);
    setenv("PYTHONNOUSERSITE", "1", 1);
    setenv("PYTHONDONTWRITEBYTECODE", "1", 1);
}

/* Whom TLS trusts is the machine's to say, and systems keep that in different places; where one has none, it is certifi's list. */
static void set_trust(const char *daemon) {
    static const char *const stores[] = {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
                                         "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"};
    char ours[MAX_PATH];
    if (getenv("SSL_CERT_FILE") || getenv("SSL_CERT_DIR")) return;
    join(ours, daemon, "site/certifi/cacert.pem");
    setenv("SSL_CERT_FILE", ours, 1);
    for (size_t i = 0; i < sizeof stores / sizeof *stores; i++)
        if (access(stores[i], R_OK) == 0) {
            setenv("SSL_CERT_FILE", stores[i], 1);
            return;
        }
}

/* Become a program of ours: its modules are below those two folders, the client's in the first alone. */
static _Noreturn void become_program(const struct bundle *bundle, bool is_client, const char *client, const char *daemon,
                                     char *name, char *const *arguments) {
    static char client_code[] = "import sys; del sys.argv[0]; from dejavuctl.__main__ import main; sys.exit(main())";
    /* structlog would import rich, which the client draws with, a sixth of the daemon's imports, for tracebacks in colour. */
    static char daemon_code[] = "import sys; del sys.argv[0]; sys.modules['rich'] = None; from dejavud.__main__ import main; "
                                "sys.exit(main())";
    char modules[2 * MAX_PATH + 16];
    snprintf(modules, sizeof modules, is_client ? "%s/site" : "%s/site:%s/site", client, daemon);
    set_environment(modules);
    if (!is_client) set_trust(daemon);
    char *const options[] = {"-S", "-c", is_client ? client_code : daemon_code, name, NULL};
    become_python(bundle, client, options, arguments);
}

/* As the single file: what the program needs is unpacked first. */
static _Noreturn void start_attached(const struct bundle *bundle, bool is_client, char *const *arguments) {
    char cache[MAX_PATH], folders[MAX_PARTS][MAX_PATH], self[MAX_PATH] = "";
    if (bundle->n_parts != 2) fail("this file is damaged: copy it again");
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) fail("/proc/self/exe cannot be read: %s", strerror(errno));
    find_cache(cache);
    for (int i = 0; i < (is_client ? 1 : 2); i++) {
        ensure_part(bundle, &bundle->parts[i], cache);
        join(folders[i], cache, bundle->parts[i].folder);
    }
    become_program(bundle, is_client, folders[0], folders[1], self, arguments);
}

/* Where nothing is attached: bin/python of an unpacked folder, whose needs are in the file beside it.  Called by one of our
   names, as from a package's /usr/bin, it is that program, and the daemon's folder lies beside its own. */
static _Noreturn void start_unpacked(struct bundle *bundle, bool is_ours, bool is_client, char *name, char *const *arguments) {
    char client[MAX_PATH] = "", daemon[MAX_PATH], path[MAX_PATH], text[MAX_DESCRIPTION + 1];
    if (readlink("/proc/self/exe", client, sizeof client - 1) < 0) fail("/proc/self/exe cannot be read: %s", strerror(errno));
    for (int i = 0; i < 2; i++)
        if (strrchr(client, '/')) *strrchr(client, '/') = '\0';
    join(path, client, "needs");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n_text = fd < 0 ? -1 : read(fd, text, MAX_DESCRIPTION);
    if (n_text < 0) fail("this file is not whole: copy it again");
    close(fd);
    text[n_text] = '\0';
    parse(bundle, text);
    join(daemon, client, "../daemon");
    if (is_ours) become_program(bundle, is_client, client, daemon, name, arguments);
    char *const options[] = {NULL};
    become_python(bundle, client, options, arguments);
}

int main(int argc, char *argv[]) {
    static struct bundle bundle;
    if (argc < 1) return EXIT_CANNOT_START;
    const char *name = last_of(argv[0]);
    bool is_named_client = strncmp(name, "dejavuctl", 9) == 0;
    bool is_ctl = !is_named_client && argc > 1 && strcmp(argv[1], "ctl") == 0;
    bool is_client = is_named_client || is_ctl;
    char *const *arguments = argv + (is_ctl ? 2 : 1);
    if (read_bundle(&bundle)) start_attached(&bundle, is_client, arguments);
    start_unpacked(&bundle, strncmp(name, "dejavu", 6) == 0, is_client, argv[0], arguments);
}
