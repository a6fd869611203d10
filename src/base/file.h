/* SPDX-License-Identifier: Apache-2.0
 * file.h - files read by mapping, files written whole or not at all. */
#ifndef FY_FILE_H
#define FY_FILE_H

#include "base/os.h"

/* A read-only byte range: a mapped file, or borrowed memory. */
typedef struct fy_map_file { const unsigned char *at; size_t n; char *path; int fd; bool mapped; int64_t mtime_ns; } fy_map_file;

/* Maps a regular file. Errors: NOFILE (with errno's words), FORMAT (a folder or device), READ. Follows links in the path
 * that the user gave. A mapped file that shrinks while in use is reported by fy_file_unchanged. */
FY_CHECKED fy_status fy_file_open(fy_map_file *f, const char *path, ferry_error *e);
/* READ if size or modification time differ from when it was opened. */
FY_CHECKED fy_status fy_file_unchanged(const fy_map_file *f, ferry_error *e);
void fy_file_close(fy_map_file *f);

/* Opens `name` (from inside a model) below `dir`: no absolute path, no "..", no link in any component. Error: PATH. */
FY_CHECKED fy_status fy_file_open_below(fy_map_file *f, const char *dir, const char *name, ferry_error *e);

/* Writes beside the target ("NAME.tmp-PID-N", O_EXCL), then flushes, renames and flushes the folder. Until
 * fy_out_commit succeeds the old file is untouched; fy_out_abort (safe to call at any time, also after commit) removes
 * the temporary. Writes are buffered. */
typedef struct fy_out { int fd; char *path, *tmp; unsigned char *buf; size_t nbuf; uint64_t written, started; } fy_out;

FY_CHECKED fy_status fy_out_open(fy_out *o, const char *path, ferry_error *e);
FY_CHECKED fy_status fy_out_write(fy_out *o, const void *p, size_t n, ferry_error *e);
FY_CHECKED fy_status fy_out_flush(fy_out *o, ferry_error *e);     /* the buffer to the system: others may read o->tmp then */
FY_CHECKED fy_status fy_out_commit(fy_out *o, ferry_error *e);
void                 fy_out_abort(fy_out *o);

#endif
