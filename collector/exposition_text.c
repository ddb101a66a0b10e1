/* SPDX-License-Identifier: Apache-2.0 */
/* Both text forms, and what all forms share. Where they differ: OpenMetrics writes a counter's TYPE
 * without _total, bounds as floats, UNIT, exemplars and # EOF. */
#include "collector/exposition.h"

#include "base/text.h"

#include <assert.h>

/* Digits of n, without a NUL; returns how many. */
static size_t write_u64(uint8_t *to, uint64_t n)
{
    uint8_t digits[20];
    size_t len = 0;
    do
        digits[len++] = (uint8_t)('0' + n % 10);
    while ((n /= 10) != 0);
    for (size_t i = 0; i < len; i++)
        to[i] = digits[len - 1 - i];
    return len;
}

#define NUMBER_BYTES_MAX 24

static size_t write_number(uint8_t *to, struct exposition_number n, bool is_float)
{
    uint64_t scale = 1;
    assert(n.decimals <= 18);
    for (unsigned i = 0; i < n.decimals; i++)
        scale *= 10;
    uint64_t fraction = n.units % scale;
    size_t len = write_u64(to, n.units / scale);
    if (fraction == 0) {
        if (is_float) {
            to[len++] = '.';
            to[len++] = '0';
        }
        return len;
    }
    to[len++] = '.';
    while (fraction != 0) {
        scale /= 10;
        to[len++] = (uint8_t)('0' + fraction / scale);
        fraction %= scale;
    }
    return len;
}

void exposition_number_text(struct buffer *b, struct exposition_number n, bool is_float)
{
    uint8_t *to = buffer_reserve(b, NUMBER_BYTES_MAX);
    if (to != NULL)
        buffer_grew(b, write_number(to, n, is_float));
}

double exposition_number_double(struct exposition_number n)
{
    /* Powers of ten are exact as doubles up to 10^22, so this rounds once or twice at most. */
    double scale = 1;
    for (unsigned i = 0; i < n.decimals; i++)
        scale *= 10;
    return (double)n.units / scale;
}

bool exposition_exemplar_fits(const struct exposition_exemplar *x)
{
    size_t characters = strlen(x->trace_label) + 32 + (x->has_span_id ? 7 + 16 : 0);
    return characters <= EXPOSITION_EXEMPLAR_MAX;
}

/* a <= b, exactly where both have the same number of decimals. */
static bool number_at_most(struct exposition_number a, struct exposition_number b)
{
    if (a.decimals == b.decimals)
        return a.units <= b.units;
    return exposition_number_double(a) <= exposition_number_double(b);
}

const struct exposition_exemplar *exposition_bucket_exemplar(const struct exposition_family *f,
                                                             const struct exposition_histogram *h,
                                                             size_t i)
{
    for (size_t k = h->exemplars_count; k > 0; k--) {
        const struct exposition_exemplar *x = &h->exemplars[k - 1];
        if (i < f->bounds_count && !number_at_most(x->value, f->bounds[i]))
            continue;
        if (i > 0 && number_at_most(x->value, f->bounds[i - 1]))
            return NULL; /* the rest is smaller still */
        return exposition_exemplar_fits(x) ? x : NULL;
    }
    return NULL;
}

/* ---- Text ---- */

static void append_escaped(struct buffer *b, struct bytes text, bool with_quotes)
{
    size_t from = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c != '\\' && c != '\n' && (c != '"' || !with_quotes))
            continue;
        buffer_append(b, text.data + from, i - from);
        buffer_append_byte(b, '\\');
        buffer_append_byte(b, c == '\n' ? 'n' : c);
        from = i + 1;
    }
    if (text.len > from)
        buffer_append(b, text.data + from, text.len - from);
}

/* `a="x",b="y"`, without braces. */
static void make_labels(struct exposition *e, const struct exposition_label *labels, size_t count)
{
    struct buffer *b = &e->labels;
    buffer_reset(b);
    for (size_t i = 0; i < count; i++) {
        struct bytes value = labels[i].value;
        if (value.len == 0)
            continue;
        if (b->len > 0)
            buffer_append_byte(b, ',');
        buffer_append_text(b, labels[i].name);
        buffer_append_text(b, "=\"");
        if (text_utf8_valid_len(value) == value.len) {
            append_escaped(b, value, true);
        } else {
            struct buffer repaired;
            buffer_init(&repaired, 4 * value.len + 16);
            text_utf8_repair(&repaired, value);
            append_escaped(b, buffer_bytes(&repaired), true);
            buffer_deinit(&repaired);
        }
        buffer_append_byte(b, '"');
    }
}

static void append_exemplar(struct exposition *e, const struct exposition_exemplar *x)
{
    char hex[32];
    struct buffer *b = &e->out;
    buffer_append_text(b, " # {");
    buffer_append_text(b, x->trace_label);
    buffer_append_text(b, "=\"");
    text_hex(hex, bytes_of(x->trace_id, sizeof x->trace_id));
    buffer_append(b, hex, 32);
    if (x->has_span_id) {
        buffer_append_text(b, "\",span_id=\"");
        text_hex(hex, bytes_of(x->span_id, sizeof x->span_id));
        buffer_append(b, hex, 16);
    }
    buffer_append_text(b, "\"} ");
    exposition_number_text(b, x->value, false);
    if (x->unix_ns != 0) {
        buffer_append_byte(b, ' ');
        exposition_number_text(b, (struct exposition_number){ x->unix_ns, 9 }, false);
    }
}

static void make_bounds(struct exposition *e)
{
    const struct exposition_family *f = e->current;
    assert(f->bounds_count <= EXPOSITION_BOUNDS_MAX);
    buffer_reset(&e->le);
    for (size_t i = 0; i <= f->bounds_count; i++) {
        e->le_at[i] = e->le.len;
        buffer_append_text(&e->le, "le=\"");
        if (i < f->bounds_count)
            exposition_number_text(&e->le, f->bounds[i], e->format == EXPOSITION_OPENMETRICS);
        else
            buffer_append_text(&e->le, "+Inf");
        buffer_append_text(&e->le, "\"} ");
    }
    e->le_at[f->bounds_count + 1] = e->le.len;
}

static const char *type_word(enum exposition_type type)
{
    switch (type) {
    case EXPOSITION_COUNTER:
        return "counter";
    case EXPOSITION_GAUGE:
        return "gauge";
    case EXPOSITION_HISTOGRAM:
        return "histogram";
    }
    return "untyped";
}

static void text_family(struct exposition *e)
{
    const struct exposition_family *f = e->current;
    struct buffer *b = &e->out;
    bool is_open = e->format == EXPOSITION_OPENMETRICS;
    struct bytes name = { (const uint8_t *)f->name, is_open ? e->base_len : strlen(f->name) };
    buffer_append_text(b, is_open ? "# TYPE " : "# HELP ");
    buffer_append_bytes(b, name);
    buffer_append_byte(b, ' ');
    if (is_open) {
        buffer_append_text(b, type_word(f->type));
        if (f->unit != NULL) {
            buffer_append_text(b, "\n# UNIT ");
            buffer_append_bytes(b, name);
            buffer_append_byte(b, ' ');
            buffer_append_text(b, f->unit);
        }
        buffer_append_text(b, "\n# HELP ");
        buffer_append_bytes(b, name);
        buffer_append_byte(b, ' ');
        append_escaped(b, bytes_text(f->help), true);
    } else {
        append_escaped(b, bytes_text(f->help), false);
        buffer_append_text(b, "\n# TYPE ");
        buffer_append_bytes(b, name);
        buffer_append_byte(b, ' ');
        buffer_append_text(b, type_word(f->type));
    }
    buffer_append_byte(b, '\n');
    if (f->type == EXPOSITION_HISTOGRAM)
        make_bounds(e);
}

static void text_value(struct exposition *e, struct exposition_number value,
                       const struct exposition_exemplar *exemplar)
{
    struct buffer *b = &e->out;
    buffer_append_text(b, e->current->name);
    if (e->labels.len > 0) {
        buffer_append_byte(b, '{');
        buffer_append_bytes(b, buffer_bytes(&e->labels));
        buffer_append_byte(b, '}');
    }
    buffer_append_byte(b, ' ');
    exposition_number_text(b, value, false);
    if (exemplar != NULL && e->format == EXPOSITION_OPENMETRICS &&
        exposition_exemplar_fits(exemplar))
        append_exemplar(e, exemplar);
    buffer_append_byte(b, '\n');
}

static uint8_t *put(uint8_t *to, const void *data, size_t len)
{
    if (len > 0)
        memcpy(to, data, len);
    return to + len;
}

/* The line of one bucket, copied together from parts made once: a page has hundreds of thousands. */
static void text_bucket(struct exposition *e, size_t name_len, size_t i, uint64_t cumulative)
{
    struct buffer *b = &e->out;
    size_t le_len = e->le_at[i + 1] - e->le_at[i];
    uint8_t *start = buffer_reserve(b, name_len + e->labels.len + le_len + NUMBER_BYTES_MAX + 16);
    if (start == NULL)
        return;
    uint8_t *to = put(start, e->current->name, name_len);
    to = put(to, "_bucket{", 8);
    to = put(to, e->labels.data, e->labels.len);
    if (e->labels.len > 0)
        *to++ = ',';
    to = put(to, e->le.data + e->le_at[i], le_len);
    to += write_u64(to, cumulative);
    buffer_grew(b, (size_t)(to - start));
}

static void text_suffixed(struct exposition *e, const char *suffix, struct exposition_number n)
{
    struct buffer *b = &e->out;
    buffer_append_text(b, e->current->name);
    buffer_append_text(b, suffix);
    if (e->labels.len > 0) {
        buffer_append_byte(b, '{');
        buffer_append_bytes(b, buffer_bytes(&e->labels));
        buffer_append_byte(b, '}');
    }
    buffer_append_byte(b, ' ');
    exposition_number_text(b, n, false);
    buffer_append_byte(b, '\n');
}

static void text_histogram(struct exposition *e, const struct exposition_histogram *h)
{
    const struct exposition_family *f = e->current;
    size_t name_len = strlen(f->name);
    uint64_t cumulative = 0;
    assert(h->counts != NULL && buffer_error(&e->le) == ERR_OK);
    for (size_t i = 0; i <= f->bounds_count; i++) {
        cumulative += h->counts[i];
        text_bucket(e, name_len, i, cumulative);
        if (e->format == EXPOSITION_OPENMETRICS && h->exemplars_count > 0) {
            const struct exposition_exemplar *x = exposition_bucket_exemplar(f, h, i);
            if (x != NULL)
                append_exemplar(e, x);
        }
        buffer_append_byte(&e->out, '\n');
    }
    assert(cumulative == h->count);
    text_suffixed(e, "_sum", h->sum);
    text_suffixed(e, "_count", (struct exposition_number){ h->count, 0 });
}

/* ---- The page ---- */

static void note_errors(struct exposition *e)
{
    const struct buffer *parts[] = { &e->out, &e->family, &e->labels, &e->le };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (e->error == ERR_OK)
            e->error = buffer_error(parts[i]);
}

static void flush(struct exposition *e, size_t from)
{
    note_errors(e);
    if (e->error != ERR_OK || e->out.len < from)
        return;
    struct buffer piece = e->out;
    buffer_init(&e->out, SIZE_MAX);
    e->error = e->flush(e->context, &piece);
}

void exposition_begin(struct exposition *e, enum exposition_format format,
                      exposition_flush_fn *flush_fn, void *context)
{
    *e = (struct exposition){ .format = format, .flush = flush_fn, .context = context };
    buffer_init(&e->out, SIZE_MAX);
    buffer_init(&e->family, EXPOSITION_FAMILY_MAX);
    buffer_init(&e->labels, SIZE_MAX);
    buffer_init(&e->le, SIZE_MAX);
}

static bool ends_with(const char *text, size_t len, const char *end)
{
    size_t end_len = strlen(end);
    return len > end_len && memcmp(text + len - end_len, end, end_len) == 0;
}

void exposition_family(struct exposition *e, const struct exposition_family *family)
{
    size_t len = strlen(family->name);
    if (family->type == EXPOSITION_COUNTER) {
        assert(ends_with(family->name, len, "_total"));
        len -= 6;
    }
    assert(family->unit == NULL || ends_with(family->name, len, family->unit));
    if (e->current != NULL && e->format == EXPOSITION_PROTOBUF)
        exposition_protobuf_family_end(e);
    e->current = family;
    e->base_len = len;
    if (e->format == EXPOSITION_PROTOBUF)
        exposition_protobuf_family(e);
    else
        text_family(e);
    note_errors(e);
}

void exposition_value(struct exposition *e, const struct exposition_label *labels, size_t count,
                      struct exposition_number value, const struct exposition_exemplar *exemplar)
{
    assert(e->current != NULL && e->current->type != EXPOSITION_HISTOGRAM);
    if (e->error != ERR_OK)
        return;
    if (e->format == EXPOSITION_PROTOBUF) {
        exposition_protobuf_value(e, labels, count, value, exemplar);
        return;
    }
    make_labels(e, labels, count);
    text_value(e, value, exemplar);
    flush(e, EXPOSITION_PIECE_BYTES);
}

void exposition_histogram(struct exposition *e, const struct exposition_label *labels, size_t count,
                          const struct exposition_histogram *histogram)
{
    assert(e->current != NULL && e->current->type == EXPOSITION_HISTOGRAM);
    if (e->error != ERR_OK)
        return;
    if (e->format == EXPOSITION_PROTOBUF) {
        exposition_protobuf_histogram(e, labels, count, histogram);
        return;
    }
    make_labels(e, labels, count);
    text_histogram(e, histogram);
    flush(e, EXPOSITION_PIECE_BYTES);
}

enum err exposition_end(struct exposition *e)
{
    if (e->error == ERR_OK && e->current != NULL && e->format == EXPOSITION_PROTOBUF)
        exposition_protobuf_family_end(e);
    if (e->format == EXPOSITION_OPENMETRICS)
        buffer_append_text(&e->out, "# EOF\n");
    flush(e, 1);
    buffer_deinit(&e->out);
    buffer_deinit(&e->family);
    buffer_deinit(&e->labels);
    buffer_deinit(&e->le);
    return e->error;
}
