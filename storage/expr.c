/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/expr.h"

#include "base/text.h"
#include "storage/expr_private.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>

/* ---- Intrinsics ---- */

static const struct {
    const char *name;
    enum expr_type type;
} intrinsics[EXPR_INTRINSIC_COUNT] = {
#define X(id, text, kind) [EXPR_INTRINSIC_##id] = { text, EXPR_##kind },
    EXPR_INTRINSIC_LIST(X)
#undef X
};

const char *expr_intrinsic_name(enum expr_intrinsic i)
{
    assert((unsigned)i < EXPR_INTRINSIC_COUNT);
    return intrinsics[i].name;
}

enum expr_type expr_intrinsic_type(enum expr_intrinsic i)
{
    assert((unsigned)i < EXPR_INTRINSIC_COUNT);
    return intrinsics[i].type;
}

bool expr_intrinsic_is_of_trace(enum expr_intrinsic i)
{
    return i == EXPR_INTRINSIC_TRACE_DURATION || i == EXPR_INTRINSIC_TRACE_ROOT_NAME ||
           i == EXPR_INTRINSIC_TRACE_ROOT_SERVICE || i == EXPR_INTRINSIC_SPAN_CHILD_COUNT;
}

/* ---- Building ---- */

static struct expr *node(struct arena *a, enum expr_op op)
{
    struct expr *e = arena_alloc_array(a, 1, sizeof *e);
    if (e != NULL) {
        e->op = op;
        e->depth = 1;
    }
    return e;
}

struct expr *expr_const(struct arena *a, struct expr_value value)
{
    struct expr *e = node(a, EXPR_CONST);
    if (e != NULL)
        e->value = value;
    return e;
}

struct expr *expr_attribute(struct arena *a, enum expr_scope scope, struct bytes key)
{
    assert(scope != EXPR_SCOPE_INTRINSIC);
    struct expr *e = node(a, EXPR_FIELD);
    if (e != NULL) {
        e->scope = scope;
        e->key = key;
    }
    return e;
}

struct expr *expr_intrinsic_field(struct arena *a, enum expr_intrinsic intrinsic)
{
    assert((unsigned)intrinsic < EXPR_INTRINSIC_COUNT);
    struct expr *e = node(a, EXPR_FIELD);
    if (e != NULL) {
        e->scope = EXPR_SCOPE_INTRINSIC;
        e->intrinsic = intrinsic;
    }
    return e;
}

static bool is_unary(enum expr_op op)
{
    return op == EXPR_NOT || op == EXPR_NEGATE || op == EXPR_IS_NIL || op == EXPR_IS_NOT_NIL;
}

struct expr *expr_unary(struct arena *a, enum expr_op op, struct expr *operand)
{
    assert(is_unary(op));
    if (operand == NULL || operand->depth >= EXPR_DEPTH_MAX)
        return NULL;
    struct expr *e = node(a, op);
    if (e != NULL) {
        e->left = operand;
        e->depth = operand->depth + 1;
    }
    return e;
}

struct expr *expr_binary(struct arena *a, enum expr_op op, struct expr *left, struct expr *right)
{
    assert(!is_unary(op) && op != EXPR_CONST && op != EXPR_FIELD);
    assert(op != EXPR_MATCH && op != EXPR_NOT_MATCH); /* expr_match() compiles their pattern */
    if (left == NULL || right == NULL)
        return NULL;
    uint32_t deepest = left->depth > right->depth ? left->depth : right->depth;
    if (deepest >= EXPR_DEPTH_MAX)
        return NULL;
    struct expr *e = node(a, op);
    if (e != NULL) {
        e->left = left;
        e->right = right;
        e->depth = deepest + 1;
    }
    return e;
}

enum err expr_match(struct arena *a, enum expr_op op, struct expr *field, struct bytes pattern,
                    struct expr **out, struct err_note *note)
{
    assert(op == EXPR_MATCH || op == EXPR_NOT_MATCH);
    assert(field != NULL);
    if (field->depth >= EXPR_DEPTH_MAX)
        return ERR_TOO_DEEP;
    struct expr *text = expr_const(a, (struct expr_value){ .type = EXPR_STRING, .bytes = pattern });
    struct expr *e = text == NULL ? NULL : node(a, op);
    if (e == NULL)
        return arena_failure(a);
    e->left = field;
    e->right = text;
    e->depth = field->depth + 1;
    enum err err = expr_regex_compile(pattern, &e->regex, note);
    if (err == ERR_OK)
        *out = e;
    return err;
}

void expr_deinit(struct expr *e)
{
    if (e == NULL)
        return;
    assert(e->depth <= EXPR_DEPTH_MAX);
    expr_regex_free(e->regex);
    e->regex = NULL;
    expr_deinit(e->left);
    expr_deinit(e->right);
}

/* ---- What must hold ---- */

static bool is_pruning(enum expr_op op)
{
    switch (op) {
    case EXPR_EQ:
    case EXPR_LT:
    case EXPR_LE:
    case EXPR_GT:
    case EXPR_GE:
    case EXPR_MATCH:
    case EXPR_CONTAINS:
    case EXPR_TEXT_EQ:
        return true;
    default:
        return false;
    }
}

size_t expr_required(const struct expr *e, const struct expr **out, size_t max)
{
    if (e == NULL || max == 0)
        return 0;
    if (e->op == EXPR_AND) {
        size_t n = expr_required(e->left, out, max);
        return n + expr_required(e->right, out + n, max - n);
    }
    bool prunes = e->op == EXPR_IS_NOT_NIL ? e->left->op == EXPR_FIELD
                                           : is_pruning(e->op) && e->left->op == EXPR_FIELD &&
                                                 e->right->op == EXPR_CONST;
    if (!prunes)
        return 0;
    out[0] = e;
    return 1;
}

/* ---- As text ---- */

static const char *const operators[] = {
    [EXPR_NOT] = "!",
    [EXPR_NEGATE] = "-",
    [EXPR_AND] = " && ",
    [EXPR_OR] = " || ",
    [EXPR_EQ] = " = ",
    [EXPR_NE] = " != ",
    [EXPR_LT] = " < ",
    [EXPR_LE] = " <= ",
    [EXPR_GT] = " > ",
    [EXPR_GE] = " >= ",
    [EXPR_MATCH] = " =~ ",
    [EXPR_NOT_MATCH] = " !~ ",
    [EXPR_CONTAINS] = " contains ",
    [EXPR_TEXT_EQ] = " text= ",
    [EXPR_IS_NIL] = " = nil",
    [EXPR_IS_NOT_NIL] = " != nil",
    [EXPR_ADD] = " + ",
    [EXPR_SUB] = " - ",
    [EXPR_MUL] = " * ",
    [EXPR_DIV] = " / ",
    [EXPR_MOD] = " % ",
    [EXPR_POW] = " ^ ",
};

static void write_quoted(struct bytes text, struct buffer *out)
{
    buffer_append_byte(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '"' || c == '\\') {
            buffer_append_byte(out, '\\');
            buffer_append_byte(out, c);
        } else if (c == '\n') {
            buffer_append_text(out, "\\n");
        } else if (c < 0x20 || c == 0x7f) {
            buffer_printf(out, "\\x%02x", c);
        } else {
            buffer_append_byte(out, c);
        }
    }
    buffer_append_byte(out, '"');
}

/* The largest unit that divides it: what text_duration_parse() reads back exactly. */
static void write_duration(int64_t ns, struct buffer *out)
{
    static const struct {
        int64_t ns;
        const char *unit;
    } units[] = { { INT64_C(3600000000000), "h" },
                  { INT64_C(60000000000), "m" },
                  { 1000000000, "s" },
                  { 1000000, "ms" },
                  { 1000, "us" },
                  { 1, "ns" } };
    size_t u = 0;
    while (ns % units[u].ns != 0)
        u++;
    if (ns == 0)
        u = 2;
    buffer_append_i64(out, ns / units[u].ns);
    buffer_append_text(out, units[u].unit);
}

static void write_float(double v, struct buffer *out)
{
    if (!isfinite(v)) {
        buffer_append_text(out, isnan(v) ? "NaN" : v < 0 ? "-Inf" : "+Inf");
        return;
    }
    size_t before = out->len;
    text_double(out, v);
    for (size_t i = before; i < out->len; i++) {
        if (out->data[i] == '.' || out->data[i] == 'e' || out->data[i] == 'E')
            return;
    }
    buffer_append_text(out, ".0"); /* an int would not compare like a float */
}

static void write_hex(struct bytes bytes, struct buffer *out)
{
    for (size_t i = 0; i < bytes.len; i++)
        buffer_printf(out, "%02x", bytes.data[i]);
}

static void write_word(int64_t code, const char *const *words, size_t count, struct buffer *out)
{
    if (code >= 0 && (uint64_t)code < count)
        buffer_append_text(out, words[code]);
    else
        buffer_append_i64(out, code);
}

static void write_value(const struct expr_value *v, struct buffer *out)
{
    static const char *const statuses[] = { "unset", "ok", "error" };
    static const char *const kinds[] = { "unspecified", "internal", "server",
                                         "client",      "producer", "consumer" };
    switch (v->type) {
    case EXPR_NIL:
        buffer_append_text(out, "nil");
        break;
    case EXPR_INT:
        buffer_append_i64(out, v->integer);
        break;
    case EXPR_FLOAT:
        write_float(v->number, out);
        break;
    case EXPR_STRING:
        write_quoted(v->bytes, out);
        break;
    case EXPR_BOOL:
        buffer_append_text(out, v->integer != 0 ? "true" : "false");
        break;
    case EXPR_DURATION:
        write_duration(v->integer, out);
        break;
    case EXPR_STATUS:
        write_word(v->integer, statuses, 3, out);
        break;
    case EXPR_KIND:
        write_word(v->integer, kinds, 6, out);
        break;
    case EXPR_BYTES:
    case EXPR_ARRAY:
    case EXPR_MAP: /* no constant has these types */
        buffer_append_text(out, "0x");
        write_hex(v->bytes, out);
        break;
    }
}

/* A key with a byte that would end it is quoted. */
static bool is_plain_key(struct bytes key)
{
    static const char ends[] = "{}()=~!<>&|^,\"\\";
    for (size_t i = 0; i < key.len; i++) {
        if (key.data[i] <= ' ' || key.data[i] == 0x7f || strchr(ends, key.data[i]) != NULL)
            return false;
    }
    return key.len > 0;
}

static void write_field(const struct expr *e, struct buffer *out)
{
    static const char *const scopes[] = {
        [EXPR_SCOPE_ANY] = "",
        [EXPR_SCOPE_SPAN] = "span",
        [EXPR_SCOPE_RESOURCE] = "resource",
        [EXPR_SCOPE_EVENT] = "event",
        [EXPR_SCOPE_LINK] = "link",
        [EXPR_SCOPE_INSTRUMENTATION] = "instrumentation",
        [EXPR_SCOPE_LOG] = "log",
        [EXPR_SCOPE_EVERYWHERE] = "everywhere",
    };
    if (e->scope == EXPR_SCOPE_INTRINSIC) {
        buffer_append_text(out, expr_intrinsic_name(e->intrinsic));
        return;
    }
    buffer_append_text(out, scopes[e->scope]);
    buffer_append_byte(out, '.');
    if (is_plain_key(e->key))
        buffer_append_bytes(out, e->key);
    else
        write_quoted(e->key, out);
}

static void write_node(const struct expr *e, bool is_whole, struct buffer *out)
{
    switch (e->op) {
    case EXPR_CONST:
        write_value(&e->value, out);
        break;
    case EXPR_FIELD:
        write_field(e, out);
        break;
    case EXPR_NOT:
    case EXPR_NEGATE:
        buffer_append_text(out, operators[e->op]);
        buffer_append_byte(out, '(');
        write_node(e->left, false, out);
        buffer_append_byte(out, ')');
        break;
    case EXPR_IS_NIL:
    case EXPR_IS_NOT_NIL:
        write_node(e->left, false, out);
        buffer_append_text(out, operators[e->op]);
        break;
    default: /* in parentheses inside others: nobody has to know how && and || bind */
        if (!is_whole)
            buffer_append_byte(out, '(');
        write_node(e->left, false, out);
        buffer_append_text(out, operators[e->op]);
        write_node(e->right, false, out);
        if (!is_whole)
            buffer_append_byte(out, ')');
        break;
    }
}

void expr_write(const struct expr *e, struct buffer *out)
{
    if (e == NULL) {
        buffer_append_text(out, "{ }");
        return;
    }
    assert(e->depth <= EXPR_DEPTH_MAX);
    buffer_append_text(out, "{ ");
    write_node(e, true, out);
    buffer_append_text(out, " }");
}
