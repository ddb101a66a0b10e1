/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/demo.h"
#include "proto/pb_writer.h"

#include <stdio.h>

const struct demo_service_facts demo_services[SERVICE_COUNT] = {
#define X(id, name_, language_, version_, pods_)                                                   \
    [SERVICE_##id] = { .name = name_, .language = language_, .version = version_, .pods = pods_ },
    DEMO_SERVICE_LIST(X)
#undef X
};

static const struct {
    const char *name, *sdk_version, *runtime, *runtime_version;
    const char *scopes[SCOPE_COUNT];
} languages[LANGUAGE_COUNT] = {
    [LANGUAGE_WEBJS] = { "webjs",
                         "2.2.0",
                         "browser",
                         "",
                         { "shop.web", "@opentelemetry/instrumentation-fetch", "", "", "" } },
    [LANGUAGE_GO] = { "go",
                      "1.38.0",
                      "go",
                      "go1.25.3",
                      { "shop/internal/telemetry",
                        "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp",
                        "go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/"
                        "otelgrpc",
                        "github.com/exaring/otelpgx", "" } },
    [LANGUAGE_JAVA] = { "java",
                        "1.55.0",
                        "OpenJDK Runtime Environment",
                        "21.0.9+10",
                        { "shop.telemetry", "io.opentelemetry.tomcat-10.0",
                          "io.opentelemetry.grpc-1.6", "io.opentelemetry.jdbc",
                          "io.opentelemetry.kafka-clients-2.6" } },
    [LANGUAGE_NODEJS] = { "nodejs",
                          "2.2.0",
                          "nodejs",
                          "22.20.0",
                          { "shop-telemetry", "@opentelemetry/instrumentation-http",
                            "@opentelemetry/instrumentation-grpc",
                            "@opentelemetry/instrumentation-redis",
                            "@opentelemetry/instrumentation-kafkajs" } },
    [LANGUAGE_PYTHON] = { "python",
                          "1.38.0",
                          "cpython",
                          "3.13.7",
                          { "shop.telemetry", "opentelemetry.instrumentation.requests",
                            "opentelemetry.instrumentation.grpc",
                            "opentelemetry.instrumentation.redis",
                            "opentelemetry.instrumentation.confluent_kafka" } },
    [LANGUAGE_DOTNET] = { "dotnet",
                          "1.13.1",
                          ".NET",
                          "9.0.10",
                          { "Shop.Telemetry", "Microsoft.AspNetCore",
                            "OpenTelemetry.Instrumentation.GrpcNetClient",
                            "OpenTelemetry.Instrumentation.StackExchangeRedis", "" } },
    [LANGUAGE_RUST] = { "rust",
                        "0.31.0",
                        "rustc",
                        "1.90.0",
                        { "shop", "tracing-opentelemetry", "tonic-otel", "sqlx-otel",
                          "rdkafka-otel" } },
    [LANGUAGE_RUBY] = { "ruby",
                        "1.10.0",
                        "ruby",
                        "3.4.7",
                        { "shop", "OpenTelemetry::Instrumentation::Net::HTTP", "",
                          "OpenTelemetry::Instrumentation::PG",
                          "OpenTelemetry::Instrumentation::Bunny" } },
    [LANGUAGE_PHP] = { "php",
                       "1.7.1",
                       "fpm-fcgi",
                       "8.4.14",
                       { "shop", "io.opentelemetry.contrib.php.psr18",
                         "io.opentelemetry.contrib.php.grpc", "io.opentelemetry.contrib.php.pdo",
                         "" } },
    [LANGUAGE_CPP] = { "cpp",
                       "1.23.0",
                       "",
                       "",
                       { "ngx_otel_module", "ngx_otel_module", "", "", "" } },
};

static const struct demo_fault faults[LANGUAGE_COUNT][2] = {
    [LANGUAGE_WEBJS] = { { "TypeError", "Cannot read properties of undefined (reading 'price')",
                           "TypeError: Cannot read properties of undefined (reading 'price')\n"
                           "    at renderProduct "
                           "(https://shop.example.com/assets/product.4f2a91.js:2:10412)\n"
                           "    at updateView "
                           "(https://shop.example.com/assets/app.9c31d0.js:1:55210)\n"
                           "    at async onNavigate "
                           "(https://shop.example.com/assets/app.9c31d0.js:1:60117)" },
                         { "NetworkError", "Failed to fetch",
                           "TypeError: Failed to fetch\n"
                           "    at request "
                           "(https://shop.example.com/assets/app.9c31d0.js:1:8812)" } },
    [LANGUAGE_GO] = { { "*pgconn.PgError", "ERROR: deadlock detected (SQLSTATE 40P01)",
                        "goroutine 8812 [running]:\n"
                        "shop/inventory/store.(*Store).Reserve(0xc0004d2000, {0xf3a1b8, "
                        "0xc0007e4b40}, 0x3)\n"
                        "\t/src/inventory/store/reserve.go:88 +0x4c5\n"
                        "shop/inventory/server.(*Server).Reserve(0xc00029a0f0, {0xf3a1b8, "
                        "0xc0007e4b40}, 0xc0008e6000)\n"
                        "\t/src/inventory/server/server.go:61 +0x1f3\n"
                        "google.golang.org/grpc.(*Server).processUnaryRPC(0xc000248000)\n"
                        "\t/go/pkg/mod/google.golang.org/grpc@v1.76.0/server.go:1430 +0xe0f" },
                      { "*errors.errorString", "context deadline exceeded",
                        "goroutine 1204 [running]:\n"
                        "shop/catalog/server.(*Server).GetProduct(0xc00011c000, {0xf3a1b8, "
                        "0xc000aa2000})\n"
                        "\t/src/catalog/server/product.go:47 +0x2b1\n"
                        "net/http.HandlerFunc.ServeHTTP(0xc000010018)\n"
                        "\t/usr/local/go/src/net/http/server.go:2322 +0x29" } },
    [LANGUAGE_JAVA] = { { "java.lang.IllegalStateException", "order has no shipping address",
                          "java.lang.IllegalStateException: order has no shipping address\n"
                          "\tat shop.orders.OrderService.place(OrderService.java:142)\n"
                          "\tat shop.orders.OrderController.create(OrderController.java:57)\n"
                          "\tat "
                          "java.base/"
                          "jdk.internal.reflect.DirectMethodHandleAccessor.invoke("
                          "DirectMethodHandleAccessor.java:103)\n"
                          "\tat "
                          "org.springframework.web.servlet.DispatcherServlet.doDispatch("
                          "DispatcherServlet.java:1089)\n"
                          "\tat java.base/java.lang.Thread.run(Thread.java:1583)\n"
                          "Caused by: java.util.NoSuchElementException: No value present\n"
                          "\tat java.base/java.util.Optional.orElseThrow(Optional.java:377)\n"
                          "\tat shop.orders.Address.of(Address.java:31)\n"
                          "\t... 4 more" },
                        { "java.net.SocketTimeoutException", "Read timed out",
                          "java.net.SocketTimeoutException: Read timed out\n"
                          "\tat "
                          "java.base/sun.nio.ch.NioSocketImpl.timedRead(NioSocketImpl.java:278)\n"
                          "\tat shop.search.ElasticClient.query(ElasticClient.java:96)\n"
                          "\tat shop.search.SearchController.search(SearchController.java:44)" } },
    [LANGUAGE_NODEJS] = { { "PaymentProviderError", "provider did not answer within 2000 ms",
                            "PaymentProviderError: provider did not answer within 2000 ms\n"
                            "    at charge (/app/src/provider.js:71:13)\n"
                            "    at process.processTicksAndRejections "
                            "(node:internal/process/task_queues:105:5)\n"
                            "    at async PaymentService.charge (/app/src/service.js:38:20)" },
                          { "Error", "connect ECONNREFUSED 10.0.12.7:8080",
                            "Error: connect ECONNREFUSED 10.0.12.7:8080\n"
                            "    at TCPConnectWrap.afterConnect [as oncomplete] "
                            "(node:net:1637:16)\n"
                            "    at async fetchCart (/app/src/cart.js:19:15)" } },
    [LANGUAGE_PYTHON] = { { "KeyError", "'embedding'",
                            "Traceback (most recent call last):\n"
                            "  File \"/app/recommendation/server.py\", line 84, in "
                            "ListRecommendations\n"
                            "    scores = self.model.score(user_id, candidates)\n"
                            "  File \"/app/recommendation/model.py\", line 41, in score\n"
                            "    vector = row[\"embedding\"]\n"
                            "             ~~~^^^^^^^^^^^^^\n"
                            "KeyError: 'embedding'" },
                          { "ValueError", "amount must be positive",
                            "Traceback (most recent call last):\n"
                            "  File \"/app/fraud/server.py\", line 52, in Check\n"
                            "    risk = rules.evaluate(request.amount)\n"
                            "  File \"/app/fraud/rules.py\", line 118, in evaluate\n"
                            "    raise ValueError(\"amount must be positive\")\n"
                            "ValueError: amount must be positive" } },
    [LANGUAGE_DOTNET] = { { "StackExchange.Redis.RedisTimeoutException",
                            "Timeout performing HGETALL (5000ms)",
                            "StackExchange.Redis.RedisTimeoutException: Timeout performing HGETALL "
                            "(5000ms)\n"
                            "   at Shop.Cart.CartStore.GetAsync(String userId) in "
                            "/src/Cart/CartStore.cs:line 73\n"
                            "   at Shop.Cart.CartService.GetCart(GetCartRequest request, "
                            "ServerCallContext context) in "
                            "/src/Cart/CartService.cs:line 29\n"
                            "   at "
                            "Grpc.AspNetCore.Server.Internal.CallHandlers.UnaryServerCallHandler`3."
                            "HandleCallAsyncCore()" },
                          { "System.NullReferenceException",
                            "Object reference not set to an instance of an object.",
                            "System.NullReferenceException: Object reference not set to an "
                            "instance of an object.\n"
                            "   at Shop.Cart.Discounts.Apply(Cart cart) in "
                            "/src/Cart/Discounts.cs:line 112" } },
    [LANGUAGE_RUST] = { { "shop_auth::token::Expired", "token expired 312 s ago",
                          "   0: shop_auth::token::verify\n"
                          "             at /src/auth/token.rs:88:9\n"
                          "   1: shop_auth::service::Auth::check\n"
                          "             at /src/auth/service.rs:41:22\n"
                          "   2: tokio::runtime::task::core::Core<T,S>::poll" },
                        { "shop_shipping::carrier::Unavailable", "carrier answered 503",
                          "   0: shop_shipping::carrier::book\n"
                          "             at /src/shipping/carrier.rs:131:17\n"
                          "   1: shop_shipping::consumer::handle\n"
                          "             at /src/shipping/consumer.rs:59:13" } },
    [LANGUAGE_RUBY] = { { "Net::OpenTimeout", "execution expired",
                          "/app/lib/mailer.rb:47:in 'Mailer#deliver': execution expired "
                          "(Net::OpenTimeout)\n"
                          "\tfrom /app/lib/worker.rb:22:in 'block in Worker#run'\n"
                          "\tfrom /usr/local/bundle/gems/bunny-2.24.0/lib/bunny/consumer.rb:57:in "
                          "'Bunny::Consumer#call'" },
                        { "Liquid::SyntaxError", "Unknown tag 'endfro'",
                          "/app/lib/template.rb:19:in 'Template.render': Unknown tag 'endfro' "
                          "(Liquid::SyntaxError)" } },
    [LANGUAGE_PHP] = { { "DivisionByZeroError", "Division by zero",
                         "DivisionByZeroError: Division by zero\n"
                         "#0 /app/src/Discount.php(58): App\\Discount->ratio()\n"
                         "#1 /app/src/PriceController.php(33): "
                         "App\\Discount->apply(Object(App\\Basket))\n"
                         "#2 {main}" },
                       { "PDOException", "SQLSTATE[08006] [7] connection to server failed",
                         "PDOException: SQLSTATE[08006] [7] connection to server failed\n"
                         "#0 /app/src/Db.php(21): PDO->__construct()\n"
                         "#1 {main}" } },
};

const struct demo_fault *demo_fault_of(enum demo_language language, unsigned which)
{
    return &faults[language][which % 2];
}

static void put(struct buffer *b, const char *key, const char *value)
{
    if (value[0] == '\0')
        return;
    size_t pair = pb_begin(b, OTLP_RESOURCE_ATTRIBUTES);
    pb_bytes(b, 1, bytes_text(key));
    size_t any = pb_begin(b, 2);
    pb_bytes(b, 1, bytes_text(value));
    pb_end(b, any);
    pb_end(b, pair);
}

static struct bytes keep(struct arena *a, struct buffer *b)
{
    struct bytes out = { 0 };
    if (buffer_error(b) != ERR_OK)
        a->failure = buffer_error(b);
    else if (arena_dup(a, buffer_bytes(b), &out) != ERR_OK)
        out = (struct bytes){ 0 }; /* the arena knows why */
    buffer_deinit(b);
    return out;
}

struct bytes demo_resource(struct arena *a, enum demo_service service, unsigned pod)
{
    static const char *const browsers[4] = { "Chrome", "Firefox", "Safari", "Edge" };
    const struct demo_service_facts *s = &demo_services[service];
    uint64_t h = random_mix64(service * 100u + pod);
    char text[128];
    struct buffer b;
    buffer_init(&b, 64u << 10);
    put(&b, "service.name", s->name);
    put(&b, "service.namespace", "shop");
    put(&b, "service.version", s->version);
    snprintf(text, sizeof text, "%08x-%04x-4%03x-a%03x-%012llx", (unsigned)(h >> 32),
             (unsigned)(h >> 16 & 0xffff), (unsigned)(h & 0xfff), (unsigned)(h >> 20 & 0xfff),
             (unsigned long long)(random_mix64(h) & 0xffffffffffff));
    put(&b, "service.instance.id", text);
    put(&b, "deployment.environment.name", "demo");
    put(&b, "telemetry.sdk.name", "opentelemetry");
    put(&b, "telemetry.sdk.language", languages[s->language].name);
    put(&b, "telemetry.sdk.version", languages[s->language].sdk_version);
    if (s->language == LANGUAGE_WEBJS) {
        put(&b, "browser.platform", pod % 2 == 0 ? "Windows" : "macOS");
        put(&b, "user_agent.name", browsers[pod % 4]);
        return keep(a, &b);
    }
    put(&b, "process.runtime.name", languages[s->language].runtime);
    put(&b, "process.runtime.version", languages[s->language].runtime_version);
    snprintf(text, sizeof text, "node-%llu.demo.example.net", (unsigned long long)(h % 6));
    put(&b, "host.name", text);
    put(&b, "k8s.namespace.name", "shop");
    put(&b, "k8s.deployment.name", s->name);
    snprintf(text, sizeof text, "%s-%08x-%05x", s->name, (unsigned)(random_mix64(service) >> 32),
             (unsigned)(h & 0xfffff));
    put(&b, "k8s.pod.name", text);
    return keep(a, &b);
}

struct bytes demo_scope_message(struct arena *a, enum demo_language language, enum demo_scope scope)
{
    struct buffer b;
    buffer_init(&b, 4096);
    const char *name = languages[language].scopes[scope];
    pb_bytes(&b, 1, bytes_text(name[0] != '\0' ? name : languages[language].scopes[SCOPE_APP]));
    pb_bytes(&b, 2, bytes_text(languages[language].sdk_version));
    return keep(a, &b);
}
