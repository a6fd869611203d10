/* SPDX-License-Identifier: Apache-2.0
 * pt2.h - reads what torch.export.save writes: the flat layout (torch up to 2.7), the archive with pickled weights (2.8)
 * and the archive with raw weights (2.9 and newer). Nothing in a file is ever executed. */
#ifndef FY_PT2_H
#define FY_PT2_H

#include "formats/json.h"
#include "program/program.h"

/* The program keeps the file mapped; weights point into it. Errors name the archive's entry.
 * FORMAT, with what the file is and what to do, for other kinds of file: state_dict, pickled module, TorchScript,
 * safetensors, ONNX, AOTInductor package. */
FY_CHECKED fy_status fy_pt2_read(fy_program **p, const char *path, ferry_error *e);
/* The same from memory, for tests and fuzzing; `data` must outlive the program. */
FY_CHECKED fy_status fy_pt2_read_memory(fy_program **p, const void *data, size_t n, const char *name, ferry_error *e);

/* What a file is, from its first bytes and entries. */
typedef enum fy_filetype {
    FY_FILE_UNKNOWN, FY_FILE_PT2, FY_FILE_PT2_AOTI, FY_FILE_TORCHSCRIPT, FY_FILE_STATE_DICT, FY_FILE_PICKLED_MODULE,
    FY_FILE_LEGACY_PT, FY_FILE_SAFETENSORS, FY_FILE_ONNX, FY_FILE_NPZ, FY_FILE_NPY, FY_FILE_ZIP, FY_FILE_PNG, FY_FILE_JPEG
} fy_filetype;
fy_filetype fy_file_sniff(const void *data, size_t n);
const char *fy_filetype_text(fy_filetype t);                 /* "a TorchScript archive" */

#endif
