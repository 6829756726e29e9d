// A program: the library's way to be started by a web server. Tells on stderr, or where console.log goes, what it sees.
import { adapter } from "./runtime.ts";

const { serveSpawned } = await adapter();
const server = serveSpawned(
  { onListen: (addr) => console.error("onListen", addr) },
  (_request, info) => new Response(`by ${info.protocol}`),
);
await server.ready;
await server.finished;
console.log(JSON.stringify(server.stats));
