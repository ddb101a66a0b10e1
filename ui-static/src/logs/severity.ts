// SPDX-License-Identifier: Apache-2.0
// The severity of log records: numbers 1 to 24 in six names of four each (OpenTelemetry's log data model). A colour and
// a letter, so that it is readable without the colour.

export const SEVERITIES = ['unset', 'trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const;
export type Severity = (typeof SEVERITIES)[number];

/** Index into SEVERITIES; 0 for none, and for what is out of range. */
export function severityIndex(number: number | undefined): number {
  return number !== undefined && number >= 1 && number <= 24 ? Math.ceil(number / 4) : 0;
}

export const severityOf = (number: number | undefined): Severity => SEVERITIES[severityIndex(number)]!;
export const severityLetter = (s: Severity): string => (s === 'unset' ? '·' : s[0]!.toUpperCase());

/** What stands in a row: the name, with its step where it is not the first of the four ("WARN2"). */
export function severityLabel(number: number | undefined): string {
  const i = severityIndex(number);
  if (i === 0) return '–';
  const step = (number! - 1) % 4;
  return SEVERITIES[i]!.toUpperCase() + (step === 0 ? '' : String(step + 1));
}
