/* SPDX-License-Identifier: Apache-2.0 */
/* http2_memory.h - the allocator that nghttp2's sessions are given: base/mem.h.
 *
 * Role       private to net/, for the server's side and the client's.
 * Threads    any. */
#ifndef SPINDLE_NET_HTTP2_MEMORY_H
#define SPINDLE_NET_HTTP2_MEMORY_H

#include <nghttp2/nghttp2.h>

/* Never changed; nghttp2 takes it without const and copies it. */
nghttp2_mem *http2_memory(void);

#endif
