# SPDX-License-Identifier: Apache-2.0
# What every target is compiled with. Warnings are the same for gcc and clang; hardening is on in every
# build, and what a sanitizer replaces is left out under it.

add_library(spindle_flags INTERFACE)
target_compile_definitions(spindle_flags INTERFACE _GNU_SOURCE)
target_compile_options(spindle_flags INTERFACE
    -Wall -Wextra -Wshadow -Wconversion -Wmissing-prototypes -Wstrict-prototypes -Wvla
    -Wformat=2 -Wundef -Wpointer-arith -Wcast-qual -Wwrite-strings
    -fno-strict-aliasing -fno-omit-frame-pointer -fstack-protector-strong -fno-common)
if(SPINDLE_WERROR)
    target_compile_options(spindle_flags INTERFACE -Werror)
endif()
if(SPINDLE_FAULTS)
    target_compile_definitions(spindle_flags INTERFACE SPINDLE_FAULTS=1)
else()
    target_compile_definitions(spindle_flags INTERFACE SPINDLE_FAULTS=0)
endif()

if(SPINDLE_SANITIZE)
    target_compile_options(spindle_flags INTERFACE -fsanitize=${SPINDLE_SANITIZE} -fno-sanitize-recover=all)
    target_link_options(spindle_flags INTERFACE -fsanitize=${SPINDLE_SANITIZE})
elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
    target_compile_definitions(spindle_flags INTERFACE _FORTIFY_SOURCE=3)
    target_compile_options(spindle_flags INTERFACE -fstack-clash-protection -fcf-protection=full
        -ftrivial-auto-var-init=zero)
    target_link_options(spindle_flags INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack -pie)
    set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)
    if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
        set(CMAKE_C_COMPILE_OPTIONS_IPO -flto=auto -fno-fat-lto-objects) # all cores
    endif()
endif()
# Assertions that are cheap stay on in release: they are part of the safety promise.
set(CMAKE_C_FLAGS_RELEASE "-O3 -g1")
set(CMAKE_C_FLAGS_DEBUG "-O1 -g")
if(SPINDLE_FUZZ)
    target_compile_options(spindle_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
