/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <assert.h>

const char *err_text(enum err e)
{
    static const char *const texts[ERR_COUNT] = {
#define X(name, text) [ERR_##name] = text,
        ERR_LIST(X)
#undef X
    };
    assert((unsigned)e < ERR_COUNT);
    return texts[e];
}
