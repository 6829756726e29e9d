// Signals that end the program in good order.
import process from "node:process";

/** npm passes on a Ctrl-C that the terminal has sent to the whole process group: one key press arrives twice. */
const ONE_KEY_PRESS_MS = 200;

/** Resolves at the first signal; a second one then has its default effect, which is to end the process at once. */
export function firstSignal(signals: readonly NodeJS.Signals[]): Promise<void> {
  return new Promise((resolve) => {
    function onSignal(): void {
      resolve();
      setTimeout(() => signals.forEach((signal) => process.removeListener(signal, onSignal)), ONE_KEY_PRESS_MS);
    }
    for (const signal of signals) process.on(signal, onSignal);
  });
}
