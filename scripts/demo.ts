// `npm run demo`: the example app on AJP and FastCGI, with a private Apache httpd in front of it where there is one.
import { randomBytes } from "node:crypto";
import process from "node:process";
import { serveAjp, serveFastCgi } from "../adapters/node.ts";
import type { Server } from "../adapters/node.ts";
import app from "../examples/hono.ts";
import { apacheAvailable, startApache } from "../test/support/apache.ts";

/** Resolves at the first Ctrl-C; the further ones change nothing, for what has been started must be ended. */
function signalled(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => resolve());
  });
}

async function hostAndPort(server: Server): Promise<string> {
  const addr = await server.ready;
  if (addr.transport === "unix") throw new TypeError("Expected a port");
  return `${addr.hostname}:${addr.port}`;
}

const end = signalled();
const secret = randomBytes(16).toString("hex");
const ajp = serveAjp({ port: 0, secret }, app);
const fastCgi = serveFastCgi({ port: 0, mount: "/fcgi" }, app);
const ajpAddress = await hostAndPort(ajp);
const fastCgiAddress = await hostAndPort(fastCgi);
console.log(`examples/hono.ts on AJP at ${ajpAddress} and on FastCGI at ${fastCgiAddress}`);

// flushpackets sends each event of a stream on at once; over AJP the library asks for that itself.
const proxyLines = [
  `ProxyPass "/fcgi/" "fcgi://${fastCgiAddress}/" enablereuse=on flushpackets=on`,
  `ProxyPass "/" "ajp://${ajpAddress}/" secret=${secret}`,
];
const apache = apacheAvailable() ? await startApache({ config: () => proxyLines.join("\n") }) : undefined;
if (apache === undefined) {
  console.log("There is no Apache httpd here. To see it in front of the app, end this, install it, and start again:");
  console.log("  sudo apt-get install apache2    (Debian, Ubuntu)");
  console.log("Or give these lines to one that has mod_proxy, mod_proxy_ajp and mod_proxy_fcgi:");
  for (const line of proxyLines) console.log(`  ${line}`);
} else {
  console.log(`Open ${apache.url}/ (over AJP) or ${apache.url}/fcgi/ (over FastCGI)`);
}
console.log("Ctrl-C ends it");

await end;
await apache?.stop();
await Promise.all([ajp.shutdown(), fastCgi.shutdown()]);
process.exit();
