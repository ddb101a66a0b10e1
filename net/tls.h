/* SPDX-License-Identifier: Apache-2.0 */
/* tls.h - TLS 1.2 and 1.3 for a server, between memory and memory.
 *
 * Role       a tls holds certificate, key and client CA; a tls_session is one connection's. No
 * socket is known here. Threads    tls_reload() and tls_session_open() from any; a tls_session
 * belongs to its loop. Source     RFC 8446, RFC 7301 (ALPN). */
#ifndef SPINDLE_NET_TLS_H
#define SPINDLE_NET_TLS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A read under TLS: what is decrypted from it may wait in memory. */
#define TLS_READ_BYTES (64 * 1024)

struct tls;
struct tls_session;
struct session;

enum tls_protocol { TLS_PROTOCOL_NONE, TLS_PROTOCOL_HTTP1, TLS_PROTOCOL_HTTP2 };

/* client_ca_path may be NULL. *out_message (mem_free() it) says which file, and why. */
NODISCARD enum err tls_open(const char *cert_path, const char *key_path, const char *client_ca_path,
                            struct tls **out, char **out_message);
void tls_close(struct tls *t);
/* Read the files again; on failure the old ones stay. */
NODISCARD enum err tls_reload(struct tls *t, char **out_message);

/* One connection's session, on the certificate that is current now. */
NODISCARD enum err tls_session_open(struct tls *t, struct tls_session **out);
void tls_session_close(struct tls_session *s);
/* Bytes from the socket; plain bytes come by the callback. False: broken, close after what produce
 * gives. */
NODISCARD bool tls_session_receive(struct tls_session *s, const uint8_t *data, size_t len,
                                   void (*on_plain)(void *context, const uint8_t *data, size_t len),
                                   void *context);
/* Bytes for the socket: what TLS itself has to say, and what the session (may be NULL) produces. */
size_t tls_session_produce(struct tls_session *s, struct session *session, uint8_t *out,
                           size_t capacity);
enum tls_protocol tls_session_protocol(const struct tls_session *s);

#endif
