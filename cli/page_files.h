/* SPDX-License-Identifier: Apache-2.0 */
/* page_files.h - the web page's files, as ui-static/ was built into the program; none with -DUI=OFF. */
#ifndef SPINDLE_CLI_PAGE_FILES_H
#define SPINDLE_CLI_PAGE_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct page_file {
    const char *path; /* "index.html" is the first, "assets/main-1A2B3C4D.js" one of the others */
    const char *type; /* content type */
    const char *etag; /* with its quotes */
    const uint8_t *data;
    size_t len;
    size_t plain_len;
    bool is_gzip; /* all but index.html, which is filled in for each answer */
};

extern const struct page_file page_files[];
extern const size_t page_file_count;

#endif
