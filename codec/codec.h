/* SPDX-License-Identifier: Apache-2.0 */
/* codec.h - gzip and zstd, both ways, never past a cap.
 *
 * Role       bodies of requests and answers, and the journal. Decompression counts what comes out and
 *            stops at the cap; sizes that the input declares are hints at most. Concatenated gzip members
 *            and concatenated zstd frames form one body; trailing garbage is an error. zstd windows are
 *            at most 8 MiB.
 * Threads    pure but for scratch contexts that each thread keeps for itself.
 * Source     RFC 1952, RFC 8878; CVE-2024-36129 for why the cap holds for every coding. */
#ifndef SPINDLE_CODEC_CODEC_H
#define SPINDLE_CODEC_CODEC_H

#include "base/arena.h"
#include "base/buffer.h"

enum codec {
    CODEC_IDENTITY,
    CODEC_GZIP,
    CODEC_ZSTD,
    CODEC_DEFLATE /* zlib-wrapped */,
    CODEC_COUNT
};

/* "gzip" ... as in Content-Encoding and grpc-encoding; any case, blanks trimmed; "" and "identity"
 * are CODEC_IDENTITY. False when unknown. */
NODISCARD bool codec_from_name(struct bytes name, enum codec *out);
const char *codec_name(enum codec codec);

/* The decompressed body, in the arena; for CODEC_IDENTITY the input itself, not copied.
 *
 *   cap_bytes  the most that may come out
 *
 * Errors  ERR_TOO_LARGE  more than cap_bytes would come out
 *         ERR_INVALID    not a valid body; note says where and why (may be NULL)
 *         ERR_BUDGET, ERR_NOMEM  as the arena says */
NODISCARD enum err codec_decompress(enum codec codec, struct bytes in, size_t cap_bytes,
                                    struct arena *arena, struct bytes *out, struct err_note *note);

/* Append the compressed form. level: 0 for the codec's fast default. */
NODISCARD enum err codec_compress(enum codec codec, int level, struct bytes in, struct buffer *out);

#endif
