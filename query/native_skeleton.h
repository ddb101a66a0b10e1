/* SPDX-License-Identifier: Apache-2.0 */
/* native_skeleton.h - what the answers about one trace share: its skeleton, whose rows they number.
 *
 * Threads    the call's. */
#ifndef SPINDLE_QUERY_NATIVE_SKELETON_H
#define SPINDLE_QUERY_NATIVE_SKELETON_H

#include "query/native.h"
#include "query/skeletons.h"

/* The skeleton of the version that the call asks for, else a recent one; skeletons_release() it. Errors:
 * ERR_NOT_FOUND, also when the trace has another version now. */
NODISCARD enum err native_skeleton_take(struct call *c, const struct trace_id *id,
                                        struct kept_skeleton **out);
/* The answer to /trace/{id}/logs with format=rows. */
NODISCARD enum err native_trace_log_rows(struct call *c, const struct trace_id *id);
void native_write_version(struct json_writer *j, const struct skeleton *s);

#endif
