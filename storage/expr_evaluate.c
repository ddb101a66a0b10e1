/* SPDX-License-Identifier: Apache-2.0 */
/* Evaluation. Recursion follows the tree, whose depth building has bounded; nothing is allocated
 * but for the text of nested and floating-point values that a tag is compared with. */
#include "storage/expr.h"

#include "base/text.h"
#include "storage/expr_private.h"

#include <assert.h>
#include <math.h>

/* An operand of && || ! that is missing, or no bool, makes them false (|| unless its left side is
 * true already), which is not the same as an operand that is false: hence a fourth answer. */
enum answer { NO = EXPR_FALSE, YES = EXPR_TRUE, UNKNOWN = EXPR_UNKNOWN, NIL };

static enum answer answer_of(const struct expr *e, const struct expr_row *row);

/* ---- Pairs of values ---- */

static bool is_number(const struct expr_value *v)
{
    return v->type == EXPR_INT || v->type == EXPR_FLOAT || v->type == EXPR_DURATION;
}

static double as_double(const struct expr_value *v)
{
    return v->type == EXPR_FLOAT ? v->number : (double)v->integer;
}

/* TraceQL numbers them otherwise: error 0, ok 1, unset 2. */
static int64_t status_number(int64_t code)
{
    return code >= 0 && code <= 2 ? 2 - code : code;
}

static bool is_int_and_status(const struct expr_value *a, const struct expr_value *b)
{
    return (a->type == EXPR_INT && b->type == EXPR_STATUS) ||
           (a->type == EXPR_STATUS && b->type == EXPR_INT);
}

static bool are_comparable(const struct expr_value *a, const struct expr_value *b)
{
    if (is_number(a))
        return is_number(b) || is_int_and_status(a, b);
    if (a->type == EXPR_STATUS && b->type == EXPR_INT)
        return true;
    return a->type == b->type && a->type != EXPR_NIL && a->type != EXPR_ARRAY &&
           a->type != EXPR_MAP;
}

static bool are_equal(const struct expr_value *a, const struct expr_value *b)
{
    assert(are_comparable(a, b));
    switch (a->type) {
    case EXPR_STRING:
    case EXPR_BYTES:
        return bytes_equal(a->bytes, b->bytes);
    case EXPR_BOOL:
    case EXPR_KIND:
        return a->integer == b->integer;
    case EXPR_FLOAT: /* equals floats alone, unlike <, which mixes: so it is in TraceQL */
        return b->type == EXPR_FLOAT && a->number == b->number;
    case EXPR_INT:
    case EXPR_DURATION:
        if (b->type == EXPR_STATUS)
            return a->integer == status_number(b->integer);
        return b->type != EXPR_FLOAT && a->integer == b->integer;
    case EXPR_STATUS:
        if (b->type == EXPR_INT)
            return status_number(a->integer) == b->integer;
        return a->integer == b->integer;
    case EXPR_NIL:
    case EXPR_ARRAY:
    case EXPR_MAP:
        break;
    }
    return false;
}

/* Exact, also where int64 has more digits than a double: 2^53 + 1 > 2^53. NaN: false. */
static bool order_int_double(int64_t i, double d, int *out)
{
    if (isnan(d))
        return false;
    if (d >= 0x1p63) {
        *out = -1;
    } else if (d < -0x1p63) {
        *out = 1;
    } else {
        double whole = trunc(d);
        int64_t w = (int64_t)whole;
        if (i != w)
            *out = i < w ? -1 : 1;
        else
            *out = (d < whole) - (d > whole);
    }
    return true;
}

static bool order_of(const struct expr_value *a, const struct expr_value *b, int *out)
{
    if (a->type == EXPR_STRING && b->type == EXPR_STRING) {
        *out = bytes_compare(a->bytes, b->bytes);
        return true;
    }
    if (!is_number(a) || !is_number(b))
        return false;
    if (a->type != EXPR_FLOAT && b->type != EXPR_FLOAT) {
        *out = (a->integer > b->integer) - (a->integer < b->integer);
        return true;
    }
    if (a->type != EXPR_FLOAT)
        return order_int_double(a->integer, b->number, out);
    if (b->type != EXPR_FLOAT) {
        if (!order_int_double(b->integer, a->number, out))
            return false;
        *out = -*out;
        return true;
    }
    if (isnan(a->number) || isnan(b->number))
        return false;
    *out = (a->number > b->number) - (a->number < b->number);
    return true;
}

static uint8_t fold(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

static bool equal_folded(const uint8_t *a, const uint8_t *b, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (fold(a[i]) != fold(b[i]))
            return false;
    }
    return true;
}

/* Two searches by memchr, one for each case of the first byte, run side by side. */
static bool contains_folded(struct bytes text, struct bytes part)
{
    if (part.len == 0)
        return true;
    if (part.len > text.len)
        return false;
    uint8_t low = fold(part.data[0]);
    uint8_t high = low >= 'a' && low <= 'z' ? (uint8_t)(low - ('a' - 'A')) : low;
    const uint8_t *at = text.data, *end = text.data + (text.len - part.len) + 1;
    const uint8_t *next_low = at, *next_high = high == low ? end : at;
    while (at < end) {
        if (next_low < end && next_low <= at) {
            next_low = memchr(at, low, (size_t)(end - at));
            next_low = next_low == NULL ? end : next_low;
        }
        if (next_high < end && next_high <= at) {
            next_high = memchr(at, high, (size_t)(end - at));
            next_high = next_high == NULL ? end : next_high;
        }
        const uint8_t *hit = next_low < next_high ? next_low : next_high;
        if (hit == end)
            return false;
        if (equal_folded(hit + 1, part.data + 1, part.len - 1))
            return true;
        at = hit + 1;
    }
    return false;
}

/* The text forms that need building; the limit cuts off what is longer than the text asked for. */
static bool long_text_equals(const struct otlp_value *v, struct bytes text)
{
    struct buffer b;
    buffer_init(&b, text.len + 32);
    otlp_value_text(&b, v);
    bool is_equal = buffer_error(&b) == ERR_OK && bytes_equal(buffer_bytes(&b), text);
    buffer_deinit(&b);
    return is_equal;
}

static bool int_text_equals(int64_t v, struct bytes text)
{
    int64_t parsed; /* strict, so only "007" and "-0" read back as another number's text */
    if (text.len > 20 || !text_i64_parse(text, &parsed) || parsed != v)
        return false;
    size_t sign = text.data[0] == '-';
    return text.data[sign] != '0' || (text.len == 1);
}

static bool text_equals(const struct expr_value *v, struct bytes text)
{
    switch (v->type) {
    case EXPR_STRING:
        return bytes_equal(v->bytes, text);
    case EXPR_NIL:
        return text.len == 0;
    case EXPR_BOOL:
        return bytes_equal_text(text, v->integer != 0 ? "true" : "false");
    case EXPR_INT:
    case EXPR_DURATION:
        return int_text_equals(v->integer, text);
    case EXPR_FLOAT:
        if (text.len > 32) /* the longest double has 24 characters */
            return false;
        return long_text_equals(&(struct otlp_value){ .type = OTLP_DOUBLE, .number = v->number },
                                text);
    case EXPR_BYTES:
        if (text.len != (v->bytes.len + 2) / 3 * 4)
            return false;
        return long_text_equals(&(struct otlp_value){ .type = OTLP_BYTES, .bytes = v->bytes },
                                text);
    case EXPR_ARRAY:
        if (text.len < 2 || text.data[0] != '[')
            return false;
        return long_text_equals(&(struct otlp_value){ .type = OTLP_ARRAY, .bytes = v->bytes },
                                text);
    case EXPR_MAP:
        if (text.len < 2 || text.data[0] != '{')
            return false;
        return long_text_equals(&(struct otlp_value){ .type = OTLP_KVLIST, .bytes = v->bytes },
                                text);
    case EXPR_STATUS:
    case EXPR_KIND:
        break;
    }
    return false;
}

static struct expr_value without_left_zeros(const struct expr_value *id)
{
    struct expr_value v = *id;
    while (v.bytes.len > 0 && v.bytes.data[0] == '0') {
        v.bytes.data++;
        v.bytes.len--;
    }
    return v;
}

static bool is_trace_id_field(const struct expr *e)
{
    return e->op == EXPR_FIELD && e->scope == EXPR_SCOPE_INTRINSIC &&
           e->intrinsic == EXPR_INTRINSIC_TRACE_ID;
}

/* One value against one value; neither is an array. */
static bool pair_holds(const struct expr *e, const struct expr_value *a, const struct expr_value *b)
{
    int order;
    switch (e->op) {
    case EXPR_EQ:
    case EXPR_NE:
        if (!are_comparable(a, b))
            return false;
        if (a->type == EXPR_STRING && (is_trace_id_field(e->left) || is_trace_id_field(e->right))) {
            struct expr_value x = without_left_zeros(a), y = without_left_zeros(b);
            return are_equal(&x, &y) == (e->op == EXPR_EQ);
        }
        return are_equal(a, b) == (e->op == EXPR_EQ);
    case EXPR_LT:
        return order_of(a, b, &order) && order < 0;
    case EXPR_LE:
        return order_of(a, b, &order) && order <= 0;
    case EXPR_GT:
        return order_of(a, b, &order) && order > 0;
    case EXPR_GE:
        return order_of(a, b, &order) && order >= 0;
    case EXPR_MATCH:
        return a->type == EXPR_STRING && expr_regex_matches(e->regex, a->bytes);
    case EXPR_NOT_MATCH:
        return a->type == EXPR_STRING && !expr_regex_matches(e->regex, a->bytes);
    case EXPR_CONTAINS:
        return a->type == EXPR_STRING && b->type == EXPR_STRING &&
               contains_folded(a->bytes, b->bytes);
    case EXPR_TEXT_EQ:
        return b->type == EXPR_STRING && text_equals(a, b->bytes);
    default:
        return false;
    }
}

/* ---- Operands with any number of values ---- */

static bool emit_operand(const struct expr *e, const struct expr_row *row, expr_emit_fn *emit,
                         void *context);

struct expr_value expr_value_of(const struct otlp_value *v)
{
    switch (v->type) {
    case OTLP_STRING:
        return (struct expr_value){ .type = EXPR_STRING, .bytes = v->bytes };
    case OTLP_BOOL:
        return (struct expr_value){ .type = EXPR_BOOL, .integer = v->boolean };
    case OTLP_INT:
        return (struct expr_value){ .type = EXPR_INT, .integer = v->integer };
    case OTLP_DOUBLE:
        return (struct expr_value){ .type = EXPR_FLOAT, .number = v->number };
    case OTLP_ARRAY:
        return (struct expr_value){ .type = EXPR_ARRAY, .bytes = v->bytes };
    case OTLP_KVLIST:
        return (struct expr_value){ .type = EXPR_MAP, .bytes = v->bytes };
    case OTLP_BYTES:
        return (struct expr_value){ .type = EXPR_BYTES, .bytes = v->bytes };
    case OTLP_EMPTY:
        break;
    }
    return (struct expr_value){ .type = EXPR_NIL };
}

struct comparison {
    const struct expr *e;
    const struct expr_row *row;
    const struct expr_value *left;
    bool wants_all; /* != and !~: every value must differ; otherwise one that holds is enough */
    bool has_value, holds, fails, is_unknown;
};

static bool note_pair(struct comparison *c, const struct expr_value *a, const struct expr_value *b)
{
    c->has_value = true;
    if (pair_holds(c->e, a, b))
        c->holds = true;
    else
        c->fails = true;
    return c->wants_all ? !c->fails : !c->holds;
}

/* Each element of whichever side is an array; both: nothing compares. */
static bool compare_values(struct comparison *c, const struct expr_value *a,
                           const struct expr_value *b)
{
    bool whole = c->e->op == EXPR_TEXT_EQ; /* the text form is that of the array */
    if (whole || (a->type != EXPR_ARRAY && b->type != EXPR_ARRAY)) {
        if (!whole && (a->type == EXPR_NIL || b->type == EXPR_NIL))
            return true;
        return note_pair(c, a, b);
    }
    if (a->type == b->type)
        return true;
    const struct expr_value *array = a->type == EXPR_ARRAY ? a : b;
    struct otlp_repeated elements = otlp_repeated(array->bytes, OTLP_VALUES);
    struct bytes element;
    while (otlp_repeated_next(&elements, &element)) {
        struct otlp_value read;
        otlp_value_read(element, &read);
        struct expr_value v = expr_value_of(&read);
        if (!note_pair(c, array == a ? &v : a, array == a ? b : &v))
            return false;
    }
    return true;
}

static bool on_value_against_const(void *context, const struct expr_value *v)
{
    struct comparison *c = context;
    return compare_values(c, v, &c->e->right->value);
}

static bool on_right_value(void *context, const struct expr_value *v)
{
    struct comparison *c = context;
    return compare_values(c, c->left, v);
}

static bool on_left_value(void *context, const struct expr_value *v)
{
    struct comparison *c = context;
    c->left = v;
    if (!emit_operand(c->e->right, c->row, on_right_value, c))
        c->is_unknown = true;
    return !c->is_unknown && (c->wants_all ? !c->fails : !c->holds);
}

static enum answer compare(const struct expr *e, const struct expr_row *row)
{
    struct comparison c = { .e = e,
                            .row = row,
                            .wants_all = e->op == EXPR_NE || e->op == EXPR_NOT_MATCH };
    bool is_known = emit_operand(
        e->left, row, e->right->op == EXPR_CONST ? on_value_against_const : on_left_value, &c);
    if (!is_known || c.is_unknown)
        return UNKNOWN;
    if (c.wants_all)
        return c.has_value && !c.fails ? YES : NO;
    return c.holds ? YES : NO;
}

/* ---- Arithmetic ---- */

static bool int_power(int64_t base, int64_t exponent, int64_t *out)
{
    uint64_t result = 1, b = (uint64_t)base;
    if (exponent < 0) {
        if (base == 0)
            return false;
        /* 1 / base^n, truncated */
        *out = base == 1 ? 1 : base == -1 ? (exponent % 2 == 0 ? 1 : -1) : 0;
        return true;
    }
    for (uint64_t n = (uint64_t)exponent; n > 0; n >>= 1) {
        if (n & 1)
            result *= b;
        b *= b;
    }
    *out = (int64_t)result;
    return true;
}

/* Wraps around where it overflows. False where there is no result: division by zero. */
static bool int_result(enum expr_op op, int64_t a, int64_t b, int64_t *out)
{
    uint64_t x = (uint64_t)a, y = (uint64_t)b;
    switch (op) {
    case EXPR_ADD:
        *out = (int64_t)(x + y);
        return true;
    case EXPR_SUB:
        *out = (int64_t)(x - y);
        return true;
    case EXPR_MUL:
        *out = (int64_t)(x * y);
        return true;
    case EXPR_DIV:
        if (b == 0)
            return false;
        *out = b == -1 ? (int64_t)(0 - x) : a / b; /* INT64_MIN / -1 traps otherwise */
        return true;
    case EXPR_MOD:
        if (b == 0)
            return false;
        *out = b == -1 ? 0 : a % b;
        return true;
    default:
        assert(op == EXPR_POW);
        return int_power(a, b, out);
    }
}

static double double_result(enum expr_op op, double a, double b)
{
    switch (op) {
    case EXPR_ADD:
        return a + b;
    case EXPR_SUB:
        return a - b;
    case EXPR_MUL:
        return a * b;
    case EXPR_DIV:
        return a / b;
    case EXPR_MOD:
        return fmod(a, b);
    default:
        assert(op == EXPR_POW);
        return pow(a, b);
    }
}

struct arithmetic {
    const struct expr *e;
    const struct expr_row *row;
    const struct expr_value *left;
    expr_emit_fn *emit;
    void *context;
    bool is_unknown, has_enough;
};

static bool pass_on(struct arithmetic *c, const struct expr_value *result)
{
    if (!c->emit(c->context, result))
        c->has_enough = true;
    return !c->has_enough;
}

static bool on_right_term(void *context, const struct expr_value *b)
{
    struct arithmetic *c = context;
    const struct expr_value *a = c->left;
    if (!is_number(a) || !is_number(b))
        return true;
    struct expr_value result;
    if (a->type == EXPR_INT && b->type == EXPR_INT) {
        result = (struct expr_value){ .type = EXPR_INT };
        if (!int_result(c->e->op, a->integer, b->integer, &result.integer))
            return true;
    } else {
        result =
            (struct expr_value){ .type = EXPR_FLOAT,
                                 .number = double_result(c->e->op, as_double(a), as_double(b)) };
    }
    return pass_on(c, &result);
}

static bool on_left_term(void *context, const struct expr_value *v)
{
    struct arithmetic *c = context;
    c->left = v;
    if (!emit_operand(c->e->right, c->row, on_right_term, c))
        c->is_unknown = true;
    return !c->is_unknown && !c->has_enough;
}

static bool on_negated_term(void *context, const struct expr_value *v)
{
    struct arithmetic *c = context;
    if (!is_number(v))
        return true;
    struct expr_value result = *v;
    result.integer = (int64_t)(0 - (uint64_t)v->integer);
    result.number = -v->number;
    return pass_on(c, &result);
}

/* The operand's values, one by one; false: unknown. */
static bool emit_operand(const struct expr *e, const struct expr_row *row, expr_emit_fn *emit,
                         void *context)
{
    switch (e->op) {
    case EXPR_FIELD:
        return row->values(row, e, emit, context);
    case EXPR_CONST:
        (void)emit(context, &e->value);
        return true;
    case EXPR_NEGATE:
    case EXPR_ADD:
    case EXPR_SUB:
    case EXPR_MUL:
    case EXPR_DIV:
    case EXPR_MOD:
    case EXPR_POW: {
        struct arithmetic c = { .e = e, .row = row, .emit = emit, .context = context };
        bool is_known =
            emit_operand(e->left, row, e->op == EXPR_NEGATE ? on_negated_term : on_left_term, &c);
        return is_known && !c.is_unknown;
    }
    default: { /* a condition as an operand: (.a > 1) = true */
        enum answer a = answer_of(e, row);
        if (a == UNKNOWN)
            return false;
        if (a != NIL)
            (void)emit(context, &(struct expr_value){ .type = EXPR_BOOL, .integer = a == YES });
        return true;
    }
    }
}

/* ---- Conditions ---- */

struct condition {
    bool has_true, has_false, has_value;
};

static bool on_condition_value(void *context, const struct expr_value *v)
{
    struct condition *c = context;
    if (v->type == EXPR_NIL)
        return true;
    c->has_value = true;
    if (v->type == EXPR_BOOL && v->integer != 0)
        c->has_true = true;
    else if (v->type == EXPR_BOOL)
        c->has_false = true;
    return !c->has_true;
}

/* A bare field or constant: .flag */
static enum answer bare(const struct expr *e, const struct expr_row *row)
{
    struct condition c = { 0 };
    if (!emit_operand(e, row, on_condition_value, &c))
        return UNKNOWN;
    return c.has_true ? YES : c.has_false ? NO : NIL;
}

static bool on_presence(void *context, const struct expr_value *v)
{
    bool *is_present = context;
    *is_present = v->type != EXPR_NIL;
    return !*is_present;
}

static enum answer presence(const struct expr *e, const struct expr_row *row)
{
    bool is_present = false;
    if (e->left->op == EXPR_CONST && e->left->value.type == EXPR_NIL)
        return NO; /* nil = nil and nil != nil */
    if (!emit_operand(e->left, row, on_presence, &is_present))
        return UNKNOWN;
    return is_present == (e->op == EXPR_IS_NOT_NIL) ? YES : NO;
}

static enum answer conjunction(const struct expr *e, const struct expr_row *row)
{
    enum answer left = answer_of(e->left, row);
    if (left == NO || left == NIL)
        return NO;
    enum answer right = answer_of(e->right, row);
    if (right == NO || right == NIL)
        return NO;
    return left == YES && right == YES ? YES : UNKNOWN;
}

static enum answer disjunction(const struct expr *e, const struct expr_row *row)
{
    enum answer left = answer_of(e->left, row);
    if (left == YES)
        return YES;
    if (left == NIL)
        return NO;
    enum answer right = answer_of(e->right, row);
    if (right == NIL) /* false unless the left side turns out true */
        return left == UNKNOWN ? UNKNOWN : NO;
    if (right == YES) /* whatever the left side turns out to be, it is a bool */
        return YES;
    return left == UNKNOWN || right == UNKNOWN ? UNKNOWN : NO;
}

static enum answer answer_of(const struct expr *e, const struct expr_row *row)
{
    switch (e->op) {
    case EXPR_AND:
        return conjunction(e, row);
    case EXPR_OR:
        return disjunction(e, row);
    case EXPR_NOT: {
        enum answer a = answer_of(e->left, row);
        return a == YES ? NO : a == NO ? YES : a;
    }
    case EXPR_EQ:
    case EXPR_NE:
    case EXPR_LT:
    case EXPR_LE:
    case EXPR_GT:
    case EXPR_GE:
    case EXPR_MATCH:
    case EXPR_NOT_MATCH:
    case EXPR_CONTAINS:
    case EXPR_TEXT_EQ:
        return compare(e, row);
    case EXPR_IS_NIL:
    case EXPR_IS_NOT_NIL:
        return presence(e, row);
    case EXPR_CONST:
    case EXPR_FIELD:
    case EXPR_NEGATE:
    case EXPR_ADD:
    case EXPR_SUB:
    case EXPR_MUL:
    case EXPR_DIV:
    case EXPR_MOD:
    case EXPR_POW:
        return bare(e, row);
    }
    return NIL;
}

enum expr_truth expr_evaluate(const struct expr *e, const struct expr_row *row)
{
    if (e == NULL)
        return EXPR_TRUE;
    assert(e->depth <= EXPR_DEPTH_MAX);
    enum answer a = answer_of(e, row);
    return a == NIL ? EXPR_FALSE : (enum expr_truth)a;
}
