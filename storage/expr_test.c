/* SPDX-License-Identifier: Apache-2.0 */
/* What a filter says of a row: every comparison over every pair of types, written out; fields with many
 * values; arrays; nil; arithmetic; conditions with unknown and missing operands; the text a tree prints. */
#include "base/mem.h"
#include "proto/pb_writer.h"
#include "storage/expr.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* A row whose field "x" has the values given; trace-level intrinsics are unknown. */
struct test_row {
    struct expr_row row;
    const struct expr_value *x, *y;
    size_t x_count, y_count;
};

static bool values(const struct expr_row *row, const struct expr *field, expr_emit_fn *emit,
                   void *context)
{
    const struct test_row *r = (const struct test_row *)row;
    if (field->scope == EXPR_SCOPE_INTRINSIC && expr_intrinsic_is_of_trace(field->intrinsic))
        return false;
    bool is_x = field->scope == EXPR_SCOPE_INTRINSIC || bytes_equal_text(field->key, "x");
    bool is_y = !is_x && bytes_equal_text(field->key, "y");
    const struct expr_value *v = is_x ? r->x : r->y;
    size_t count = is_x ? r->x_count : is_y ? r->y_count : 0;
    for (size_t i = 0; i < count; i++) {
        if (!emit(context, &v[i]))
            break;
    }
    return true;
}

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 16u << 20, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

static struct expr_value int_of(int64_t v)
{
    return (struct expr_value){ .type = EXPR_INT, .integer = v };
}
static struct expr_value float_of(double v)
{
    return (struct expr_value){ .type = EXPR_FLOAT, .number = v };
}
static struct expr_value typed(enum expr_type type, int64_t v)
{
    return (struct expr_value){ .type = type, .integer = v };
}
static struct expr_value text_of(const char *t)
{
    return (struct expr_value){ .type = EXPR_STRING, .bytes = bytes_text(t) };
}
static struct expr *field(const char *key)
{
    return expr_attribute(&arena, EXPR_SCOPE_SPAN, bytes_text(key));
}
static struct expr *constant(struct expr_value v)
{
    return expr_const(&arena, v);
}
static struct expr *binary(enum expr_op op, struct expr *a, struct expr *b)
{
    struct expr *e = expr_binary(&arena, op, a, b);
    assert_non_null(e);
    return e;
}

static enum expr_truth ask(const struct expr *e, const struct expr_value *x, size_t x_count,
                           const struct expr_value *y, size_t y_count)
{
    struct test_row r = { { values }, x, y, x_count, y_count };
    return expr_evaluate(e, &r.row);
}

/* ---- Every pair of types ---- */

enum { KINDS = 12 };

/* absent, int 2, int 0, float 2, float 2.5, duration 2 ns, "a", "b", true, status error, kind 2, bytes */
static size_t sample(int i, struct expr_value *out)
{
    const struct expr_value all[KINDS] = {
        { .type = EXPR_NIL },
        int_of(2),
        int_of(0),
        float_of(2.0),
        float_of(2.5),
        typed(EXPR_DURATION, 2),
        text_of("a"),
        text_of("b"),
        typed(EXPR_BOOL, 1),
        typed(EXPR_STATUS, 2),
        typed(EXPR_KIND, 2),
        { .type = EXPR_BYTES, .bytes = BYTES_LITERAL("a") },
    };
    *out = all[i];
    return i == 0 ? 0 : 1;
}

/* clang-format off */
static const char *const equal[KINDS] = {
    "............", ".1...1......", "..1......1..", "...1........", "....1.......", ".1...1......",
    "......1.....", ".......1....", "........1...", "..1......1..", "..........1.", "...........1",
};
static const char *const not_equal[KINDS] = {
    "............", "..111....1..", ".1.111......", ".11.11......", ".111.1......", "..111.......",
    ".......1....", "......1.....", "............", ".1..........", "............", "............",
};
static const char *const less[KINDS] = {
    "............", "....1.......", ".1.111......", "....1.......", "............", "....1.......",
    ".......1....", "............", "............", "............", "............", "............",
};
static const char *const less_or_equal[KINDS] = {
    "............", ".1.111......", ".11111......", ".1.111......", "....1.......", ".1.111......",
    "......11....", ".......1....", "............", "............", "............", "............",
};
/* clang-format on */

static void check_pair(enum expr_op op, int a, int b, bool want)
{
    struct expr_value x, y;
    size_t x_count = sample(a, &x), y_count = sample(b, &y);
    struct expr *both = binary(op, field("x"), field("y"));
    if ((ask(both, &x, x_count, &y, y_count) == EXPR_TRUE) != want)
        fail_msg("op %d, sample %d against %d", op, a, b);
    if (y_count == 1) {
        struct expr *right = binary(op, field("x"), constant(y));
        assert_int_equal(ask(right, &x, x_count, NULL, 0), want);
    }
    if (x_count == 1) {
        struct expr *left = binary(op, constant(x), field("y"));
        assert_int_equal(ask(left, NULL, 0, &y, y_count), want);
    }
}

static void every_pair_of_types(void **state)
{
    (void)state;
    for (int a = 0; a < KINDS; a++) {
        for (int b = 0; b < KINDS; b++) {
            check_pair(EXPR_EQ, a, b, equal[a][b] == '1');
            check_pair(EXPR_NE, a, b, not_equal[a][b] == '1');
            check_pair(EXPR_LT, a, b, less[a][b] == '1');
            check_pair(EXPR_LE, a, b, less_or_equal[a][b] == '1');
            check_pair(EXPR_GT, b, a, less[a][b] == '1');
            check_pair(EXPR_GE, b, a, less_or_equal[a][b] == '1');
        }
    }
}

static bool compare(enum expr_op op, struct expr_value a, struct expr_value b)
{
    enum expr_truth t = ask(binary(op, field("x"), constant(b)), &a, 1, NULL, 0);
    assert_int_not_equal(t, EXPR_UNKNOWN);
    return t == EXPR_TRUE;
}

static void numbers_compare_exactly(void **state)
{
    (void)state;
    int64_t big = INT64_C(9007199254740993); /* 2^53 + 1: no double */
    assert_true(compare(EXPR_GT, int_of(big), float_of(9007199254740992.0)));
    assert_false(compare(EXPR_LE, int_of(big), float_of(9007199254740992.0)));
    assert_true(compare(EXPR_LT, int_of(INT64_MAX), float_of(0x1p63)));
    assert_true(compare(EXPR_GE, int_of(INT64_MIN), float_of(-0x1p63)));
    assert_false(compare(EXPR_LT, int_of(INT64_MIN), float_of(-0x1p63)));
    assert_true(compare(EXPR_GT, int_of(INT64_MIN), float_of(-INFINITY)));
    assert_true(compare(EXPR_LT, int_of(-2), float_of(-1.5)));
    assert_true(compare(EXPR_GT, int_of(-1), float_of(-1.5)));
    assert_true(compare(EXPR_EQ, float_of(0.0), float_of(-0.0)));
    struct expr_value nan = float_of(NAN);
    assert_false(compare(EXPR_EQ, nan, nan));
    assert_true(compare(EXPR_NE, nan, nan));
    for (enum expr_op op = EXPR_LT; op <= EXPR_GE; op++) {
        assert_false(compare(op, nan, int_of(1)));
        assert_false(compare(op, int_of(1), nan));
        assert_false(compare(op, nan, nan));
    }
    assert_true(compare(EXPR_LT, text_of("a"), text_of("ab")));
    assert_true(compare(EXPR_LT, text_of("z"), text_of("\xc3\xa4"))); /* bytewise */
    assert_true(compare(EXPR_EQ, typed(EXPR_STATUS, 0), int_of(2)));  /* unset */
    assert_true(compare(EXPR_EQ, typed(EXPR_STATUS, 1), int_of(1)));  /* ok */
    assert_true(compare(EXPR_NE, typed(EXPR_STATUS, 1), typed(EXPR_STATUS, 2)));
    assert_true(compare(EXPR_NE, typed(EXPR_STATUS, 7), typed(EXPR_STATUS, 2)));
}

/* ---- Many values ---- */

static struct expr_value array_of(struct buffer *b, const struct expr_value *elements, size_t count)
{
    buffer_init(b, 1u << 16);
    for (size_t i = 0; i < count; i++) {
        size_t any = pb_begin(b, OTLP_VALUES);
        if (elements[i].type == EXPR_STRING)
            pb_bytes(b, 1, elements[i].bytes);
        else if (elements[i].type == EXPR_BOOL)
            pb_uint(b, 2, (uint64_t)elements[i].integer);
        else if (elements[i].type == EXPR_INT)
            pb_uint(b, 3, (uint64_t)elements[i].integer);
        else if (elements[i].type == EXPR_FLOAT)
            pb_double(b, 4, elements[i].number);
        pb_end(b, any);
    }
    return (struct expr_value){ .type = EXPR_ARRAY, .bytes = buffer_bytes(b) };
}

static void any_value_satisfies_but_all_must_differ(void **state)
{
    (void)state;
    struct expr_value two[] = { int_of(1), int_of(5) }, mixed[] = { int_of(1), text_of("a") };
    struct expr_value empty_any = { .type = EXPR_NIL };
    struct {
        enum expr_op op;
        int64_t right;
        bool two, mixed;
    } cases[] = {
        { EXPR_EQ, 1, true, true },   { EXPR_EQ, 5, true, false }, { EXPR_EQ, 2, false, false },
        { EXPR_NE, 1, false, false }, { EXPR_NE, 2, true, false }, /* "a" != 2 does not compare */
        { EXPR_LT, 2, true, true },   { EXPR_GT, 4, true, false }, { EXPR_GT, 5, false, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct expr *e = binary(cases[i].op, field("x"), constant(int_of(cases[i].right)));
        assert_int_equal(ask(e, two, 2, NULL, 0), cases[i].two);
        assert_int_equal(ask(e, mixed, 2, NULL, 0), cases[i].mixed);
        assert_int_equal(ask(e, &empty_any, 1, NULL, 0), EXPR_FALSE);
        assert_int_equal(ask(e, NULL, 0, NULL, 0), EXPR_FALSE);
        /* An array is its elements. */
        struct buffer b;
        struct expr_value array = array_of(&b, two, 2);
        assert_int_equal(ask(e, &array, 1, NULL, 0), cases[i].two);
        buffer_deinit(&b);
        array = array_of(&b, mixed, 2);
        assert_int_equal(ask(e, &array, 1, NULL, 0), cases[i].mixed);
        /* The other way round. */
        struct expr *turned = binary(cases[i].op, field("y"), field("x"));
        struct expr_value right = int_of(cases[i].right);
        if (cases[i].op == EXPR_EQ || cases[i].op == EXPR_NE)
            assert_int_equal(ask(turned, &array, 1, &right, 1), cases[i].mixed);
        /* Array against array: never. */
        struct expr *both = binary(cases[i].op, field("x"), field("y"));
        assert_int_equal(ask(both, &array, 1, &array, 1), EXPR_FALSE);
        buffer_deinit(&b);
        array = array_of(&b, NULL, 0);
        assert_int_equal(ask(e, &array, 1, NULL, 0), EXPR_FALSE);
        buffer_deinit(&b);
    }
}

static void nil_is_absence(void **state)
{
    (void)state;
    struct expr_value one = int_of(1), empty_any = { .type = EXPR_NIL }, map = { .type = EXPR_MAP };
    struct expr *is_nil = expr_unary(&arena, EXPR_IS_NIL, field("x"));
    struct expr *is_not_nil = expr_unary(&arena, EXPR_IS_NOT_NIL, field("x"));
    assert_int_equal(ask(is_nil, NULL, 0, NULL, 0), EXPR_TRUE);
    assert_int_equal(ask(is_not_nil, NULL, 0, NULL, 0), EXPR_FALSE);
    assert_int_equal(ask(is_nil, &one, 1, NULL, 0), EXPR_FALSE);
    assert_int_equal(ask(is_not_nil, &one, 1, NULL, 0), EXPR_TRUE);
    assert_int_equal(ask(is_not_nil, &map, 1, NULL, 0), EXPR_TRUE);
    assert_int_equal(ask(is_nil, &empty_any, 1, NULL, 0), EXPR_TRUE);
    struct expr_value later[] = { empty_any, one };
    assert_int_equal(ask(is_not_nil, later, 2, NULL, 0), EXPR_TRUE);
    struct expr *nil = constant(empty_any);
    assert_int_equal(ask(expr_unary(&arena, EXPR_IS_NIL, nil), NULL, 0, NULL, 0), EXPR_FALSE);
    assert_int_equal(ask(expr_unary(&arena, EXPR_IS_NOT_NIL, nil), NULL, 0, NULL, 0), EXPR_FALSE);
}

/* ---- Texts ---- */

static void contains_folds_ascii(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
        bool holds;
    } cases[] = {
        { "Payment Failed", "failed", true },
        { "Payment Failed", "T fAI", true },
        { "Payment Failed", "faild", false },
        { "abc", "", true },
        { "", "", true },
        { "", "a", false },
        { "ab", "abc", false },
        { "aaab", "AAB", true },
        { "xX-yY", "x-Y", true },
        { "1234", "34", true },
        { "\xc3\x84x", "\xc3\xa4", false },
        { "[", "{", false },
        { "@", "`", false },
        { "aAaAaAab", "aaab", true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (compare(EXPR_CONTAINS, text_of(cases[i].text), text_of(cases[i].part)) !=
            cases[i].holds)
            fail_msg("'%s' contains '%s'", cases[i].text, cases[i].part);
    }
    assert_false(compare(EXPR_CONTAINS, int_of(12), text_of("1")));
}

static void text_forms_equal(void **state)
{
    (void)state;
    struct buffer b;
    struct expr_value mixed[] = { int_of(1), text_of("a\"") };
    struct expr_value array = array_of(&b, mixed, 2);
    struct {
        struct expr_value value;
        const char *text;
        bool holds;
    } cases[] = {
        { text_of("true"), "true", true },
        { typed(EXPR_BOOL, 1), "true", true },
        { typed(EXPR_BOOL, 0), "false", true },
        { typed(EXPR_BOOL, 1), "1", false },
        { int_of(200), "200", true },
        { int_of(200), "0200", false },
        { int_of(200), "200.0", false },
        { int_of(0), "0", true },
        { int_of(0), "-0", false },
        { int_of(-5), "-5", true },
        { int_of(-5), "-05", false },
        { int_of(INT64_MIN), "-9223372036854775808", true },
        { int_of(5), "", false },
        { int_of(5), "-", false },
        { float_of(0.5), "0.5", true },
        { float_of(0.5), "0.50", false },
        { float_of(NAN), "NaN", true },
        { float_of(-INFINITY), "-Infinity", true },
        { { .type = EXPR_NIL }, "", true },
        { { .type = EXPR_NIL }, "nil", false },
        { { .type = EXPR_BYTES, .bytes = BYTES_LITERAL("hi!") }, "aGkh", true },
        { { .type = EXPR_BYTES, .bytes = BYTES_LITERAL("hi") }, "aGk=", true },
        { { .type = EXPR_BYTES, .bytes = BYTES_LITERAL("hi") }, "aGk", false },
        { { .type = EXPR_MAP }, "{}", true },
        { array, "[1,\"a\\\"\"]", true },
        { array, "[1,\"a\"]", false },
        { array, "1", false }, /* the whole array, not an element */
        { typed(EXPR_STATUS, 2), "2", false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (compare(EXPR_TEXT_EQ, cases[i].value, text_of(cases[i].text)) != cases[i].holds)
            fail_msg("case %zu: '%s'", i, cases[i].text);
    }
    buffer_deinit(&b);
}

static void patterns_match_strings_only(void **state)
{
    (void)state;
    struct expr *is, *is_not;
    struct err_note note;
    assert_int_equal(expr_match(&arena, EXPR_MATCH, field("x"), BYTES_LITERAL("a.*"), &is, &note),
                     ERR_OK);
    assert_int_equal(
        expr_match(&arena, EXPR_NOT_MATCH, field("x"), BYTES_LITERAL("a.*"), &is_not, &note),
        ERR_OK);
    struct expr_value ab = text_of("ab"), b = text_of("b"), one = int_of(1);
    struct expr_value both[] = { ab, b };
    assert_int_equal(ask(is, &ab, 1, NULL, 0), EXPR_TRUE);
    assert_int_equal(ask(is_not, &ab, 1, NULL, 0), EXPR_FALSE);
    assert_int_equal(ask(is, &b, 1, NULL, 0), EXPR_FALSE);
    assert_int_equal(ask(is_not, &b, 1, NULL, 0), EXPR_TRUE);
    assert_int_equal(ask(is, both, 2, NULL, 0), EXPR_TRUE);
    assert_int_equal(ask(is_not, both, 2, NULL, 0), EXPR_FALSE);
    assert_int_equal(ask(is, &one, 1, NULL, 0), EXPR_FALSE);
    assert_int_equal(ask(is_not, &one, 1, NULL, 0), EXPR_FALSE);
    assert_int_equal(ask(is_not, NULL, 0, NULL, 0), EXPR_FALSE);
    struct expr *tree = binary(EXPR_OR, is, is_not);
    expr_deinit(tree);
    expr_deinit(NULL);
    struct expr *none = NULL;
    assert_int_equal(expr_match(&arena, EXPR_MATCH, field("x"), BYTES_LITERAL("a("), &none, &note),
                     ERR_INVALID);
    assert_null(none);
}

static void trace_ids_ignore_left_zeros(void **state)
{
    (void)state;
    struct expr_value id = text_of("000000000000000000000000000001ab");
    struct expr *f = expr_intrinsic_field(&arena, EXPR_INTRINSIC_TRACE_ID);
    struct expr *same = binary(EXPR_EQ, f, constant(text_of("1ab")));
    struct expr *other = binary(EXPR_NE, constant(text_of("01ab")), f);
    assert_int_equal(ask(same, &id, 1, NULL, 0), EXPR_TRUE);
    assert_int_equal(ask(other, &id, 1, NULL, 0), EXPR_FALSE);
    assert_false(compare(EXPR_EQ, text_of("01ab"), text_of("1ab"))); /* that field alone */
}

/* ---- Arithmetic ---- */

static void arithmetic_keeps_ints_and_makes_floats(void **state)
{
    (void)state;
    struct {
        struct expr_value a;
        enum expr_op op;
        struct expr_value b, result; /* nil: none */
    } cases[] = {
        { int_of(7), EXPR_ADD, int_of(2), int_of(9) },
        { int_of(7), EXPR_SUB, int_of(9), int_of(-2) },
        { int_of(7), EXPR_MUL, int_of(-2), int_of(-14) },
        { int_of(-7), EXPR_DIV, int_of(2), int_of(-3) },
        { int_of(-7), EXPR_MOD, int_of(2), int_of(-1) },
        { int_of(2), EXPR_POW, int_of(10), int_of(1024) },
        { int_of(-3), EXPR_POW, int_of(3), int_of(-27) },
        { int_of(5), EXPR_POW, int_of(0), int_of(1) },
        { int_of(2), EXPR_POW, int_of(-1), int_of(0) },
        { int_of(-1), EXPR_POW, int_of(-3), int_of(-1) },
        { int_of(0), EXPR_POW, int_of(-1), { .type = EXPR_NIL } },
        { int_of(7), EXPR_DIV, int_of(0), { .type = EXPR_NIL } },
        { int_of(7), EXPR_MOD, int_of(0), { .type = EXPR_NIL } },
        { int_of(INT64_MIN), EXPR_DIV, int_of(-1), int_of(INT64_MIN) },
        { int_of(INT64_MIN), EXPR_MOD, int_of(-1), int_of(0) },
        { int_of(INT64_MAX), EXPR_ADD, int_of(1), int_of(INT64_MIN) },
        { int_of(7), EXPR_DIV, float_of(2), float_of(3.5) },
        { typed(EXPR_DURATION, 10), EXPR_DIV, int_of(4), float_of(2.5) },
        { typed(EXPR_DURATION, 10), EXPR_ADD, typed(EXPR_DURATION, 5), float_of(15) },
        { float_of(7.5), EXPR_MOD, int_of(2), float_of(1.5) },
        { float_of(2), EXPR_POW, float_of(0.5), float_of(1.4142135623730951) },
        { float_of(1), EXPR_DIV, float_of(0), float_of(INFINITY) },
        { text_of("a"), EXPR_ADD, text_of("b"), { .type = EXPR_NIL } },
        { typed(EXPR_BOOL, 1), EXPR_ADD, int_of(1), { .type = EXPR_NIL } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct expr *sum = binary(cases[i].op, field("x"), field("y"));
        struct expr *is = binary(EXPR_EQ, sum, constant(cases[i].result));
        bool has_result = cases[i].result.type != EXPR_NIL;
        if ((ask(is, &cases[i].a, 1, &cases[i].b, 1) == EXPR_TRUE) != has_result)
            fail_msg("case %zu", i);
        struct expr *present = expr_unary(&arena, EXPR_IS_NOT_NIL, sum);
        assert_int_equal(ask(present, &cases[i].a, 1, &cases[i].b, 1), has_result);
        assert_int_equal(ask(present, &cases[i].a, 1, NULL, 0), EXPR_FALSE);
    }
    /* Of many values, any. */
    struct expr_value many[] = { int_of(1), int_of(2) }, more[] = { int_of(10), int_of(20) };
    struct expr *sum = binary(EXPR_ADD, field("x"), field("y"));
    assert_int_equal(ask(binary(EXPR_EQ, sum, constant(int_of(21))), many, 2, more, 2), EXPR_TRUE);
    assert_int_equal(ask(binary(EXPR_EQ, sum, constant(int_of(23))), many, 2, more, 2), EXPR_FALSE);
    assert_int_equal(ask(binary(EXPR_NE, sum, constant(int_of(22))), many, 2, more, 2), EXPR_FALSE);
    struct expr_value five = int_of(5);
    struct expr *negative = expr_unary(&arena, EXPR_NEGATE, field("x"));
    assert_int_equal(ask(binary(EXPR_EQ, negative, constant(int_of(-5))), &five, 1, NULL, 0),
                     EXPR_TRUE);
    struct expr_value span = typed(EXPR_DURATION, 5);
    assert_int_equal(
        ask(binary(EXPR_EQ, negative, constant(typed(EXPR_DURATION, -5))), &span, 1, NULL, 0),
        EXPR_TRUE);
}

/* ---- Conditions ---- */

/* T true, F false, U unknown, N a missing bare attribute, S a bare attribute that is no bool */
static struct expr *operand(char c)
{
    switch (c) {
    case 'T':
        return binary(EXPR_EQ, constant(int_of(1)), constant(int_of(1)));
    case 'F':
        return binary(EXPR_EQ, constant(int_of(1)), constant(int_of(2)));
    case 'U':
        return binary(EXPR_EQ, expr_intrinsic_field(&arena, EXPR_INTRINSIC_TRACE_ROOT_NAME),
                      constant(text_of("x")));
    case 'N':
        return field("absent");
    default:
        return field("x");
    }
}

static void conditions_with_unknown_and_missing_operands(void **state)
{
    (void)state;
    static const char *const cases[] = {
        /* left, operator, right, result */
        "T&TT", "T&FF", "F&TF", "F&FF", "T|TT", "T|FT", "F|TT", "F|FF", "U&TU", "T&UU", "U&FF",
        "F&UF", "U&UU", "U|TT", "T|UT", "U|FU", "F|UU", "U|UU", "N&TF", "T&NF", "N|TF", "T|NT",
        "F|NF", "N|NF", "N|FF", "U&NF", "N&UF", "U|NU", "N|UF", "S&TF", "T&SF", "S|TF", "T|ST",
    };
    struct expr_value not_bool = text_of("true");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *c = cases[i];
        struct expr *e = binary(c[1] == '&' ? EXPR_AND : EXPR_OR, operand(c[0]), operand(c[2]));
        enum expr_truth want = c[3] == 'T' ? EXPR_TRUE : c[3] == 'F' ? EXPR_FALSE : EXPR_UNKNOWN;
        if (ask(e, &not_bool, 1, NULL, 0) != want)
            fail_msg("%.3s", c);
        /* Negated: a condition of missing operands is false, so its negation is true. */
        enum expr_truth opposite = want == EXPR_UNKNOWN ? want
                                   : want == EXPR_TRUE  ? EXPR_FALSE
                                                        : EXPR_TRUE;
        assert_int_equal(ask(expr_unary(&arena, EXPR_NOT, e), &not_bool, 1, NULL, 0), opposite);
    }
    assert_int_equal(ask(expr_unary(&arena, EXPR_NOT, operand('N')), NULL, 0, NULL, 0), EXPR_FALSE);
    assert_int_equal(ask(expr_unary(&arena, EXPR_NOT, operand('S')), &not_bool, 1, NULL, 0),
                     EXPR_FALSE);
    assert_int_equal(ask(expr_unary(&arena, EXPR_NOT, operand('U')), NULL, 0, NULL, 0),
                     EXPR_UNKNOWN);
    struct expr_value yes = typed(EXPR_BOOL, 1), no = typed(EXPR_BOOL, 0);
    assert_int_equal(ask(field("x"), &yes, 1, NULL, 0), EXPR_TRUE);
    assert_int_equal(ask(field("x"), &no, 1, NULL, 0), EXPR_FALSE);
    assert_int_equal(ask(expr_unary(&arena, EXPR_NOT, field("x")), &no, 1, NULL, 0), EXPR_TRUE);
    assert_int_equal(ask(field("x"), NULL, 0, NULL, 0), EXPR_FALSE);
    assert_int_equal(ask(NULL, NULL, 0, NULL, 0), EXPR_TRUE);
    /* A condition is a bool to compare with. */
    struct expr *is_true = binary(EXPR_EQ, operand('F'), constant(no));
    assert_int_equal(ask(is_true, NULL, 0, NULL, 0), EXPR_TRUE);
    assert_int_equal(ask(binary(EXPR_EQ, operand('U'), constant(no)), NULL, 0, NULL, 0),
                     EXPR_UNKNOWN);
    /* Unknown inside arithmetic and on the right side. */
    struct expr *trace = expr_intrinsic_field(&arena, EXPR_INTRINSIC_TRACE_DURATION);
    struct expr *third = binary(EXPR_DIV, trace, constant(int_of(3)));
    assert_int_equal(ask(binary(EXPR_GT, field("x"), third), &yes, 1, NULL, 0), EXPR_UNKNOWN);
    assert_int_equal(ask(binary(EXPR_GT, field("x"), third), NULL, 0, NULL, 0), EXPR_FALSE);
    assert_int_equal(ask(expr_unary(&arena, EXPR_IS_NIL, trace), NULL, 0, NULL, 0), EXPR_UNKNOWN);
}

/* ---- Trees ---- */

static void required_parts_are_the_conjunctions(void **state)
{
    (void)state;
    struct expr *a = binary(EXPR_EQ, field("a"), constant(int_of(1)));
    struct expr *b = binary(EXPR_GT, field("b"), constant(int_of(1)));
    struct expr *c = binary(EXPR_NE, field("c"), constant(int_of(1)));
    struct expr *d = expr_unary(&arena, EXPR_IS_NOT_NIL, field("d"));
    struct expr *e = binary(EXPR_EQ, constant(int_of(1)), field("e"));
    struct expr *f = binary(EXPR_EQ, binary(EXPR_ADD, field("f"), field("f")), constant(int_of(1)));
    struct expr *all =
        binary(EXPR_AND,
               binary(EXPR_AND, binary(EXPR_AND, a, binary(EXPR_OR, b, b)), binary(EXPR_AND, c, d)),
               binary(EXPR_AND, b, binary(EXPR_AND, e, f)));
    const struct expr *out[8];
    assert_int_equal(expr_required(all, out, 8), 3);
    assert_ptr_equal(out[0], a);
    assert_ptr_equal(out[1], d);
    assert_ptr_equal(out[2], b);
    assert_int_equal(expr_required(all, out, 2), 2);
    assert_int_equal(expr_required(all, out, 0), 0);
    assert_int_equal(expr_required(NULL, out, 8), 0);
    assert_int_equal(expr_required(expr_unary(&arena, EXPR_NOT, a), out, 8), 0);
    assert_int_equal(expr_required(binary(EXPR_OR, a, b), out, 8), 0);
}

static void check_text(const struct expr *e, const char *want)
{
    struct buffer b;
    buffer_init(&b, 1u << 16);
    expr_write(e, &b);
    buffer_append_byte(&b, 0);
    assert_string_equal((const char *)b.data, want);
    buffer_deinit(&b);
}

static void trees_print_as_traceql(void **state)
{
    (void)state;
    check_text(NULL, "{ }");
    struct expr *a = binary(EXPR_EQ, expr_attribute(&arena, EXPR_SCOPE_ANY, BYTES_LITERAL("a-b")),
                            constant(text_of("say \"hi\"\n")));
    check_text(a, "{ .a-b = \"say \\\"hi\\\"\\n\" }");
    struct expr *b = binary(EXPR_GT, expr_intrinsic_field(&arena, EXPR_INTRINSIC_SPAN_DURATION),
                            constant(typed(EXPR_DURATION, 1500000000)));
    check_text(binary(EXPR_AND, a, expr_unary(&arena, EXPR_NOT, b)),
               "{ (.a-b = \"say \\\"hi\\\"\\n\") && !((span:duration > 1500ms)) }");
    check_text(expr_unary(&arena, EXPR_IS_NIL,
                          expr_attribute(&arena, EXPR_SCOPE_EVENT, BYTES_LITERAL("a b"))),
               "{ event.\"a b\" = nil }");
    check_text(binary(EXPR_NE, expr_intrinsic_field(&arena, EXPR_INTRINSIC_SPAN_KIND),
                      constant(typed(EXPR_KIND, 2))),
               "{ span:kind != server }");
    check_text(binary(EXPR_EQ, expr_intrinsic_field(&arena, EXPR_INTRINSIC_SPAN_STATUS),
                      constant(typed(EXPR_STATUS, 2))),
               "{ span:status = error }");
    check_text(binary(EXPR_LE, field("x"), constant(float_of(2))), "{ span.x <= 2.0 }");
    check_text(binary(EXPR_LE, field("x"), constant(float_of(0.1))), "{ span.x <= 0.1 }");
    check_text(binary(EXPR_EQ, field("x"), constant(typed(EXPR_BOOL, 0))), "{ span.x = false }");
    check_text(binary(EXPR_EQ, field("x"), constant(typed(EXPR_DURATION, 0))), "{ span.x = 0s }");
    check_text(binary(EXPR_EQ, field("x"), constant(typed(EXPR_DURATION, -90000000000))),
               "{ span.x = -90s }");
    check_text(binary(EXPR_OR,
                      binary(EXPR_EQ, binary(EXPR_POW, field("x"), constant(int_of(2))),
                             expr_unary(&arena, EXPR_NEGATE, field("y"))),
                      field("z")),
               "{ ((span.x ^ 2) = -(span.y)) || span.z }");
}

static void depth_is_bounded(void **state)
{
    (void)state;
    struct expr *e = operand('T');
    for (uint32_t depth = e->depth; depth < EXPR_DEPTH_MAX; depth++) {
        e = expr_unary(&arena, EXPR_NOT, e);
        assert_non_null(e);
    }
    assert_int_equal(e->depth, EXPR_DEPTH_MAX);
    assert_int_equal(ask(e, NULL, 0, NULL, 0), EXPR_TRUE);
    assert_null(expr_unary(&arena, EXPR_NOT, e));
    assert_null(expr_binary(&arena, EXPR_AND, operand('T'), e));
    assert_null(expr_unary(&arena, EXPR_NOT, NULL));
    assert_null(expr_binary(&arena, EXPR_AND, NULL, operand('T')));
    expr_deinit(e);
}

static void intrinsics_have_names_and_types(void **state)
{
    (void)state;
    assert_string_equal(expr_intrinsic_name(EXPR_INTRINSIC_TRACE_ROOT_SERVICE),
                        "trace:rootService");
    assert_int_equal(expr_intrinsic_type(EXPR_INTRINSIC_SPAN_STATUS), EXPR_STATUS);
    size_t of_trace = 0;
    for (unsigned i = 0; i < EXPR_INTRINSIC_COUNT; i++)
        of_trace += expr_intrinsic_is_of_trace((enum expr_intrinsic)i);
    assert_int_equal(of_trace, 4);
}

/* Not in the hot path: what evaluation allocates is for nested texts only. */
static void evaluation_does_not_allocate(void **state)
{
    (void)state;
    struct expr_value x[] = { text_of("Payment Failed"), int_of(200), typed(EXPR_BOOL, 1) };
    struct expr *is;
    struct err_note note;
    assert_int_equal(
        expr_match(&arena, EXPR_MATCH, field("x"), BYTES_LITERAL("P.*(d|e)"), &is, &note), ERR_OK);
    struct expr *e = binary(
        EXPR_AND, binary(EXPR_AND, is, binary(EXPR_TEXT_EQ, field("x"), constant(text_of("200")))),
        binary(EXPR_CONTAINS, field("x"), constant(text_of("failed"))));
    assert_int_equal(ask(e, x, 3, NULL, 0), EXPR_TRUE); /* the pattern's scratch is made here */
    fault_alloc_fail_at(0, true);
    assert_int_equal(ask(e, x, 3, NULL, 0), EXPR_TRUE);
    assert_false(fault_fired());
    fault_alloc_off();
    expr_deinit(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_pair_of_types, setup, teardown),
        cmocka_unit_test_setup_teardown(numbers_compare_exactly, setup, teardown),
        cmocka_unit_test_setup_teardown(any_value_satisfies_but_all_must_differ, setup, teardown),
        cmocka_unit_test_setup_teardown(nil_is_absence, setup, teardown),
        cmocka_unit_test_setup_teardown(contains_folds_ascii, setup, teardown),
        cmocka_unit_test_setup_teardown(text_forms_equal, setup, teardown),
        cmocka_unit_test_setup_teardown(patterns_match_strings_only, setup, teardown),
        cmocka_unit_test_setup_teardown(trace_ids_ignore_left_zeros, setup, teardown),
        cmocka_unit_test_setup_teardown(arithmetic_keeps_ints_and_makes_floats, setup, teardown),
        cmocka_unit_test_setup_teardown(conditions_with_unknown_and_missing_operands, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(required_parts_are_the_conjunctions, setup, teardown),
        cmocka_unit_test_setup_teardown(trees_print_as_traceql, setup, teardown),
        cmocka_unit_test_setup_teardown(depth_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(intrinsics_have_names_and_types, setup, teardown),
        cmocka_unit_test_setup_teardown(evaluation_does_not_allocate, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
