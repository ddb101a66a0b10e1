/* SPDX-License-Identifier: Apache-2.0 */
/* What the filter language accepts, as the canonical text of the tree that comes out; what it
 * refuses, with the position and the words of the refusal; and that no text, however deep or long,
 * passes its bounds or leaks. */
#include "query/traceql.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct accepted {
    const char *text, *canonical;
};

/* clang-format off */
static const struct accepted spans_accepted[] = {
    /* Form. */
    { "{}", "{ }" },
    { "{ }", "{ }" },
    { "  {\n\t}  ", "{ }" },
    { "({})", "{ }" },
    { "(({ .a = 1 }))", "{ .a = 1 }" },
    { "{ .a = 1 } // a comment", "{ .a = 1 }" },
    { "{ /* one */ .a = /* two */ 1 }", "{ .a = 1 }" },
    { "{ true }", "{ true }" },
    { "{ false }", "{ false }" },
    { "{ .flag }", "{ .flag }" },
    { "{ span:isRoot }", "{ span:isRoot }" },
    { "{ 1 = 1 }", "{ 1 = 1 }" },
    { "{.a=1}with(most_recent=true)", "{ .a = 1 }" },
    { "{} with (sample=0.1, x=\"y\", exemplars=false)", "{ }" },

    /* Scopes and names. */
    { "{ span.a = 1 }", "{ span.a = 1 }" },
    { "{ resource.service.name = \"shop\" }", "{ resource.service.name = \"shop\" }" },
    { "{ event.a = 1 }", "{ event.a = 1 }" },
    { "{ link.a = 1 }", "{ link.a = 1 }" },
    { "{ instrumentation.a = 1 }", "{ instrumentation.a = 1 }" },
    { "{ .a-1 = 1 }", "{ .a-1 = 1 }" },
    { "{ .a/b+c*d%e:f = 1 }", "{ .a/b+c*d%e:f = 1 }" },
    { "{ .a - 1 = 1 }", "{ (.a - 1) = 1 }" },
    { "{ .\"a b\" = 1 }", "{ .\"a b\" = 1 }" },
    { "{ span.\"a b\".c = 1 }", "{ span.\"a b.c\" = 1 }" },
    { "{ span.x.\"y\" = 1 }", "{ span.x.y = 1 }" },
    { "{ .\"q\\\"uote\\\\\" = 1 }", "{ .\"q\\\"uote\\\\\" = 1 }" },
    { "{ .\xC3\xA4 = 1 }", "{ .\xC3\xA4 = 1 }" },
    { "{.a=1&&.b=2}", "{ (.a = 1) && (.b = 2) }" },
    { "{ .duration = 1 }", "{ .duration = 1 }" },
    { "{ span.parent = 1 }", "{ span.parent = 1 }" },
    { "{ .true = true }", "{ .true = true }" },

    /* Intrinsics, new names and old. */
    { "{ span:name = \"x\" }", "{ span:name = \"x\" }" },
    { "{ name = \"x\" }", "{ span:name = \"x\" }" },
    { "{ kind = server }", "{ span:kind = server }" },
    { "{ span:kind != unspecified }", "{ span:kind != unspecified }" },
    { "{ kind = internal || kind = client }", "{ (span:kind = internal) || (span:kind = client) }" },
    { "{ kind = producer || kind = consumer }", "{ (span:kind = producer) || (span:kind = consumer) }" },
    { "{ status = error }", "{ span:status = error }" },
    { "{ span:status = ok }", "{ span:status = ok }" },
    { "{ status = unset }", "{ span:status = unset }" },
    { "{ statusMessage = \"x\" }", "{ span:statusMessage = \"x\" }" },
    { "{ span:statusMessage = \"x\" }", "{ span:statusMessage = \"x\" }" },
    { "{ duration > 1s }", "{ span:duration > 1s }" },
    { "{ span:duration>=100ms }", "{ span:duration >= 100ms }" },
    { "{ span:start > 5 }", "{ span:start > 5 }" },
    { "{ span:childCount = 0 }", "{ span:childCount = 0 }" },
    { "{ trace:duration > 2s }", "{ trace:duration > 2s }" },
    { "{ traceDuration > 2s }", "{ trace:duration > 2s }" },
    { "{ rootName = \"x\" }", "{ trace:rootName = \"x\" }" },
    { "{ trace:rootName = \"x\" }", "{ trace:rootName = \"x\" }" },
    { "{ rootServiceName = \"x\" }", "{ trace:rootService = \"x\" }" },
    { "{ trace:rootService = \"x\" }", "{ trace:rootService = \"x\" }" },
    { "{ event:name = \"x\" }", "{ event:name = \"x\" }" },
    { "{ event:timeSinceStart < 1ms }", "{ event:timeSinceStart < 1ms }" },
    { "{ instrumentation:name = \"x\" }", "{ instrumentation:name = \"x\" }" },
    { "{ instrumentation:version = \"x\" }", "{ instrumentation:version = \"x\" }" },

    /* IDs, written as they are stored. */
    { "{ trace:id = \"5D5A\" }", "{ trace:id = \"00000000000000000000000000005d5a\" }" },
    { "{ span:id = \"A1\" }", "{ span:id = \"00000000000000a1\" }" },
    { "{ \"a1\" != span:parentID }", "{ \"00000000000000a1\" != span:parentID }" },
    { "{ link:traceID = \"1\" }", "{ link:traceID = \"00000000000000000000000000000001\" }" },
    { "{ link:spanID = \"1\" }", "{ link:spanID = \"0000000000000001\" }" },
    { "{ span:id = \"no hex\" }", "{ span:id = \"no hex\" }" },
    { "{ span:id =~ \"A.*\" }", "{ span:id =~ \"A.*\" }" },

    /* Roots. */
    { "{ nestedSetParent < 0 }", "{ span:isRoot }" },
    { "{nestedSetParent<0}", "{ span:isRoot }" },
    { "{ nestedSetParent = -1 }", "{ span:isRoot }" },
    { "{ 0 > nestedSetParent }", "{ span:isRoot }" },
    { "{ nestedSetParent >= 0 }", "{ !(span:isRoot) }" },
    { "{ nestedSetParent != -1 }", "{ !(span:isRoot) }" },
    { "{ nestedSetParent<0 && .a = 1 }", "{ span:isRoot && (.a = 1) }" },

    /* Values. */
    { "{ .a = \"x\\ty\\\"z\\\\\" }", "{ .a = \"x\\x09y\\\"z\\\\\" }" },
    { "{ .a = \"\\u00e4\\x41\\101\\n\" }", "{ .a = \"\xC3\xA4" "AA\\n\" }" },
    { "{ .a = \"\\U0001F600\" }", "{ .a = \"\xF0\x9F\x98\x80\" }" },
    { "{ .a = `raw \\ \"text\"` }", "{ .a = \"raw \\\\ \\\"text\\\"\" }" },
    { "{ .a = \"\" }", "{ .a = \"\" }" },
    { "{ .a = 0 }", "{ .a = 0 }" },
    { "{ .a = 9223372036854775807 }", "{ .a = 9223372036854775807 }" },
    { "{ .a = maxInt }", "{ .a = 9223372036854775807 }" },
    { "{ .a = minInt }", "{ .a = -9223372036854775808 }" },
    { "{ .a = -5 }", "{ .a = -5 }" },
    { "{ .a = --5 }", "{ .a = 5 }" },
    { "{ .a = 1.5 }", "{ .a = 1.5 }" },
    { "{ .a = .5 }", "{ .a = 0.5 }" },
    { "{ .a = 1e3 }", "{ .a = 1000.0 }" },
    { "{ .a = 2.5E-1 }", "{ .a = 0.25 }" },
    { "{ .a = -1.5 }", "{ .a = -1.5 }" },
    { "{ .a = true }", "{ .a = true }" },
    { "{ .a = 1h30m }", "{ .a = 90m }" },
    { "{ .a = 1.5s }", "{ .a = 1500ms }" },
    { "{ .a = 250us }", "{ .a = 250us }" },
    { "{ .a = 250\xC2\xB5s }", "{ .a = 250us }" },
    { "{ .a = 7ns }", "{ .a = 7ns }" },
    { "{ .a = 1d }", "{ .a = 24h }" },
    { "{ .a = 1w }", "{ .a = 168h }" },
    { "{ .a = -1s }", "{ .a = -1s }" },
    { "{ .a = ok }", "{ .a = ok }" },
    { "{ .a = server }", "{ .a = server }" },

    /* Operators. */
    { "{ .a != 1 }", "{ .a != 1 }" },
    { "{ .a > 1 }", "{ .a > 1 }" },
    { "{ .a >= 1 }", "{ .a >= 1 }" },
    { "{ .a < 1 }", "{ .a < 1 }" },
    { "{ .a <= 1 }", "{ .a <= 1 }" },
    { "{.a<-1}", "{ .a < -1 }" },
    { "{ .a =~ \"x.*\" }", "{ .a =~ \"x.*\" }" },
    { "{ .a !~ \"x.*\" }", "{ .a !~ \"x.*\" }" },
    { "{.a=~`x`}", "{ .a =~ \"x\" }" },
    { "{ name =~ \"(?i)get .*\" }", "{ span:name =~ \"(?i)get .*\" }" },
    { "{ .a > \"b\" }", "{ .a > \"b\" }" },
    { "{ .a = .b }", "{ .a = .b }" },
    { "{ 1 < .a }", "{ 1 < .a }" },
    { "{ duration > 5 }", "{ span:duration > 5 }" },
    { "{ duration > 1.5 }", "{ span:duration > 1.5 }" },
    { "{ .a contains \"x\" }", "{ .a contains \"x\" }" },
    { "{ .a = nil }", "{ .a = nil }" },
    { "{ .a != nil }", "{ .a != nil }" },
    { "{ nil = span.a }", "{ span.a = nil }" },
    { "{ nil = nil }", "{ false }" },
    { "{ nil != nil }", "{ false }" },
    { "{ resource.x = nil }", "{ resource.x = nil }" },
    { "{ resource.service.name = nil }", "{ resource.service.name = nil }" },
    { "{ .a + 1 > 2 }", "{ (.a + 1) > 2 }" },
    { "{ .a * 2 % 3 / 4 = 1 }", "{ (((.a * 2) % 3) / 4) = 1 }" },
    { "{ duration * 2 > 1s }", "{ (span:duration * 2) > 1s }" },
    { "{ -.a = 1 }", "{ -(.a) = 1 }" },
    { "{ -(.a + 1) = 1 }", "{ -((.a + 1)) = 1 }" },
    { "{ !.a }", "{ !(.a) }" },
    { "{ !!.a }", "{ !(!(.a)) }" },
    { "{ !(.a = 1) }", "{ !((.a = 1)) }" },

    /* Binding: && and || alike and to the left; ! between sums and products; ^ to the right. */
    { "{ .a || .b && .c }", "{ (.a || .b) && .c }" },
    { "{ .a && .b || .c }", "{ (.a && .b) || .c }" },
    { "{ .a || (.b && .c) }", "{ .a || (.b && .c) }" },
    { "{ .a = 1 || .b = 2 && .c = 3 }", "{ ((.a = 1) || (.b = 2)) && (.c = 3) }" },
    { "{ .a + .b * .c = 1 }", "{ (.a + (.b * .c)) = 1 }" },
    { "{ (.a + .b) * .c = 1 }", "{ ((.a + .b) * .c) = 1 }" },
    { "{ .a - .b - .c = 1 }", "{ ((.a - .b) - .c) = 1 }" },
    { "{ .a ^ .b ^ .c = 1 }", "{ (.a ^ (.b ^ .c)) = 1 }" },
    { "{ .a * .b ^ 2 = 1 }", "{ (.a * (.b ^ 2)) = 1 }" },
    { "{ -.a ^ 2 = 1 }", "{ (-(.a) ^ 2) = 1 }" },
    { "{ !.a = .b }", "{ !(.a) = .b }" },
    { "{ .a = .b = .c }", "{ (.a = .b) = .c }" },
    { "{ .a && !.b && .c }", "{ (.a && !(.b)) && .c }" },
    { "{ (.a = 1) = true }", "{ (.a = 1) = true }" },
};

static const struct accepted logs_accepted[] = {
    { "{}", "{ }" },
    { "{ severity >= warn }", "{ log:severity >= 13 }" },
    { "{ severity > warn }", "{ log:severity > 16 }" },
    { "{ severity < warn }", "{ log:severity < 13 }" },
    { "{ severity <= warn }", "{ log:severity <= 16 }" },
    { "{ severity = error }", "{ (log:severity >= 17) && (log:severity <= 20) }" },
    { "{ severity != info }", "{ (log:severity < 9) || (log:severity > 12) }" },
    { "{ fatal <= severity }", "{ log:severity >= 21 }" },
    { "{ severity = 9 }", "{ log:severity = 9 }" },
    { "{ log:severity >= trace && severity < debug }", "{ (log:severity >= 1) && (log:severity < 5) }" },
    { "{ severityText = \"WARN\" }", "{ log:severityText = \"WARN\" }" },
    { "{ body =~ \".*x.*\" }", "{ log:body =~ \".*x.*\" }" },
    { "{ body = \"x\" }", "{ log:body = \"x\" }" },
    { "{ text = \"refused\" }", "{ log:text contains \"refused\" }" },
    { "{ text != \"refused\" }", "{ !((log:text contains \"refused\")) }" },
    { "{ \"refused\" = text }", "{ log:text contains \"refused\" }" },
    { "{ text =~ \".*x.*\" }", "{ log:text =~ \".*x.*\" }" },
    { "{ log:text contains \"x\" }", "{ log:text contains \"x\" }" },
    { "{ log.a = 1 }", "{ log.a = 1 }" },
    { "{ .a = 1 }", "{ .a = 1 }" },
    { "{ resource.service.name = \"shop\" }", "{ resource.service.name = \"shop\" }" },
    { "{ instrumentation.a = 1 }", "{ instrumentation.a = 1 }" },
    { "{ instrumentation:name = \"x\" }", "{ instrumentation:name = \"x\" }" },
    { "{ trace:id = \"A\" }", "{ trace:id = \"0000000000000000000000000000000a\" }" },
    { "{ span:id = \"a\" }", "{ span:id = \"000000000000000a\" }" },
    { "{ eventName = \"x\" || log:eventName = \"y\" }", "{ (log:eventName = \"x\") || (log:eventName = \"y\") }" },
    { "{ time > 5 && log:time < 9 }", "{ (log:time > 5) && (log:time < 9) }" },
    { "{ severity >= warn && body =~ \".*x.*\" && text = \"y\" }",
      "{ ((log:severity >= 13) && (log:body =~ \".*x.*\")) && (log:text contains \"y\") }" },
};

struct refused {
    const char *text;
    unsigned column; /* of the first line */
    const char *message; /* contained in what is said */
};

static const struct refused spans_invalid[] = {
    /* Syntax. */
    { "", 1, "expected '{', '(' or a function, found the end of the query" },
    { "   ", 4, "found the end of the query" },
    { "{", 2, "expected a value, an attribute (.x, resource.x) or a known name, found the end" },
    { "{ .a = 1", 9, "expected an operator or '}' for the '{' at byte 0, found the end of the query" },
    { "{ .a = }", 8, "expected a value, an attribute (.x, resource.x) or a known name, found '}'" },
    { "{ .a = 1 } }", 12, "expected an operator, '|' or the end, found '}'" },
    { "{ .a = 1 } x", 12, "found 'x'" },
    { "{ .a 1 }", 6, "expected an operator or '}', found '1'" },
    { "{ .a == 1 }", 7, "found '='" },
    { "{ .a & 1 }", 6, "'&' does not belong to the language" },
    { "{ .a = 1 | .b }", 10, "expected an operator or '}', found '|'" },
    { "{ .a >> 1 }", 6, "expected an operator or '}', found '>>'" },
    { "{ (.a = 1 }", 11, "expected an operator or ')', found '}'" },
    { "({ .a = 1 }", 12, "expected an operator, '|' or ')', found the end" },
    { "{ foo = 1 }", 3, "or a known name, found 'foo'" },
    { "{ span:foo = 1 }", 3, "found 'span:foo'" },
    { "{ span. = 1 }", 8, "expected the name of an attribute after 'span.'" },
    { "{ . = 1 }", 4, "expected the name of an attribute after '.'" },
    { "{ .a = \"x }", 8, "a string is not closed" },
    { "{ .a = \"x\ny\" }", 8, "a string is not closed" },
    { "{ .a = `x }", 8, "a string is not closed: expected `" },
    { "{ .a = \"\\q\" }", 9, "an unknown escape in a string" },
    { "{ .a = \"\\ud800\" }", 9, "an unknown escape" },
    { "{ .\"x = 1 }", 4, "a quoted name is not closed" },
    { "{ .a = 1 } /* x", 12, "a comment is not closed" },
    { "{ .a = 9223372036854775808 }", 8, "'9223372036854775808' is not a number or a duration" },
    { "{ .a = 1e999 }", 8, "'1e999' is not a number" },
    { "{ .a = 1x }", 8, "'1x' is not a number" },
    { "{ .a = 1.2.3 }", 8, "'1.2.3' is not a number" },
    { "{ .a = # }", 8, "'#' does not belong" },
    { "{ .a = \x01 }", 8, "a control character, byte 1" },
    { "{ .\xC3\xA4 = }", 8, "found '}'" }, /* columns count characters */
    { "5 > 3", 3, "'>' cannot join a number and a number" },
    { "5", 1, "expected a filter" },
    { "count()", 8, "expected a comparison" },
    { "{ } | count()", 14, "expected a comparison" },
    { "rate()", 1, "expected spans first" },
    { "coalesce()", 1, "expected spans first" },
    { "{ } | 5", 5, "'|' cannot join a set of spans and a number" },
    { "{ } | rate() | count() > 1", 14, "'|' cannot join a metric and a comparison" },
    { "{ } | topk(5)", 5, "'|' cannot join" },
    { "{ } | rate() | topk(x)", 21, "expected an integer, found 'x'" },
    { "{ } | by()", 10, "expected a value" },
    { "{ } | by(1)", 10, "expected something of the span, found a constant" },
    { "{ } | max(name) > 1", 11, "expected a number to aggregate, found a string" },
    { "{ } | max(1) > 1", 11, "found a constant" },
    { "{ } | select(1)", 14, "expected an attribute or an intrinsic, found '1'" },
    { "{ } | select(true)", 14, "found a constant" },
    { "{ } | quantile_over_time(duration)", 34, "expected ',' and a quantile" },
    { "{ } && ", 8, "found the end" },
    { "{ } && 5", 5, "'&&' cannot join a set of spans and a number" },
    { "{ } + { }", 5, "'+' cannot join" },
    { "{ } = { }", 5, "'=' cannot join" },
    { "{ } with", 9, "expected '('" },
    { "{ } with (x)", 12, "expected '='" },
    { "{ } with (x=.a)", 13, "expected a constant" },
    { "{ } with (x=1", 14, "expected ',' or ')'" },
    { "{ } | frobnicate()", 7, "expected '{', '(' or a function, found 'frobnicate'" },

    /* Types. */
    { "{ 1 }", 3, "a filter needs a condition, but this is an int" },
    { "{ \"x\" }", 3, "but this is a string" },
    { "{ duration }", 3, "but this is a duration" },
    { "{ nil }", 3, "but this is nil" },
    { "{ .a + 1 }", 3, "a filter needs a condition" },
    { "{ 1 = \"a\" }", 5, "'=' cannot join an int and a string" },
    { "{ name > 3 }", 8, "'>' cannot join a string and an int" },
    { "{ name = 3 }", 8, "cannot join" },
    { "{ status = \"error\" }", 10, "'=' cannot join a status and a string" },
    { "{ status = 2 }", 10, "cannot join a status and an int" },
    { "{ status > ok }", 10, "'>' cannot join a status and a status" },
    { "{ kind < server }", 8, "'<' cannot join a kind and a kind" },
    { "{ kind = error }", 8, "cannot join a kind and a status" },
    { "{ .a > true }", 6, "'>' cannot join an attribute and a boolean" },
    { "{ duration = true }", 12, "cannot join a duration and a boolean" },
    { "{ .a && 1 }", 6, "'&&' cannot join an attribute and an int" },
    { "{ \"x\" || .a }", 7, "cannot join a string and an attribute" },
    { "{ .a + \"x\" = 1 }", 6, "'+' cannot join an attribute and a string" },
    { "{ name * 2 = 1 }", 8, "'*' cannot join a string and an int" },
    { "{ -name = 1 }", 3, "'-' needs a number, not a string" },
    { "{ !1 }", 3, "'!' needs a boolean, not an int" },
    { "{ !.a + 1 = 2 }", 7, "'+' cannot join a boolean and an int" },
    { "{ .a =~ 1 }", 9, "a regular expression is a string in quotes, not an int" },
    { "{ .a =~ name }", 9, "a regular expression is a string in quotes, not a field" },
    { "{ .a =~ .b }", 9, "a regular expression is a string in quotes, not an attribute" },
    { "{ duration =~ \"1s\" }", 12, "'=~' cannot join a duration and a string" },
    { "{ .a =~ \"(\" }", 9, "the regular expression is wrong at its byte" },
    { "{ duration = nil }", 12, "only an attribute can be nil, not an intrinsic" },
    { "{ 1 = nil }", 5, "only an attribute can be nil, not an int" },
    { "{ .a + 1 = nil }", 10, "only an attribute can be nil" },
    { "{ .a > nil }", 6, "nil can only be compared with = and !=" },
    { "{ .a contains 1 }", 15, "contains needs a string in quotes, not an int" },
    { "{ severity = warn }", 3, "'severity' is not known for spans" },
    { "{ log.a = 1 }", 3, "'log.a' is not known for spans" },
    { "{ -minInt = 1 }", 3, "the number is too large" },
};

static const struct refused logs_invalid[] = {
    { "{ name = \"x\" }", 3, "'name' is not known for log records" },
    { "{ span.a = 1 }", 3, "'span.a' is not known for log records" },
    { "{ event.a = 1 }", 3, "not known for log records" },
    { "{ parent.a = 1 }", 3, "not known for log records" },
    { "{ kind = server }", 3, "'kind' is not known" },
    { "{ .a = server }", 8, "found 'server'" },
    { "{ .a = warn }", 8, "a severity word can only be compared with severity" },
    { "{ severity + warn = 1 }", 12, "cannot join an int and a severity" },
    { "{ severity = \"warn\" }", 12, "cannot join an int and a string" },
    { "{ severity =~ warn }", 15, "a regular expression is a string in quotes, not a severity" },
    { "{ text > \"x\" }", 8, "text can only be compared with a string" },
    { "{ text = .a }", 8, "text can only be compared with a string" },
    { "{ warn }", 3, "a filter needs a condition" },
};

static const struct refused unsupported[] = {
    { "{ .a = 1 } && { .b = 2 }", 12, "the spanset operator '&&' is not supported yet" },
    { "{ } || { }", 5, "the spanset operator '||'" },
    { "{ } > { }", 5, "the structural operator '>'" },
    { "{ } < { }", 5, "the structural operator '<'" },
    { "{ } >> { }", 5, "the structural operator '>>'" },
    { "{ } << { }", 5, "the structural operator '<<'" },
    { "{ } ~ { }", 5, "the structural operator '~'" },
    { "{ } !> { }", 5, "the structural operator '!>'" },
    { "{ } !< { }", 5, "the structural operator '!<'" },
    { "{ } !>> { }", 5, "the structural operator '!>>'" },
    { "{ } !<< { }", 5, "the structural operator '!<<'" },
    { "{ } !~ { }", 5, "the structural operator '!~'" },
    { "{ } &> { }", 5, "the structural operator '&>'" },
    { "{ } &< { }", 5, "the structural operator '&<'" },
    { "{ } &>> { }", 5, "the structural operator '&>>'" },
    { "{ } &<< { }", 5, "the structural operator '&<<'" },
    { "{ } &~ { }", 5, "the structural operator '&~'" },
    { "{.a}&>{.b}", 5, "the structural operator '&>'" },
    { "({ } >> { }) && { }", 6, "the structural operator '>>'" },
    { "{ } | { }", 5, "the pipeline '|'" },
    { "({ } | { }) && ({ } | count() > 1)", 6, "the pipeline '|'" },
    { "{ } | count() > 2", 5, "the pipeline '|'" },
    { "count() > 2", 1, "the aggregate count()" },
    { "2 < count()", 5, "the aggregate count()" },
    { "{ } | avg(duration) > 1s", 5, "the pipeline '|'" },
    { "{ } | (count() + 1) * 2 >= 3 - 1", 5, "the pipeline '|'" },
    { "{ } | sum(.a + 1) = -1", 5, "the pipeline '|'" },
    { "by(.a)", 1, "the stage by()" },
    { "by(.a) | count() > 1", 1, "the stage by()" },
    { "{ } | by(resource.service.name) | coalesce() | select(.a, span.b, name)", 5, "the pipeline" },
    { "select(.a)", 1, "the stage select()" },
    { "{ } | rate()", 5, "the pipeline '|'" },
    { "{ } | rate() by (.a, name)", 5, "the pipeline" },
    { "{ } | rate() > 10", 5, "the pipeline" },
    { "{ } | rate() | topk(5)", 5, "the pipeline" },
    { "{ } | rate() | bottomk(5) | topk(2) > 1", 5, "the pipeline" },
    { "{ } | count_over_time() by(.a)", 5, "the pipeline" },
    { "{ } | min_over_time(duration)", 5, "the pipeline" },
    { "{ } | max_over_time(span.a) by (.b)", 5, "the pipeline" },
    { "{ } | sum_over_time(.a)", 5, "the pipeline" },
    { "{ } | avg_over_time(.a)", 5, "the pipeline" },
    { "{ } | quantile_over_time(duration, 0.5, .9) by (.a)", 5, "the pipeline" },
    { "{ } | histogram_over_time(duration)", 5, "the pipeline" },
    { "{ } | compare({ status = error })", 5, "the pipeline" },
    { "{ } | compare({ status = error }, 10, 1, 2)", 5, "the pipeline" },
    { "({ } | rate()) / ({ } | rate())", 6, "the pipeline" },
    { "({ } | rate()) * 2", 6, "the pipeline" },
    { "2 * ({ } | rate() by (.a))", 3, "arithmetic of metrics" },
    { "({ } | count()) > 2", 6, "the pipeline" },
    { "({ } | count()) + 1 > ({ } | count())", 6, "the pipeline" },
    { "{ } | rate() with (sample=true)", 5, "the pipeline" },
    { "{ parent.a = 1 }", 3, "the scope 'parent.'" },
    { "{ parent.resource.a = 1 }", 3, "the scope 'parent.'" },
    { "{ parent = nil }", 3, "'parent'" },
    { "{ nestedSetLeft > 1 }", 3, "'nestedSetLeft'" },
    { "{ nestedSetRight > 1 }", 3, "'nestedSetRight'" },
    { "{ nestedSetParent > 5 }", 3, "'nestedSetParent' other than < 0" },
    { "{ nestedSetParent + 1 > 5 }", 3, "'nestedSetParent'" },
};
/* clang-format on */

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

struct outcome {
    enum err e;
    char canonical[2048];
    struct traceql_error error;
};

static void parse(enum signal signal, struct bytes text, struct outcome *out)
{
    long before = fault_live_blocks();
    struct arena arena;
    struct expr *e = NULL;
    arena_init(&arena, (size_t)16 << 20, NULL);
    memset(out, 0, sizeof *out);
    out->e = traceql_parse(&arena, signal, text, &e, &out->error);
    if (out->e == ERR_OK) {
        struct buffer b;
        buffer_init(&b, 1 << 20);
        expr_write(e, &b);
        assert_int_equal(buffer_error(&b), ERR_OK);
        (void)snprintf(out->canonical, sizeof out->canonical, "%.*s", (int)b.len,
                       (const char *)b.data);
        buffer_deinit(&b);
        expr_deinit(e);
    }
    arena_deinit(&arena);
    assert_int_equal(fault_live_blocks(), before);
}

static void check_accepted(enum signal signal, const struct accepted *cases, size_t count)
{
    struct outcome o;
    for (size_t i = 0; i < count; i++) {
        parse(signal, bytes_text(cases[i].text), &o);
        if (o.e != ERR_OK)
            fail_msg("%s\n  is refused: %s", cases[i].text, o.error.text);
        if (strcmp(o.canonical, cases[i].canonical) != 0)
            fail_msg("%s\n  gives   %s\n  instead %s", cases[i].text, o.canonical,
                     cases[i].canonical);
        /* The canonical text is in the language, and its own canonical text. But for the one number
         * that has no literal. */
        if (strstr(cases[i].canonical, "-9223372036854775808") != NULL)
            continue;
        parse(signal, bytes_text(cases[i].canonical), &o);
        assert_int_equal(o.e, ERR_OK);
        assert_string_equal(o.canonical, cases[i].canonical);
    }
}

static void check_refused(enum signal signal, enum err e, const struct refused *cases, size_t count)
{
    struct outcome o;
    for (size_t i = 0; i < count; i++) {
        parse(signal, bytes_text(cases[i].text), &o);
        char position[32];
        (void)snprintf(position, sizeof position, "line 1, column %u: ", cases[i].column);
        if (o.e != e)
            fail_msg("%s\n  gives error %d, not %d: %s %s", cases[i].text, o.e, e, o.canonical,
                     o.error.text);
        if (strncmp(o.error.text, position, strlen(position)) != 0 ||
            strstr(o.error.text, cases[i].message) == NULL)
            fail_msg("%s\n  says    %s\n  instead %s%s", cases[i].text, o.error.text, position,
                     cases[i].message);
    }
}

static void filters_over_spans_become_trees(void **state)
{
    (void)state;
    check_accepted(SIGNAL_TRACES, spans_accepted, COUNT_OF(spans_accepted));
}

static void filters_over_logs_become_trees(void **state)
{
    (void)state;
    check_accepted(SIGNAL_LOGS, logs_accepted, COUNT_OF(logs_accepted));
}

static void mistakes_are_refused_where_they_stand(void **state)
{
    (void)state;
    check_refused(SIGNAL_TRACES, ERR_INVALID, spans_invalid, COUNT_OF(spans_invalid));
    check_refused(SIGNAL_LOGS, ERR_INVALID, logs_invalid, COUNT_OF(logs_invalid));
}

static void what_is_not_answered_is_named(void **state)
{
    (void)state;
    check_refused(SIGNAL_TRACES, ERR_UNSUPPORTED, unsupported, COUNT_OF(unsupported));
    /* A mistake behind an unsupported construct is still a mistake. */
    struct outcome o;
    parse(SIGNAL_TRACES, bytes_text("{ } >> { .a = }"), &o);
    assert_int_equal(o.e, ERR_INVALID);
}

static void positions_count_lines(void **state)
{
    (void)state;
    struct outcome o;
    parse(SIGNAL_TRACES, bytes_text("{\n  .a = 1 &&\n  .b =\n}"), &o);
    assert_int_equal(o.e, ERR_INVALID);
    assert_int_equal(o.error.line, 4);
    assert_int_equal(o.error.column, 1);
    assert_int_equal(o.error.offset, 21);
}

static void invalid_utf8_is_refused(void **state)
{
    (void)state;
    struct outcome o;
    parse(SIGNAL_TRACES, bytes_text("{ .a = \"\xff\" }"), &o);
    assert_int_equal(o.e, ERR_INVALID);
    assert_int_equal(o.error.offset, 8);
}

/* Repeat `unit` n times between two ends. */
static void repeated(const char *begin, const char *unit, size_t n, const char *end,
                     struct outcome *out)
{
    struct buffer b;
    buffer_init(&b, (size_t)1 << 24);
    buffer_append_text(&b, begin);
    for (size_t i = 0; i < n; i++)
        buffer_append_text(&b, unit);
    buffer_append_text(&b, end);
    assert_int_equal(buffer_error(&b), ERR_OK);
    struct bytes text = buffer_bytes(&b);
    parse(SIGNAL_TRACES, text, out);
    buffer_deinit(&b);
}

static void depth_is_bounded(void **state)
{
    (void)state;
    struct outcome o;
    static const char *const units[] = { "(", "!(", "-(", "!", "-", "- -" };
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        repeated("{ ", units[i], 40000, " }", &o);
        assert_int_equal(o.e, ERR_TOO_DEEP);
    }
    repeated("", "(", 40000, "", &o);
    assert_int_equal(o.e, ERR_TOO_DEEP);
    repeated("{ 1", " ^ 1", 20000, " = 1 }", &o);
    assert_int_equal(o.e, ERR_TOO_DEEP);

    /* The bound itself: a chain of TRACEQL_DEPTH_MAX - 1 attributes is a tree just so deep. */
    repeated("{ .a", " && .a", TRACEQL_DEPTH_MAX - 1, " }", &o);
    assert_int_equal(o.e, ERR_OK);
    repeated("{ .a", " && .a", TRACEQL_DEPTH_MAX, " }", &o);
    assert_int_equal(o.e, ERR_TOO_DEEP);
    /* Two levels are the filter's own. */
    repeated("{ ", "(", TRACEQL_DEPTH_MAX - 2, ".a ", &o); /* deep enough; not closed */
    assert_int_equal(o.e, ERR_INVALID);
    repeated("{ ", "(", TRACEQL_DEPTH_MAX - 1, ".a ", &o);
    assert_int_equal(o.e, ERR_TOO_DEEP);
}

static void length_and_regexes_are_bounded(void **state)
{
    (void)state;
    struct outcome o;
    repeated("{ }", " ", TRACEQL_TEXT_MAX - 3, "", &o);
    assert_int_equal(o.e, ERR_OK);
    repeated("{ }", " ", TRACEQL_TEXT_MAX - 2, "", &o);
    assert_int_equal(o.e, ERR_TOO_LARGE);
    repeated("{ .a =~ \"x\"", " || .a =~ \"x\"", TRACEQL_REGEX_MAX - 1, " }", &o);
    assert_int_equal(o.e, ERR_OK);
    repeated("{ .a =~ \"x\"", " || .a =~ \"x\"", TRACEQL_REGEX_MAX, " }", &o);
    assert_int_equal(o.e, ERR_TOO_MANY);
    repeated("{ .a =~ \"", "x", 5000, "\" }", &o);
    assert_int_equal(o.e, ERR_TOO_LARGE);
    /* Strings cost no more memory than the text has bytes: 20,000 of them fit the test's arena. */
    repeated("{ } | select(.a", ",.\"x\"", 20000, ")", &o);
    assert_int_equal(o.e, ERR_UNSUPPORTED);
}

static void any_prefix_is_answered(void **state)
{
    (void)state;
    static const char text[] =
        "({ (.a =~ \"x.*\" || resource.\"b c\" != nil) && !(duration > 1.5s) } | by(.x) | "
        "count() > 2 | select(name)) >> { } with (x=1)";
    struct outcome o;
    for (size_t n = 0; n < sizeof text - 1; n++) {
        parse(SIGNAL_TRACES, bytes_of(text, n), &o);
        assert_true(o.e == ERR_INVALID || o.e == ERR_UNSUPPORTED);
        assert_true(o.error.offset <= n);
    }
}

static void survives_any_failed_allocation(void **state)
{
    (void)state;
    static const char text[] = "{ .a =~ \"x.*\" && resource.b !~ \"y\" && trace:id = \"1\" }";
    for (unsigned long n = 0; n < 1000; n++) {
        struct arena arena;
        struct expr *e = NULL;
        struct traceql_error error;
        arena_init(&arena, (size_t)16 << 20, NULL);
        long before = fault_live_blocks();
        fault_alloc_fail_at(n, false);
        enum err failure = traceql_parse(&arena, SIGNAL_TRACES, bytes_text(text), &e, &error);
        bool fired = fault_fired();
        fault_alloc_off();
        assert_int_equal(failure, fired ? ERR_NOMEM : ERR_OK);
        expr_deinit(e);
        arena_deinit(&arena);
        assert_int_equal(fault_live_blocks(), before);
        if (!fired)
            return;
    }
    fail_msg("it never ran out of allocations to fail");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters_over_spans_become_trees),
        cmocka_unit_test(filters_over_logs_become_trees),
        cmocka_unit_test(mistakes_are_refused_where_they_stand),
        cmocka_unit_test(what_is_not_answered_is_named),
        cmocka_unit_test(positions_count_lines),
        cmocka_unit_test(invalid_utf8_is_refused),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(length_and_regexes_are_bounded),
        cmocka_unit_test(any_prefix_is_answered),
        cmocka_unit_test(survives_any_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
