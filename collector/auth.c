/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/auth.h"

#include "base/buffer.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <strings.h>
#include <unistd.h>

struct auth {
    char *path;
    struct metric *missing, *wrong, *denied;
    pthread_rwlock_t lock; /* guards the two below */
    struct auth_token *tokens;
    size_t count;
};

/* ---- Parsing ---- */

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct bytes trim(struct bytes b)
{
    while (b.len != 0 && is_blank(b.data[0]))
        b = bytes_slice(b, 1, SIZE_MAX);
    while (b.len != 0 && is_blank(b.data[b.len - 1]))
        b.len--;
    return b;
}

/* RFC 6750, b64token, with '=' allowed anywhere: generators differ, and nothing is gained by
 * refusing. */
static bool is_token(struct bytes b)
{
    for (size_t i = 0; i < b.len; i++) {
        uint8_t c = b.data[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_letter && !(c >= '0' && c <= '9') && memchr("-._~+/=", c, 7) == NULL)
            return false;
    }
    return b.len != 0;
}

/* The part before the separator; the rest, without it, stays in *b. */
static struct bytes cut(struct bytes *b, uint8_t separator)
{
    size_t at = bytes_find(*b, separator);
    struct bytes head = bytes_slice(*b, 0, at);
    *b = at == SIZE_MAX ? (struct bytes){ 0 } : bytes_slice(*b, at + 1, SIZE_MAX);
    return head;
}

static bool parse_scopes(struct bytes list, unsigned *out)
{
    unsigned scopes = 0;
    do {
        struct bytes word = trim(cut(&list, ','));
        if (bytes_equal_text(word, "read"))
            scopes |= SCOPE_READ;
        else if (bytes_equal_text(word, "write"))
            scopes |= SCOPE_WRITE;
        else
            return false;
    } while (list.len != 0);
    *out = scopes;
    return true;
}

static void digest(struct bytes token, uint8_t out[32])
{
    (void)SHA256(token.data, token.len, out);
}

/* What is wrong with a line, or NULL. */
static const char *parse_line(struct bytes line, struct auth_token *out)
{
    if (bytes_find(line, ':') == SIZE_MAX)
        return "expected 'write:TOKEN', 'read:TOKEN' or 'read,write:TOKEN'";
    struct bytes scopes = cut(&line, ':');
    struct bytes token = trim(line);
    if (!parse_scopes(scopes, &out->scopes))
        return "expected the scopes 'read', 'write' or 'read,write' before the colon";
    if (token.len < AUTH_TOKEN_BYTES_MIN)
        return "the token is shorter than 16 characters";
    if (token.len > AUTH_TOKEN_BYTES_MAX)
        return "the token is longer than 1,024 characters";
    if (!is_token(token))
        return "a token is made of letters, digits and -._~+/=";
    digest(token, out->digest);
    return NULL;
}

enum err auth_file_parse(struct bytes text, struct auth_token *out, size_t *out_count,
                         size_t *out_line, const char **out_what)
{
    size_t count = 0, number = 0;
    while (text.len != 0) {
        struct bytes line = trim(cut(&text, '\n'));
        struct auth_token token;
        number++;
        if (line.len == 0 || line.data[0] == '#')
            continue;
        const char *what = parse_line(line, &token);
        if (what == NULL && count == AUTH_TOKENS_MAX)
            what = "more than 1,024 tokens";
        for (size_t i = 0; i < count && what == NULL; i++) {
            if (memcmp(out[i].digest, token.digest, sizeof token.digest) == 0)
                what = "this token stands in an earlier line too";
        }
        if (what != NULL) {
            *out_line = number;
            *out_what = what;
            return count == AUTH_TOKENS_MAX ? ERR_TOO_MANY : ERR_INVALID;
        }
        out[count++] = token;
    }
    *out_count = count;
    return ERR_OK;
}

bool auth_header_parse(struct bytes authorization, struct bytes *out_token)
{
    static const char scheme[] = "bearer ";
    size_t len = sizeof scheme - 1;
    if (authorization.len <= len || strncasecmp((const char *)authorization.data, scheme, len) != 0)
        return false;
    struct bytes token = bytes_slice(authorization, len, SIZE_MAX);
    while (token.len != 0 && token.data[0] == ' ')
        token = bytes_slice(token, 1, SIZE_MAX);
    if (token.len < AUTH_TOKEN_BYTES_MIN || token.len > AUTH_TOKEN_BYTES_MAX || !is_token(token))
        return false;
    *out_token = token;
    return true;
}

/* ---- The file ---- */

static enum err file_read(const char *path, struct buffer *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return ERR_IO;
    enum err e = ERR_OK;
    for (;;) {
        uint8_t *room = buffer_reserve(out, 4096);
        if (room == NULL) {
            e = buffer_error(out);
            break;
        }
        ssize_t n = read(fd, room, 4096);
        if (n > 0)
            buffer_grew(out, (size_t)n);
        else if (n == 0)
            break;
        else if (errno != EINTR) {
            e = ERR_IO;
            break;
        }
    }
    int saved = errno;
    close(fd);
    errno = saved;
    return e;
}

static char *sentence(const char *path, size_t line, const char *what)
{
    struct buffer b;
    buffer_init(&b, 4096);
    buffer_append_text(&b, path);
    if (line != 0) {
        buffer_append_byte(&b, ':');
        buffer_append_u64(&b, line);
    }
    buffer_printf(&b, ": %s", what);
    char *text = buffer_error(&b) == ERR_OK ? mem_text(b.data, b.len) : NULL;
    buffer_deinit(&b);
    return text;
}

static enum err load(const char *path, struct auth_token **out, size_t *out_count,
                     char **out_message)
{
    struct buffer text;
    size_t line = 0;
    const char *what = NULL;
    buffer_init(&text, AUTH_FILE_BYTES_MAX);
    struct auth_token *tokens = mem_alloc_array(AUTH_TOKENS_MAX, sizeof *tokens);
    enum err e = tokens == NULL ? ERR_NOMEM : file_read(path, &text);
    if (e != ERR_OK)
        what = e == ERR_IO ? strerror(errno) : err_text(e);
    size_t count = 0;
    if (e == ERR_OK)
        e = auth_file_parse(buffer_bytes(&text), tokens, &count, &line, &what);
    if (e == ERR_OK && count == 0) {
        /* An empty file is far more often a mistake than a wish to lock everybody out. */
        e = ERR_INVALID;
        what = "no token in the file";
    }
    if (text.data != NULL)
        OPENSSL_cleanse(text.data, text.capacity);
    buffer_deinit(&text);
    if (e != ERR_OK) {
        mem_free(tokens);
        *out_message = sentence(path, line, what);
        return e;
    }
    *out = tokens;
    *out_count = count;
    return ERR_OK;
}

enum err auth_open(const char *path, struct metrics *metrics, struct auth **out, char **out_message)
{
    static const char help[] = "Requests refused for their credentials.";
    *out_message = NULL;
    struct auth *a = mem_zalloc(sizeof *a);
    if (a == NULL)
        return ERR_NOMEM;
    pthread_rwlock_init(&a->lock, NULL);
    a->missing = metrics_counter(metrics, "spindle_auth_refused_total", "reason=\"missing\"", help);
    a->wrong = metrics_counter(metrics, "spindle_auth_refused_total", "reason=\"wrong\"", help);
    a->denied = metrics_counter(metrics, "spindle_auth_refused_total", "reason=\"scope\"", help);
    a->path = mem_text(path, strlen(path));
    enum err e = a->path == NULL ? ERR_NOMEM : load(path, &a->tokens, &a->count, out_message);
    if (e != ERR_OK) {
        auth_close(a);
        return e;
    }
    *out = a;
    return ERR_OK;
}

enum err auth_reload(struct auth *a, char **out_message)
{
    struct auth_token *tokens;
    size_t count;
    *out_message = NULL;
    enum err e = load(a->path, &tokens, &count, out_message);
    if (e != ERR_OK)
        return e;
    pthread_rwlock_wrlock(&a->lock);
    struct auth_token *old = a->tokens;
    a->tokens = tokens;
    a->count = count;
    pthread_rwlock_unlock(&a->lock);
    mem_free(old);
    return ERR_OK;
}

void auth_close(struct auth *a)
{
    if (a == NULL)
        return;
    pthread_rwlock_destroy(&a->lock);
    mem_free(a->tokens);
    mem_free(a->path);
    mem_free(a);
}

/* ---- Deciding ---- */

/* Scopes of the token with this digest, 0 when there is none. Every entry is compared in full. */
static unsigned scopes_of(struct auth *a, const uint8_t presented[32])
{
    unsigned scopes = 0;
    pthread_rwlock_rdlock(&a->lock);
    for (size_t i = 0; i < a->count; i++) {
        unsigned differs = CRYPTO_memcmp(a->tokens[i].digest, presented, 32) != 0;
        scopes |= a->tokens[i].scopes & (differs - 1u);
    }
    pthread_rwlock_unlock(&a->lock);
    return scopes;
}

enum err auth_authorize(void *context, struct bytes authorization, enum scope needed,
                        uint64_t *out_principal)
{
    struct auth *a = context;
    if (needed == SCOPE_OPEN) {
        *out_principal = 0;
        return ERR_OK;
    }
    if (authorization.len == 0) {
        metric_add(a->missing, 1);
        return ERR_UNAUTHENTICATED;
    }
    struct bytes token;
    uint8_t presented[32];
    unsigned scopes = 0;
    if (auth_header_parse(authorization, &token)) {
        digest(token, presented);
        scopes = scopes_of(a, presented);
    }
    if (scopes == 0) {
        metric_add(a->wrong, 1);
        return ERR_UNAUTHENTICATED;
    }
    if ((scopes & (unsigned)needed) != (unsigned)needed) {
        metric_add(a->denied, 1);
        return ERR_DENIED;
    }
    uint64_t principal = load_le64(presented);
    *out_principal = principal == 0 ? 1 : principal; /* 0 is nobody */
    return ERR_OK;
}
