/* SPDX-License-Identifier: Apache-2.0
 * ml.h - what the operators of ai.onnx.ml share: rows of features, attributes that come as lists or tensors, class labels,
 * post transforms, dictionaries.
 *
 * ONNX Runtime is the reference where the standard says little; kernels compute in double where it computes in float. */
#ifndef FY_OPS_ML_H
#define FY_OPS_ML_H

#include "base/map.h"
#include "ops/common.h"
#include "ops/strings.h"

#define FY_T_ML "f32,f64,i64,i32"

/* ---- rows ---------------------------------------------------------------------------------------------------------- */

/* X is [N,F], or [F], which is one row. */
FY_CHECKED fy_status fy_ml_rows(fy_infer *f, const fy_dim **n, const fy_dim **width);      /* NULL where not known */
/* Output `i` is [N, e]; its sizes are unknown where those of X are. */
FY_CHECKED fy_status fy_ml_out(fy_infer *f, int i, fy_dtype t, const fy_dim *e);
FY_CHECKED fy_status fy_ml_out_n(fy_infer *f, int i, fy_dtype t, int64_t e);
typedef struct fy_ml_x { int64_t n, width; const double *at; } fy_ml_x;
FY_CHECKED fy_status fy_ml_load(fy_ml_x *x, const fy_call *c);          /* input 0, in scratch */

/* Room for n rows of `each` doubles in scratch; LIMIT beyond the budget of an output. */
FY_CHECKED fy_status fy_ml_room(double **room, const fy_call *c, int64_t n, int64_t each);

/* ---- attributes ---------------------------------------------------------------------------------------------------- */

/* Lists; absent: n is 0. */
typedef struct fy_ml_floats { const double *at; int64_t n; } fy_ml_floats;
typedef struct fy_ml_ints { const int64_t *at; int64_t n; } fy_ml_ints;
typedef struct fy_ml_texts { const fy_str *at; int64_t n; } fy_ml_texts;
fy_ml_floats fy_ml_floats_of(const fy_node *n, const char *name);
fy_ml_ints   fy_ml_ints_of(const fy_node *n, const char *name);
fy_ml_texts  fy_ml_texts_of(const fy_node *n, const char *name);
/* A list of floats, or the same as a tensor under another name (NULL: none); ATTR if both are there. */
FY_CHECKED fy_status fy_ml_numbers(fy_ml_floats *v, const fy_call *c, const char *name, const char *tensor);

/* ---- labels and scores --------------------------------------------------------------------------------------------- */

typedef struct fy_ml_labels { fy_ml_texts text; fy_ml_ints number; int64_t n; } fy_ml_labels;
/* ATTR unless exactly one of the two lists is there. */
FY_CHECKED fy_status fy_ml_labels_of(fy_ml_labels *l, const fy_node *n, const char *strings, const char *ints, ferry_error *e);
static inline fy_dtype fy_ml_label_type(const fy_ml_labels *l) { return l->text.n ? FERRY_STRING : FERRY_INT64; }
/* y[i] = label k; y may be NULL. Without a label k (one score and no two labels): the number k, as text where labels are text. */
void fy_ml_put_label(fy_tensor *y, int64_t i, const fy_ml_labels *l, int64_t k, bool plain);

typedef enum fy_ml_post { FY_POST_NONE, FY_POST_SOFTMAX, FY_POST_LOGISTIC, FY_POST_SOFTMAX_ZERO, FY_POST_PROBIT } fy_ml_post;   /* as TreeEnsemble numbers them */
FY_CHECKED fy_status fy_ml_post_of(fy_ml_post *p, const fy_node *n, ferry_error *e);        /* attribute post_transform, a string */
void   fy_ml_transform(double *score, int64_t n, fy_ml_post p);         /* in place; one score alone knows PROBIT only */
double fy_ml_logistic(double x);
double fy_ml_probit(double x);
/* One score s of a binary classifier as two. `how`: 0, 1: (1 - s, s); 2, 3: (-s, s); with LOGISTIC (1 - l, l) of l = logistic(s); -1: s alone.
 * PROBIT transforms s and leaves it alone. How many there are now. */
int    fy_ml_second(double *score, int how, fy_ml_post p);
/* ATTR unless 0 <= n * width == have. */
FY_CHECKED fy_status fy_ml_product(int64_t have, int64_t n, int64_t width, const char *what, ferry_error *e);

/* ---- dictionaries -------------------------------------------------------------------------------------------------- */

/* Keys of one class to positions; the last of equal keys counts. NaN equals NaN, -0 equals 0. */
typedef struct fy_ml_dict { fy_map map; fy_class kind; double *f; int64_t *i; } fy_ml_dict;
FY_CHECKED fy_status fy_ml_dict_make(fy_ml_dict *d, const fy_call *c, const fy_tensor *keys);    /* numbers are copied to scratch, strings borrowed */
void    fy_ml_dict_free(fy_ml_dict *d);
int64_t fy_ml_dict_find(const fy_ml_dict *d, const fy_tensor *x, int64_t i);                     /* position of x[i], -1 if absent */

/* An attribute's list as a 1-D view. */
fy_tensor fy_ml_view_texts(fy_ml_texts t);
fy_tensor fy_ml_view_ints(fy_ml_ints t);
fy_tensor fy_ml_view_floats(fy_ml_floats t);                            /* of f64 */

#endif
