/* SPDX-License-Identifier: Apache-2.0 */
/* auth.h - who may write and who may read: bearer tokens from a file.
 *
 *     # comments and empty lines are passed over
 *     write:3v9sK0p1mZ8yQw2c
 *     read,write:0b7e1f4c9a6d4e0f8a2b
 *
 * Role       the file is read at the start and on SIGHUP. A line is a list of scopes ("read",
 *            "write"), a colon, and a token of 16 to 1,024 letters, digits or -._~+/= (RFC 6750,
 *            b64token). Only SHA-256 digests are kept; neither tokens nor digests are ever logged
 *            or shown.
 * Threads    auth_authorize() from any thread, also while auth_reload() runs.
 * Blocking   opening and reloading read the file. */
#ifndef SPINDLE_COLLECTOR_AUTH_H
#define SPINDLE_COLLECTOR_AUTH_H

#include "base/metrics.h"
#include "net/server.h"

#define AUTH_TOKENS_MAX      1024 /* each request is compared with every one of them */
#define AUTH_TOKEN_BYTES_MIN 16
#define AUTH_TOKEN_BYTES_MAX 1024
#define AUTH_FILE_BYTES_MAX  (2 * AUTH_TOKENS_MAX * AUTH_TOKEN_BYTES_MAX)

struct auth;

/* Read the file. An empty one is an error too: locking everybody out is hardly what was meant.
 *
 *   out_message  on failure a sentence with the file, the line and what is wrong with it, without the
 *                token; mem_free() it. NULL when memory is out
 *
 * Errors  ERR_IO, ERR_INVALID, ERR_TOO_MANY, ERR_TOO_LARGE, ERR_NOMEM */
NODISCARD enum err auth_open(const char *path, struct metrics *metrics, struct auth **out,
                             char **out_message);

/* Read the file again. On failure, as auth_open(), the tokens in use stay. */
NODISCARD enum err auth_reload(struct auth *a, char **out_message);

/* A server_authorize_fn; context is the struct auth. The time it takes does not depend on how much
 * of a token is right. *out_principal: a number derived from the token, the same after a restart. */
enum err auth_authorize(void *context, struct bytes authorization, enum scope needed,
                        uint64_t *out_principal);

/* NULL does nothing. */
void auth_close(struct auth *a);

/* ---- The two parsers, pure, for tests and fuzzing ---- */

struct auth_token {
    uint8_t digest[32]; /* SHA-256 of the token */
    unsigned scopes;    /* SCOPE_WRITE | SCOPE_READ */
};

/* Tokens of a file's text into out[0 .. AUTH_TOKENS_MAX).
 * ERR_INVALID, ERR_TOO_MANY: *out_line (from 1) and *out_what say where and why. */
NODISCARD enum err auth_file_parse(struct bytes text, struct auth_token *out, size_t *out_count,
                                   size_t *out_line, const char **out_what);

/* The token in "Bearer TOKEN"; the scheme in any case, one blank or more. False for anything
 * else. */
NODISCARD bool auth_header_parse(struct bytes authorization, struct bytes *out_token);

#endif
