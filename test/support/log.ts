import type { Logger } from "../../src/types.ts";

/** A logger that keeps what it is told. */
export class Log implements Logger {
  readonly errors: unknown[][] = [];
  readonly warnings: string[] = [];

  error(...data: unknown[]): void {
    this.errors.push(data);
  }

  warn(...data: unknown[]): void {
    this.warnings.push(data.map(String).join(" "));
  }
}
