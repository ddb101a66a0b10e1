/* SPDX-License-Identifier: Apache-2.0 */
/* derived_text.c - the words of storage/derived.h. */
#include "storage/derived.h"

const char *connection_type_text(enum connection_type type)
{
    switch (type) {
    case CONNECTION_DIRECT:
        return "";
    case CONNECTION_MESSAGING:
        return "messaging_system";
    case CONNECTION_DATABASE:
        return "database";
    case CONNECTION_VIRTUAL:
        return "virtual_node";
    }
    return "";
}

const char *unpaired_reason_text(enum unpaired_reason reason)
{
    switch (reason) {
    case UNPAIRED_NO_SERVER:
        return "no_server";
    case UNPAIRED_BROKEN_PARENT:
        return "broken_parent";
    case UNPAIRED_SAMPLED:
        return "sampled";
    case UNPAIRED_EXPIRED:
        return "expired";
    case UNPAIRED_REASON_COUNT:
        break;
    }
    return "";
}

const char *cleaned_reason_text(enum cleaned_reason reason)
{
    switch (reason) {
    case CLEANED_NUMBER:
        return "number";
    case CLEANED_UUID:
        return "uuid";
    case CLEANED_HEX:
        return "hex";
    case CLEANED_DATE:
        return "date";
    case CLEANED_EMAIL:
        return "email";
    case CLEANED_TOKEN:
        return "token";
    case CLEANED_ADDRESS:
        return "address";
    case CLEANED_QUERY:
        return "query";
    case CLEANED_LONG:
        return "long";
    case CLEANED_LEARNED:
        return "learned";
    case CLEANED_RULE:
        return "rule";
    case CLEANED_OVERFLOW:
        return "overflow";
    }
    return "";
}
