/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/rowgroup/rowgroup_format.h"

#include <assert.h>

#define KIND_INT   COLUMN_KIND_INT
#define KIND_BYTES COLUMN_KIND_BYTES

enum column_kind rowgroup_column_kind(uint32_t column)
{
    static const uint8_t kinds[COLUMN_FIXED_COUNT] = {
#define X(name, kind) [COLUMN_##name] = KIND_##kind,
        ROWGROUP_COLUMN_LIST(X)
#undef X
    };
    assert(column < COLUMN_FIXED_COUNT);
    return (enum column_kind)kinds[column];
}
