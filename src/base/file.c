/* SPDX-License-Identifier: Apache-2.0
 * file.c - mapped input; output that is whole or not there. */
#define _XOPEN_SOURCE 700                  /* realpath */
#include "base/file.h"

#include "base/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WRITEBACK (8u << 20)
#define BUFFER ((size_t)256 << 10)

static char *copy_str(const char *s) {
    size_t n = strlen(s);
    char *p = fy_malloc(n + 1, 1);
    if (p) memcpy(p, s, n + 1);
    return p;
}

/* strerror is not safe among threads and depends on the locale; these are the causes that users meet. */
static const char *cause(int error) {
    switch (error) {
    case ENOENT:       return "no such file or folder";
    case EACCES:       return "permission denied";
    case EPERM:        return "operation not permitted";
    case ENOSPC:       return "no space left on the device";
    case EDQUOT:       return "the disk quota is used up";
    case EFBIG:        return "the file is larger than the file system or `ulimit -f` allows";
    case EROFS:        return "the file system is read-only";
    case EIO:          return "the device reported an error";
    case ENOTDIR:      return "a part of the path is not a folder";
    case EISDIR:       return "it is a folder";
    case ELOOP:        return "a link is not allowed here, or there are too many";
    case ENAMETOOLONG: return "the name is too long";
    case EMFILE:       return "too many open files in this process (`ulimit -n`)";
    case ENFILE:       return "too many open files in the system";
    case ENOMEM:       return "out of memory";
    case EEXIST:       return "it exists already";
    case ENXIO:        return "no such device, or nobody at the other end";
    case EINVAL:       return "invalid argument";
    case EBUSY:        return "it is in use";
    case EXDEV:        return "it lies on another device";
    case ETXTBSY:      return "it is a program that is running";
    default:           return "the system refused";
    }
}

static void reset(fy_map_file *f) { *f = (fy_map_file){ .fd = -1 }; }

/* Takes over the open descriptor; `below`: hard links are refused too, as a model must not reach another file that way. */
static fy_status take(fy_map_file *f, int fd, const char *path, bool below, ferry_error *e) {
    fy_status s = FY_OK;
    fy_os_info info;
    f->fd = fd;
    if (fy_os_stat(fd, &info) < 0) s = fy_fail(e, FY_E_READ, "'%s': %s", path, cause(errno));
    else if (info.folder) s = fy_fail(e, FY_E_FORMAT, "'%s' is a folder, not a file", path);
    else if (!info.regular) s = fy_fail(e, FY_E_FORMAT, "'%s' is a device or pipe, not a file", path);
    else if (below && info.links > 1)
        s = fy_fail(e, FY_E_PATH, "'%s' has %llu hard links; a model may only name a file of its own", path,
            (unsigned long long)info.links);
    else if ((uint64_t)info.size > SIZE_MAX / 2)
        s = fy_fail(e, FY_E_LIMIT, "'%s' has %lld bytes, too many for this machine", path, (long long)info.size);
    if (s == FY_OK && !(f->path = copy_str(path))) s = fy_nomem(e);
    if (s == FY_OK) {
        f->n = (size_t)info.size;
        f->mtime_ns = info.mtime_ns;
        f->at = (const unsigned char *)"";
        if (f->n) {
            f->at = fy_os_map(fd, f->n);
            f->mapped = f->at != NULL;
            if (!f->mapped) s = fy_fail(e, FY_E_READ, "'%s': cannot map %zu bytes: %s", path, f->n, cause(errno));
        }
    }
    if (s != FY_OK) fy_file_close(f);
    return s;
}

fy_status fy_file_open(fy_map_file *f, const char *path, ferry_error *e) {
    reset(f);
    int fd = fy_os_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);      /* O_NONBLOCK: a pipe must not make us wait */
    FY_NEED(e, fd >= 0, NOFILE, "cannot open '%s': %s", path, cause(errno));
    return take(f, fd, path, false, e);
}

fy_status fy_file_unchanged(const fy_map_file *f, ferry_error *e) {
    if (f->fd < 0) return FY_OK;
    fy_os_info now;
    FY_NEED(e, fy_os_stat(f->fd, &now) == 0, READ, "'%s': %s", f->path, cause(errno));
    FY_NEED(e, (uint64_t)now.size == f->n, READ, "'%s' changed while it was read: it had %zu bytes, now %lld", f->path, f->n,
        (long long)now.size);
    FY_NEED(e, now.mtime_ns == f->mtime_ns, READ, "'%s' changed while it was read", f->path);
    return FY_OK;
}

void fy_file_close(fy_map_file *f) {
    if (f->mapped) {
        union { const unsigned char *in; void *out; } at = { f->at };    /* the range is ours: only its users may not write */
        fy_os_unmap(at.out, f->n);
    }
    if (f->path || f->mapped || f->fd > 0) {                             /* a zeroed struct owns nothing, not descriptor 0 */
        if (f->fd >= 0) (void)fy_os_close(f->fd);
    }
    fy_free(f->path);
    reset(f);
}

fy_status fy_file_open_below(fy_map_file *f, const char *dir, const char *name, ferry_error *e) {
    reset(f);
    FY_NEED(e, name[0] != 0, PATH, "the model names an external file without a name");
    FY_NEED(e, name[0] != '/', PATH, "'%s' is an absolute path", name);
    FY_NEED(e, strlen(name) < PATH_MAX, PATH, "a path of %zu bytes is too long", strlen(name));
    int at = fy_os_open(dir[0] ? dir : ".", O_RDONLY | O_DIRECTORY, 0);
    FY_NEED(e, at >= 0, NOFILE, "cannot open the folder '%s': %s", dir, cause(errno));
    fy_status s = FY_OK;
    int file = -1;
    for (const char *p = name; s == FY_OK && file < 0; ) {
        size_t n = strcspn(p, "/");
        char part[NAME_MAX + 1];
        bool last = p[n] == 0;
        if (n > NAME_MAX) s = fy_fail(e, FY_E_PATH, "a part of '%s' is too long", name);
        else if (n == 0) s = fy_fail(e, FY_E_PATH, "'%s' has an empty part", name);
        else if (n == 2 && memcmp(p, "..", 2) == 0) s = fy_fail(e, FY_E_PATH, "'%s' leaves the model's folder", name);
        else if (last && n == 1 && *p == '.') s = fy_fail(e, FY_E_PATH, "'%s' is a folder", name);
        else {
            memcpy(part, p, n);
            part[n] = 0;
            int next = fy_os_openat(at, part, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | (last ? 0 : O_DIRECTORY), 0);
            int error = errno;
            if (next < 0 && (error == ELOOP || error == EMLINK))
                s = fy_fail(e, FY_E_PATH, "'%s' below '%s' goes through a link", name, dir);
            else if (next < 0 && error == ENOTDIR && !last)
                s = fy_fail(e, FY_E_PATH, "'%s' below '%s': '%s' is a link or not a folder", name, dir, part);
            else if (next < 0) s = fy_fail(e, FY_E_NOFILE, "cannot open '%s' below '%s': %s", name, dir, cause(error));
            else if (last) file = next;
            else {
                (void)fy_os_close(at);
                at = next;
                p += n + 1;
            }
        }
    }
    (void)fy_os_close(at);
    if (s != FY_OK) return s;
    fy_buf path = { 0 };
    fy_buf_fmt(&path, "%s%s%s", dir, dir[0] ? "/" : "", name);
    if (path.oom) {
        (void)fy_os_close(file);
        fy_buf_free(&path);
        return fy_nomem(e);
    }
    s = take(f, file, path.at, true, e);
    fy_buf_free(&path);
    return s;
}

static fy_status write_error(const fy_out *o, int error, ferry_error *e) {
    fy_status s = fy_fail(e, FY_E_WRITE, "cannot write '%s' (%llu bytes written): %s", o->path, (unsigned long long)o->written,
        cause(error));
    if (error == ENOSPC || error == EDQUOT)
        return fy_help(e, s, "Free space on the device, or choose another place with -o. The old file, if any, is untouched.");
    if (error == EFBIG) return fy_help(e, s, "Raise `ulimit -f`, choose another file system, or store the weights in several files.");
    return s;
}

/* The path that a link stands for, so that the file behind it is replaced and not the link; else a copy of `path`. */
static char *resolve(const char *path) {
    fy_os_info info;
    if (fy_os_stat_path(path, false, &info) == 0 && info.link) {
        if (fy_os_fails(ENOMEM)) return NULL;
        char *real = realpath(path, NULL);                               /* a dangling link gives NULL: then it is replaced */
        if (real) {
            char *mine = copy_str(real);
            free(real);
            return mine;
        }
    }
    return copy_str(path);
}

fy_status fy_out_open(fy_out *o, const char *path, ferry_error *e) {
    *o = (fy_out){ .fd = -1 };
    fy_os_info old = { 0 };
    fy_status s = FY_OK;
    o->path = resolve(path);
    o->buf = fy_malloc(BUFFER, 1);
    bool exists = o->path && fy_os_stat_path(o->path, true, &old) == 0;
    if (!o->path || !o->buf) s = fy_nomem(e);
    else if (!path[0]) s = fy_fail(e, FY_E_WRITE, "the output has no name");
    else if (exists && !old.regular) s = fy_fail(e, FY_E_WRITE, "'%s' is a %s, not a file", path, old.folder ? "folder" : "device or pipe");
    const char *slash = s == FY_OK ? strrchr(o->path, '/') : NULL;
    int keep = slash ? (int)(slash + 1 - o->path) : 0;                   /* folder part; then the name, shortened if need be */
    for (int n = 0, width = 255; s == FY_OK && o->fd < 0; n++) {
        fy_buf tmp = { 0 };
        fy_buf_fmt(&tmp, "%.*s%.*s.tmp-%ld-%d", keep, o->path, width, o->path + keep, (long)getpid(), n);
        if (tmp.oom) {
            fy_buf_free(&tmp);
            s = fy_nomem(e);
            break;
        }
        o->fd = fy_os_open(tmp.at, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0666);
        int error = errno;
        if (o->fd >= 0) {
            o->tmp = tmp.at;
            break;
        }
        if (error == ENAMETOOLONG && width > 200) width = 200;
        else if (error != EEXIST || n >= 100) s = fy_fail(e, FY_E_WRITE, "cannot create '%s': %s", tmp.at, cause(error));
        fy_buf_free(&tmp);
    }
    if (s == FY_OK && exists) (void)fy_os_chmod(o->fd, old.mode & 0777u);   /* as far as the file system can */
    if (s != FY_OK) fy_out_abort(o);
    return s;
}

fy_status fy_out_flush(fy_out *o, ferry_error *e) {
    size_t n = o->nbuf;
    o->nbuf = 0;
    if (n && fy_os_write_all(o->fd, o->buf, n) < 0) return write_error(o, errno, e);
    return FY_OK;
}

fy_status fy_out_write(fy_out *o, const void *p, size_t n, ferry_error *e) {
    FY_NEED(e, o->fd >= 0, INTERNAL, "writing to a closed output");
    if (n >= BUFFER) {                                                   /* large pieces need no copy */
        FY_TRY(fy_out_flush(o, e));
        if (fy_os_write_all(o->fd, p, n) < 0) return write_error(o, errno, e);
    } else if (n) {
        size_t first = n < BUFFER - o->nbuf ? n : BUFFER - o->nbuf;
        memcpy(o->buf + o->nbuf, p, first);
        o->nbuf += first;
        if (o->nbuf == BUFFER) FY_TRY(fy_out_flush(o, e));
        memcpy(o->buf + o->nbuf, (const char *)p + first, n - first);
        o->nbuf += n - first;
    }
    o->written += n;
    if (o->written - o->started >= WRITEBACK) {                          /* the device works while we do: the flush at the end is short */
        fy_os_writeback(o->fd, (int64_t)o->started, WRITEBACK);
        o->started += WRITEBACK;
    }
    return FY_OK;
}

fy_status fy_out_commit(fy_out *o, ferry_error *e) {
    FY_NEED(e, o->fd >= 0, INTERNAL, "committing a closed output");
    fy_status s = fy_out_flush(o, e);
    if (s == FY_OK && fy_os_fsync(o->fd) < 0) s = write_error(o, errno, e);
    int fd = o->fd;
    o->fd = -1;
    if (fy_os_close(fd) < 0 && s == FY_OK) s = write_error(o, errno, e);
    int dir = -1;
    if (s == FY_OK) {                                                    /* opened before the rename: after it nothing should fail */
        char *slash = strrchr(o->path, '/'), kept = 0;
        if (slash) { kept = slash[1]; slash[1] = 0; }
        dir = fy_os_open(slash ? o->path : ".", O_RDONLY | O_DIRECTORY, 0);
        int error = errno;
        if (slash) slash[1] = kept;
        if (dir < 0 && error != EACCES) s = write_error(o, error, e);    /* a folder may be writable but not readable */
    }
    if (s == FY_OK && fy_os_rename(o->tmp, o->path) < 0) s = write_error(o, errno, e);
    if (s == FY_OK) {
        fy_free(o->tmp);
        o->tmp = NULL;
        if (dir >= 0 && fy_os_fsync(dir) < 0 && errno != EINVAL && errno != ENOTSUP)
            s = fy_fail(e, FY_E_WRITE, "'%s' is written, but its folder could not be flushed (%s): a power cut may undo it", o->path,
                cause(errno));
    }
    if (dir >= 0) (void)fy_os_close(dir);
    fy_out_abort(o);
    return s;
}

void fy_out_abort(fy_out *o) {
    if (o->fd > 0 || (o->fd == 0 && o->path)) (void)fy_os_close(o->fd);
    if (o->tmp) (void)fy_os_unlink(o->tmp);
    fy_free(o->tmp);
    fy_free(o->path);
    fy_free(o->buf);
    *o = (fy_out){ .fd = -1 };
}
