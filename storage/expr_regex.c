/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns are written for RE2 (TraceQL's engine) and run by PCRE2. A scan before compiling refuses what
 * RE2 does not have, so that a pattern taken here means the same there; what both have but read differently
 * is rewritten (\v, octal) or switched ($). One difference is left: \s also takes a vertical tab.
 *
 * Matching is by pcre2_dfa_match(), which follows all alternatives side by side and reads the text once: its
 * time is the text's length times the states alive, never exponential. The backtracking matcher was tried
 * first, with a limit on its steps, but one step of `.*?a[^b]*bc` may scan the whole text. What bounds the
 * states is the workspace: a match that needs more is given up and counted. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "base/mem.h"
#include "base/text.h"
#include "storage/expr_private.h"

#include <assert.h>
#include <pcre2.h>
#include <stdatomic.h>

enum {
    PATTERN_BYTES_MAX = 4096,
    GROUP_DEPTH_MAX = 100,
    REPEAT_MAX = 1000, /* RE2's */
    DEPTH_MAX = 100,   /* of assertions in assertions: we have none */
    /* A state alive takes about 10 ns a byte and 6 ints. States times bytes are kept at 5 million, which is
     * 50 ms, but for texts over 50 kB, which always get 100 states. */
    STATE_BYTES_MAX = 5 * 1000 * 1000,
    STATE_INTS = 6,
    STATES_MIN = 100,
    WORKSPACE_INTS = 16 * 1024,
    HEAP_KIB_MAX = 16 * 1024
};

struct expr_regex {
    pcre2_code *characters; /* for texts in UTF-8 */
    pcre2_code *octets; /* for the others, byte by byte; NULL where the pattern needs characters */
    /* Scratch of one match, kept for the next; each thread that finds none here makes its own. */
    _Atomic(struct scratch *) spare;
};

struct scratch {
    pcre2_match_context *limits;
    pcre2_match_data *data;
    int workspace[WORKSPACE_INTS];
};

static atomic_uint_fast64_t runaways;

uint64_t expr_regex_runaways(void)
{
    return atomic_load_explicit(&runaways, memory_order_relaxed);
}

static void *heap_alloc(size_t size, void *unused)
{
    (void)unused;
    return mem_alloc(size);
}

static void heap_free(void *block, void *unused)
{
    (void)unused;
    mem_free(block);
}

/* ---- What RE2 has ---- */

struct scan {
    struct bytes pattern;
    size_t at;
    bool in_class;
    bool can_repeat; /* something to repeat stands before */
    bool has_multiline;
    const char *what;
    struct buffer *out; /* the pattern as PCRE2 shall read it */
};

static int peek(const struct scan *s, size_t ahead)
{
    size_t i = s->at + ahead;
    return i < s->pattern.len ? s->pattern.data[i] : -1;
}

static bool refuse(struct scan *s, const char *what)
{
    s->what = what;
    return false;
}

static void take(struct scan *s, size_t n)
{
    buffer_append_bytes(s->out, bytes_slice(s->pattern, s->at, n));
    s->at += n;
}

static bool is_octal(int c)
{
    return c >= '0' && c <= '7';
}

static bool is_word(int c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* \Q...\E: everything up to \E, or the end, is literal. */
static void take_quoted(struct scan *s)
{
    s->at += 2;
    while (s->at < s->pattern.len) {
        int c = peek(s, 0);
        if (c == '\\' && peek(s, 1) == 'E') {
            s->at += 2;
            return;
        }
        if (!is_word(c) && c < 0x80)
            buffer_append_byte(s->out, '\\');
        take(s, 1);
    }
}

static bool is_hex(int c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* \x41 \x{10ffff} */
static bool take_hex(struct scan *s)
{
    size_t n = 2;
    if (peek(s, n) == '{') {
        n++;
        while (is_hex(peek(s, n)))
            n++;
        if (n == 3 || n > 3 + 6 || peek(s, n) != '}')
            return refuse(s, "\\x{ takes one to six hexadecimal digits and }");
        n++;
    } else {
        if (!is_hex(peek(s, 2)) || !is_hex(peek(s, 3)))
            return refuse(s, "\\x takes two hexadecimal digits");
        n += 2;
    }
    take(s, n);
    return true;
}

/* \pL \p{Greek} \P{^Lu} */
static bool take_property(struct scan *s)
{
    size_t n = 2;
    if (peek(s, n) == '{') {
        n++;
        if (peek(s, n) == '^')
            n++;
        while (is_word(peek(s, n)))
            n++;
        if (peek(s, n) != '}')
            return refuse(s, "a character property ends with }");
    } else if (!is_word(peek(s, n))) {
        return refuse(s, "\\p takes a character property");
    }
    take(s, n + 1);
    return true;
}

static bool take_escape(struct scan *s)
{
    int c = peek(s, 1);
    if (c < 0)
        return refuse(s, "a pattern cannot end with a backslash");
    if (c == '0' || (is_octal(c) && is_octal(peek(s, 2)))) {
        unsigned value = 0;
        size_t n = 1;
        while (n <= 3 && is_octal(peek(s, n)))
            value = value * 8 + (unsigned)(peek(s, n++) - '0');
        buffer_printf(s->out, "\\x{%x}", value);
        s->at += n;
        return true;
    }
    if (c >= '1' && c <= '9')
        return refuse(s, "backreferences are not supported");
    if (c == 'Q' && !s->in_class) {
        take_quoted(s);
        return true;
    }
    if (c == 'v') { /* PCRE2: any vertical space */
        buffer_append_text(s->out, "\\x0b");
        s->at += 2;
        return true;
    }
    if (c == 'x')
        return take_hex(s);
    if (c == 'p' || c == 'P')
        return take_property(s);
    if (is_word(c)) {
        const char *known = s->in_class ? "afnrtdDsSwW" : "afnrtdDsSwWAbBz";
        if (c == '_' || strchr(known, c) == NULL)
            return refuse(s, "this escape sequence is not supported");
    }
    take(s, 2);
    return true;
}

/* (?flags) (?flags:...) (?:...) (?<name>...) (?P<name>...); the rest is not RE2's. */
static bool take_group(struct scan *s)
{
    s->can_repeat = false;
    if (peek(s, 1) == '*')
        return refuse(s, "nothing to repeat");
    if (peek(s, 1) != '?') {
        take(s, 1);
        return true;
    }
    size_t n = 2;
    if (peek(s, n) == 'P' && peek(s, n + 1) == '<')
        n++;
    if (peek(s, n) == '<') {
        n++;
        if (peek(s, n) == '=' || peek(s, n) == '!')
            return refuse(s, "lookbehind is not supported");
        while (is_word(peek(s, n)))
            n++;
        if (peek(s, n) != '>')
            return refuse(s, "a group name has letters, digits and _ only");
        take(s, n + 1);
        return true;
    }
    if (peek(s, n) == '=' || peek(s, n) == '!')
        return refuse(s, "lookahead is not supported");
    bool is_negated = false;
    for (;; n++) {
        int c = peek(s, n);
        if (c == ':' || c == ')')
            break;
        if (c == 'm' && !is_negated)
            s->has_multiline = true;
        if (c == '-' && !is_negated)
            is_negated = true;
        else if (c < 0 || strchr("imsU", c) == NULL)
            return refuse(s, "this kind of group is not supported");
    }
    if (peek(s, n) == ')')
        s->can_repeat = false;
    take(s, n + 1);
    return true;
}

/* After a quantifier: ? makes it lazy; another one would be PCRE2's possessive form or an error. */
static bool end_repeat(struct scan *s)
{
    if (peek(s, 0) == '?')
        take(s, 1);
    int c = peek(s, 0);
    if (c == '*' || c == '+' || c == '?')
        return refuse(s, "a repetition cannot be repeated");
    s->can_repeat = false;
    return true;
}

static size_t number_len(const struct scan *s, size_t at, unsigned *out)
{
    size_t n = at;
    unsigned v = 0;
    while (peek(s, n) >= '0' && peek(s, n) <= '9' && n - at < 6)
        v = v * 10 + (unsigned)(peek(s, n++) - '0');
    *out = v;
    return n - at;
}

/* {n} {n,} {n,m}; anything else after { is literal, as in RE2. */
static bool take_brace(struct scan *s)
{
    unsigned low = 0, high = 0;
    size_t n = 1 + number_len(s, 1, &low);
    bool is_count = n > 1;
    if (is_count && peek(s, n) == ',') {
        size_t digits = number_len(s, n + 1, &high);
        n += 1 + digits;
    }
    if (!is_count || peek(s, n) != '}') {
        buffer_append_text(s->out, "\\{");
        s->at++;
        s->can_repeat = true;
        return true;
    }
    if (!s->can_repeat)
        return refuse(s, "nothing to repeat");
    if (low > REPEAT_MAX || high > REPEAT_MAX)
        return refuse(s, "a repetition count is at most 1000");
    take(s, n + 1);
    return end_repeat(s);
}

static bool take_class_part(struct scan *s, size_t class_start)
{
    int c = peek(s, 0);
    if (c == '\\')
        return take_escape(s);
    if (c == '[' && (peek(s, 1) == '.' || peek(s, 1) == '='))
        return refuse(s, "collating elements are not supported");
    if (c == '[' && peek(s, 1) == ':') {
        size_t n = 2;
        while (is_word(peek(s, n)) || peek(s, n) == '^')
            n++;
        if (peek(s, n) == ':' && peek(s, n + 1) == ']') {
            take(s, n + 2);
            return true;
        }
    }
    if (c == '[') { /* a literal in both, but never the start of something in PCRE2 */
        buffer_append_text(s->out, "\\[");
        s->at++;
        return true;
    }
    if (c == ']' && s->at != class_start) {
        s->in_class = false;
        s->can_repeat = true;
    }
    take(s, 1);
    return true;
}

static bool take_outside_class(struct scan *s, size_t *class_start)
{
    int c = peek(s, 0);
    switch (c) {
    case '\\':
        if (!take_escape(s))
            return false;
        s->can_repeat = true;
        return true;
    case '(':
        return take_group(s);
    case '[':
        s->in_class = true;
        take(s, peek(s, 1) == '^' ? 2 : 1);
        *class_start = s->at;
        return true;
    case '*':
    case '+':
    case '?':
        if (!s->can_repeat)
            return refuse(s, "nothing to repeat");
        take(s, 1);
        return end_repeat(s);
    case '{':
        return take_brace(s);
    default:
        s->can_repeat = c != '|';
        take(s, 1);
        return true;
    }
}

static bool portable(struct scan *s)
{
    size_t class_start = 0;
    while (s->at < s->pattern.len) {
        bool ok =
            s->in_class ? take_class_part(s, class_start) : take_outside_class(s, &class_start);
        if (!ok)
            return false;
    }
    return true;
}

/* ---- Compiling ---- */

static const char *compile_problem(int code)
{
    switch (code) {
    case PCRE2_ERROR_MISSING_CLOSING_PARENTHESIS:
    case PCRE2_ERROR_UNMATCHED_CLOSING_PARENTHESIS:
        return "parentheses do not match";
    case PCRE2_ERROR_MISSING_SQUARE_BRACKET:
        return "a character class has no end";
    case PCRE2_ERROR_CLASS_RANGE_ORDER:
    case PCRE2_ERROR_CLASS_INVALID_RANGE:
        return "a character class has a range out of order";
    case PCRE2_ERROR_QUANTIFIER_OUT_OF_ORDER:
        return "a repetition's bounds are out of order";
    case PCRE2_ERROR_PARENTHESES_NEST_TOO_DEEP:
        return "groups are nested too deep";
    case PCRE2_ERROR_PATTERN_TOO_LARGE:
        return "the repetitions make the pattern too large";
    case PCRE2_ERROR_UNKNOWN_UNICODE_PROPERTY:
        return "unknown character property";
    case PCRE2_ERROR_UNKNOWN_POSIX_CLASS:
        return "unknown character class name";
    case PCRE2_ERROR_DUPLICATE_SUBPATTERN_NAME:
        return "a group name is used twice";
    default:
        return "not a valid regular expression";
    }
}

static enum err compile(pcre2_general_context *heap, struct bytes pattern, uint32_t options,
                        pcre2_code **out, struct err_note *note)
{
    pcre2_compile_context *settings = pcre2_compile_context_create(heap);
    if (settings == NULL)
        return ERR_NOMEM;
    (void)pcre2_set_newline(settings, PCRE2_NEWLINE_LF);
    (void)pcre2_set_parens_nest_limit(settings, GROUP_DEPTH_MAX);
    int code = 0;
    size_t offset = 0;
    *out = pcre2_compile(pattern.data, pattern.len,
                         options | PCRE2_ANCHORED | PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_AUTO_CAPTURE,
                         &code, &offset, settings);
    pcre2_compile_context_free(settings);
    if (*out != NULL)
        return ERR_OK;
    if (code == PCRE2_ERROR_HEAP_FAILED)
        return ERR_NOMEM;
    *note = (struct err_note){ .offset = offset, .what = compile_problem(code) };
    return ERR_INVALID;
}

static enum err compile_both(struct expr_regex *r, struct bytes pattern, uint32_t options,
                             struct err_note *note)
{
    pcre2_general_context *heap = pcre2_general_context_create(heap_alloc, heap_free, NULL);
    if (heap == NULL)
        return ERR_NOMEM;
    enum err e =
        compile(heap, pattern, options | PCRE2_UTF | PCRE2_NO_UTF_CHECK, &r->characters, note);
    if (e == ERR_OK) {
        struct err_note unused;
        e = compile(heap, pattern, options, &r->octets, &unused);
        if (e == ERR_INVALID) /* it names characters beyond one byte */
            e = ERR_OK;
    }
    pcre2_general_context_free(heap);
    return e;
}

enum err expr_regex_compile(struct bytes pattern, struct expr_regex **out, struct err_note *note)
{
    if (pattern.len > PATTERN_BYTES_MAX) {
        *note = (struct err_note){ PATTERN_BYTES_MAX, "the pattern is longer than 4 KiB" };
        return ERR_TOO_LARGE;
    }
    size_t valid = text_utf8_valid_len(pattern);
    if (valid != pattern.len) {
        *note = (struct err_note){ valid, "the pattern is not valid UTF-8" };
        return ERR_INVALID;
    }
    struct buffer rewritten;
    buffer_init(&rewritten, 16 * PATTERN_BYTES_MAX);
    struct expr_regex *r = mem_zalloc(sizeof *r);
    enum err e = r == NULL ? ERR_NOMEM : ERR_OK;
    struct scan s = { .pattern = pattern, .out = &rewritten };
    if (e == ERR_OK && !portable(&s)) {
        *note = (struct err_note){ .offset = s.at, .what = s.what };
        e = ERR_INVALID;
    }
    if (e == ERR_OK)
        e = buffer_error(&rewritten);
    if (e == ERR_OK) {
        struct bytes text = buffer_bytes(&rewritten);
        /* PCRE2's DFA takes this option for (?m) too, where $ is the end of any line. */
        uint32_t options = s.has_multiline ? 0 : PCRE2_DOLLAR_ENDONLY;
        e = compile_both(r, text.len == 0 ? BYTES_LITERAL("") : text, options, note);
        if (e == ERR_INVALID && note->offset > pattern.len)
            note->offset = pattern.len; /* PCRE2 counted in what was rewritten */
    }
    buffer_deinit(&rewritten);
    if (e == ERR_OK)
        *out = r;
    else
        expr_regex_free(r);
    return e;
}

/* ---- Matching ---- */

static void scratch_free(struct scratch *s)
{
    if (s == NULL)
        return;
    pcre2_match_data_free(s->data);
    pcre2_match_context_free(s->limits);
    mem_free(s);
}

static struct scratch *scratch_new(void)
{
    struct scratch *s = mem_zalloc(sizeof *s);
    pcre2_general_context *heap =
        s == NULL ? NULL : pcre2_general_context_create(heap_alloc, heap_free, NULL);
    if (heap != NULL) {
        s->limits = pcre2_match_context_create(heap);
        s->data = pcre2_match_data_create(1, heap);
        pcre2_general_context_free(heap);
    }
    if (s == NULL || s->limits == NULL || s->data == NULL) {
        scratch_free(s);
        return NULL;
    }
    (void)pcre2_set_depth_limit(s->limits, DEPTH_MAX);
    (void)pcre2_set_heap_limit(s->limits, HEAP_KIB_MAX);
    return s;
}

bool expr_regex_matches(struct expr_regex *r, struct bytes text)
{
    bool is_utf8 = text_utf8_valid_len(text) == text.len;
    const pcre2_code *code = is_utf8 ? r->characters : r->octets;
    if (code == NULL)
        return false;
    struct scratch *s = atomic_exchange_explicit(&r->spare, NULL, memory_order_acq_rel);
    if (s == NULL)
        s = scratch_new();
    int result = PCRE2_ERROR_NOMEMORY;
    if (s != NULL) {
        size_t states = STATE_BYTES_MAX / (text.len + 1);
        size_t ints = (states < STATES_MIN ? STATES_MIN : states) * STATE_INTS;
        ints = ints < WORKSPACE_INTS ? ints : WORKSPACE_INTS;
        const uint8_t *data = text.data == NULL ? (const uint8_t *)"" : text.data;
        result = pcre2_dfa_match(code, data, text.len, 0, PCRE2_NO_UTF_CHECK, s->data, s->limits,
                                 s->workspace, ints);
        /* The longest match is the first listed: it takes all, or none does. */
        if (result >= 0 && pcre2_get_ovector_pointer(s->data)[1] != text.len)
            result = PCRE2_ERROR_NOMATCH;
        scratch_free(atomic_exchange_explicit(&r->spare, s, memory_order_acq_rel));
    }
    if (result < 0 && result != PCRE2_ERROR_NOMATCH)
        atomic_fetch_add_explicit(&runaways, 1, memory_order_relaxed);
    return result >= 0;
}

void expr_regex_free(struct expr_regex *r)
{
    if (r == NULL)
        return;
    scratch_free(atomic_load_explicit(&r->spare, memory_order_acquire));
    pcre2_code_free(r->characters);
    pcre2_code_free(r->octets);
    mem_free(r);
}
