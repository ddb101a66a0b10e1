/* SPDX-License-Identifier: Apache-2.0 */
/* What a program without the web page has of it: nothing. */
#include "cli/page_files.h"

const struct page_file page_files[1] = { { 0 } };
const size_t page_file_count = 0;
