#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus scrapes a real Spindle, in text and with native histograms, and PromQL's numbers are Spindle's.

Prometheus is Debian's; where it is not installed its package is unpacked into build/prometheus. Every expression of
the dashboards is asked, so are the queries that Jaeger's Monitor tab and Grafana's service graph send, the rules are
checked, and pages with a defect are refused. It scrapes for two minutes, and mostly waits: run.py lets it run beside others.

A second server shows the bounds: of more names than a service may have 2,000 are series, and the rest is one; and when nothing
comes any more, all of them leave the page and Prometheus.
"""
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from lib.spindle import ROOT, Report, Server, binary, free_ports  # noqa: E402

SCRAPED_S = 120
PATIENCE_S = 60  # for what comes within seconds on a machine that is not busy
DASHBOARDS = sorted((ROOT / "packaging" / "grafana").glob("*.json"))
RULES = sorted((ROOT / "packaging" / "prometheus").glob("*.rules.yml"))
VARIABLES = ("instance", "environment", "service", "client", "server")
# In a minute of the demo: nothing is given up as unpaired, and an error in the operations shown is not certain.
MAY_BE_EMPTY = {"Halves without a partner", "Errors"}
ITEMS = "spindle_otlp_items_stored_total"
# Of Spindle's own percentiles. A native histogram has at most 160 buckets, so that over thirteen doublings one of them is 9 %
# wide, and Prometheus interpolates in it: both values have to lie in the bucket that has the rank.
BOUND = 0.0055
UNIT_OF_THE_COLLECTOR = re.compile("traces_span_metrics_duration_milliseconds use base unit")
ACK = "spindle_ack_duration_seconds"


def tool(name):
    """prometheus or promtool: installed, or of Debian's package unpacked under build/."""
    if shutil.which(name):
        return shutil.which(name)
    folder = ROOT / "build" / "prometheus"
    if not (folder / "usr/bin" / name).exists():
        folder.mkdir(parents=True, exist_ok=True)
        if not list(folder.glob("*.deb")):
            subprocess.run(["apt-get", "download", "-qq", "prometheus"], cwd=folder, check=True, timeout=120)
        subprocess.run(["dpkg-deb", "-x", str(next(folder.glob("*.deb"))), str(folder)], check=True)
    return str(folder / "usr/bin" / name)


def promtool_metrics(page):
    done = subprocess.run([tool("promtool"), "check", "metrics"], input=page, capture_output=True, timeout=20)
    return done.returncode, (done.stdout + done.stderr).decode()


def sample(page, name, **labels):
    """Sum of the samples of a text page that have these labels."""
    total = 0.0
    for line in page.decode().splitlines():
        match = re.match(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$", line)
        if match and match[1] == name:
            have = dict(re.findall(r'(\w+)="([^"]*)"', match[2] or ""))
            if all(have.get(k) == v for k, v in labels.items()):
                total += float(match[3])
    return total


class Prometheus:
    def __init__(self, target, native):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="spindle-prometheus-"))
        self.url = f"http://127.0.0.1:{free_ports(1)[0]}"
        (self.folder / "config.yml").write_text(
            f"global: {{scrape_interval: 2s, evaluation_interval: 2s}}\nrule_files: {[str(r) for r in RULES]}\n"
            f"scrape_configs:\n- job_name: spindle\n  static_configs: [{{targets: ['{target}']}}]\n")
        command = [tool("prometheus"), f"--config.file={self.folder}/config.yml", f"--storage.tsdb.path={self.folder}/data",
                   "--web.listen-address=" + self.url[7:], "--log.level=warn"]
        self.log = open(self.folder / "log", "wb")
        self.process = subprocess.Popen(command + (["--enable-feature=native-histograms"] if native else []),
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def ask(self, path, **parameters):
        url = self.url + path + "?" + urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expr, at=None):
        return self.ask("/api/v1/query", query=expr, **({"time": at} if at else {}))["result"]

    def value(self, expr, at=None):
        result = self.query(expr, at)
        return float(result[0]["value"][1]) if result else float("nan")

    def wait_value(self, expr, wanted):
        """Until an expression has this value (None: none at all), for a while; the last value."""
        end, have = time.monotonic() + PATIENCE_S, float("nan")
        while time.monotonic() < end:
            rows = self.query(expr)
            have = float(rows[0]["value"][1]) if rows else None
            if have == wanted:
                break
            time.sleep(0.5)
        return have

    def wait_scraped(self):
        """Until the beginning has been scraped."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            try:
                if self.value("up") == 1:
                    return
            except OSError:
                pass  # it is not up yet
            time.sleep(0.2)
        raise RuntimeError("Prometheus does not scrape: " + (self.folder / "log").read_text())

    def close(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def near(a, b, share):
    return abs(a - b) <= share * max(abs(a), abs(b))


def rank_bucket(histogram, q):
    """The bucket of a native histogram in which the value of this rank lies, as Prometheus itself has it."""
    left = q * float(histogram["count"])
    for _, low, high, count in histogram["buckets"]:
        left -= float(count)
        if left <= 1e-9 * float(histogram["count"]):
            return float(low), float(high)
    raise ValueError(histogram)


def agree(bucket, asked, ours):
    """Prometheus' value and Spindle's are of one bucket, no wider than a tenth."""
    low, high = bucket
    slack = 1 + 1e-9
    return high <= low * 1.1 and low / slack <= asked <= high * slack and low * (1 - BOUND) <= ours <= high * (1 + BOUND)


def check_pages(report, server):
    page = server.get("/metrics")[1]
    code, said = promtool_metrics(page)
    report.check("promtool finds nothing in the page", code == 0 and not said.strip(), said[:300])
    for name, old, new in (("a TYPE that does not exist", f"# TYPE {ACK} histogram", f"# TYPE {ACK} hologram"),
                           ("a TYPE of the wrong kind", f"# TYPE {ITEMS} counter", f"# TYPE {ITEMS} histogram"),
                           ("no HELP", f"# HELP {ITEMS} ", f"# HALP {ITEMS} ")):
        code, said = promtool_metrics(page.replace(old.encode(), new.encode()))
        report.check(f"promtool refuses a page with {name}", old.encode() in page and code != 0, said.strip()[:120])


def check_rules(report):
    for rules in RULES:
        done = subprocess.run([tool("promtool"), "check", "rules", str(rules)], capture_output=True, text=True, timeout=20)
        report.check(f"promtool accepts {rules.name}", done.returncode == 0 and "rules found" in done.stdout, done.stdout + done.stderr)
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as wrong:
            text = rules.read_text()
            wrong.write(text.replace("sum by (", "sum by ((", 1))
            wrong.flush()
            done = subprocess.run([tool("promtool"), "check", "rules", wrong.name], capture_output=True, timeout=20)
            report.check(f"promtool refuses {rules.name} with a defect", done.returncode != 0 and "sum by (" in text)


def check_numbers(report, name, prometheus, before, after, begin, native):
    """PromQL against what Spindle's own pages said at the beginning and the end of the load."""
    up = prometheus.ask("/api/v1/targets")["activeTargets"][0]
    report.check(f"{name}: scraped without error", up["health"] == "up" and not up["lastError"], up["lastError"])
    for signal in ("traces", "logs"):
        spindle = sample(after, ITEMS, signal=signal)
        asked = prometheus.value(f'sum({ITEMS}{{signal="{signal}"}})')
        report.check(f"{name}: {signal} stored", asked == spindle > 0, f"{asked:.0f}, Spindle says {spindle:.0f}")
    now = time.time()
    window = int(now - begin)
    stored = sum(sample(p, ITEMS, signal="traces") * s for p, s in ((after, 1), (before, -1)))
    rate = prometheus.value(f'sum(rate({ITEMS}{{signal="traces"}}[{window}s]))', now)
    report.check(f"{name}: rate of spans", near(rate * window, stored, 0.15), f"{rate * window:.0f} of {stored:.0f}")

    count, total = sample(after, ACK + "_count"), sample(after, ACK + "_sum")
    if not native:
        report.check(f"{name}: acknowledgements", prometheus.value(f"sum({ACK}_count)") == count > 0, f"{count:.0f}")
        report.check(f"{name}: their time", near(prometheus.value(f"sum({ACK}_sum)"), total, 1e-9), f"{total} s")
        p99 = prometheus.value(f"histogram_quantile(0.99, sum by (le) ({ACK}_bucket))")
    else:
        report.check(f"{name}: acknowledgements", prometheus.value(f"histogram_count(sum({ACK}))") == count > 0, f"{count:.0f}")
        report.check(f"{name}: their time", near(prometheus.value(f"histogram_sum(sum({ACK}))"), total, 1e-9), f"{total} s")
        rated = prometheus.value(f"histogram_count(sum(rate({ACK}[{window}s])))", now) * window
        report.check(f"{name}: rate of acknowledgements", near(rated, count - sample(before, ACK + "_count"), 0.15), f"{rated:.0f}")
        p99 = prometheus.value(f"histogram_quantile(0.99, sum({ACK}))")
    bounds = {}
    for le in set(re.findall(rf'{ACK}_bucket{{[^}}]*le="([0-9.]+)"', after.decode())):
        bounds[float(le)] = sample(after, ACK + "_bucket", le=le)
    upper = min((b for b, n in bounds.items() if n >= 0.99 * count), default=float("inf"))
    report.check(f"{name}: p99 is in the bucket where Spindle counted it", upper / 2 <= p99 <= upper * 1.0001,
                 f"{p99:.6f} s, bucket ends at {upper} s")


def check_equal_to_api(report, name, prometheus, server):
    """What Prometheus has of spans and edges is what Spindle's own answers say, to the last call."""
    of = 'service_name="checkout",span_kind="SPAN_KIND_SERVER"'
    ours = server.json("/api/spindle/v1/services/checkout/series?from=now-30m&kind=server")
    calls = prometheus.value(f"sum(traces_span_metrics_calls_total{{{of}}})")
    report.check(f"{name}: calls of a service", calls == ours["count"] > 0, f"{calls:.0f}, Spindle says {ours['count']}")
    tempo = prometheus.value('sum(traces_spanmetrics_calls_total{service="checkout",span_kind="SPAN_KIND_SERVER"})')
    report.check(f"{name}: the same under Tempo's names", tempo == calls, f"{tempo:.0f}")
    failed = prometheus.value(f'sum(traces_span_metrics_calls_total{{{of},status_code="STATUS_CODE_ERROR"}}) or vector(0)')
    report.check(f"{name}: its errors", failed == ours["errors"], f"{failed:.0f}, Spindle says {ours['errors']}")
    links = {(x["parent"], x["child"]): x["callCount"] for x in server.json("/api/dependencies?lookback=1800000")["data"]}
    asked = {(r["metric"]["client"], r["metric"]["server"]): float(r["value"][1]) for r in prometheus.query(
        'sum by (client, server) (traces_service_graph_request_total{connection_type=~"|messaging_system"})')}
    asked = {pair: n for pair, n in asked.items() if pair[0] != pair[1]}
    check_edges_equal(report, name, prometheus, server)
    report.check(f"{name}: edges between services", asked == links and len(links) >= 10,
                 str({k: (asked.get(k), links.get(k)) for k in asked.keys() | links.keys() if asked.get(k) != links.get(k)} or len(links)))
    q = f"histogram_quantile(0.95, sum by (le) (traces_span_metrics_duration_milliseconds_bucket{{{of}}}))"
    if name == "native":
        q = f"histogram_quantile(0.95, sum(traces_span_metrics_duration_milliseconds{{{of}}}))"
        have = prometheus.value(q)
        bucket = rank_bucket(prometheus.query(f"sum(traces_span_metrics_duration_milliseconds{{{of}}})")[0]["histogram"][1], 0.95)
        report.check(f"{name}: p95 and ours are of one bucket", agree(bucket, have, ours["p95"] / 1e6),
                     f"{have:.3f} ms, Spindle says {ours['p95'] / 1e6:.3f} ms, bucket {bucket}")
        report.check(f"{name}: a p95 of the next bucket is refused", not agree(bucket, have, bucket[1] * (bucket[1] / bucket[0]) * (1 + BOUND)))
    else:
        bounds = [0, 2, 4, 6, 8, 10, 50, 100, 200, 400, 800, 1000, 1400, 2000, 5000, 10000, 15000]
        lower = max(b for b in bounds if b < ours["p95"] / 1e6 * 1.0055)
        have = prometheus.value(q)
        report.check(f"{name}: p95 is in the bucket of ours", lower * 0.999 <= have and have <= min([b for b in bounds if b > lower] or [have]),
                     f"{have:.3f} ms, Spindle says {ours['p95'] / 1e6:.3f} ms")


def check_edges_equal(report, name, prometheus, server):
    """Each edge of the map between services and to databases: calls, failures, p95. Calls of who sends no spans are counters only
    when no span can come any more, which is after the test."""
    answer, kinds = server.json("/api/spindle/v1/map?from=now-30m"), {"direct": "", "database": "database"}
    ours = {(answer["nodes"][e["s"]]["name"], answer["nodes"][e["t"]]["name"], kinds[e["type"]]): e
            for e in answer["edges"] if e["type"] in kinds}

    def asked(expr):
        rows = prometheus.query(expr)
        rows = {(r["metric"]["client"], r["metric"]["server"], r["metric"].get("connection_type", "")): float(r["value"][1]) for r in rows}
        return {key: value for key, value in rows.items() if key[2] in kinds.values()}

    by = "sum by (client, server, connection_type)"
    calls, failed = asked(f"{by} (traces_service_graph_request_total)"), asked(f"{by} (traces_service_graph_request_failed_total)")
    marked = asked(f'{by} (traces_service_graph_request_total{{failed="true"}})')
    report.check(f"{name}: calls of each edge", calls == {key: e["count"] for key, e in ours.items()} and len(ours) > 20, f"{len(ours)} edges")
    report.check(f"{name}: failures of each edge", failed == marked == {key: e["errors"] for key, e in ours.items()} and sum(failed.values()) > 0,
                 f"{sum(failed.values()):.0f} of {sum(calls.values()):.0f}")
    if name == "native":
        p95 = asked(f"histogram_quantile(0.95, {by} (traces_service_graph_request_server_seconds))")
        buckets = {(r["metric"]["client"], r["metric"]["server"], r["metric"].get("connection_type", "")): rank_bucket(r["histogram"][1], 0.95)
                   for r in prometheus.query(f"{by} (traces_service_graph_request_server_seconds)")}
        shown = {key: e.get("server", e) for key, e in ours.items()}
        wrong = {key: (p95.get(key), e["p95"], buckets.get(key)) for key, e in shown.items()
                 if key not in buckets or not agree(buckets[key], p95[key], e["p95"] / 1e9)}
        report.check(f"{name}: p95 of each edge and ours are of one bucket", not wrong and len(buckets) >= 20, str(wrong))


def check_asked_by_others(report, name, prometheus, middle, after, seconds):
    """The queries of Jaeger's Monitor tab and of Grafana's service graph, as these send them."""
    now, suffix = time.time(), "" if name == "native" else "_bucket"
    by = "" if name == "native" else ",le"
    of = 'service_name =~ "checkout|cart", span_kind =~ "SPAN_KIND_SERVER"'
    window = f"[{seconds}s]"
    calls = {r["metric"]["service_name"]: float(r["value"][1]) for r in prometheus.query(
        f"sum(rate(traces_span_metrics_calls_total{{{of}}}{window})) by (service_name)", now)}
    grown = {s: sum(sample(p, "traces_span_metrics_calls_total", service_name=s, span_kind="SPAN_KIND_SERVER") * sign
                    for p, sign in ((after, 1), (middle, -1))) for s in ("checkout", "cart")}
    report.check(f"{name}: Jaeger's call rates", calls.keys() == grown.keys() and all(near(calls[s] * seconds, grown[s], 0.15) for s in calls),
                 f"{ {s: round(r * seconds, 1) for s, r in calls.items()} }, Spindle's pages say {grown}")
    queries = {
        "Jaeger's latencies": f"histogram_quantile(0.95, sum(rate(traces_span_metrics_duration_milliseconds{suffix}{{{of}}}{window})) by (service_name{by}))",
        "Jaeger's latencies by operation": f"histogram_quantile(0.95, sum(rate(traces_span_metrics_duration_milliseconds{suffix}{{{of}}}{window})) by (service_name,span_name{by}))",
        "Grafana's requests": f"sum by (client, server) (rate(traces_service_graph_request_total{window}))",
        "Grafana's failures": f"sum by (client, server) (rate(traces_service_graph_request_failed_total{window}))",
        "Grafana's kinds of edges": "group by (client, connection_type, server) (traces_service_graph_request_total)",
        "Grafana's table": f'topk(5, sum(rate(traces_spanmetrics_calls_total{{span_kind="SPAN_KIND_SERVER"}}{window})) by (span_name))',
        "Grafana's durations": f"histogram_quantile(.9, sum(rate(traces_spanmetrics_latency{suffix}{{span_name=~\"POST /checkout\"}}{window})) by (le))",
    }
    if name == "classic":
        queries["Grafana's seconds"] = f"sum by (client, server) (rate(traces_service_graph_request_server_seconds_sum{window}))"
        queries["Grafana's buckets"] = f"sum by (client, server, le) (rate(traces_service_graph_request_server_seconds_bucket{window}))"
    for what, query in queries.items():
        rows = prometheus.query(query, now)
        values = [float(r["value"][1]) for r in rows]
        report.check(f"{name}: {what}", len(rows) > 0 and all(v == v and v >= 0 for v in values), f"{len(rows)} rows")
    kinds = {r["metric"].get("connection_type", "") for r in prometheus.query(queries["Grafana's kinds of edges"], now)}
    report.check(f"{name}: an edge between services has an empty connection_type", {"", "database", "messaging_system"} <= kinds, str(kinds))


def check_bounds(report, server, prometheus):
    """More names than may be: they are bounded, counted, and leave."""
    def send(names):
        now = time.time_ns()
        spans = [{"traceId": f"{i + 1:032x}", "spanId": f"{now + i:016x}", "name": name, "kind": 2, "startTimeUnixNano": str(now),
                  "endTimeUnixNano": str(now + 10**6)} for i, name in enumerate(names)]
        resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "burst"}}]}
        body = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}
        return server.post("/v1/traces", json.dumps(body).encode(), "application/json")[0]

    calls = 'traces_span_metrics_calls_total{service_name="burst"}'
    names = ["op" + "".join(chr(97 + i // 26**k % 26) for k in range(3)) for i in range(2100)]
    report.check("2,100 names are taken", send(names) == 200)
    have = prometheus.wait_value(f"count({calls})", 2001)
    report.check("2,000 of them are series, the rest is one", have == 2001, str(have))
    report.check("none is lost", prometheus.value(f"sum({calls})") == 2100)
    rest = prometheus.value('traces_span_metrics_calls_total{span_name="(other)"}')
    over = prometheus.value('spindle_rollup_overflowed_total{of="series"}')
    report.check("and what is over the bound is counted", rest == over == 100, f"{rest:.0f}, {over:.0f}")
    have = prometheus.wait_value(f"count({calls})", None)
    report.check("when nothing comes any more all of them leave", have is None, str(have))
    report.check("one that comes again is taken", send(names[:1]) == 200)
    have = prometheus.wait_value(f"sum({calls})", 1)
    report.check("and begins at 0", have == 1, str(have))


def settle(server):
    """Until all is in row groups: that is what the metrics count."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and server.json("/api/spindle/v1/meta")["stored"]["journal_items"] > 0:
        time.sleep(0.2)


def check_dashboards(report, prometheus):
    """Every expression is answered, with numbers; and so is the expression of every rule."""
    for path in DASHBOARDS:
        dashboard, asked = json.loads(path.read_text()), 0
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                expr = target["expr"].replace("$__rate_interval", f"{SCRAPED_S}s")
                for variable in VARIABLES:
                    expr = expr.replace("$" + variable, ".*")
                rows = prometheus.query(expr)
                may_be_empty = path.stem != "spindle-health" and panel["title"] in MAY_BE_EMPTY
                report.check(f"{path.stem}: {panel['title']} {target['refId']}", "$" not in expr and (len(rows) > 0 or may_be_empty), target["expr"])
                asked += 1
        report.check(f"{path.stem}: has expressions", asked >= 6, str(asked))
    groups = prometheus.ask("/api/v1/rules")["groups"]
    rules = [r for g in groups for r in g["rules"]]
    sick = [(r["name"], r.get("lastError")) for r in rules if r["health"] != "ok"]
    report.check("rules: are evaluated", len(groups) == len(RULES) and len(rules) >= 18 and not sick, f"{len(rules)} rules {sick}")
    for record in ("spindle:items_stored:rate1m", "service:calls:rate5m", "service:errors:ratio5m", "service:duration_milliseconds:p95_5m",
                   "edge:calls:rate5m", "edge:failures:ratio5m"):
        rows = prometheus.query(record)
        report.check(f"rules: {record} has values", len(rows) >= 2, f"{len(rows)} series")
    firing = [a["labels"]["alertname"] for a in prometheus.ask("/api/v1/alerts")["alerts"] if a["state"] == "firing"]
    report.check("rules: nothing is wrong, and nothing fires", not firing, str(firing))


def main():
    report = Report()
    with Server(options=["--span-metrics", "both", "--row-group-age", "1s"]) as server:
        check_pages(report, server)
        check_rules(report)
        bounded = Server(options=["--span-metrics-idle", "10s", "--row-group-age", "1s"]).start()
        watcher = Prometheus(bounded.http[7:], False)
        servers = {"classic": Prometheus(server.http[7:], False), "native": Prometheus(server.http[7:], True)}
        try:
            for prometheus in servers.values():
                prometheus.wait_scraped()
            before, begin = server.get("/metrics")[1], time.time() - 2
            load = subprocess.Popen([str(binary()), "demo", "--endpoint", server.grpc, "--seed", "1", "--duration",
                                     f"{SCRAPED_S - 5}s", "--rate", "10"], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
            end, middle, middle_at = time.monotonic() + SCRAPED_S, None, 0
            watcher.wait_scraped()
            check_bounds(report, bounded, watcher)
            while time.monotonic() < end:
                server.get("/api/services")
                time.sleep(0.5)
                if middle is None and time.monotonic() > end - SCRAPED_S * 0.6:
                    middle, middle_at = server.get("/metrics")[1], time.time()
            report.check("the load ended well", load.wait(timeout=PATIENCE_S) == 0)
            settle(server)
            after = server.get("/metrics")[1]
            said = [line for line in promtool_metrics(after)[1].splitlines() if line and not UNIT_OF_THE_COLLECTOR.match(line)]
            report.check("promtool finds nothing in the page with spans and edges but the Collector's unit", not said, str(said)[:300])
            for prometheus in servers.values():  # until both have scraped the end
                prometheus.wait_value(f'sum({ITEMS}{{signal="traces"}})', sample(after, ITEMS, signal="traces"))
                prometheus.wait_value("sum(traces_span_metrics_calls_total)", sample(after, "traces_span_metrics_calls_total"))
            for name, prometheus in servers.items():
                check_numbers(report, name, prometheus, before, after, begin, name == "native")
                check_equal_to_api(report, name, prometheus, server)
                check_asked_by_others(report, name, prometheus, middle, after, int(time.time() - middle_at))
            check_dashboards(report, servers["classic"])
        finally:
            for prometheus in [watcher, *servers.values()]:
                prometheus.close()
            bounded.close()
    report.end()


if __name__ == "__main__":
    main()
