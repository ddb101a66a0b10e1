/* SPDX-License-Identifier: Apache-2.0 */
/* What happens in the shop. Each function plays one service's part: it begins at t and returns when
 * it is done. */
#include "cli/demo.h"

#include <stdio.h>

#define PRODUCTS 480u
#define USERS    9000u
#define CATCH_UP_NS                                                                                \
    (2 * NS_PER_S) /* visits missed while the process slept longer are not made up for */

struct visit {
    struct demo *d;
    unsigned user, product, order;
};

static uint64_t work(struct demo_span *s, uint64_t t, double median_us)
{
    return t + demo_time(s->demo, s->service, t, median_us);
}

static uint64_t internal(struct demo_span *parent, const char *name, uint64_t t, double median_us)
{
    struct demo_span s;
    span_open(&s, parent->demo, parent, parent->service, SPAN_INTERNAL, SCOPE_APP, t, "%s", name);
    span_text(&s, "code.function.name", "%s", name);
    return span_close(&s, work(&s, t, median_us));
}

/* ---- One service each
 * --------------------------------------------------------------------------------------- */

static uint64_t check_token(struct visit *v, struct demo_span *caller, uint64_t t,
                            bool *out_is_valid)
{
    struct demo_call c;
    char key[48];
    t = grpc_begin(&c, caller, SERVICE_AUTH, "shop.auth.v1.Auth/CheckToken", t);
    snprintf(key, sizeof key, "session:%06u", v->user);
    t = redis(&c.server, "GET", key, work(&c.server, t, 150));
    *out_is_valid = !demo_chance(v->d, 0.01);
    if (!*out_is_valid)
        span_log(&c.server, t, SEVERITY_WARN, "token of user %u expired", v->user);
    span_text(&c.server, "enduser.id", "user-%06u", v->user);
    return grpc_end(&c, *out_is_valid ? "OK" : "UNAUTHENTICATED", work(&c.server, t, 200));
}

static uint64_t get_product(struct visit *v, struct demo_span *caller, uint64_t t,
                            bool *out_is_found)
{
    struct demo_call c;
    char path[64], key[48];
    snprintf(path, sizeof path, "/products/%u", v->product);
    snprintf(key, sizeof key, "product:%u", v->product);
    t = http_begin(&c, caller, SERVICE_CATALOG, "GET", "/products/{id}", path, t);
    t = redis(&c.server, "GET", key, t);
    bool is_hit = demo_chance(v->d, 0.7);
    span_bool(&c.server, "app.cache.hit", is_hit);
    *out_is_found = !demo_chance(v->d, 0.015);
    if (!is_hit) {
        t = postgres(&c.server, "shop_catalog", "SELECT", "products",
                     "SELECT id, title, price_cents, stock FROM products WHERE id = $1",
                     *out_is_found, t);
        t = redis(&c.server, "SETEX", key, t);
    }
    if (!*out_is_found)
        span_log(&c.server, t, SEVERITY_INFO, "product %u not found", v->product);
    return http_end(&c, *out_is_found ? 200 : 404, work(&c.server, t, 300));
}

static uint64_t get_price(struct visit *v, struct demo_span *caller, uint64_t t)
{
    struct demo_call c;
    char path[64];
    snprintf(path, sizeof path, "/price?product=%u&user=%u", v->product, v->user);
    t = http_begin(&c, caller, SERVICE_PRICING, "GET", "/price", path, t);
    t = postgres(&c.server, "shop_pricing", "SELECT", "discounts",
                 "SELECT percent FROM discounts WHERE product_id = $1 AND valid_until > now()", 1,
                 t);
    t = internal(&c.server, "App\\Discount::apply", t, 350);
    bool fails = demo_chance(v->d, 0.004);
    if (fails)
        span_exception(&c.server, t, 0);
    return http_end(&c, fails ? 500 : 200, work(&c.server, t, 200));
}

static uint64_t recommend(struct visit *v, struct demo_span *caller, uint64_t t)
{
    struct demo_call c;
    char key[48];
    static const char *const categories[] = { "books", "garden", "kitchen" };
    t = grpc_begin(&c, caller, SERVICE_RECOMMENDATION,
                   "shop.recommendation.v1.Recommendations/List", t);
    snprintf(key, sizeof key, "vector:%06u", v->user);
    t = redis(&c.server, "GET", key, t);
    span_texts(&c.server, "app.categories", categories, 3);
    t = internal(&c.server, "recommendation.model.score", t, 6500);
    bool fails = demo_chance(v->d, 0.02);
    if (fails)
        span_exception(&c.server, t, 0);
    else
        span_double(&c.server, "app.score.max", 0.5 + random_unit(&v->d->random) / 2);
    return grpc_end(&c, fails ? "INTERNAL" : "OK", work(&c.server, t, 400));
}

static uint64_t search(struct visit *v, struct demo_span *caller, uint64_t t)
{
    static const char *const words[] = { "lamp", "garden hose", "teapot", "running shoes",
                                         "usb cable" };
    const char *word = words[random_below(&v->d->random, 5)];
    struct demo_call c;
    char path[96];
    snprintf(path, sizeof path, "/search?q=%s", word);
    t = http_begin(&c, caller, SERVICE_SEARCH, "GET", "/search", path, t);
    t = elasticsearch(&c.server, "products", word, work(&c.server, t, 500));
    bool fails = demo_chance(v->d, 0.006);
    if (fails)
        span_exception(&c.server, t, 1);
    t = internal(&c.server, "shop.search.Ranker.rank", t, 1800);
    static const char *const keys[] = { "hits", "took_ms" };
    const int64_t values[] = { (int64_t)random_below(&v->d->random, 200), 12 };
    span_log_map(&c.server, t, SEVERITY_INFO, "search done", keys, values, 2);
    return http_end(&c, fails ? 504 : 200, t);
}

static uint64_t use_cart(struct visit *v, struct demo_span *caller, bool adds, uint64_t t)
{
    struct demo_call c;
    char key[48];
    snprintf(key, sizeof key, "cart:%06u", v->user);
    t = grpc_begin(&c, caller, SERVICE_CART,
                   adds ? "shop.cart.v1.Cart/AddItem" : "shop.cart.v1.Cart/GetCart", t);
    bool fails = demo_chance(v->d, 0.005);
    t = redis(&c.server, adds ? "HSET" : "HGETALL", key, t);
    if (fails)
        span_exception(&c.server, t, 0);
    else if (adds)
        span_log(&c.server, t, SEVERITY_INFO, "user %u put product %u into the cart", v->user,
                 v->product);
    return grpc_end(&c, fails ? "UNAVAILABLE" : "OK", work(&c.server, t, 250));
}

static uint64_t reserve(struct visit *v, struct demo_span *caller, uint64_t t,
                        bool *out_is_reserved)
{
    struct demo_call c;
    t = grpc_begin(&c, caller, SERVICE_INVENTORY, "shop.inventory.v1.Inventory/Reserve", t);
    t = postgres(&c.server, "shop_inventory", "UPDATE", "stock",
                 "UPDATE stock SET reserved = reserved + $1 WHERE product_id = $2 AND free >= $1",
                 -1, t);
    bool is_deadlock = demo_chance(v->d, 0.01), is_sold_out = demo_chance(v->d, 0.03);
    *out_is_reserved = !is_deadlock && !is_sold_out;
    if (is_deadlock)
        span_exception(&c.server, t, 0);
    else if (is_sold_out)
        span_log(&c.server, t, SEVERITY_WARN, "product %u is sold out", v->product);
    return grpc_end(&c,
                    is_deadlock   ? "INTERNAL"
                    : is_sold_out ? "FAILED_PRECONDITION"
                                  : "OK",
                    work(&c.server, t, 150));
}

static uint64_t check_fraud(struct visit *v, struct demo_span *caller, uint64_t t)
{
    struct demo_call c;
    t = grpc_begin(&c, caller, SERVICE_FRAUD, "shop.fraud.v1.Fraud/Check", t);
    t = internal(&c.server, "fraud.rules.evaluate", t, 4200);
    t = redis(&c.server, "INCR", "fraud:velocity", t);
    span_double(&c.server, "app.risk", random_unit(&v->d->random));
    bool fails = demo_chance(v->d, 0.005);
    if (fails)
        span_exception(&c.server, t, 1);
    return grpc_end(&c, fails ? "UNKNOWN" : "OK", work(&c.server, t, 300));
}

/* The provider is asked up to three times. */
static uint64_t pay(struct visit *v, struct demo_span *caller, uint64_t t, bool *out_is_paid)
{
    struct demo_call c;
    t = http_begin(&c, caller, SERVICE_PAYMENT, "POST", "/charges", "/charges", t);
    t = check_fraud(v, &c.server, t);
    unsigned status = 0;
    for (unsigned attempt = 0; attempt < 3; attempt++) {
        double u = random_unit(&v->d->random);
        status = u < 0.03 ? 0 : u < 0.07 ? 503 : u < 0.11 ? 402 : 201;
        t = external_http(&c.server, "POST", "api.payments.example.com", "/v1/charges", status,
                          attempt, t);
        if (status == 201 || status == 402)
            break;
        span_log(&c.server, t, SEVERITY_WARN, "charge of order %u failed, attempt %u of 3",
                 v->order, attempt + 1);
        t += (100u << attempt) * NS_PER_MS;
    }
    *out_is_paid = status == 201;
    static const char *const keys[] = { "order", "amount_cents" };
    const int64_t values[] = { v->order, 990 + (int64_t)random_below(&v->d->random, 20000) };
    if (status == 201)
        span_log_map(&c.server, t, SEVERITY_INFO, "charged", keys, values, 2);
    else if (status == 402)
        span_log_map(&c.server, t, SEVERITY_WARN, "card declined", keys, values, 2);
    else
        span_exception(&c.server, t, 0);
    return http_end(&c, status == 201 || status == 402 ? status : 502, work(&c.server, t, 300));
}

static uint64_t place_order(struct visit *v, struct demo_span *caller, uint64_t t,
                            bool *out_is_placed)
{
    struct demo_call c;
    t = http_begin(&c, caller, SERVICE_ORDERS, "POST", "/orders", "/orders", t);
    *out_is_placed = !demo_chance(v->d, 0.01);
    if (!*out_is_placed) {
        span_exception(&c.server, t, 0);
        return http_end(&c, 500, work(&c.server, t, 300));
    }
    t = postgres(&c.server, "shop_orders", "INSERT", "orders",
                 "INSERT INTO orders (id, user_id, total_cents) VALUES ($1, $2, $3)", -1, t);
    t = postgres(&c.server, "shop_orders", "INSERT", "order_lines",
                 "INSERT INTO order_lines (order_id, product_id, quantity) VALUES ($1, $2, $3)", -1,
                 t);
    t = publish(&c.server, TOPIC_ORDERS, v->order, t);
    t = publish(&c.server, TOPIC_MAIL, v->order, t);
    span_log(&c.server, t, SEVERITY_INFO, "order %u placed", v->order);
    span_event(&c.server, t, "order.placed");
    return http_end(&c, 201, work(&c.server, t, 400));
}

static uint64_t check_out(struct visit *v, struct demo_span *caller, uint64_t t,
                          unsigned *out_status)
{
    struct demo_call c;
    bool is_reserved, is_paid = false, is_placed = false;
    t = http_begin(&c, caller, SERVICE_CHECKOUT, "POST", "/checkout", "/checkout", t);
    t = use_cart(v, &c.server, false, t);
    t = get_price(v, &c.server, t);
    t = reserve(v, &c.server, t, &is_reserved);
    if (is_reserved)
        t = pay(v, &c.server, t, &is_paid);
    if (is_paid)
        t = place_order(v, &c.server, t, &is_placed);
    *out_status = is_placed ? 201 : !is_reserved ? 409 : !is_paid ? 402 : 500;
    span_int(&c.server, "app.order.id", v->order);
    if (!is_placed)
        span_log(&c.server, t, SEVERITY_ERROR, "checkout of user %u failed", v->user);
    return http_end(&c, *out_status, work(&c.server, t, 500));
}

/* ---- Visits
 * ---------------------------------------------------------------------------------------------------
 */

struct page {
    const char *method, *route, *title;
    unsigned weight; /* of 100 */
};
enum page_id { PAGE_HOME, PAGE_SEARCH, PAGE_PRODUCT, PAGE_ADD, PAGE_CHECKOUT };
static const struct page pages[] = {
    [PAGE_HOME] = { "GET", "/", "home", 30 },
    [PAGE_SEARCH] = { "GET", "/search", "search", 20 },
    [PAGE_PRODUCT] = { "GET", "/product/{id}", "product", 30 },
    [PAGE_ADD] = { "POST", "/cart/items", "add to cart", 12 },
    [PAGE_CHECKOUT] = { "POST", "/checkout", "checkout", 8 },
};

static uint64_t storefront(struct visit *v, struct demo_span *gateway, enum page_id page,
                           const char *path, uint64_t t, unsigned *out_status)
{
    struct demo_call c;
    bool is_found = true;
    *out_status = 200;
    t = http_begin(&c, gateway, SERVICE_STOREFRONT, pages[page].method, pages[page].route, path, t);
    switch (page) {
    case PAGE_HOME:
        t = recommend(v, &c.server, t);
        t = get_product(v, &c.server, t, &is_found);
        break;
    case PAGE_SEARCH:
        t = search(v, &c.server, t);
        t = get_price(v, &c.server, t);
        break;
    case PAGE_PRODUCT:
        t = get_product(v, &c.server, t, &is_found);
        *out_status = is_found ? 200 : 404;
        t = get_price(v, &c.server, t);
        t = recommend(v, &c.server, t);
        t = publish(&c.server, TOPIC_VIEWS, v->product, t);
        break;
    case PAGE_ADD:
        t = get_product(v, &c.server, t, &is_found);
        t = use_cart(v, &c.server, true, t);
        *out_status = 201;
        break;
    case PAGE_CHECKOUT:
        t = check_out(v, &c.server, t, out_status);
        break;
    }
    t = internal(&c.server, "render", t, 1200);
    return http_end(&c, *out_status, t);
}

static void visit(struct demo *d, uint64_t t)
{
    struct visit v = { .d = d,
                       .user = (unsigned)random_below(&d->random, USERS),
                       .product = (unsigned)random_below(&d->random, PRODUCTS),
                       .order = d->next_order };
    uint64_t pick = random_below(&d->random, 100);
    unsigned page = 0;
    while (pick >= pages[page].weight)
        pick -= pages[page++].weight;
    d->next_order += page == PAGE_CHECKOUT;

    char path[64];
    if (page == PAGE_PRODUCT)
        snprintf(path, sizeof path, "/product/%u", v.product);
    else
        snprintf(path, sizeof path, "%s", pages[page].route);
    struct demo_span root;
    span_open(&root, d, NULL, SERVICE_WEB, SPAN_INTERNAL, SCOPE_APP, t, "%s", pages[page].title);
    span_text(&root, "session.id", "s-%08x", (unsigned)(random_mix64(v.user) >> 32));
    span_text(&root, "user.id", "user-%06u", v.user);
    struct demo_call c;
    unsigned status = 401;
    bool is_valid;
    uint64_t end = http_begin(&c, &root, SERVICE_GATEWAY, pages[page].method, pages[page].route,
                              path, t + 3 * NS_PER_MS);
    end = check_token(&v, &c.server, end, &is_valid);
    if (is_valid)
        end = storefront(&v, &c.server, (enum page_id)page, path, end, &status);
    end = http_end(&c, status, work(&c.server, end, 300));
    if (demo_chance(d, 0.004))
        span_exception(&root, end, 0);
    span_close(&root, work(&root, end, 18000));
}

/* ---- Consumers
 * ---------------------------------------------------------------------------------------------------
 */

/* The oldest message that was sent at least lag_ns ago, or NULL. */
static const struct demo_message *next_message(struct demo *d, enum demo_topic_id topic,
                                               uint64_t now, uint64_t lag_ns)
{
    struct demo_topic *from = &d->topics[topic];
    const struct demo_message *m = &from->messages[from->first];
    if (from->count == 0 || m->sent_unix_ns + lag_ns > now)
        return NULL;
    from->first = (from->first + 1) % DEMO_TOPIC_MESSAGES_MAX;
    from->count--;
    return m;
}

/* Kafka, message by message: a trace of its own, linked to the one that sent. */
static void ship(struct demo *d, uint64_t now)
{
    const struct demo_message *m;
    uint64_t lag = d->slow.service == SERVICE_SHIPPING ? 9 * NS_PER_S : 400 * NS_PER_MS;
    while ((m = next_message(d, TOPIC_ORDERS, now, lag)) != NULL) {
        struct demo_span s;
        span_open(&s, d, NULL, SERVICE_SHIPPING, SPAN_CONSUMER, SCOPE_QUEUE, now, "process orders");
        consumer_attributes(&s, TOPIC_ORDERS, "process", "process");
        span_int(&s, "messaging.kafka.offset", (int64_t)m->offset);
        span_int(&s, "app.consumer.lag_ms", (int64_t)((now - m->sent_unix_ns) / NS_PER_MS));
        span_link(&s, m);
        bool fails = demo_chance(d, 0.03);
        uint64_t t =
            postgres(&s, "shop_shipping", "SELECT", "addresses",
                     "SELECT street, city, country FROM addresses WHERE order_id = $1", 1, now);
        t = external_http(&s, "POST", "carrier.example.net", "/labels", fails ? 503 : 201, 0, t);
        if (fails)
            span_exception(&s, t, 1);
        else
            span_log(&s, t, SEVERITY_INFO, "label of order %u printed", m->order);
        consumer_end(&s, TOPIC_ORDERS, work(&s, t, 800));
    }
}

/* Kafka, in batches: one receive span with a link to each message. */
static void learn(struct demo *d, uint64_t now)
{
    const struct demo_message *m = next_message(d, TOPIC_VIEWS, now, 2 * NS_PER_S);
    if (m == NULL)
        return;
    struct demo_span s;
    span_open(&s, d, NULL, SERVICE_RECOMMENDATION, SPAN_CLIENT, SCOPE_QUEUE, now,
              "poll product-views");
    consumer_attributes(&s, TOPIC_VIEWS, "poll", "receive");
    unsigned count = 0;
    for (; m != NULL && count < 50; m = next_message(d, TOPIC_VIEWS, now, 2 * NS_PER_S)) {
        span_link(&s, m);
        count++;
    }
    span_int(&s, "messaging.batch.message_count", count);
    uint64_t t = internal(&s, "recommendation.model.update", now, 9000);
    span_log(&s, t, SEVERITY_DEBUG, "learned from %u views", count);
    consumer_end(&s, TOPIC_VIEWS, t);
}

/* RabbitMQ: the consumer goes on in the sender's trace. */
static void mail(struct demo *d, uint64_t now)
{
    const struct demo_message *m;
    while ((m = next_message(d, TOPIC_MAIL, now, 150 * NS_PER_MS)) != NULL) {
        struct demo_span sender = {
            .demo = d, .service = SERVICE_ORDERS, .trace_id = m->trace_id, .id = m->span_id
        };
        struct demo_span s;
        span_open(&s, d, &sender, SERVICE_EMAIL, SPAN_CONSUMER, SCOPE_QUEUE, now, "process mail");
        consumer_attributes(&s, TOPIC_MAIL, "deliver", "process");
        uint64_t t = internal(&s, "Template.render", now, 2500);
        bool fails = demo_chance(d, 0.02);
        if (fails)
            span_exception(&s, t, 0);
        else
            span_log(&s, t, SEVERITY_INFO, "mail about order %u sent", m->order);
        consumer_end(&s, TOPIC_MAIL, work(&s, t, 40000));
    }
}

/* ---- Clockwork
 * ---------------------------------------------------------------------------------------------------
 */

static void cron(struct demo *d, uint64_t now)
{
    bool reindexes = demo_chance(d, 0.5);
    struct demo_span s;
    span_open(&s, d, NULL, reindexes ? SERVICE_SEARCH : SERVICE_ORDERS, SPAN_INTERNAL, SCOPE_APP,
              now, "%s", reindexes ? "cron reindex" : "cron expire-reservations");
    uint64_t t = now;
    if (reindexes) {
        t = postgres(&s, "shop_catalog", "SELECT", "products",
                     "SELECT id, title FROM products WHERE updated_at > $1", 120, t);
        for (unsigned i = 0; i < 4; i++)
            t = elasticsearch(&s, "products", "_bulk", t);
    } else {
        t = postgres(&s, "shop_orders", "DELETE", "reservations",
                     "DELETE FROM reservations WHERE expires_at < now()", -1, t);
    }
    span_log(&s, t, SEVERITY_INFO, "%s finished", s.name);
    span_close(&s, work(&s, t, 5000));
}

/* A service without spans: the proxy's access log. */
static void proxy_log(struct demo *d, uint64_t now)
{
    static const char *const paths[] = { "/", "/assets/app.9c31d0.js", "/favicon.ico", "/healthz",
                                         "/wp-login.php" };
    uint64_t pick = random_below(&d->random, 5);
    unsigned status = pick == 4 ? 404 : 200;
    demo_log(
        d, demo_pod_of(d, SERVICE_EDGE_PROXY), now, status == 404 ? SEVERITY_WARN : SEVERITY_INFO,
        "203.0.113.%u - - \"GET %s HTTP/2.0\" %u %u", (unsigned)random_below(&d->random, 250) + 1,
        paths[pick], status, 200 + (unsigned)random_below(&d->random, 40000));
}

/* Every few minutes one service is several times slower for a while. */
static void slow_phase(struct demo *d, uint64_t now)
{
    static const enum demo_service slow[] = { SERVICE_PAYMENT,  SERVICE_CATALOG,
                                              SERVICE_SEARCH,   SERVICE_RECOMMENDATION,
                                              SERVICE_SHIPPING, SERVICE_INVENTORY };
    if (now < d->slow.until_unix_ns)
        return;
    uint64_t pause_s = 90 + random_below(&d->random, 150),
             lasts_s = 30 + random_below(&d->random, 45);
    d->slow = (struct demo_slow_phase){
        .service = slow[random_below(&d->random, sizeof slow / sizeof *slow)],
        .from_unix_ns = now + pause_s * NS_PER_S,
        .until_unix_ns = now + (pause_s + lasts_s) * NS_PER_S,
        .factor = 4 + 4 * random_unit(&d->random),
    };
}

void demo_flows(struct demo *d, uint64_t now)
{
    if (now > d->next_visit_unix_ns + CATCH_UP_NS)
        d->next_visit_unix_ns = now;
    slow_phase(d, now);
    while (d->next_visit_unix_ns <= now) {
        visit(d, d->next_visit_unix_ns);
        d->next_visit_unix_ns +=
            (uint64_t)random_exponential(&d->random, (double)NS_PER_S / (double)d->options->rate);
    }
    ship(d, now);
    learn(d, now);
    mail(d, now);
    if (now >= d->next_cron_unix_ns) {
        cron(d, now);
        d->next_cron_unix_ns = now + (20 + random_below(&d->random, 20)) * NS_PER_S;
    }
    if (now >= d->next_proxy_log_unix_ns) {
        proxy_log(d, now);
        d->next_proxy_log_unix_ns = now + (uint64_t)random_exponential(&d->random, 400e6);
    }
}
