# SPDX-License-Identifier: Apache-2.0
# The outgoing client. On Debian 12 llhttp comes as generated sources in the package node-llhttp.
pkg_check_modules(UV REQUIRED IMPORTED_TARGET libuv)
pkg_check_modules(NGHTTP2 REQUIRED IMPORTED_TARGET libnghttp2)
set(NET_CLIENT_SOURCES client.c client_http1.c client_http2.c)
if(NOT TARGET llhttp)
    add_library(llhttp STATIC /usr/share/llhttp/api.c /usr/share/llhttp/http.c /usr/share/llhttp/llhttp.c)
    target_include_directories(llhttp SYSTEM PUBLIC /usr/share/include/llhttp)
endif()
