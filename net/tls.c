/* SPDX-License-Identifier: Apache-2.0 */
/* tls.c - see tls.h. */
#include "net/tls.h"
#include "base/buffer.h"
#include "base/mem.h"
#include "net/session.h"

#include <assert.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>

/* Of a TLS record's content, and what a record adds to it at most (RFC 8446 5.2). */
#define RECORD_BYTES       16384
#define RECORD_EXTRA_BYTES 512

struct tls {
    pthread_mutex_t lock; /* guards context */
    SSL_CTX *context;
    char *cert_path, *key_path, *client_ca_path;
};

struct tls_session {
    SSL *ssl;
    BIO *in, *out; /* the SSL's */
    bool is_broken;
};

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *offered, unsigned offered_len, void *context)
{
    (void)ssl;
    (void)context;
    static const unsigned char ours[] = "\x02h2\x08http/1.1";
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof ours - 1, offered, offered_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static enum err explain(const char *what, const char *path, char **out_message)
{
    struct buffer text;
    buffer_init(&text, 1024);
    /* The newest entry says what could not be done; an older one of the system says why. */
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    for (unsigned long code = ERR_get_error(); code != 0; code = ERR_get_error())
        if (ERR_SYSTEM_ERROR(code))
            reason = strerror(ERR_GET_REASON(code));
    buffer_printf(&text, "%s %s: %s", what, path, reason == NULL ? "cannot be read" : reason);
    buffer_append_byte(&text, 0);
    size_t len;
    *out_message = (char *)buffer_take(&text, &len);
    return ERR_INVALID;
}

static enum err load(struct tls *t, SSL_CTX *context, char **out_message)
{
    if (SSL_CTX_use_certificate_chain_file(context, t->cert_path) != 1)
        return explain("TLS certificate", t->cert_path, out_message);
    if (SSL_CTX_use_PrivateKey_file(context, t->key_path, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context) != 1)
        return explain("TLS key", t->key_path, out_message);
    if (t->client_ca_path == NULL)
        return ERR_OK;
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(t->client_ca_path);
    if (names == NULL || SSL_CTX_load_verify_file(context, t->client_ca_path) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return explain("TLS client CA", t->client_ca_path, out_message);
    }
    SSL_CTX_set_client_CA_list(context, names);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return ERR_OK;
}

static enum err make_context(struct tls *t, SSL_CTX **out, char **out_message)
{
    static const unsigned char session_id[] = "spindle";
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL)
        return ERR_NOMEM;
    (void)SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    (void)SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                           SSL_OP_CIPHER_SERVER_PREFERENCE |
                                           SSL_OP_IGNORE_UNEXPECTED_EOF);
    (void)SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                        SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    (void)SSL_CTX_set_session_id_context(context, session_id, sizeof session_id - 1);
    /* Forward secrecy and authenticated encryption only, which are also what HTTP/2 asks for (RFC
     * 9113 9.2). */
    (void)SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20");
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    enum err e = load(t, context, out_message);
    if (e != ERR_OK) {
        SSL_CTX_free(context);
        return e;
    }
    *out = context;
    return ERR_OK;
}

enum err tls_open(const char *cert_path, const char *key_path, const char *client_ca_path,
                  struct tls **out, char **out_message)
{
    struct tls *t = mem_zalloc(sizeof *t);
    enum err e = ERR_NOMEM;
    if (t == NULL)
        return e;
    pthread_mutex_init(&t->lock, NULL);
    t->cert_path = mem_text(cert_path, strlen(cert_path));
    t->key_path = mem_text(key_path, strlen(key_path));
    if (client_ca_path != NULL)
        t->client_ca_path = mem_text(client_ca_path, strlen(client_ca_path));
    if (t->cert_path != NULL && t->key_path != NULL &&
        (client_ca_path == NULL) == (t->client_ca_path == NULL))
        e = make_context(t, &t->context, out_message);
    if (e != ERR_OK) {
        tls_close(t);
        return e;
    }
    *out = t;
    return ERR_OK;
}

void tls_close(struct tls *t)
{
    if (t == NULL)
        return;
    SSL_CTX_free(t->context);
    mem_free(t->cert_path);
    mem_free(t->key_path);
    mem_free(t->client_ca_path);
    pthread_mutex_destroy(&t->lock);
    mem_free(t);
}

enum err tls_reload(struct tls *t, char **out_message)
{
    SSL_CTX *context;
    enum err e = make_context(t, &context, out_message);
    if (e != ERR_OK)
        return e;
    pthread_mutex_lock(&t->lock);
    SSL_CTX *old = t->context;
    t->context = context;
    pthread_mutex_unlock(&t->lock);
    SSL_CTX_free(old); /* connections hold references of their own */
    return ERR_OK;
}

enum err tls_session_open(struct tls *t, struct tls_session **out)
{
    struct tls_session *s = mem_zalloc(sizeof *s);
    if (s == NULL)
        return ERR_NOMEM;
    pthread_mutex_lock(&t->lock);
    s->ssl = SSL_new(t->context);
    pthread_mutex_unlock(&t->lock);
    s->in = BIO_new(BIO_s_mem());
    s->out = BIO_new(BIO_s_mem());
    if (s->ssl == NULL || s->in == NULL || s->out == NULL) {
        BIO_free(s->in);
        BIO_free(s->out);
        SSL_free(s->ssl);
        mem_free(s);
        return ERR_NOMEM;
    }
    SSL_set_bio(s->ssl, s->in, s->out);
    SSL_set_accept_state(s->ssl);
    *out = s;
    return ERR_OK;
}

void tls_session_close(struct tls_session *s)
{
    if (s == NULL)
        return;
    SSL_free(s->ssl);
    mem_free(s);
}

static bool is_fatal(struct tls_session *s, int rc)
{
    int e = SSL_get_error(s->ssl, rc);
    ERR_clear_error();
    return e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE;
}

bool tls_session_receive(struct tls_session *s, const uint8_t *data, size_t len,
                         void (*on_plain)(void *context, const uint8_t *data, size_t len),
                         void *context)
{
    uint8_t plain[RECORD_BYTES];
    if (s->is_broken || BIO_write(s->in, data, (int)len) != (int)len)
        return false;
    for (;;) {
        int n = SSL_read(s->ssl, plain, sizeof plain);
        if (n > 0) {
            on_plain(context, plain, (size_t)n);
            continue;
        }
        s->is_broken = is_fatal(s, n);
        return !s->is_broken;
    }
}

size_t tls_session_produce(struct tls_session *s, struct session *session, uint8_t *out,
                           size_t capacity)
{
    /* Plain bytes go into the far half of the room, records into the near one. */
    size_t half = capacity / 2, at = 0;
    if (session != NULL && !s->is_broken && SSL_is_init_finished(s->ssl)) {
        size_t plain_max = half - (half / RECORD_BYTES + 1) * RECORD_EXTRA_BYTES;
        size_t len = session->ops->produce(session, out + half, plain_max);
        while (at < len) {
            int n = SSL_write(s->ssl, out + half + at, (int)(len - at));
            if (n <= 0) {
                s->is_broken =
                    true; /* memory takes everything: only a fault of TLS itself ends here */
                break;
            }
            at += (size_t)n;
        }
    }
    int n = BIO_read(s->out, out, (int)capacity);
    return n > 0 ? (size_t)n : 0;
}

enum tls_protocol tls_session_protocol(const struct tls_session *s)
{
    const unsigned char *name;
    unsigned len;
    SSL_get0_alpn_selected(s->ssl, &name, &len);
    if (len == 2 && memcmp(name, "h2", 2) == 0)
        return TLS_PROTOCOL_HTTP2;
    return len > 0 ? TLS_PROTOCOL_HTTP1 : TLS_PROTOCOL_NONE;
}
