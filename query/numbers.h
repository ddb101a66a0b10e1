/* SPDX-License-Identifier: Apache-2.0 */
/* numbers.h - what the answers made of rollups share: the window, sums over it, and how they are written.
 *
 * Role       a window is what was asked for, widened to whole minutes (to hours and days where it is long), and never
 *            later than now; rates are of the part of it that data was kept of; a sum is what happened in it:
 *            calls, errors, durations, traces to look at. Points cut the window, for sparks and series, at multiples of a step.
 * Ownership  everything lives in the call's arena.
 * Threads    the call's.
 * Source     docs/API.md, numbers. */
#ifndef SPINDLE_QUERY_NUMBERS_H
#define SPINDLE_QUERY_NUMBERS_H

#include "query/native.h"

#define NUMBERS_WINDOW_DEFAULT_NS (900 * NS_PER_S)
#define NUMBERS_SPARK_POINTS      30   /* about; more than a spark has pixels for is waste */
#define NUMBERS_SERIES_POINTS     60   /* about */
#define NUMBERS_POINTS_MAX        1500 /* pixels of a wide chart */
#define NUMBERS_ENVIRONMENTS_MAX  16   /* that are listed for one service */

struct numbers_window {
    uint64_t from, to; /* as counted: whole minutes, `to` not after now */
    uint64_t end;      /* `to` as the engine is asked: a whole minute */
    uint64_t since;    /* nothing is known of the time before; 0: all of the window is known */
    double seconds;    /* of it that are known, between from and to; 0: none */
    uint64_t step_ns, t0;
    size_t points;   /* 0: the answer has none */
    bool is_partial; /* the last point is not over */
};

/* `from` and `to`, by default the last 15 minutes, cut into about `points` steps (0: none). */
/* The smallest step people read easily, of whole minutes, that makes about `points` of a length, at most. */
uint64_t numbers_nice_step(uint64_t length_ns, size_t points);
NODISCARD enum err numbers_window_read(struct call *c, size_t points, struct numbers_window *out);
/* With a step of the caller's; ERR_INVALID when that makes more than NUMBERS_POINTS_MAX. */
NODISCARD enum err numbers_window_step(struct call *c, uint64_t step_ns, struct numbers_window *w);
/* The window to compare with, by `prev`: just before, or as long ago as it says. As many points. */
NODISCARD enum err numbers_window_prev(struct call *c, const struct numbers_window *w,
                                       struct numbers_window *out, bool *out_is_set);
/* As the engine is asked: for one sum, or for the points. */
struct derived_range numbers_range(const struct numbers_window *w, bool has_points);
/* `env` and `ns`: filled and returned when given, else NULL. */
const struct bytes *numbers_text(const struct call *c, const char *name, struct bytes *out);

/* ---- Sums ---- */

struct numbers_sum {
    uint64_t count, errors, time_ns;    /* time: saturating */
    double estimated, estimated_errors; /* calls, failed ones, corrected for sampling */
    struct histogram durations;
    struct derived_exemplar slowest, failed;
};

struct numbers_points {
    uint64_t *count, *errors;    /* NULL: none asked for */
    struct histogram *durations; /* NULL: likewise */
};

/* An empty one. */
void numbers_sum_init(struct numbers_sum *s, struct arena *arena);
/* Add `from`, whose counts are the sum's from then on: nobody looks at it again. Most sums have one part, and
 * histograms are most of what a query holds. Both are of one arena. */
NODISCARD enum err numbers_histogram_take(struct histogram *into, struct histogram *from);
/* Add a point of the engine's, taking its histogram. Errors: those of histogram_merge(), as of the next. */
NODISCARD enum err numbers_sum_take_red(struct numbers_sum *s, struct red_point *p);
/* Add another sum. */
NODISCARD enum err numbers_sum_merge(struct numbers_sum *s, const struct numbers_sum *from);
/* Of two traces to look at, the one of the longer call. */
void numbers_keep_slowest(struct derived_exemplar *kept, const struct derived_exemplar *other);
/* Of two, the one that started later. */
void numbers_keep_newest(struct derived_exemplar *kept, const struct derived_exemplar *other);
/* Zeros for every point of the window. */
NODISCARD enum err numbers_points_init(struct numbers_points *p, const struct numbers_window *w,
                                       bool has_durations, struct arena *arena);
/* The point a time belongs to; SIZE_MAX: none of the window. */
size_t numbers_point_at(const struct numbers_window *w, uint64_t unix_ns);

/* ---- Writing ---- */

/* An answer on its way; the bound grows with every percentile written. */
struct numbers_answer {
    struct call *c;
    const struct numbers_window *w;
    double bound;
};

/* Opens the object: from, to, window_s, and with points t0, step_s, points, partial. */
void numbers_begin(struct numbers_answer *a, struct call *c, const struct numbers_window *w);
/* bound, took_ms, and the reason without rows; closes the object. */
void numbers_end(struct numbers_answer *a, size_t rows);

/* A number with six significant digits, or null. */
void numbers_write(struct json_writer *j, const char *key, double v);
/* Six digits of a finite number as text, without a NUL; returns the length. */
#define NUMBERS_TEXT_BYTES 32
size_t numbers_text_of(double v, char *out);
void numbers_write_or_null(struct json_writer *j, const char *key, double v, bool is_there);
/* count, errors, rate (null: of no time at all), err. */
void numbers_write_rates(struct numbers_answer *a, uint64_t count, uint64_t errors, double seconds);
/* p50, p90, p95, p99: integers of nanoseconds, null when there are no values. */
void numbers_write_percentiles(struct numbers_answer *a, const struct histogram *h);
/* Both, est_rate where it differs, and the traces to look at. */
void numbers_write_sum(struct numbers_answer *a, const struct numbers_sum *s);
/* The same numbers without traces, of the other window, as an object. */
void numbers_write_prev(struct numbers_answer *a, const struct numbers_window *w,
                        const struct numbers_sum *s);
/* `slow` or `fail`; nothing when there is none. */
void numbers_write_exemplar(struct json_writer *j, const char *key,
                            const struct derived_exemplar *x);
/* Arrays of the window's points; rates are null for points of which nothing is known. */
void numbers_write_point_rates(struct numbers_answer *a, const char *key,
                               const struct numbers_window *w, const uint64_t *count);
void numbers_write_point_percentile(struct numbers_answer *a, const char *key,
                                    const struct numbers_window *w, const struct histogram *h,
                                    double q);
/* {rate, err, p50, p90, p95, p99, count, errors}: an object of arrays. */
void numbers_write_series(struct numbers_answer *a, const struct numbers_window *w,
                          const struct numbers_points *p);

/* Calls a second. */
double numbers_rate(const struct numbers_window *w, const struct numbers_sum *s);
/* Nanoseconds; 0 without calls. */
double numbers_p95(const struct numbers_sum *s);

#endif
