/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an Accept header: the answer is one of the forms with its own Content-Type, it is
 * acceptable to one who asks for just that, and text is chosen where nothing else is named. */
#include "collector/exposition.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool contains(struct bytes text, const char *word)
{
    size_t len = strlen(word);
    for (size_t i = 0; i + len <= text.len; i++) {
        size_t k = 0;
        while (k < len && (text.data[i + k] | 0x20) == (uint8_t)word[k])
            k++;
        if (k == len)
            return true;
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const types[] = { [EXPOSITION_TEXT] = "text/plain; version=0.0.4",
                                         [EXPOSITION_OPENMETRICS] = "application/openmetrics-text;",
                                         [EXPOSITION_PROTOBUF] =
                                             "application/vnd.google.protobuf;" };
    struct bytes accept = bytes_of(data, size);
    const char *type = NULL;
    enum exposition_format format = exposition_negotiate(accept, &type);
    assert(format <= EXPOSITION_PROTOBUF && type != NULL);
    assert(strncmp(type, types[format], strlen(types[format])) == 0);
    if (format == EXPOSITION_OPENMETRICS)
        assert(contains(accept, "openmetrics"));
    if (format == EXPOSITION_PROTOBUF)
        assert(contains(accept, "google.protobuf") && contains(accept, "delimited"));

    const char *again = NULL;
    assert(exposition_negotiate(bytes_text(type), &again) == format);
    assert(strcmp(again, type) == 0);
    return 0;
}
