/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a token file, and as an Authorization header: a header is accepted only when a line
 * of the file holds its token, and then with that line's scopes. */
#include "collector/auth.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct auth_token tokens[AUTH_TOKENS_MAX];

/* The input is a file, a NUL, and a header. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_of(data, size);
    size_t nul = bytes_find(input, 0);
    struct bytes file = bytes_slice(input, 0, nul);
    struct bytes header = nul == SIZE_MAX ? input : bytes_slice(input, nul + 1, SIZE_MAX);

    struct bytes token = { 0 };
    if (auth_header_parse(header, &token)) {
        assert(token.len >= AUTH_TOKEN_BYTES_MIN && token.len <= AUTH_TOKEN_BYTES_MAX);
        assert(token.data > header.data && token.data + token.len == header.data + header.len);
    }
    size_t count = SIZE_MAX, line = 0;
    const char *what = NULL;
    enum err e = auth_file_parse(file, tokens, &count, &line, &what);
    if (e != ERR_OK) {
        assert(count == SIZE_MAX && line >= 1 && what != NULL);
        return 0;
    }
    assert(count <= AUTH_TOKENS_MAX);
    for (size_t i = 0; i < count; i++)
        assert(tokens[i].scopes != 0 &&
               (tokens[i].scopes & ~(unsigned)(SCOPE_READ | SCOPE_WRITE)) == 0);
    return 0;
}
