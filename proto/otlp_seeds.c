/* SPDX-License-Identifier: Apache-2.0 */
/* otlp_seeds - write the seed inputs of this room's fuzz targets: otlp_seeds <corpus directory> */
#include "proto/otlp_json.h"
#include "proto/otlp_random.h"

#include <stdio.h>
#include <stdlib.h>

static void seed_write(const char *directory, const char *target, unsigned number,
                       struct bytes body)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s/seed%02u", directory, target, number);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(body.data, 1, body.len, file) != body.len || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    static const char *const targets[] = { "otlp_traces_fuzz", "otlp_logs_fuzz" };
    if (argc != 2)
        return 2;
    struct random random;
    random_init(&random, 7);
    for (unsigned i = 0; i < 24; i++) {
        enum signal signal = i % 2 == 0 ? SIGNAL_TRACES : SIGNAL_LOGS;
        struct otlp_random_options options = { .items_max = 1 + i % 2, .depth_max = 1 + i % 4 };
        struct buffer body, json;
        struct json_writer w;
        buffer_init(&body, 1u << 20);
        buffer_init(&json, 1u << 20);
        do {
            buffer_reset(&body);
            otlp_random(&random, signal, &options, &body);
        } while (body.len < 60 || body.len > 1200);
        json_init(&w, &json);
        otlp_json_write(signal, buffer_bytes(&body), &w);
        seed_write(argv[1], targets[signal], i, buffer_bytes(&body));
        seed_write(argv[1], "otlp_json_fuzz", i, buffer_bytes(&json));
        buffer_deinit(&body);
        buffer_deinit(&json);
    }
    return 0;
}
