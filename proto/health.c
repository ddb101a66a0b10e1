/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/health.h"

#include "proto/otlp_wire.h"
#include "proto/pb_message.h"

#include "grpc_health.pb-c.h"

#include <assert.h>

enum err health_request_read(struct bytes message, struct bytes *out_service)
{
    if (message.len > HEALTH_REQUEST_BYTES_MAX)
        return ERR_TOO_LARGE;
    struct bytes service = { 0 };
    struct wire w = wire_of(message);
    struct wire_field f;
    while (wire_next(&w, &f)) {
        if (f.number == 1 && f.wire == WIRE_LENGTH)
            service = f.bytes;
    }
    if (w.error == ERR_OK)
        *out_service = service;
    return w.error;
}

static Grpc__Health__V1__HealthCheckResponse response_of(enum health_status status)
{
    Grpc__Health__V1__HealthCheckResponse response;
    grpc__health__v1__health_check_response__init(&response);
    response.status = (Grpc__Health__V1__HealthCheckResponse__ServingStatus)status;
    return response;
}

void health_response_encode(enum health_status status, struct buffer *out)
{
    Grpc__Health__V1__HealthCheckResponse response = response_of(status);
    pb_message_put(&response.base, out);
}

void health_list_encode(const struct health_entry *entries, size_t count, struct buffer *out)
{
    Grpc__Health__V1__HealthListResponse list;
    grpc__health__v1__health_list_response__init(&list);
    Grpc__Health__V1__HealthListResponse__StatusesEntry items[HEALTH_LIST_MAX];
    Grpc__Health__V1__HealthListResponse__StatusesEntry *pointers[HEALTH_LIST_MAX];
    Grpc__Health__V1__HealthCheckResponse responses[HEALTH_LIST_MAX];
    char names[HEALTH_LIST_MAX][64]; /* protobuf-c's strings are not const */
    assert(count <= HEALTH_LIST_MAX);
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(entries[i].service);
        assert(len < sizeof names[i]);
        memcpy(names[i], entries[i].service, len + 1);
        responses[i] = response_of(entries[i].status);
        grpc__health__v1__health_list_response__statuses_entry__init(&items[i]);
        items[i].key = names[i];
        items[i].value = &responses[i];
        pointers[i] = &items[i];
    }
    list.n_statuses = count;
    list.statuses = pointers;
    pb_message_put(&list.base, out);
}
