/* SPDX-License-Identifier: Apache-2.0 */
/* jaeger_service.h - in Jaeger's APIs, a service that does not name itself has Jaeger's name for it. */
#ifndef SPINDLE_QUERY_JAEGER_SERVICE_H
#define SPINDLE_QUERY_JAEGER_SERVICE_H

#include "storage/service_name.h"

#define JAEGER_SERVICE_UNKNOWN "OTLPResourceNoServiceName"

/* Our name as Jaeger's clients see it. */
static inline struct bytes jaeger_service_shown(struct bytes name)
{
    return bytes_equal_text(name, SERVICE_UNKNOWN) ? BYTES_LITERAL(JAEGER_SERVICE_UNKNOWN) : name;
}

/* And theirs as we know it. */
static inline struct bytes jaeger_service_asked(struct bytes name)
{
    return bytes_equal_text(name, JAEGER_SERVICE_UNKNOWN) ? BYTES_LITERAL(SERVICE_UNKNOWN) : name;
}

#endif
