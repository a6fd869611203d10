/* SPDX-License-Identifier: Apache-2.0
 * test_file.c - outputs are whole or not there, whichever system call fails; inputs stay below their folder. */
#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "formats/hash.h"

static char dir[] = FERRY_BINARY_DIR "/file-XXXXXX";
static char path_buf[4][1024];

static const char *in_dir(int k, const char *name) {
    (void)snprintf(path_buf[k], sizeof path_buf[k], "%s/%s", dir, name);
    return path_buf[k];
}

static int setup(void **state) { (void)state; return mkdtemp(dir) ? 0 : -1; }

static void empty_folder(const char *at) {
    DIR *d = opendir(at);
    struct dirent *entry;
    while (d && (entry = readdir(d))) {
        char path[2048];
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        (void)snprintf(path, sizeof path, "%s/%s", at, entry->d_name);
        if (unlink(path) < 0) (void)rmdir(path);
    }
    if (d) (void)closedir(d);
}

static int teardown(void **state) {
    (void)state;
    empty_folder(in_dir(0, "sub"));
    empty_folder(dir);
    return rmdir(dir);
}

static int entries(void) {
    int n = 0;
    DIR *d = opendir(dir);
    while (d && readdir(d)) n++;
    if (d) (void)closedir(d);
    return n - 2;
}

static fy_status write_file(const char *path, const void *p, size_t n, size_t piece, ferry_error *e) {
    fy_out o;
    FY_TRY(fy_out_open(&o, path, e));
    fy_status s = FY_OK;
    for (size_t i = 0; i < n && s == FY_OK; i += piece) s = fy_out_write(&o, (const char *)p + i, n - i < piece ? n - i : piece, e);
    if (s == FY_OK) s = fy_out_commit(&o, e);
    fy_out_abort(&o);
    return s;
}

static bool holds(const char *path, const void *p, size_t n) {
    fy_map_file f;
    if (fy_file_open(&f, path, NULL) != FY_OK) return false;
    bool same = f.n == n && (n == 0 || memcmp(f.at, p, n) == 0);
    fy_file_close(&f);
    return same;
}

static void what_is_written_is_read(void **state) {
    (void)state;
    ferry_error e;
    size_t n = 1000003;
    unsigned char *data = malloc(n);
    assert_non_null(data);
    for (size_t i = 0; i < n; i++) data[i] = (unsigned char)(i * 2654435761u >> 13);
    const size_t pieces[] = { 777, 262144, 262143, 262145, 1000003 };
    for (int i = 0; i < FY_COUNT(pieces); i++) {
        assert_ok(write_file(in_dir(0, "a"), data, n, pieces[i], &e), e);
        assert_true(holds(in_dir(0, "a"), data, n));
    }
    assert_ok(write_file(in_dir(0, "a"), data, 0, 1, &e), e);
    assert_true(holds(in_dir(0, "a"), data, 0));
    assert_int_equal(entries(), 1);
    free(data);
    char hex[65];
    assert_ok(write_file(in_dir(0, "a"), "abc", 3, 3, &e), e);
    assert_ok(fy_sha256_file(hex, in_dir(0, "a"), &e), e);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");   /* FIPS 180-2, B.1 */
    (void)unlink(in_dir(0, "a"));
}

/* The promise of fy_out: at every failing call the old bytes or the new ones, nothing in between, nothing left beside. */
static void every_call_may_fail(void **state) {
    (void)state;
    size_t n = 600000, before = fy_os_bytes();
    char *data = calloc(n, 1);
    assert_non_null(data);
    int failures = 0;
    for (int exists = 0; exists < 2; exists++)
        for (int64_t k = 0;; k++) {
            ferry_error e;
            const char *path = in_dir(0, "target");
            (void)unlink(path);
            if (exists) assert_ok(write_file(path, "old", 3, 3, &e), e);
            fy_os_fail_at(k, false);
            fy_status s = write_file(path, data, n, 100000, &e);
            int64_t calls = fy_os_calls();
            fy_os_fail_at(-1, false);
            assert_int_equal(fy_os_bytes(), before);
            bool is_new = holds(path, data, n), is_old = exists ? holds(path, "old", 3) : access(path, F_OK) != 0;
            assert_true(is_new || is_old);
            if (s == FY_OK) assert_true(is_new);
            else assert_true(is_old || strstr(e.text, "its folder could not be flushed"));
            assert_int_equal(entries(), exists || is_new);
            if (calls <= k) {
                assert_int_equal(s, FY_OK);
                break;
            }
            failures += s != FY_OK;
        }
    assert_true(failures > 15);
    for (int64_t k = 0; k < 30; k++) {                                 /* once broken, broken for good: not even a clean-up works */
        ferry_error e;
        assert_ok(write_file(in_dir(0, "target"), "old", 3, 3, &e), e);
        fy_os_fail_at(k, true);
        fy_status s = write_file(in_dir(0, "target"), data, n, 100000, &e);
        fy_os_fail_at(-1, false);
        assert_int_equal(fy_os_bytes(), before);
        assert_true(holds(in_dir(0, "target"), "old", 3) || holds(in_dir(0, "target"), data, n));
        if (s == FY_OK) break;
    }
    free(data);
    empty_folder(dir);
}

static void abort_leaves_nothing(void **state) {
    (void)state;
    ferry_error e;
    fy_out o;
    assert_ok(fy_out_open(&o, in_dir(0, "gone"), &e), e);
    assert_ok(fy_out_write(&o, "x", 1, &e), e);
    assert_int_equal(entries(), 1);
    fy_out_abort(&o);
    fy_out_abort(&o);
    assert_int_equal(entries(), 0);
    assert_fails(fy_out_write(&o, "x", 1, &e), INTERNAL);
    assert_fails(fy_out_commit(&o, &e), INTERNAL);
}

static void targets_of_other_kinds(void **state) {
    (void)state;
    ferry_error e;
    struct stat st;
    assert_fails(write_file(dir, "x", 1, 1, &e), WRITE);
    assert_fails(write_file("/dev/null", "x", 1, 1, &e), WRITE);
    assert_fails(write_file("", "x", 1, 1, &e), WRITE);
    assert_fails(write_file(in_dir(0, "no/such/folder"), "x", 1, 1, &e), WRITE);
    assert_non_null(strstr(e.text, "no such file or folder"));
    assert_ok(write_file(in_dir(0, "real"), "old", 3, 3, &e), e);
    assert_int_equal(chmod(in_dir(0, "real"), 0640), 0);
    assert_int_equal(symlink("real", in_dir(1, "link")), 0);
    assert_ok(write_file(in_dir(1, "link"), "new", 3, 3, &e), e);      /* the file behind the link is replaced, with its mode */
    assert_true(holds(in_dir(0, "real"), "new", 3));
    assert_int_equal(lstat(in_dir(1, "link"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(stat(in_dir(0, "real"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    char longest[256];
    memset(longest, 'n', 250);
    longest[250] = 0;
    assert_ok(write_file(in_dir(0, longest), "x", 1, 1, &e), e);       /* no room for ".tmp-..." behind such a name */
    assert_true(holds(in_dir(0, longest), "x", 1));
    empty_folder(dir);
}

static void a_full_disk_is_named(void **state) {
    (void)state;
    ferry_error e;
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 500000;
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    char *data = calloc(1000000, 1);
    assert_non_null(data);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    fy_status s = write_file(in_dir(0, "big"), data, 1000000, 1000000, &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    free(data);
    assert_int_equal(s, FY_E_WRITE);
    assert_non_null(strstr(e.text, "ulimit -f"));
    assert_true(e.help[0] != 0);
    assert_int_equal(entries(), 0);
    for (int64_t k = 0; k < 30; k++) {                                 /* the injected failure of a write is a full device */
        fy_os_fail_at(k, false);
        s = write_file(in_dir(0, "big"), "data", 4, 4, &e);
        fy_os_fail_at(-1, false);
        if (s == FY_E_WRITE && strstr(e.text, "no space left")) return;
    }
    fail();
}

static void inputs_of_other_kinds(void **state) {
    (void)state;
    ferry_error e;
    fy_map_file f;
    assert_fails(fy_file_open(&f, in_dir(0, "absent"), &e), NOFILE);
    assert_non_null(strstr(e.text, "absent"));
    assert_fails(fy_file_open(&f, dir, &e), FORMAT);
    assert_fails(fy_file_open(&f, "/dev/null", &e), FORMAT);
    assert_int_equal(mkfifo(in_dir(0, "pipe"), 0600), 0);
    assert_fails(fy_file_open(&f, in_dir(0, "pipe"), &e), FORMAT);     /* and does not wait for a writer */
    fy_file_close(&f);
    fy_map_file zero = { 0 };
    fy_file_close(&zero);
    assert_true(fcntl(0, F_GETFD) >= 0 || errno == EBADF);             /* descriptor 0 was not ours */
    (void)unlink(in_dir(0, "pipe"));
}

static void changes_are_noticed(void **state) {
    (void)state;
    ferry_error e;
    fy_map_file f;
    assert_ok(write_file(in_dir(0, "a"), "12345", 5, 5, &e), e);
    assert_ok(fy_file_open(&f, in_dir(0, "a"), &e), e);
    assert_ok(fy_file_unchanged(&f, &e), e);
    int fd = open(in_dir(0, "a"), O_WRONLY | O_APPEND);
    assert_true(fd >= 0 && write(fd, "6", 1) == 1);
    assert_fails(fy_file_unchanged(&f, &e), READ);
    assert_int_equal(ftruncate(fd, 5), 0);
    struct timespec times[2] = { { 1, 0 }, { 1, 0 } };
    assert_int_equal(futimens(fd, times), 0);
    assert_fails(fy_file_unchanged(&f, &e), READ);
    (void)close(fd);
    fy_file_close(&f);
    (void)unlink(in_dir(0, "a"));
}

static void names_in_models_stay_below(void **state) {
    (void)state;
    ferry_error e;
    fy_map_file f;
    assert_int_equal(mkdir(in_dir(0, "sub"), 0777), 0);
    assert_ok(write_file(in_dir(0, "sub/w"), "weights", 7, 7, &e), e);
    assert_ok(write_file(in_dir(0, "top"), "top", 3, 3, &e), e);
    const char *const good[] = { "top", "sub/w", "./sub/./w", "./top" };
    for (int i = 0; i < FY_COUNT(good); i++) {
        assert_ok(fy_file_open_below(&f, dir, good[i], &e), e);
        assert_int_equal(f.n, i % 3 ? 7 : 3);
        fy_file_close(&f);
    }
    assert_int_equal(symlink("w", in_dir(0, "sub/link")), 0);
    assert_int_equal(symlink("sub", in_dir(0, "sublink")), 0);
    assert_int_equal(symlink("/etc", in_dir(0, "etc")), 0);
    const char *const bad[] = { "", "/etc/passwd", "../x", "sub/../top", "sub/..", "sub//w", "sub/", ".", "sub/.", "sub/link",
        "sublink/w", "etc/passwd", ".." };
    for (int i = 0; i < FY_COUNT(bad); i++) assert_fails(fy_file_open_below(&f, dir, bad[i], &e), PATH);
    assert_fails(fy_file_open_below(&f, dir, "absent", &e), NOFILE);
    assert_fails(fy_file_open_below(&f, dir, "sub", &e), FORMAT);
    assert_fails(fy_file_open_below(&f, in_dir(0, "absent"), "top", &e), NOFILE);
    assert_int_equal(link(in_dir(0, "top"), in_dir(1, "second")), 0);
    assert_fails(fy_file_open_below(&f, dir, "second", &e), PATH);     /* a hard link may be anyone's file */
    assert_int_equal(unlink(in_dir(1, "second")), 0);
    char longest[6000];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    assert_fails(fy_file_open_below(&f, dir, longest, &e), PATH);
    longest[300] = 0;
    assert_fails(fy_file_open_below(&f, dir, longest, &e), PATH);
    size_t before = fy_os_bytes();
    for (int64_t k = 0;; k++) {                                        /* every call on this road may fail too */
        fy_os_fail_at(k, false);
        fy_status s = fy_file_open_below(&f, dir, "sub/w", &e);
        int64_t calls = fy_os_calls();
        fy_os_fail_at(-1, false);
        if (s == FY_OK) fy_file_close(&f);
        assert_int_equal(fy_os_bytes(), before);
        if (calls <= k) { assert_int_equal(s, FY_OK); break; }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read), cmocka_unit_test(every_call_may_fail), cmocka_unit_test(abort_leaves_nothing),
        cmocka_unit_test(targets_of_other_kinds), cmocka_unit_test(a_full_disk_is_named), cmocka_unit_test(inputs_of_other_kinds),
        cmocka_unit_test(changes_are_noticed), cmocka_unit_test(names_in_models_stay_below),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
