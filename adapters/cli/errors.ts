/** A failure that the user can do something about: one line on stderr, and the status to end with. */
export class CliError extends Error {
  override readonly name = "CliError";
  /** 2 where the command line is wrong, 1 where something failed at run time. */
  readonly status: 1 | 2;

  constructor(status: 1 | 2, message: string, options?: ErrorOptions) {
    super(message, options);
    this.status = status;
  }
}

/** A command line that says something else than what this program takes. */
export function usageError(message: string): CliError {
  return new CliError(2, message);
}
