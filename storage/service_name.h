/* SPDX-License-Identifier: Apache-2.0 */
/* service_name.h - the name of a service that does not name itself.
 *
 * Role       everything that lists, counts or shows services has one name for spans and log records whose resource has
 *            no service.name, an empty one, or one that is no text: that of OpenTelemetry's SDKs. Row groups and
 *            catalogues store such names empty.
 * Source     OpenTelemetry's resource conventions: service.name. */
#ifndef SPINDLE_STORAGE_SERVICE_NAME_H
#define SPINDLE_STORAGE_SERVICE_NAME_H

#include "proto/otlp.h"

#define SERVICE_UNKNOWN "unknown_service"

/* A stored name as it is shown. */
static inline struct bytes service_shown(struct bytes stored)
{
    return stored.len > 0 ? stored : BYTES_LITERAL(SERVICE_UNKNOWN);
}

/* The name of a resource's service; borrowed from it. */
static inline struct bytes service_name(struct bytes resource)
{
    return service_shown(otlp_service_name(resource));
}

/* Whether a stored name is what somebody asks for by the name that is shown. */
static inline bool service_is(struct bytes stored, struct bytes asked)
{
    return bytes_equal(service_shown(stored), asked);
}

#endif
