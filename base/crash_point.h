/* SPDX-License-Identifier: Apache-2.0 */
/* crash_point.h - named places at which a test can kill the process.
 *
 * Role       with SPINDLE_CRASH_AT=name[:n] in the environment of a build with SPINDLE_FAULTS, the nth
 *            (default first) passage of CRASH_POINT("name") ends the process as kill -9 would. Release
 *            builds contain nothing of it.
 * Threads    any. */
#ifndef SPINDLE_BASE_CRASH_POINT_H
#define SPINDLE_BASE_CRASH_POINT_H

#if SPINDLE_FAULTS
/* Only through the macro. */
void crash_point_pass(const char *name);
#define CRASH_POINT(name) crash_point_pass(name)
#else
#define CRASH_POINT(name) ((void)0)
#endif

#endif
