/* SPDX-License-Identifier: Apache-2.0 */
/* weight.h - how many spans a sampled one stands for.
 *
 * Role       estimates beside the counts: what the telemetry itself says about its sampling.
 * Threads    pure.
 * Source     tracestate `ot=th:...`, OpenTelemetry's consistent probability sampling: the rejection threshold
 *            of 56 bits as hex without trailing zeros, count 2^56 / (2^56 - T). */
#ifndef SPINDLE_STORAGE_DERIVE_WEIGHT_H
#define SPINDLE_STORAGE_DERIVE_WEIGHT_H

#include "base/bytes.h"

#define WEIGHT_ONE (UINT64_C(1) << 16)
#define WEIGHT_MAX (UINT64_C(1) << 48) /* one of 2^32: a sum then has room for 65,536 of them */

/* In parts of WEIGHT_ONE; WEIGHT_ONE where the state says nothing. */
uint64_t weight_of_trace_state(struct bytes trace_state);

#endif
