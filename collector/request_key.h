/* SPDX-License-Identifier: Apache-2.0 */
/* request_key.h - the secret under which requests are hashed.
 *
 * Role       a resent request is known by its hash, also after a restart, so the key lives in the
 *            data directory: `request.key`, 32 random bytes, mode 0600, made at the first start.
 *            Without the key nobody can make two requests with one hash. A lost key costs only
 *            that resends from before are no longer known by their request; their spans still
 *            are.
 * Blocking   reads or writes the file. */
#ifndef SPINDLE_COLLECTOR_REQUEST_KEY_H
#define SPINDLE_COLLECTOR_REQUEST_KEY_H

#include "base/err.h"
#include "base/hash.h"

/* The key of this directory, which exists and is locked by the caller. ERR_IO; ERR_CORRUPT when the
 * file has another length. */
NODISCARD enum err request_key_load(const char *directory, struct hash_key *out);

#endif
