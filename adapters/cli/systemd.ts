// What systemd tells a service by its environment, and what it wants to be told.
import { spawn } from "node:child_process";
import process from "node:process";

type Environment = Record<string, string | undefined>;

/** The first descriptor that is passed on. */
const FIRST_FD = 3;

/** A socket that systemd has opened and listens on. */
export interface PassedSocket {
  fd: number;
  /** `FileDescriptorName=` of the socket unit; the unit's own name unless it says another. */
  name: string;
}

/**
 * The sockets that are meant for this process (sd_listen_fds(3)). Removes the variables in any case, so that no child
 * takes them for its own.
 */
export function takePassedSockets(environment: Environment, pid: number): PassedSocket[] {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES } = environment;
  for (const name of ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]) delete environment[name];
  if (LISTEN_PID !== String(pid) || !/^\d{1,4}$/.test(LISTEN_FDS ?? "")) return [];
  const names = LISTEN_FDNAMES?.split(":") ?? [];
  return Array.from({ length: Number(LISTEN_FDS) }, (_, i) => ({ fd: FIRST_FD + i, name: names[i] ?? "" }));
}

/**
 * Tells the service manager how the service is (sd_notify(3)); does nothing where there is none. By the program
 * systemd-notify, as no runtime can send the datagram itself.
 */
export class ServiceManager {
  readonly #socket: string | undefined;
  /** Milliseconds between signs of life, or 0. */
  readonly #interval: number;
  #sent: Promise<void> = Promise.resolve();
  #watchdog: ReturnType<typeof setInterval> | undefined;
  #failed = false;

  /** Takes the variables out of the environment: they are for this process alone. */
  constructor(environment: Environment, pid: number) {
    const { NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID } = environment;
    for (const name of ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"]) delete environment[name];
    this.#socket = NOTIFY_SOCKET || undefined;
    const mine = WATCHDOG_PID === undefined || WATCHDOG_PID === String(pid);
    const microseconds = mine && /^\d{1,15}$/.test(WATCHDOG_USEC ?? "") ? Number(WATCHDOG_USEC) : 0;
    // Half of what it waits, as sd_watchdog_enabled(3) has it.
    this.#interval = Math.floor(microseconds / 2000);
  }

  /** The service can take requests; from here on it gives signs of life, if that is asked for. */
  ready(): Promise<void> {
    if (this.#socket !== undefined && this.#interval > 0) {
      let answered = true;
      this.#watchdog = setInterval(() => {
        if (!answered) return;
        answered = false;
        this.#send("WATCHDOG=1").then(() => answered = true);
      }, this.#interval);
      this.#watchdog.unref();
    }
    return this.#send("READY=1");
  }

  /** The service has begun to end. */
  stopping(): Promise<void> {
    clearInterval(this.#watchdog);
    return this.#send("STOPPING=1");
  }

  #send(state: string): Promise<void> {
    const socket = this.#socket;
    if (socket === undefined) return this.#sent;
    // One after another: two programs at once might overtake each other.
    return this.#sent = this.#sent.then(() => this.#run(socket, state));
  }

  #run(socket: string, state: string): Promise<void> {
    return new Promise((resolve) => {
      const child = spawn("systemd-notify", [state], {
        env: { ...process.env, NOTIFY_SOCKET: socket },
        stdio: ["ignore", "ignore", "inherit"],
        // A manager that does not read must not hold up the end.
        timeout: 5000,
      });
      child.once("error", (error) => {
        this.#fail(state, error.message);
        resolve();
      });
      child.once("exit", (code, signal) => {
        if (code !== 0) this.#fail(state, `it ended with ${signal ?? `status ${code}`}`);
        resolve();
      });
    });
  }

  /** Said once: a watchdog would say it all day. */
  #fail(state: string, reason: string): void {
    if (!this.#failed) console.error(`isthmus: Cannot send ${state} to systemd by systemd-notify: ${reason}`);
    this.#failed = true;
  }
}
