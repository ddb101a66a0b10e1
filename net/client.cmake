# SPDX-License-Identifier: Apache-2.0
# The outgoing client.
set(NET_CLIENT_SOURCES client.c client_http1.c client_http2.c)
