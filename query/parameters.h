/* SPDX-License-Identifier: Apache-2.0 */
/* parameters.h - typed parameters of a call, and what they add to its filter.
 *
 * Role       each getter leaves *out as the caller set it when the parameter is absent or empty,
 * and names the parameter in the error when its value is wrong. Values are borrowed from the call.
 * Threads    the call's. */
#ifndef SPINDLE_QUERY_PARAMETERS_H
#define SPINDLE_QUERY_PARAMETERS_H

#include "query/call.h"

/* Refuse parameters that are not in the list (ended by NULL) and ones given twice, but for those
 * written with a '*' in front. `timeout` is always known, and shortens the call's deadline. */
NODISCARD enum err parameters_check(struct call *c, const char *const *known);

/* First value that is not empty. */
bool parameter_text(const struct call *c, const char *name, struct bytes *out);
NODISCARD enum err parameter_u64(struct call *c, const char *name, uint64_t min, uint64_t max,
                                 uint64_t *out);
/* A duration >= 0 with its unit ("1.5s"). *out_is_set tells whether it was there; may be NULL. */
NODISCARD enum err parameter_duration(struct call *c, const char *name, uint64_t *out_ns,
                                      bool *out_is_set);
/* RFC 3339, Unix nanoseconds, "now", or "now-15m". */
NODISCARD enum err parameter_time(struct call *c, const char *name, uint64_t *out_unix_ns);
/* RFC 3339 alone; a '+' that became a blank on its way is one again. */
NODISCARD enum err parameter_rfc3339(struct call *c, const char *name, bool is_required,
                                     uint64_t *out_unix_ns);
/* `from` (included) and `to` (excluded); all time when both are absent. */
NODISCARD enum err parameter_range(struct call *c, struct time_range *out);
/* The index of the value in `words` (ended by NULL). */
NODISCARD enum err parameter_word(struct call *c, const char *name, const char *const *words,
                                  size_t *out_index);

/* 1 to 32 hex digits of either case, zeros on the left left out or not. */
NODISCARD bool trace_id_parse(struct bytes text, struct trace_id *out);
/* 1 to 16 likewise. */
NODISCARD bool span_id_parse(struct bytes text, struct span_id *out);

extern const char *const kind_words[];   /* by OTLP's number, NULL at the end */
extern const char *const status_words[]; /* likewise */

/* ---- Filters ---- */

#define FILTER_TERMS_MAX 64 /* more parameters than anyone types; keeps the tree shallow */

/* Conditions that all must hold. */
struct filter {
    struct arena *arena;
    struct expr *terms[FILTER_TERMS_MAX];
    size_t count;
    enum err failure; /* the first, kept: filter_tree() returns it */
};
void filter_init(struct filter *f, struct arena *arena);
/* NULL stands for an arena that had no more. */
void filter_add(struct filter *f, struct expr *term);
/* All terms joined by &&, as a shallow tree; NULL when there are none. */
NODISCARD enum err filter_tree(struct filter *f, const struct expr **out);

/* The parameter `q`, if given, as a term; the call releases it. */
NODISCARD enum err filter_add_query(struct call *c, struct filter *f, enum signal signal,
                                    const char *parameter);

/* Terms. */
struct expr *term_intrinsic_text(struct arena *a, enum expr_intrinsic field, enum expr_op op,
                                 struct bytes value);
struct expr *term_intrinsic(struct arena *a, enum expr_intrinsic field, enum expr_op op,
                            enum expr_type type, int64_t value);
/* The service has this name, as it is shown: see storage/service_name.h. */
struct expr *term_service(struct arena *a, struct bytes service);
/* Some value of `key` in the scope has this text form. */
struct expr *term_text(struct arena *a, enum expr_scope scope, struct bytes key,
                       struct bytes value);

#endif
