/* SPDX-License-Identifier: Apache-2.0 */
#include "query/numbers.h"

#include "base/text.h"

#include <math.h>
#include <stdio.h>

#define MINUTE_NS DERIVED_STEP_MIN_NS
#define HOUR_NS   (60 * MINUTE_NS)
#define DAY_NS    (UINT64_C(86400) * NS_PER_S)
/* Far from wrapping, whatever is added to it here: the year 2500 or so. */
#define TIME_MAX (UINT64_MAX - 1000 * DAY_NS)
#define STEP_MAX (400 * DAY_NS)
/* Windows over these are widened to whole hours, and begin with a day; steps over the last are days. Sums of whole
 * hours and days are there; nobody looks at a month to the minute. */
#define WHOLE_HOURS_OVER (2 * DAY_NS)
#define WHOLE_DAYS_OVER  (14 * DAY_NS)
#define DAY_STEPS_OVER   (21 * DAY_NS)

/* ---- The window ---- */

static uint64_t floor_to(uint64_t t, uint64_t step)
{
    return t - t % step;
}

static uint64_t ceil_to(uint64_t t, uint64_t step)
{
    return t % step == 0 ? t : floor_to(t, step) + step;
}

uint64_t numbers_nice_step(uint64_t length_ns, size_t points)
{
    static const unsigned minutes[] = { 1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440 };
    if (length_ns > DAY_STEPS_OVER && length_ns / DAY_NS <= points)
        return DAY_NS;
    for (size_t i = 0; i < sizeof minutes / sizeof minutes[0]; i++)
        if (length_ns / (minutes[i] * MINUTE_NS) <= points)
            return minutes[i] * MINUTE_NS;
    return ceil_to(length_ns / points, DAY_NS);
}

/* Neither what is still to come nor what lies before all that is kept is counted as time in which
 * nothing happened. */
static void settle(struct numbers_window *w)
{
    uint64_t now = clock_unix_ns();
    w->to = w->end > now && now > w->from ? now : w->end;
    uint64_t begin = w->since > w->from ? w->since : w->from;
    w->seconds = begin < w->to ? (double)(w->to - begin) / 1e9 : 0;
    if (w->seconds > 0 && w->seconds < 1)
        w->seconds = 1; /* a minute that has just begun: no rate of thousands from one call */
    if (w->points > 0)
        w->is_partial = w->to < w->t0 + w->points * w->step_ns;
}

/* Seconds of a point that are known; 0: none. */
static double point_seconds(const struct numbers_window *w, size_t i)
{
    uint64_t begin = w->t0 + i * w->step_ns, end = begin + w->step_ns;
    if (begin < w->since)
        begin = w->since;
    if (i + 1 == w->points && end > w->to)
        end = w->to;
    if (begin >= end)
        return 0;
    return end > begin + NS_PER_S ? (double)(end - begin) / 1e9 : 1;
}

/* The begin of the first step with spans in [from, to); UINT64_MAX: there are none. */
static enum err find_oldest(struct call *c, uint64_t from, uint64_t to, uint64_t step_ns,
                            uint64_t *out)
{
    struct red_result result = { 0 };
    const struct red_query query = { .range = { from, to, step_ns } };
    enum err e = engine_red(c->options->engine, &c->context, &query, &result);
    c->is_damaged |= result.is_damaged;
    if (e != ERR_OK)
        return e;
    uint64_t oldest = UINT64_MAX;
    for (size_t i = 0; i < result.count; i++)
        for (size_t k = 0; k < result.series[i].points_count; k++) {
            const struct red_point *p = &result.series[i].points[k];
            if (p->calls > 0 && p->start_unix_ns < oldest)
                oldest = p->start_unix_ns;
        }
    *out = oldest != UINT64_MAX && oldest < from ? from : oldest;
    return ERR_OK;
}

/* Time is known from the first arrival on, or from the first of the spans that were older when they came: by
 * more than a minute, since some are under way when the first come. That one is found by long steps, then by
 * the minutes of one. */
static enum err find_since(struct call *c, struct numbers_window *w)
{
    struct engine_statistics s = { 0 };
    engine_statistics(c->options->engine, &s);
    uint64_t first = s.first_arrival_unix_ns, oldest = UINT64_MAX;
    w->since = 0;
    if (first <= w->from || first > TIME_MAX)
        return ERR_OK;
    uint64_t max = w->end < first ? w->end : ceil_to(first, MINUTE_NS);
    uint64_t step_ns = numbers_nice_step(max - w->from, NUMBERS_POINTS_MAX);
    enum err e = find_oldest(c, w->from, max, step_ns, &oldest);
    if (e == ERR_OK && oldest != UINT64_MAX && step_ns > MINUTE_NS) {
        uint64_t end = floor_to(oldest, step_ns) + step_ns;
        e = find_oldest(c, oldest, end < max ? end : max, MINUTE_NS, &oldest);
    }
    if (e != ERR_OK)
        return e;
    bool is_late = oldest != UINT64_MAX && oldest + 2 * MINUTE_NS <= first;
    w->since = is_late || (oldest < w->end && w->end <= first) ? oldest : first;
    return ERR_OK;
}

static void cut(struct numbers_window *w, uint64_t step_ns)
{
    w->step_ns = step_ns;
    w->t0 = floor_to(w->from, step_ns);
    w->points = (size_t)((w->end - w->t0 + step_ns - 1) / step_ns);
    settle(w);
}

static struct numbers_window widened(uint64_t from, uint64_t to)
{
    uint64_t length = to - from;
    uint64_t end_unit = length > WHOLE_HOURS_OVER ? HOUR_NS : MINUTE_NS;
    uint64_t from_unit = length > WHOLE_DAYS_OVER ? DAY_NS : end_unit;
    return (struct numbers_window){ .from = floor_to(from, from_unit),
                                    .end = ceil_to(to, end_unit) };
}

enum err numbers_window_read(struct call *c, size_t points, struct numbers_window *out)
{
    uint64_t now = clock_unix_ns(), to = now, from = UINT64_MAX;
    enum err e = parameter_time(c, "to", &to);
    if (e == ERR_OK)
        e = parameter_time(c, "from", &from);
    if (e != ERR_OK)
        return e;
    if (from == UINT64_MAX)
        from = to > NUMBERS_WINDOW_DEFAULT_NS ? to - NUMBERS_WINDOW_DEFAULT_NS : 0;
    if (to > TIME_MAX)
        return call_fail(c, ERR_INVALID, "to", "it lies too far ahead");
    if (to <= from)
        return call_fail(c, ERR_INVALID, "to", "it must be later than 'from'");
    *out = widened(from, to);
    e = find_since(c, out);
    if (e != ERR_OK)
        return e;
    settle(out);
    if (points > 0)
        cut(out, numbers_nice_step(out->end - out->from, points));
    return ERR_OK;
}

enum err numbers_window_step(struct call *c, uint64_t step_ns, struct numbers_window *w)
{
    if (step_ns == 0 || step_ns % MINUTE_NS != 0 || step_ns > STEP_MAX)
        return call_fail(c, ERR_INVALID, "step", "expected whole minutes, as 5m");
    if ((w->end - w->from) / step_ns >= NUMBERS_POINTS_MAX)
        return call_fail(c, ERR_INVALID, "step", "it makes more than %u points of this range",
                         NUMBERS_POINTS_MAX);
    cut(w, step_ns);
    return ERR_OK;
}

enum err numbers_window_prev(struct call *c, const struct numbers_window *w,
                             struct numbers_window *out, bool *out_is_set)
{
    struct bytes text;
    int64_t ns;
    *out_is_set = parameter_text(c, "prev", &text);
    if (!*out_is_set)
        return ERR_OK;
    uint64_t back = w->end - w->from;
    if (!bytes_equal_text(text, "period")) {
        if (!text_duration_parse(text, &ns) || ns <= 0 || (uint64_t)ns % MINUTE_NS != 0)
            return call_fail(c, ERR_INVALID, "prev",
                             "expected 'period' or a duration of whole minutes, as 24h");
        back = (uint64_t)ns;
    }
    if (back > w->from)
        return call_fail(c, ERR_INVALID, "prev", "it reaches back before 1970");
    *out = *w; /* as long, and as many points, so that the two lie over each other */
    out->from -= back;
    out->end -= back;
    if (w->points > 0) /* points begin at multiples of the step */
        out->t0 = w->t0 > back ? floor_to(w->t0 - back, w->step_ns) : 0;
    enum err e = find_since(c, out);
    settle(out);
    return e;
}

struct derived_range numbers_range(const struct numbers_window *w, bool has_points)
{
    return (struct derived_range){ .min_unix_ns = w->from,
                                   .max_unix_ns = w->end,
                                   .step_ns = has_points ? w->step_ns : 0 };
}

const struct bytes *numbers_text(const struct call *c, const char *name, struct bytes *out)
{
    return parameter_text(c, name, out) ? out : NULL;
}

/* ---- Sums ---- */

static uint64_t add_saturating(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

void numbers_sum_init(struct numbers_sum *s, struct arena *arena)
{
    *s = (struct numbers_sum){ 0 };
    histogram_init(&s->durations, arena);
}

void numbers_keep_slowest(struct derived_exemplar *kept, const struct derived_exemplar *other)
{
    if (other->is_set && (!kept->is_set || other->duration_ns > kept->duration_ns))
        *kept = *other;
}

void numbers_keep_newest(struct derived_exemplar *kept, const struct derived_exemplar *other)
{
    if (other->is_set && (!kept->is_set || other->start_unix_ns > kept->start_unix_ns))
        *kept = *other;
}

enum err numbers_histogram_take(struct histogram *into, struct histogram *from)
{
    if (into->count > 0)
        return histogram_merge(into, from);
    struct arena *arena = into->arena;
    *into = *from;
    into->arena = arena;
    return ERR_OK;
}

enum err numbers_sum_take_red(struct numbers_sum *s, struct red_point *p)
{
    s->count += p->calls;
    s->errors += p->errors;
    s->estimated += p->estimated_calls;
    s->estimated_errors += p->estimated_errors;
    s->time_ns = add_saturating(s->time_ns, p->duration_ns);
    numbers_keep_slowest(&s->slowest, &p->slowest);
    numbers_keep_newest(&s->failed, &p->failed);
    return numbers_histogram_take(&s->durations, &p->duration);
}

enum err numbers_sum_merge(struct numbers_sum *s, const struct numbers_sum *from)
{
    s->count += from->count;
    s->errors += from->errors;
    s->estimated += from->estimated;
    s->estimated_errors += from->estimated_errors;
    s->time_ns = add_saturating(s->time_ns, from->time_ns);
    numbers_keep_slowest(&s->slowest, &from->slowest);
    numbers_keep_newest(&s->failed, &from->failed);
    return histogram_merge(&s->durations, &from->durations);
}

enum err numbers_points_init(struct numbers_points *p, const struct numbers_window *w,
                             bool has_durations, struct arena *arena)
{
    struct numbers_points points = { 0 };
    if (w->points > 0) {
        points.count = arena_alloc_array(arena, w->points, sizeof points.count[0]);
        points.errors = arena_alloc_array(arena, w->points, sizeof points.errors[0]);
        if (points.count == NULL || points.errors == NULL)
            return arena_failure(arena);
    }
    if (w->points > 0 && has_durations) {
        points.durations = arena_alloc_array(arena, w->points, sizeof points.durations[0]);
        if (points.durations == NULL)
            return arena_failure(arena);
        for (size_t i = 0; i < w->points; i++)
            histogram_init(&points.durations[i], arena);
    }
    *p = points;
    return ERR_OK;
}

size_t numbers_point_at(const struct numbers_window *w, uint64_t unix_ns)
{
    if (w->points == 0 || unix_ns < w->t0)
        return SIZE_MAX;
    uint64_t i = (unix_ns - w->t0) / w->step_ns;
    return i < w->points ? (size_t)i : SIZE_MAX;
}

double numbers_rate(const struct numbers_window *w, const struct numbers_sum *s)
{
    return w->seconds > 0 ? (double)s->count / w->seconds : 0;
}

double numbers_p95(const struct numbers_sum *s)
{
    return histogram_quantile(&s->durations, 0.95);
}

/* ---- Writing ---- */

void numbers_write(struct json_writer *j, const char *key, double v)
{
    numbers_write_or_null(j, key, v, true);
}

/* What "%.6g" makes of it, but that a tie may go the other way: without printf, which took a tenth of a table of sparks. */
size_t numbers_text_of(double v, char *out)
{
    static const double tens[] = { 1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9 };
    if (v == 0) {
        out[0] = '0';
        return 1;
    }
    if (!(v >= 1e-4 && v < 999999.5))
        return (size_t)snprintf(out, NUMBERS_TEXT_BYTES, "%.6g", v);
    unsigned decimals = 5; /* of six digits behind the point */
    for (double w = v; w < 1 && decimals < 9; w *= 10)
        decimals++;
    while (decimals > 0 && decimals <= 5 && v >= tens[6 - decimals])
        decimals--;
    uint64_t digits = (uint64_t)(v * tens[decimals] + 0.5);
    if (digits >= 1000000 && decimals > 0) { /* rounded up to a digit more */
        digits = (digits + 5) / 10;
        decimals--;
    }
    while (decimals > 0 && digits % 10 == 0) {
        digits /= 10;
        decimals--;
    }
    char reversed[NUMBERS_TEXT_BYTES];
    size_t len = 0, n = 0;
    for (unsigned i = 0; i < decimals; i++, digits /= 10)
        reversed[len++] = (char)('0' + digits % 10);
    if (decimals > 0)
        reversed[len++] = '.';
    do {
        reversed[len++] = (char)('0' + digits % 10);
        digits /= 10;
    } while (digits > 0);
    while (len > 0)
        out[n++] = reversed[--len];
    return n;
}

static void write_number(struct json_writer *j, double v)
{
    if (!isfinite(v)) { /* spans that claim to stand for more than there can be */
        json_null(j);
        return;
    }
    char text
        [NUMBERS_TEXT_BYTES]; /* more digits than the eye or the data have only make the answer longer */
    json_raw(j, bytes_of(text, numbers_text_of(v, text)));
}

void numbers_write_or_null(struct json_writer *j, const char *key, double v, bool is_there)
{
    json_key(j, key);
    if (is_there)
        write_number(j, v);
    else
        json_null(j);
}

void numbers_begin(struct numbers_answer *a, struct call *c, const struct numbers_window *w)
{
    struct json_writer *j = &c->json;
    *a = (struct numbers_answer){ .c = c, .w = w };
    json_object_begin(j);
    native_write_ns(j, "from", w->from);
    native_write_ns(j, "to", w->to);
    numbers_write(j, "window_s", w->seconds);
    if (w->points == 0)
        return;
    native_write_ns(j, "t0", w->t0);
    native_write_count(j, "step_s", w->step_ns / NS_PER_S);
    native_write_count(j, "points", w->points);
    json_key(j, "partial");
    json_bool(j, w->is_partial);
}

void numbers_end(struct numbers_answer *a, size_t rows)
{
    struct json_writer *j = &a->c->json;
    struct page page = { .range = { a->w->from, a->w->end } };
    numbers_write(j, "bound", a->bound);
    native_write_end(a->c, NULL, rows, &page, NULL);
    json_object_end(j);
}

/* Half the width of a bucket over its middle, rounded up to what people read. */
static double relative_error(int scale)
{
    if (scale == HISTOGRAM_SCALE)
        return HISTOGRAM_ERROR;
    return ceil(tanh(M_LN2 * exp2(-scale) / 2) * 1e4) / 1e4;
}

static void bound_note(struct numbers_answer *a, const struct histogram *h)
{
    double bound = relative_error(h->scale);
    if (bound > a->bound)
        a->bound = bound;
}

static void write_quantile(struct numbers_answer *a, const struct histogram *h, double q)
{
    if (h->count == 0) {
        json_null(&a->c->json);
        return;
    }
    bound_note(a, h);
    json_u64(&a->c->json, (uint64_t)llround(histogram_quantile(h, q)));
}

#define PERCENTILES 4
static const char *const percentile_names[PERCENTILES] = { "p50", "p90", "p95", "p99" };
static const double percentiles[PERCENTILES] = { 0.5, 0.9, 0.95, 0.99 };

void numbers_write_percentiles(struct numbers_answer *a, const struct histogram *h)
{
    double values[PERCENTILES];
    histogram_quantiles(h, percentiles, PERCENTILES, values);
    if (h->count > 0)
        bound_note(a, h);
    for (size_t i = 0; i < PERCENTILES; i++) {
        json_key(&a->c->json, percentile_names[i]);
        if (h->count == 0)
            json_null(&a->c->json);
        else
            json_u64(&a->c->json, (uint64_t)llround(values[i]));
    }
}

void numbers_write_rates(struct numbers_answer *a, uint64_t count, uint64_t errors, double seconds)
{
    struct json_writer *j = &a->c->json;
    native_write_count(j, "count", count);
    native_write_count(j, "errors", errors);
    numbers_write_or_null(j, "rate", (double)count / seconds, seconds > 0);
    numbers_write_or_null(j, "err", (double)errors / (double)count, count > 0);
}

void numbers_write_exemplar(struct json_writer *j, const char *key,
                            const struct derived_exemplar *x)
{
    if (!x->is_set)
        return;
    json_key(j, key);
    json_object_begin(j);
    native_write_id(j, "trace", x->trace_id.b, sizeof x->trace_id.b);
    native_write_id(j, "span", x->span_id.b, sizeof x->span_id.b);
    native_write_ns(j, "start", x->start_unix_ns);
    native_write_count(j, "dur", x->duration_ns);
    json_object_end(j);
}

void numbers_write_sum(struct numbers_answer *a, const struct numbers_sum *s)
{
    struct json_writer *j = &a->c->json;
    numbers_write_rates(a, s->count, s->errors, a->w->seconds);
    /* Sums of fractions differ from whole numbers in the last digits. */
    if (fabs(s->estimated - (double)s->count) > 1e-6 * (double)s->count) {
        numbers_write(j, "est_count", s->estimated);
        numbers_write(j, "est_errors", s->estimated_errors);
        numbers_write(j, "est_rate", s->estimated / a->w->seconds);
    }
    numbers_write_percentiles(a, &s->durations);
    numbers_write_exemplar(j, "slow", &s->slowest);
    numbers_write_exemplar(j, "fail", &s->failed);
}

void numbers_write_prev(struct numbers_answer *a, const struct numbers_window *w,
                        const struct numbers_sum *s)
{
    json_key(&a->c->json, "prev");
    json_object_begin(&a->c->json);
    numbers_write_rates(a, s->count, s->errors, w->seconds);
    numbers_write_percentiles(a, &s->durations);
    json_object_end(&a->c->json);
}

void numbers_write_point_rates(struct numbers_answer *a, const char *key,
                               const struct numbers_window *w, const uint64_t *count)
{
    struct json_writer *j = &a->c->json;
    json_key(j, key);
    json_array_begin(j);
    for (size_t i = 0; i < w->points; i++) {
        double seconds = point_seconds(w, i);
        if (seconds > 0)
            write_number(j, (double)count[i] / seconds);
        else if (count[i] > 0)
            write_number(j, (double)count[i] / ((double)w->step_ns / 1e9));
        else
            json_null(j);
    }
    json_array_end(j);
}

void numbers_write_point_percentile(struct numbers_answer *a, const char *key,
                                    const struct numbers_window *w, const struct histogram *h,
                                    double q)
{
    struct json_writer *j = &a->c->json;
    json_key(j, key);
    json_array_begin(j);
    for (size_t i = 0; i < w->points; i++)
        write_quantile(a, &h[i], q);
    json_array_end(j);
}

static void write_counts(struct json_writer *j, const char *key, const uint64_t *n, size_t points)
{
    json_key(j, key);
    json_array_begin(j);
    for (size_t i = 0; i < points; i++)
        json_u64(j, n[i]);
    json_array_end(j);
}

void numbers_write_series(struct numbers_answer *a, const struct numbers_window *w,
                          const struct numbers_points *p)
{
    struct json_writer *j = &a->c->json;
    json_key(j, "series");
    json_object_begin(j);
    numbers_write_point_rates(a, "rate", w, p->count);
    json_key(j, "err");
    json_array_begin(j);
    for (size_t i = 0; i < w->points; i++) {
        if (p->count[i] == 0)
            json_null(j);
        else
            write_number(j, (double)p->errors[i] / (double)p->count[i]);
    }
    json_array_end(j);
    for (size_t k = 0; k < PERCENTILES; k++)
        numbers_write_point_percentile(a, percentile_names[k], w, p->durations, percentiles[k]);
    write_counts(j, "count", p->count, w->points);
    write_counts(j, "errors", p->errors, w->points);
    json_object_end(j);
}
